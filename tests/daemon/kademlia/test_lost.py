"""Peers that have stopped answering are asked again after ever longer times."""

from __future__ import annotations

import math
from itertools import pairwise

from daemon.kademlia.lost import KEPT, MAX_LOST, LostPeers
from daemon.kademlia.parameters import REFRESH_INTERVAL
from tests.daemon.kademlia.peers import many, peer


def asked_at(lost: LostPeers, until: float) -> list[float]:
    times = []
    while (now := lost.wake_at()) < until:
        times += [now] * len(lost.due(now))
    return times


def test_a_lost_peer_is_asked_after_seconds_and_then_less_and_less_often():
    lost = LostPeers()
    lost.add(peer(1), 100)
    times = asked_at(lost, 100 + 3600)
    assert times[0] == 105
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert gaps == sorted(gaps)
    assert gaps[-1] == REFRESH_INTERVAL


def test_a_peer_that_answers_is_lost_no_more():
    lost = LostPeers()
    lost.add(peer(1), 0)
    assert lost.answered(peer(1).id)
    assert not lost.answered(peer(1).id)
    assert lost.wake_at() == math.inf


def test_after_a_day_a_peer_is_forgotten():
    lost = LostPeers()
    lost.add(peer(1), 0)
    times = asked_at(lost, 10 * KEPT)
    assert KEPT < times[-1] <= KEPT + REFRESH_INTERVAL
    assert len(lost) == 0


def test_of_too_many_the_first_are_forgotten():
    lost = LostPeers()
    for now, info in enumerate(many(MAX_LOST + 1)):
        lost.add(info, now)
    assert len(lost) == MAX_LOST
    assert not lost.answered(peer(1).id)
    assert lost.answered(peer(2).id)
