from __future__ import annotations

import dataclasses
import os
import stat
from pathlib import Path

import pytest

from daemon.cli.backup import restore
from daemon.cli.commands import Configuration
from daemon.cli.configuration import (
    ConfigurationError,
    parse_registries,
    parse_target,
    run_configuration,
    write_configuration,
)

MIRROR = "[host.'http://127.0.0.1:5000']\ncapabilities = ['pull', 'resolve']\ndial_timeout = '200ms'\n"
DOCKER = f"server = 'https://registry-1.docker.io'\n\n{MIRROR}"
GHCR = f"server = 'https://ghcr.io'\n\n{MIRROR}"
USER = "[host.'https://cache']\ncapabilities = ['pull']\n"


def configure(root: Path, *registries: str, secrets: Path | None = None, **changes: object) -> None:
    command = Configuration(
        containerd_registry_config_path=str(root),
        mirrored_registries=registries,
        mirror_targets=("http://127.0.0.1:5000",),
    )
    write_configuration(dataclasses.replace(command, **changes), secrets or root / "no-secrets")  # type: ignore[arg-type]


def put(root: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)


def tree(root: Path) -> dict[str, str]:
    """Return all files, and empty directories with a slash behind their names."""
    found = {}
    for parent, directories, names in os.walk(root):
        place = Path(parent).relative_to(root)
        found |= {str(place / name): (Path(parent) / name).read_text() for name in names}
        if not directories and not names:
            found[f"{place}/"] = ""
    return found


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "etc" / "containerd" / "certs.d"


def test_all_registries_are_the_default(root: Path) -> None:
    configure(root)
    assert tree(root) == {"_default/hosts.toml": MIRROR, "_backup/": ""}
    configure(root, "*")
    assert tree(root) == {"_default/hosts.toml": MIRROR, "_backup/": ""}


def test_each_registry_gets_a_file_and_docker_io_its_real_server(root: Path) -> None:
    configure(root, "https://docker.io", "http://foo.bar:5000", "_default", resolve_tags=False)
    written = tree(root)
    assert sorted(written) == [
        "_backup/", "_default/hosts.toml", "docker.io/hosts.toml", "foo.bar:5000/hosts.toml"
    ]  # fmt: skip
    assert written["docker.io/hosts.toml"] == DOCKER.replace("['pull', 'resolve']", "['pull']")
    assert written["foo.bar:5000/hosts.toml"].startswith("server = 'http://foo.bar:5000'\n")


def test_what_was_there_is_backed_up_once(root: Path) -> None:
    put(root, {"docker.io/hosts.toml": USER, "quay.io/ca.crt": "certificate", "stray": "x"})
    backup = {
        "_backup/docker.io/hosts.toml": USER,
        "_backup/quay.io/ca.crt": "certificate",
        "_backup/stray": "x",
    }
    configure(root, "https://docker.io")
    assert tree(root) == {**backup, "docker.io/hosts.toml": DOCKER}
    put(root, {"later/hosts.toml": "x", "docker.io/extra": "x"})
    configure(root, "https://ghcr.io")
    assert tree(root) == {**backup, "ghcr.io/hosts.toml": GHCR}


def test_cleanup_puts_everything_back(root: Path) -> None:
    before = {"docker.io/hosts.toml": USER, "quay.io/ca.crt": "certificate", "stray": "x"}
    put(root, before)
    configure(root, "https://docker.io", "https://ghcr.io")
    assert restore(root)
    assert tree(root) == before
    assert not restore(root)
    assert tree(root) == before


def test_cleanup_without_any_configuration_does_nothing(root: Path) -> None:
    assert not restore(root)
    root.mkdir(parents=True)
    assert not restore(root)


def test_existing_hosts_and_their_certificates_can_be_kept_behind_the_mirror(root: Path) -> None:
    put(
        root,
        {
            "docker.io/hosts.toml": f"server = 'https://gone'\n{USER}",
            "docker.io/ca.crt": "certificate",
            "docker.io/keys/client.key": "key",
            "quay.io/hosts.toml": "server = 'https://no-hosts'",
            "quay.io/ca.crt": "certificate",
        },
    )
    (root / "docker.io/keys/client.key").chmod(0o600)
    for _ in range(2):
        configure(root, "https://docker.io", "https://quay.io", "https://ghcr.io", prepend_existing=True)
        mirrored = {name: text for name, text in tree(root).items() if not name.startswith("_backup")}
        assert mirrored == {
            "docker.io/hosts.toml": f"{DOCKER}\n{USER}",
            "docker.io/ca.crt": "certificate",
            "docker.io/keys/client.key": "key",
            "quay.io/hosts.toml": f"server = 'https://quay.io'\n\n{MIRROR}",
            "ghcr.io/hosts.toml": GHCR,
        }
        assert stat.S_IMODE((root / "docker.io/keys/client.key").stat().st_mode) == 0o600


def test_without_prepending_nothing_of_the_user_stays_in_effect(root: Path) -> None:
    put(root, {"docker.io/hosts.toml": USER, "docker.io/ca.crt": "certificate"})
    configure(root, "https://docker.io")
    assert [name for name in tree(root) if not name.startswith("_backup")] == ["docker.io/hosts.toml"]


