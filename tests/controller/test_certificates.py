"""A shoot's certificates over time, and whether those who hold them get on with each other."""

from __future__ import annotations

import itertools
import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.certificates.authority import AUTHORITY_LIFE
from controller.certificates.keeping import renew
from controller.certificates.model import EMPTY, Certificates
from controller.certificates.rotation import Rotation
from tests.controller.peers import accept, everyone_accepts_everyone, shake_hands

HOST = "sp-crazy--botany.ingress.example.com"
NOW = datetime(2026, 11, 24, tzinfo=UTC)
DAY = timedelta(days=1)
NONE = Rotation()
PHASES = [None, "Preparing", "WaitingForWorkersRollout", "Prepared", "Completing", "Completed"]


def step(
    stored: Certificates, rotation: Rotation = NONE, now: datetime = NOW, host: str = HOST
) -> Certificates:
    return renew(stored, organization="shoot--crazy--botany", host=host, rotation=rotation, now=now)


def certificate(data: dict[str, bytes] | object, key: str = "tls.crt") -> x509.Certificate:
    return x509.load_pem_x509_certificate(data[key])  # type: ignore[index]  # any mapping


def authorities(bundle: bytes) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(bundle)


def preparing() -> tuple[Certificates, Certificates]:
    """Before and after a rotation begins."""
    before = step(EMPTY)
    return before, step(before, Rotation("Preparing", "2026-11-24T00:00:00Z"))


def completed() -> tuple[Certificates, Certificates, Certificates]:
    """The same, and after it has ended."""
    before, during = preparing()
    return before, during, step(during, Rotation("Completing", "2026-11-24T00:00:00Z"))


# What is issued


def test_keys_are_of_p_256_and_every_certificate_is_for_one_purpose() -> None:
    made = step(EMPTY)
    for data in (made.server, made.client):
        leaf = certificate(data)
        key = leaf.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert key.curve.name == "secp256r1"
        usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert len(list(usage)) == 1
    # A node cannot pose as the bootstrapper, nor the other way round.
    assert not accept(made.server | {"ca.crt": made.client["ca.crt"]}, made.server, HOST, NOW)
    assert not accept(made.client, made.client | {"ca.crt": made.server["ca.crt"]}, HOST, NOW)


def test_a_node_and_the_bootstrapper_accept_each_other() -> None:
    made = step(EMPTY, now=datetime.now(UTC))
    shake_hands(made.client, made.server, HOST)
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake_hands(made.client, made.server, "sp-crazy--zoology.ingress.example.com")


def test_two_shoots_do_not_accept_each_others_nodes() -> None:
    one, other = step(EMPTY), step(EMPTY)
    assert not accept({**one.client, "ca.crt": other.client["ca.crt"]}, other.server, HOST, NOW)
    assert not accept({**other.client, "ca.crt": one.client["ca.crt"]}, other.server, HOST, NOW)


def test_certificates_live_long_enough_for_a_shoot_that_is_not_reconciled_for_a_while() -> None:
    made = step(EMPTY)
    for data in (made.server, made.client):
        life = certificate(data).not_valid_after_utc - NOW
        assert life >= 90 * DAY
        assert life / 5 >= 60 * DAY  # between renewal and end
    assert certificate(made.authority, "ca.crt").not_valid_after_utc - NOW == AUTHORITY_LIFE


# What is kept


def test_nothing_changes_when_nothing_is_due() -> None:
    for made in completed():
        for rotation in (NONE, Rotation("Prepared", made.authority["initiated"].decode() or None)):
            assert step(made, rotation, NOW + 200 * DAY) == made


def test_certificates_are_renewed_at_four_fifths_of_their_life_and_the_authority_stays() -> None:
    made = step(EMPTY)
    leaf = certificate(made.server)
    due = leaf.not_valid_before_utc + (leaf.not_valid_after_utc - leaf.not_valid_before_utc) * 0.8
    assert step(made, now=due - timedelta(seconds=1)) == made
    renewed = step(made, now=due)
    assert renewed.authority == made.authority
    assert renewed.server["tls.key"] != made.server["tls.key"]
    assert renewed.client["tls.key"] != made.client["tls.key"]
    assert everyone_accepts_everyone(made, renewed, HOST, due)


def test_another_host_needs_another_certificate_of_the_bootstrapper_alone() -> None:
    made = step(EMPTY)
    moved = step(made, host="sp-crazy--botany.ingress.other.example.com")
    assert moved.client == made.client
    assert accept(moved.client, moved.server, "sp-crazy--botany.ingress.other.example.com", NOW)


