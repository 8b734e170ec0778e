"""The host under which nodes reach the bootstrapper."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.objects import names
from webhook.context import landscape

DOMAIN = "ingress.gcp-ha.example.com"


@pytest.mark.parametrize(
    ("technical_id", "label"),
    [
        ("shoot--crazy--botany", "sp-crazy--botany"),
        ("shoot-crazy--botany", "sp-crazy--botany"),
        ("crazy--botany", "sp-crazy--botany"),
        ("shoot--shoot--shoot", "sp-shoot--shoot"),
        ("shoot--" + "p" * 30 + "--" + "n" * 28, "sp-" + "p" * 30 + "--" + "n" * 28),
    ],
)
def test_it_is_made_of_the_technical_id(technical_id: str, label: str) -> None:
    assert names.host("sp", technical_id, DOMAIN) == f"{label}.{DOMAIN}"


def test_a_label_that_would_be_too_long_ends_in_a_digest() -> None:
    long = "shoot--" + "p" * 30 + "--" + "n" * 29
    assert re.fullmatch(
        rf"sp-p{{30}}--n{{19}}-[0-9a-f]{{8}}\.{re.escape(DOMAIN)}", names.host("sp", long, DOMAIN)
    )


@given(
    st.sets(
        st.from_regex(r"shoot--[a-z][a-z0-9-]{0,9}[a-z]--[a-z]([a-z0-9-]{0,60}[a-z0-9])?", fullmatch=True)
    )
)
def test_it_is_a_valid_name_and_another_one_for_each_shoot(technical_ids: set[str]) -> None:
    hosts = {names.host("sp", each, DOMAIN) for each in technical_ids}
    assert len(hosts) == len(technical_ids)
    for host in hosts:
        label, _, domain = host.partition(".")
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", label)
        assert domain == DOMAIN


def test_the_webhook_knows_the_secret_and_the_extension_by_the_same_names() -> None:
    assert (names.NAME, names.CLIENT_SECRET) == (landscape.EXTENSION, landscape.SECRET)
