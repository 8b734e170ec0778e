"""The rules of go-arg; the examples were tried against go-arg 1.6.1 itself."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.cli.commands import COMMANDS, Cleanup, CleanupWait, Common, Configuration, Registry, Version
from daemon.cli.flags import flags_of
from daemon.cli.parser import HelpRequested, Invocation, UsageError, parse

STATIC = {"BOOTSTRAP_KIND": "static"}


def registry(*arguments: str, **environment: str) -> Registry:
    command = parse(["registry", *arguments], {**STATIC, **environment}).command
    assert isinstance(command, Registry)
    return command


def refusal(*arguments: str, **environment: str) -> str:
    with pytest.raises(UsageError) as caught:
        parse(arguments, environment)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_defaults_are_upstreams() -> None:
    assert registry() == Registry(
        bootstrap_kind="static",
        dns_bootstrap_domain="",
        http_bootstrap_addr="",
        http_bootstrap_url="",
        http_bootstrap_cert_dir="",
        static_bootstrap_peers=(),
        metrics_addr=":9090",
        containerd_sock="/run/containerd/containerd.sock",
        containerd_namespace="k8s.io",
        containerd_content_path="/var/lib/containerd/io.containerd.content.v1.content",
        data_dir="",
        router_addr=":5001",
        registry_addr=":5000",
        mirrored_registries=(),
        registry_filters=(),
        mirror_resolve_timeout=0.02,
        mirror_resolve_retries=3,
        debug_web_enabled=True,
    )
    targets = ["--mirror-targets", "http://127.0.0.1:5000"]
    assert parse(["configuration", *targets], {}).command == Configuration(
        containerd_registry_config_path="/etc/containerd/certs.d",
        mirrored_registries=(),
        mirror_targets=("http://127.0.0.1:5000",),
        resolve_tags=True,
        prepend_existing=False,
    )
    assert parse(["cleanup", "--addr", ":1"], {}).command == Cleanup(
        addr=":1", containerd_registry_config_path="/etc/containerd/certs.d"
    )
    assert parse(["cleanup-wait", "--probe-endpoint=x:1"], {}).command == CleanupWait(
        probe_endpoint="x:1", threshold=3, period=2.0
    )
    assert parse(["version"], {}) == Invocation(Common(log_level=20), Version(format="text"))


def test_extra_flags_change_nothing_by_default() -> None:
    ours = registry()
    assert (ours.oci_layout, ours.verify_blobs, ours.upload_rate_limit) == ("", False, 0)
    assert (ours.shutdown_timeout, ours.debug_profiling_enabled) == (10.0, False)


@pytest.mark.parametrize(
    ("arguments", "field", "value"),
    [
        (["--registry-addr", ":1"], "registry_addr", ":1"),
        (["--registry-addr=:1"], "registry_addr", ":1"),
        (["-registry-addr", "[::1]:5000"], "registry_addr", "[::1]:5000"),
        (["---registry-addr", "host:5000"], "registry_addr", "host:5000"),
        (["--registry-addr", ":1", "--registry-addr", ":2"], "registry_addr", ":2"),
        (["--data-dir", ""], "data_dir", ""),
        (["--data-dir", "-"], "data_dir", "-"),
        (["--data-dir=a=b"], "data_dir", "a=b"),
        (["--registry-filters", "a", "b"], "registry_filters", ("a", "b")),
        (["--registry-filters=a"], "registry_filters", ("a",)),
        (["--registry-filters=", "a", "b"], "registry_filters", ("a", "b")),
        (["--registry-filters"], "registry_filters", ()),
        (["--registry-filters", "a", "--registry-filters", "b"], "registry_filters", ("b",)),
        (["--registry-filters", "a", "--data-dir", "d"], "registry_filters", ("a",)),
        (["--registry-filters", "a", "--"], "registry_filters", ("a",)),
        (["--debug-web-enabled"], "debug_web_enabled", True),
        (["--debug-web-enabled=false"], "debug_web_enabled", False),
        (["--debug-web-enabled=F"], "debug_web_enabled", False),
        (["--debug-web-enabled="], "debug_web_enabled", True),
        (["--mirror-resolve-retries", "0x10"], "mirror_resolve_retries", 16),
        (["--mirror-resolve-retries=017"], "mirror_resolve_retries", 15),
        (["--mirror-resolve-retries", "1_0"], "mirror_resolve_retries", 10),
        (["--mirror-resolve-timeout", "1m30s"], "mirror_resolve_timeout", 90.0),
        (["--mirror-resolve-timeout", "-0"], "mirror_resolve_timeout", 0.0),
        (["--upload-rate-limit", "50Mi"], "upload_rate_limit", 50 * 2**20),
        (["--upload-rate-limit", "1G"], "upload_rate_limit", 10**9),
    ],
)
def test_flags_are_read(arguments: list[str], field: str, value: object) -> None:
    assert getattr(registry(*arguments), field) == value


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("REGISTRY_ADDR", ":1", "registry_addr", ":1"),
        ("DATA_DIR", "", "data_dir", ""),
        ("DEBUG_WEB_ENABLED", "0", "debug_web_enabled", False),
        ("REGISTRY_FILTERS", 'a,"b,c"', "registry_filters", ("a", "b,c")),
        ("REGISTRY_FILTERS", "a, b,", "registry_filters", ("a", " b", "")),
        ("REGISTRY_FILTERS", "  ", "registry_filters", ()),
        ("REGISTRY_FILTERS", "a\nb", "registry_filters", ("a",)),
        ("MIRROR_RESOLVE_TIMEOUT", "1.5h", "mirror_resolve_timeout", 5400.0),
    ],
)
def test_environment_variables_are_read(variable: str, text: str, field: str, value: object) -> None:
    assert getattr(registry(**{variable: text}), field) == value


def test_a_flag_goes_before_its_variable_and_a_variable_before_the_default() -> None:
    assert registry("--data-dir", "flag", DATA_DIR="variable").data_dir == "flag"
    assert registry(DATA_DIR="variable").data_dir == "variable"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_flag_has_the_variable_named_after_it(command: str) -> None:
    for named in flags_of(COMMANDS[command]):
        expected = None if named.option == "format" else named.option.upper().replace("-", "_")
        assert named.variable == expected


def test_other_commands_variables_are_not_read() -> None:
    assert parse(["version"], {"MIRROR_RESOLVE_TIMEOUT": "nonsense", "PERIOD": "nonsense"})


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("DEBUG", 10),
        ("info", 20),
        ("Warn", 30),
        ("ERROR", 40),
        ("INFO+4", 30),
        ("debug-4", 1),
        ("ERROR+4", 50),
    ],
)
def test_the_log_level_may_stand_anywhere(text: str, level: int) -> None:
    assert parse(["--log-level", text, "version"], {}).common.log_level == level
    assert parse(["version", f"--log-level={text}"], {}).common.log_level == level
    assert parse(["version"], {"LOG_LEVEL": text}).common.log_level == level


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "a command is needed: registry, configuration, cleanup, cleanup-wait, version"),
        (["--log-level", "INFO"], "a command is needed"),
        (["regsitry"], "unknown command 'regsitry', did you mean registry?"),
        (["qqq"], "unknown command 'qqq'"),
        (["--registry-addr", ":1", "registry"], "unknown flag --registry-addr"),
        (["registry", "--registry-adr", ":1"], "unknown flag --registry-adr, did you mean --registry-addr?"),
        (["registry", "--registry-adr=:1"], "did you mean --registry-addr?"),
        (["registry", "--qqq"], "unknown flag --qqq"),
        (["registry", "-="], "unknown flag -="),
        (["registry", "--data-dir"], "--data-dir needs a value"),
        (["registry", "--data-dir="], "--data-dir= needs a value"),
        (["registry", "--data-dir", "--debug-web-enabled"], "--data-dir needs a value"),
        (["registry", "--debug-web-enabled", "false"], "'false' is not expected here"),
        (["registry", "--registry-filters=a", "b"], "'b' is not expected here"),
        (["registry", "--", "--data-dir"], "'--data-dir' is not expected here"),
        (["registry", "version"], "'version' is not expected here"),
        (["registry", "--registry-addr", "5000"], "--registry-addr: '5000' is no address"),
        (["registry", "--registry-addr", "::1:5000"], "--registry-addr: '::1:5000' is no address"),
        (["registry", "--registry-addr", ":65536"], "is no address"),
        (["registry", "--mirror-resolve-retries", "three"], "'three' is no whole number"),
        (["registry", "--mirror-resolve-retries", "-x"], "--mirror-resolve-retries needs a value"),
        (["registry", "--mirror-resolve-retries", "9223372036854775808"], "is no whole number"),
        (["registry", "--mirror-resolve-timeout", "20"], "--mirror-resolve-timeout: '20' is no duration"),
        (["registry", "--debug-web-enabled=yes"], "'yes' is neither true nor false"),
        (["registry", "--upload-rate-limit", "fast"], "'fast' is no size"),
        (["registry", "--http-bootstrap-url", "ftp://x"], "--http-bootstrap-url: it is no URL"),
        (["--log-level", "loud", "version"], "--log-level: 'loud' is no log level"),
        (["registry"], "--bootstrap-kind (or environment variable BOOTSTRAP_KIND) is needed"),
        (["configuration"], "--mirror-targets (or environment variable MIRROR_TARGETS) is needed"),
        (["cleanup"], "--addr (or environment variable ADDR) is needed"),
        (["cleanup-wait"], "--probe-endpoint (or environment variable PROBE_ENDPOINT) is needed"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(arguments: list[str], message: str) -> None:
    assert message in refusal(*arguments)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (
            {"MIRROR_RESOLVE_TIMEOUT": "soon"},
            "environment variable MIRROR_RESOLVE_TIMEOUT: 'soon' is no duration",
        ),
        ({"DEBUG_WEB_ENABLED": ""}, "environment variable DEBUG_WEB_ENABLED: '' is neither true nor false"),
        ({"REGISTRY_FILTERS": 'a,"b'}, "environment variable REGISTRY_FILTERS: "),
        ({"LOG_LEVEL": "loud"}, "environment variable LOG_LEVEL: 'loud' is no log level"),
    ],
)
def test_an_unusable_variable_is_named_even_where_a_flag_overrides_it(
    environment: dict[str, str], message: str
) -> None:
    flags = ["--mirror-resolve-timeout=1s", "--debug-web-enabled", "--registry-filters=a", "--log-level=INFO"]
    assert message in refusal("registry", "--bootstrap-kind=static", *flags, **environment)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bootstrap-kind", "p2p"], "--bootstrap-kind is dns, http or static, not 'p2p'"),
        (["--bootstrap-kind", "dns"], "--bootstrap-kind dns needs --dns-bootstrap-domain"),
        (["--bootstrap-kind", "http"], "--bootstrap-kind http needs --http-bootstrap-url"),
        (["--bootstrap-kind", "static", "--static-bootstrap-peers", "10.0.0.1"], "no full multiaddr"),
        (
            ["--bootstrap-kind", "static", "--http-bootstrap-addr", "x"],
            "--http-bootstrap-addr: 'x' is no addr",
        ),
        (["--bootstrap-kind", "static", "--mirror-resolve-timeout=-1s"], "--mirror-resolve-timeout must be"),
        (
            ["--bootstrap-kind", "static", "--mirror-resolve-retries", "-1"],
            "--mirror-resolve-retries must be",
        ),
        (["--bootstrap-kind", "static", "--shutdown-timeout=-1s"], "--shutdown-timeout must be at least 0s"),
    ],
)
def test_flags_that_do_not_fit_together_are_refused(arguments: list[str], message: str) -> None:
    assert message in refusal("registry", *arguments)


def test_values_of_other_commands_are_checked_too() -> None:
    assert "--mirror-targets needs" in refusal("configuration", MIRROR_TARGETS="")
    assert "--threshold must be" in refusal("cleanup-wait", "--probe-endpoint=x:1", "--threshold=0")
    assert "--period must be at least 0.001s" in refusal("cleanup-wait", "--probe-endpoint=x:1", "--period=0")
    assert "--format is text or json" in refusal("version", "--format", "yaml")


def test_an_url_with_a_password_is_not_repeated_in_an_error() -> None:
    assert "secret" not in refusal("registry", "--http-bootstrap-url", "https://me:secret@[")


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_goes_before_any_mistake(flag: str) -> None:
    cases: list[tuple[list[str], str | None]] = [
        ([flag], None),
        (["registry", flag], "registry"),
        (["registry", "--data-dir", flag], "registry"),
        (["registry", "--qqq", flag], "registry"),
        (["cleanup-wait", "--threshold", "x", flag], "cleanup-wait"),
    ]
    for arguments, command in cases:
        with pytest.raises(HelpRequested) as caught:
            parse(arguments, {})
        assert caught.value.command == command
    refusal("registry", "--", flag)


_words = st.sampled_from(
    [
        "registry",
        "configuration",
        "version",
        "--",
        "-",
        "a",
        "-1",
        "true",
        "--registry-filters",
        "--data-dir=",
        "--log-level",
        "INFO",
        "--debug-web-enabled",
        "--mirror-resolve-retries",
        "--bootstrap-kind",
        "static",
    ]
)


@given(st.lists(_words | st.text(max_size=8), max_size=8), st.dictionaries(st.just("DATA_DIR"), st.text()))
def test_no_command_line_fails_otherwise(arguments: list[str], environment: dict[str, Any]) -> None:
    with contextlib.suppress(UsageError, HelpRequested):
        parse(arguments, environment)
