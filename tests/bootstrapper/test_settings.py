"""Settings, and the table in the documentation."""

from __future__ import annotations

from pathlib import Path

import pytest

from bootstrapper.settings import ServerSettings, markdown_table
from serving.settings import SettingsError, load

DOCUMENT = Path(__file__).parents[2] / "docs" / "bootstrapper.md"


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ServerSettings.model_fields:
        monkeypatch.delenv(f"BOOTSTRAPPER_{name.upper()}", raising=False)


TLS = {"tls_certificate": "tls.crt", "tls_key": "tls.key", "client_authorities": "ca.crt"}


def test_flags_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOOTSTRAPPER_PORT", "1")
    monkeypatch.setenv("BOOTSTRAPPER_LIMIT", "20")
    settings = load(ServerSettings, TLS | {"port": "2"})
    assert (settings.port, settings.limit, settings.probe_port) == (2, 20, 8080)


@pytest.mark.parametrize("lacking", list(TLS))
def test_the_three_files_of_tls_go_together(lacking: str) -> None:
    some = {name: value for name, value in TLS.items() if name != lacking}
    for address in ("127.0.0.1", "0.0.0.0"):
        with pytest.raises(SettingsError, match="only all three together"):
            load(ServerSettings, some | {"address": address})


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "10.0.0.1"])
def test_plain_http_stays_on_loopback(address: str) -> None:
    with pytest.raises(SettingsError, match="needed unless --address is a loopback address"):
        load(ServerSettings, {"address": address})
    assert load(ServerSettings, {"address": "::1"}).tls_key is None


@pytest.mark.parametrize(
    ("name", "value"),
    [("limit", "0"), ("limit", "101"), ("port", "x"), ("rate", "0"), ("burst", "0"), ("workers", "17")],
)
def test_a_bad_value_is_refused_by_both_its_names(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=rf"--{name} \(BOOTSTRAPPER_{name.upper()}\): "):
        load(ServerSettings, TLS | {name: value})


def test_the_documentation_has_every_setting_as_it_is() -> None:
    assert markdown_table() in DOCUMENT.read_text(), (
        "docs/bootstrapper.md: bring the table up to date with python -m bootstrapper.settings"
    )
