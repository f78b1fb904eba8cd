"""Who learns and who gives the targets: twins by a fair coin, a follower by its rule, one network alone."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from seqward.target import Alone, Ema, Twin


def linear(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Linear(2, 1)


def test_ema_follows_worked_by_hand() -> None:
    """Online 4, target 1, rate .25: 1 + .25 * 3 = 1.75, then 1.75 + .25 * 2.25 = 2.3125; the online one stays."""
    online, target = nn.Linear(1, 1), nn.Linear(1, 1)
    for p, q in zip(online.parameters(), target.parameters(), strict=True):
        nn.init.constant_(p, 4.0), nn.init.constant_(q, 1.0)
    for expected in (1.75, 2.3125):
        Ema(0.25).after([online, target])
        assert [p.item() for p in target.parameters()] == [expected] * 2
    assert [p.item() for p in online.parameters()] == [4.0] * 2


def test_ema_begins_as_a_copy_that_does_not_learn() -> None:
    online, target = Ema(0.1).networks(linear(0), lambda: linear(1))
    for p, q in zip(online.parameters(), target.parameters(), strict=True):
        assert torch.equal(p, q)
        assert p.data_ptr() != q.data_ptr()
        assert (p.requires_grad, q.requires_grad) == (True, False)
    assert {tuple(Ema(0.1).roles(0, step)) for step in range(20)} == {(0, 1)}


def test_ema_at_rate_one_is_the_online_network() -> None:
    online, target = linear(0), linear(1)
    Ema(1.0).after([online, target])
    for p, q in zip(online.parameters(), target.parameters(), strict=True):
        torch.testing.assert_close(p, q)


def test_twins_begin_apart_and_swap_by_a_fair_coin() -> None:
    """4,000 flips: half of them heads within five standard errors, and a coin that does not remember."""
    first, second = Twin().networks(linear(0), lambda: linear(1))
    assert not torch.equal(next(first.parameters()), next(second.parameters()))
    roles = [Twin().roles(7, step) for step in range(4000)]
    assert all(online != target for online, target in roles)
    coins = [role.online for role in roles]
    assert abs(sum(coins) - 2000) < 5 * 1000**0.5
    same = sum(a == b for a, b in pairwise(coins))
    assert abs(same - 2000) < 5 * 1000**0.5
    assert coins == [Twin().roles(7, step).online for step in range(4000)]
    assert coins != [Twin().roles(8, step).online for step in range(4000)]


def test_twins_are_not_copied() -> None:
    networks = [linear(0), linear(1)]
    before = [p.clone() for network in networks for p in network.parameters()]
    Twin().after(networks)
    assert all(torch.equal(p, q) for p, q in zip((p for n in networks for p in n.parameters()), before, strict=True))


def test_alone() -> None:
    network = linear(0)
    assert Alone().networks(network, lambda: linear(1)) == [network]
    assert tuple(Alone().roles(0, 3)) == (0, 0)
