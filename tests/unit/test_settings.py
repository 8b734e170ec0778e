"""Settings: environment and flags, their messages, and the table in the documentation."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from serving.settings import SettingsError, add_flags, load
from webhook.settings import REPOSITORY, ProgramSettings, ServerSettings, markdown_table

DOCUMENT = Path(__file__).parents[2] / "docs" / "configuration.md"


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ServerSettings.model_fields:
        monkeypatch.delenv(f"WEBHOOK_{name.upper()}", raising=False)


def server(**flags: object) -> ServerSettings:
    return load(ServerSettings, {"address": "127.0.0.1"} | flags)


def test_the_defaults() -> None:
    settings = server()
    assert settings.port == 10250
    assert settings.max_body_bytes == 8 * 1024 * 1024
    assert settings.daemon_image.startswith(f"{REPOSITORY}:v")
    assert settings.program.path_in_image == "/spegel"


def test_the_environment_is_read_and_flags_win_over_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBHOOK_PORT", "8443")
    monkeypatch.setenv("WEBHOOK_CACHE_SECONDS", "0.5")
    monkeypatch.setenv("WEBHOOK_THREADS", "")
    settings = server(port="9443")
    assert (settings.port, settings.cache_seconds, settings.threads) == (9443, 0.5, 32)


@pytest.mark.parametrize(
    ("image", "explicit", "seconds"),
    [
        (None, None, 30),
        (f"{REPOSITORY}:v9", None, 30),
        (f"{REPOSITORY}@sha256:{'0' * 64}", None, 30),
        (f"{REPOSITORY}:v9@sha256:{'0' * 64}", None, 30),
        (REPOSITORY, None, 30),
        (f"{REPOSITORY}-fork:v9", None, 0),
        ("ghcr.io/spegel-org/spegel:v0.6.0", None, 0),
        ("localhost:5000/spegel", None, 0),
        ("ghcr.io/spegel-org/spegel:v0.6.0", "15", 15),
        (None, "0", 0),
    ],
)
def test_the_watchdog_is_for_our_own_program_unless_said_otherwise(
    image: str | None, explicit: str | None, seconds: int
) -> None:
    settings = load(ProgramSettings, {"daemon_image": image, "watchdog_seconds": explicit})
    assert settings.program.watchdog_seconds == seconds


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "70000"),
        ("port", "http"),
        ("threads", "0"),
        ("max_body_bytes", "-1"),
        ("cache_seconds", "nan"),
        ("api_timeout_seconds", "0"),
        ("client_timeout_seconds", "inf"),
        ("watchdog_seconds", "-5"),
        ("log_level", "loud"),
        ("address", "example.com"),
        ("daemon_image", "registry.example.com/spegel:v1 --privileged"),
        ("daemon_image", "https://registry.example.com/spegel"),
        ("daemon_image", "registry.example.com/Spegel:v1"),
        ("daemon_image", "registry.example.com/spegel:v1\n"),
        ("daemon_path", "spegel"),
        ("daemon_path", "/../spegel"),
        ("daemon_path", "/a b"),
    ],
)
def test_a_bad_value_is_refused_by_both_its_names(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag = f"--{name.replace('_', '-')}"
    with pytest.raises(SettingsError, match=rf"^{flag} \(WEBHOOK_{name.upper()}\): ") as error:
        server(**{name: value})
    assert str(error.value).isprintable()
    monkeypatch.setenv(f"WEBHOOK_{name.upper()}", value)
    with pytest.raises(SettingsError, match=rf"WEBHOOK_{name.upper()}"):
        load(ServerSettings, {} if name == "address" else {"address": "127.0.0.1"})


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(SettingsError, match=r"--port .*--threads "):
        server(port="x", threads="x")


@pytest.mark.parametrize(
    "flags",
    [
        {"address": "0.0.0.0"},
        {"address": "::"},
        {"address": "127.0.0.1", "tls_key": "tls.key"},
        {"address": "127.0.0.1", "tls_certificate": "tls.crt"},
    ],
)
def test_plain_http_stays_on_loopback(flags: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="--tls-certificate and --tls-key"):
        load(ServerSettings, flags)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_loopback_needs_no_certificate(address: str) -> None:
    assert server(address=address).tls_certificate is None


def test_every_setting_has_a_flag_with_help(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_flags(parser, ServerSettings)
    parser.print_help()
    text = capsys.readouterr().out
    for name in ServerSettings.model_fields:
        assert f"--{name.replace('_', '-')}" in text


def test_the_documentation_has_every_setting_as_it_is() -> None:
    assert markdown_table() in DOCUMENT.read_text(), (
        "docs/configuration.md: bring the table up to date with python -m webhook.settings"
    )
