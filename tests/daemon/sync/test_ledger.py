"""Which keys are advertised, from facts about the store."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from daemon.oci.digest import Digest
from daemon.sync.ledger import Counts, Holding, Ledger, Snapshot

A, B, C, D = (Digest(f"sha256:{letter * 64}") for letter in "abcd")
ALPINE = "docker.io/library/alpine:3.20"


def holding(target: Digest, key: str | None = ALPINE, registry: str = "docker.io") -> Holding:
    return Holding(registry, target, key)


def snapshot(images=(), held=(), sourced=(), present=()) -> Snapshot:
    held, sourced = dict(held), dict(sourced)
    return Snapshot(dict(images), held, sourced, frozenset([*held, *sourced, *present]))


def told(ledger: Ledger) -> tuple[set[str], set[str]]:
    """Tell the router, and return what it was told."""
    changes = ledger.changes()
    ledger.confirm(changes)
    return set(changes.advertise), set(changes.withdraw)


def test_an_image_is_advertised_by_name_and_by_what_is_there_of_it():
    ledger = Ledger()
    ledger.add_image(ALPINE, holding(A), [A, B])
    assert told(ledger) == ({ALPINE, A, B}, set())
    assert told(ledger) == (set(), set())


def test_an_image_without_a_tag_is_advertised_by_its_content_only():
    ledger = Ledger()
    ledger.add_image(f"docker.io/library/alpine@{A}", holding(A, None), [A, B])
    assert told(ledger) == ({A, B}, set())


def test_a_name_is_not_advertised_when_what_it_points_at_is_not_there():
    ledger = Ledger()
    ledger.add_image(ALPINE, holding(A), [])
    assert told(ledger) == (set(), set())
    ledger.add_image(ALPINE, holding(A), [A])
    assert told(ledger) == ({ALPINE, A}, set())
    ledger.remove_content(A)
    assert told(ledger) == (set(), {ALPINE, A})


def test_a_deleted_image_keeps_its_content_until_that_is_gone():
    ledger = Ledger()
    ledger.add_image(ALPINE, holding(A), [A, B])
    told(ledger)
    ledger.remove_image(ALPINE)
    assert told(ledger) == (set(), {ALPINE})
    assert ledger.replace(snapshot(present=[A, B])) == frozenset()
    assert told(ledger) == (set(), set())
    assert ledger.replace(snapshot(present=[B])) == {A}
    assert told(ledger) == (set(), {A})


def test_content_of_a_pull_under_way_is_advertised_before_its_image():
    ledger = Ledger()
    ledger.add_content(A, ("docker.io",))
    assert told(ledger) == ({A}, set())
    ledger.add_image(ALPINE, holding(A), [A])
    assert told(ledger) == ({ALPINE}, set())


def test_content_that_nobody_told_about_is_not_advertised():
    ledger = Ledger()
    assert ledger.replace(snapshot(present=[A])) == frozenset()
    assert told(ledger) == (set(), set())


def test_what_the_router_was_not_told_yet_is_told_next_time():
    ledger = Ledger()
    ledger.add_content(A, ("docker.io",))
    ledger.changes()
    assert told(ledger) == ({A}, set())


def test_content_counts_once_for_each_registry_whose_images_hold_it():
    ledger = Ledger()
    quay = "quay.io/alpine:3.20"
    images = {ALPINE: holding(A), quay: holding(A, quay, "quay.io"), "by digest": holding(A, None)}
    held = {A: ("docker.io", "quay.io"), B: ("docker.io",)}
    # The labels lack the port, the images do not: images go first.
    sourced = {B: ("docker.io", "mirror.example"), C: ("ghcr.io", "quay.io")}
    ledger.replace(snapshot(images, held, sourced))
    counts = ledger.counts()
    assert counts == {
        "docker.io": Counts(tags=1, images=1, contents=2),
        "quay.io": Counts(tags=1, images=1, contents=2),
        "ghcr.io": Counts(contents=1),
    }
    assert counts["docker.io"].keys == 3
    assert len(told(ledger)[0]) == 5


DIGESTS = st.sampled_from([A, B, C, D])
NAMES = st.sampled_from(["r.io/a:1", "r.io/b:1", "s.io/c:1"])


class LedgerAgainstModel(RuleBasedStateMachine):
    """However facts come, the router ends up with what a plain set of rules says."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.router: set[str] = set()
        self.images: dict[str, Digest] = {}
        self.known: set[Digest] = set()

    @rule(name=NAMES, index=DIGESTS, contents=st.sets(DIGESTS))
    def add_image(self, name, index, contents):
        self.ledger.add_image(name, holding(index, name, name[:4]), contents)
        self.images[name] = index
        self.known |= contents

    @rule(name=NAMES)
    def remove_image(self, name):
        self.ledger.remove_image(name)
        self.images.pop(name, None)

    @rule(digest=DIGESTS)
    def add_content(self, digest):
        self.ledger.add_content(digest, ("r.io",))
        self.known.add(digest)

    @rule(digest=DIGESTS)
    def remove_content(self, digest):
        self.ledger.remove_content(digest)
        self.known.discard(digest)

    @rule(images=st.dictionaries(NAMES, DIGESTS), present=st.sets(DIGESTS), held=st.sets(DIGESTS))
    def replace(self, images, present, held):
        entries = {name: holding(target, name, name[:4]) for name, target in images.items()}
        gone = self.ledger.replace(
            Snapshot(entries, dict.fromkeys(held & present, ("r.io",)), {}, frozenset(present))
        )
        assert gone == self.known - present
        self.images = dict(images)
        self.known = (self.known & present) | (held & present)

    @invariant()
    def router_knows(self):
        changes = self.ledger.changes()
        assert self.router.isdisjoint(changes.advertise)
        assert self.router.issuperset(changes.withdraw)
        self.ledger.confirm(changes)
        self.router = (self.router | set(changes.advertise)) - set(changes.withdraw)
        names = {name for name, target in self.images.items() if target in self.known}
        assert self.router == self.known | names
        counts = self.ledger.counts()
        assert sum(figures.tags for figures in counts.values()) == len(names)
        assert sum(figures.contents for figures in counts.values()) >= len(self.known)


TestLedgerAgainstModel = LedgerAgainstModel.TestCase