def test_an_authority_that_was_moved_to_another_seed_goes_on() -> None:
    """Only its Secret is moved."""
    made = step(EMPTY)
    moved = step(replace(EMPTY, authority=made.authority))
    assert moved.authority == made.authority
    assert everyone_accepts_everyone(made, moved, HOST, NOW)
    _, during = preparing()
    moved = step(replace(EMPTY, authority=during.authority), Rotation("Preparing", "2026-11-24T00:00:00Z"))
    assert moved.authority == during.authority
    assert everyone_accepts_everyone(during, moved, HOST, NOW)


@pytest.mark.parametrize("key", ["tls.crt", "tls.key"])
@pytest.mark.parametrize(
    "text", [b"", b"REDACTED", b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"]
)
def test_a_certificate_that_cannot_be_used_is_replaced(key: str, text: bytes) -> None:
    made = step(EMPTY)
    mended = step(replace(made, server={**made.server, key: text}))
    assert (mended.authority, mended.client) == (made.authority, made.client)
    assert everyone_accepts_everyone(made, mended, HOST, NOW)


def test_so_is_one_with_a_foreign_key_or_of_a_foreign_authority() -> None:
    made, other = step(EMPTY), step(EMPTY)
    mixed = {**made.client, "tls.key": other.client["tls.key"]}
    for client in (mixed, other.client):
        mended = step(replace(made, client=client))
        assert everyone_accepts_everyone(made, mended, HOST, NOW)


@pytest.mark.parametrize("key", ["ca.crt", "ca.key"])
def test_without_a_usable_authority_there_is_a_new_one(key: str) -> None:
    made = step(EMPTY)
    mended = step(replace(made, authority={**made.authority, key: b"?"}))
    assert mended.authority["ca.key"] != made.authority["ca.key"]
    assert accept(mended.client, mended.server, HOST, NOW)


# Rotation


def test_during_a_rotation_both_authorities_are_trusted() -> None:
    before, during = preparing()
    assert authorities(during.server["ca.crt"]) == authorities(during.client["ca.crt"])
    new, old = authorities(during.client["ca.crt"])
    assert [old] == authorities(before.client["ca.crt"])
    assert new != old


def test_then_nodes_have_a_certificate_of_the_new_one_and_the_bootstrapper_of_the_old_one() -> None:
    _, during = preparing()
    new, old = authorities(during.client["ca.crt"])
    certificate(during.client).verify_directly_issued_by(new)
    certificate(during.server).verify_directly_issued_by(old)


def test_at_its_end_the_old_one_is_trusted_no_more() -> None:
    before, during, after = completed()
    (only,) = authorities(after.client["ca.crt"])
    assert only == authorities(during.client["ca.crt"])[0]
    assert not any(name.startswith("former") for name in after.authority)
    certificate(after.server).verify_directly_issued_by(only)
    # A client that the rotation has left behind is refused.
    left_behind = {**before.client, "ca.crt": after.client["ca.crt"]}
    assert not accept(left_behind, after.server, HOST, NOW)


def test_openssl_agrees_at_each_step() -> None:
    now = datetime.now(UTC)
    initiated = "2026-11-24T00:00:00Z"
    before = step(EMPTY, now=now)
    during = step(before, Rotation("Preparing", initiated), now)
    after = step(during, Rotation("Completing", initiated), now)
    for one, other in itertools.pairwise([before, during, after]):
        for node, server in itertools.product((one.client, other.client), (one.server, other.server)):
            shake_hands(node, server, HOST)
    with pytest.raises(ssl.SSLError):
        shake_hands(before.client, after.server, HOST)


@given(
    st.lists(st.tuples(st.sampled_from(PHASES), st.booleans(), st.integers(0, 60)), min_size=1, max_size=12)
)
@settings(max_examples=60, deadline=None)
def test_no_step_separates_those_who_have_taken_it_from_those_who_have_not(
    steps: list[tuple[str | None, bool, int]],
) -> None:
    """Whatever phases a Shoot goes through, and whichever of them are missed."""
    now, initiation, held = NOW, 0, step(EMPTY)
    for phase, initiates, days in steps:
        now += days * DAY
        initiation += initiates
        following = step(held, Rotation(phase, f"initiation {initiation}" if initiation else None), now)
        assert everyone_accepts_everyone(held, following, HOST, now)
        held = following


def test_nor_does_age_over_the_years() -> None:
    now, held, generations = NOW, step(EMPTY), set()
    while now < NOW + 2 * AUTHORITY_LIFE:
        now += 45 * DAY
        following = step(held, now=now)
        assert everyone_accepts_everyone(held, following, HOST, now)
        assert certificate(following.server).not_valid_after_utc - now > 45 * DAY
        held = following
        generations.add(held.authority["ca.crt"])
    assert len(generations) == 3
    assert len(authorities(held.client["ca.crt"])) == 1