def test_an_unreadable_hosts_file_stops_it_before_anything_is_changed(root: Path) -> None:
    put(root, {"docker.io/hosts.toml": "[host"})
    with pytest.raises(ConfigurationError, match=r"docker\.io/hosts\.toml cannot be prepended to"):
        configure(root, "https://docker.io", prepend_existing=True)
    assert tree(root) == {"docker.io/hosts.toml": "[host"}


@pytest.mark.parametrize("steps", range(4))
@pytest.mark.parametrize("finish", ["configure", "cleanup"])
def test_a_run_that_was_killed_while_backing_up_is_finished_by_the_next(
    root: Path, steps: int, finish: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {"a/hosts.toml": "a", "b/hosts.toml": "b", "c/hosts.toml": "c"}
    put(root, before)
    with monkeypatch.context() as patch:
        _die_at_rename(patch, steps)
        with pytest.raises(KeyboardInterrupt):
            configure(root, "https://docker.io")
    if finish == "configure":
        configure(root, "https://docker.io")
        assert tree(root) == {f"_backup/{name}": text for name, text in before.items()} | {
            "docker.io/hosts.toml": DOCKER
        }
    restore(root)
    assert tree(root) == before


@pytest.mark.parametrize("steps", range(4))
@pytest.mark.parametrize("finish", ["configure", "cleanup"])
def test_a_cleanup_that_was_killed_loses_nothing(
    root: Path, steps: int, finish: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {"a/hosts.toml": "a", "b/hosts.toml": "b", "c/hosts.toml": "c"}
    put(root, before)
    configure(root, "https://docker.io")
    with monkeypatch.context() as patch:
        _die_at_rename(patch, steps)
        with pytest.raises(KeyboardInterrupt):
            restore(root)
    if finish == "configure":
        configure(root, "https://docker.io")
    restore(root)
    assert tree(root) == before


def _die_at_rename(patch: pytest.MonkeyPatch, steps: int) -> None:
    rename, left = Path.rename, iter(range(steps))

    def die(self: Path, target: Path) -> Path:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return rename(self, target)

    patch.setattr(Path, "rename", die)


def test_while_it_writes_the_old_file_or_the_new_one_is_there(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(root, "https://docker.io")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("no space left")))
        with pytest.raises(OSError, match="no space"):
            configure(root, "https://docker.io", resolve_tags=False)
    assert (root / "docker.io/hosts.toml").read_text() == DOCKER
    configure(root, "https://docker.io")
    assert tree(root) == {"docker.io/hosts.toml": DOCKER, "_backup/": ""}


def test_whatever_stands_in_the_way_gives_way(root: Path, tmp_path: Path) -> None:
    configure(root)
    elsewhere = tmp_path / "elsewhere"
    put(elsewhere, {"hosts.toml": "not ours"})
    (root / "docker.io").symlink_to(elsewhere)
    (root / "ghcr.io").write_text("a file")
    (root / "quay.io/hosts.toml").mkdir(parents=True)
    configure(root, "https://docker.io", "https://ghcr.io", "https://quay.io")
    assert set(tree(root)) == {"_backup/", *(f"{name}.io/hosts.toml" for name in ("docker", "ghcr", "quay"))}
    assert (elsewhere / "hosts.toml").read_text() == "not ours"


def test_a_directory_reached_by_a_link_stays_one(root: Path, tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    root.parent.mkdir(parents=True)
    root.symlink_to(real)
    configure(root)
    assert root.is_symlink()
    assert tree(real) == {"_default/hosts.toml": MIRROR, "_backup/": ""}


def test_the_registrys_password_is_sent_and_not_for_everyone_to_read(root: Path, tmp_path: Path) -> None:
    put(tmp_path / "secrets", {"username": "hello", "password": "world"})
    configure(root, secrets=tmp_path / "secrets")
    path = root / "_default/hosts.toml"
    assert (
        "[host.'http://127.0.0.1:5000'.header]\nAuthorization = 'Basic aGVsbG86d29ybGQ='\n"
        in path.read_text()
    )
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("http://fd00::1:5000", "http://[fd00::1]:5000"),
        ("http://[fd00::1]:5000", "http://[fd00::1]:5000"),
        ("https://mirror:5000", "https://mirror:5000"),
    ],
)
def test_mirror_targets(text: str, url: str) -> None:
    assert parse_target(text) == url


@pytest.mark.parametrize(
    "text",
    ["127.0.0.1:5000", "http://x/v2", "ftp://x", "http://u:p@x", "http://x?y=1", "_default", "*", "http://"],
)
def test_what_is_no_mirror_target_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_target(text)


@pytest.mark.parametrize(
    "texts", [["docker.io"], ["https://docker.io/"], ["*", "_default"], ["https://a/../../b"]]
)
def test_what_is_no_registry_is_refused(texts: list[str]) -> None:
    with pytest.raises(ConfigurationError):
        parse_registries(texts)


def test_a_failure_is_one_line_and_exit_code_1(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    command = Configuration(
        containerd_registry_config_path=str(tmp_path / "file"), mirror_targets=("http://127.0.0.1:5000",)
    )
    assert run_configuration(command, tmp_path) == 1
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "file" in caplog.text
    assert "Traceback" not in caplog.text
