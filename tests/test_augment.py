"""Augmentations touch items only, wherever the padding stands, as much of them as they say, and by their generator."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from seqward.augment import AUGMENTATIONS, crop, mask, permutation, permutation_with_padding, reorder, segment
from seqward.backbones.backbone import Vocabulary

TOKENS = Vocabulary(50)
PAD = TOKENS.pad
SHARES = st.sampled_from([0.0, 0.2, 0.5, 0.9])
every_augmentation = pytest.mark.parametrize("name", AUGMENTATIONS)


@st.composite
def histories(draw: st.DrawFn) -> Tensor:
    """[B, S] with padding anywhere; items repeat."""
    slots = draw(st.integers(1, 9))
    token = st.integers(0, 5) | st.just(PAD)
    return torch.tensor(draw(st.lists(st.lists(token, min_size=slots, max_size=slots), min_size=1, max_size=4)))


def drawn(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def kept(row: list[int]) -> list[int]:
    return [item for item in row if item != PAD]


@every_augmentation
@given(items=histories(), share=SHARES, seed=st.integers(0, 1000))
def test_padding_stays_where_it_is_and_no_item_is_invented(name: str, items: Tensor, share: float, seed: int) -> None:
    before = items.clone()
    changed = AUGMENTATIONS[name](share)(items, drawn(seed), TOKENS)
    assert torch.equal(items, before), "the history itself was changed"
    assert changed.shape == items.shape
    assert bool((changed[items == PAD] == PAD).all())
    for old, new in zip(items.tolist(), changed.tolist(), strict=True):
        assert not Counter(kept(new)) - Counter(kept(old))
        assert kept(new) or not kept(old), "nothing is left of a history"
        if len(kept(old)) < 2:
            assert new == old


@every_augmentation
def test_a_generator_in_the_same_state_gives_the_same(name: str) -> None:
    augment, items = AUGMENTATIONS[name](0.5), torch.arange(40).view(4, 10)
    once, again, other = (augment(items, drawn(seed), TOKENS) for seed in (1, 1, 2))
    assert torch.equal(once, again)
    assert not torch.equal(once, other)


@every_augmentation
def test_the_global_stream_is_left_alone(name: str) -> None:
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    AUGMENTATIONS[name](0.5)(torch.arange(40).view(4, 10), drawn(0), TOKENS)
    assert torch.equal(torch.random.get_rng_state(), before)


@given(items=histories(), share=SHARES, seed=st.integers(0, 1000))
def test_crop_keeps_one_piece_and_puts_it_in_front(items: Tensor, share: float, seed: int) -> None:
    """floor(share * n) items, at least one: neighbours among the items, in the first slots that held one."""
    changed = crop(share)(items, drawn(seed), TOKENS)
    for old, new in zip(items.tolist(), changed.tolist(), strict=True):
        places = [j for j, item in enumerate(old) if item != PAD]
        if len(places) < 2:
            continue
        left = [j for j in range(len(new)) if new[j] != PAD]
        assert len(left) == max(1, int(share * len(places)))
        assert left == places[: len(left)]
        pieces = [kept(old)[start : start + len(left)] for start in range(len(places) - len(left) + 1)]
        assert kept(new) in pieces


def test_crop_starts_anywhere() -> None:
    changed = crop(0.5)(torch.arange(6).expand(2000, 6), drawn(0), TOKENS)
    starts = Counter(changed[:, 0].tolist())
    assert starts.keys() == {0, 1, 2, 3}
    assert all(abs(count - 500) < 100 for count in starts.values())


@given(items=histories(), share=SHARES, seed=st.integers(0, 1000))
def test_mask_hides_its_share(items: Tensor, share: float, seed: int) -> None:
    changed = mask(share)(items, drawn(seed), TOKENS)
    for old, new in zip(items.tolist(), changed.tolist(), strict=True):
        n = len(kept(old))
        assert len(kept(new)) == (n - int(share * n) if n > 1 else n)
        assert all(after in (before, PAD) for before, after in zip(old, new, strict=True))


@given(items=histories(), share=SHARES, seed=st.integers(0, 1000))
def test_reorder_moves_one_piece_only(items: Tensor, share: float, seed: int) -> None:
    """All items stay; those that moved lie within floor(share * n) neighbours."""
    changed = reorder(share)(items, drawn(seed), TOKENS)
    for old, new in zip(items.tolist(), changed.tolist(), strict=True):
        before, after = kept(old), kept(new)
        assert Counter(before) == Counter(after)
        moved = [j for j, (x, y) in enumerate(zip(before, after, strict=True)) if x != y]
        assert not moved or moved[-1] - moved[0] < int(share * len(before))


@given(items=histories(), seed=st.integers(0, 1000))
def test_permutation_keeps_every_item(items: Tensor, seed: int) -> None:
    changed = permutation()(items, drawn(seed), TOKENS)
    for old, new in zip(items.tolist(), changed.tolist(), strict=True):
        assert Counter(old) == Counter(new)


def test_rows_are_drawn_apart() -> None:
    changed = permutation()(torch.arange(8).expand(20, 8), drawn(0), TOKENS)
    assert len({tuple(row) for row in changed.tolist()}) > 15


def test_every_order_is_as_likely() -> None:
    """Three items between padding: six orders, 1,000 expected of each in 6,000 rows, within five standard errors."""
    items = torch.tensor([PAD, 1, PAD, 2, 3]).expand(6000, 5)
    orders = Counter(tuple(kept(row)) for row in permutation()(items, drawn(0), TOKENS).tolist())
    assert len(orders) == 6
    assert all(abs(count - 1000) < 5 * (6000 * 1 / 6 * 5 / 6) ** 0.5 for count in orders.values())


def test_reorder_starts_anywhere() -> None:
    """Half of six items: the piece starts at each of four places."""
    items = torch.arange(6).expand(400, 6)
    touched = reorder(0.5)(items, drawn(0), TOKENS) != items
    firsts = Counter(touched.int().argmax(1)[touched.any(1)].tolist())
    assert set(firsts) >= {0, 1, 2, 3}


def test_as_released_padding_moves_too() -> None:
    """Two items in ten slots: they stand anywhere afterwards, and the slot after them is mostly padding."""
    items = torch.tensor([[7, 8, PAD]]).expand(2000, 3)
    changed = permutation_with_padding(10)(items, drawn(0), TOKENS)
    assert changed.shape == (2000, 10)
    assert all(Counter(row) == Counter([7, 8] + 8 * [PAD]) for row in changed.tolist())
    where = (changed == 7).int().argmax(1).bincount(minlength=10)
    assert bool((where > 120).all()), "each of ten slots a tenth of the time"
    assert 0.7 < float((changed[:, 1] == PAD).float().mean()) < 0.9
    alone = permutation_with_padding(10)(torch.tensor([[7, PAD]]).expand(100, 2), drawn(0), TOKENS)
    assert bool((alone[:, 0] == PAD).any()), "as released, short histories move as well"


def test_as_released_longer_histories_are_not_cut() -> None:
    items = torch.arange(12)[None]
    changed = permutation_with_padding(10)(items, drawn(0), TOKENS)
    assert sorted(changed[0].tolist()) == list(range(12))


# Segments ------------------------------------------------------------------------------------------------------------


@given(items=histories(), seed=st.integers(0, 1000))
def test_a_segment_is_a_contiguous_piece_of_up_to_half_of_the_items(items: Tensor, seed: int) -> None:
    before = items.clone()
    inside = segment(items, drawn(seed), TOKENS)
    assert torch.equal(items, before)
    assert not bool(inside[items == PAD].any())
    for row, chosen in zip(items, inside, strict=True):
        real = [bool(c) for item, c in zip(row.tolist(), chosen.tolist(), strict=True) if item != PAD]
        places = [place for place, c in enumerate(real) if c]
        assert places == list(range(min(places, default=0), max(places, default=-1) + 1))
        assert (1 if real else 0) <= len(places) <= max(len(real) // 2, len(real) == 1)


def test_segments_have_every_length_and_place_about_as_often() -> None:
    """Of five items: lengths 1 and 2, and their 5 and 4 places."""
    inside = segment(torch.arange(5).repeat(6000, 1), drawn(0), TOKENS)
    counts = Counter(tuple(row.nonzero()[:, 0].tolist()) for row in inside)
    expected = {(i,): 600 for i in range(5)} | {(i, i + 1): 750 for i in range(4)}
    assert counts.keys() == expected.keys()
    assert all(abs(counts[key] - expected[key]) < 5 * expected[key] ** 0.5 for key in expected)
