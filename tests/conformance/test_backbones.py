"""What every backbone must do, in every variant that its settings name. Backbones are found where they are listed."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import typing
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from torch import Tensor, nn

import seqward.backbones
from encoders import CONTEXT, N_ITEMS, PAD, ROWS, START, VOCABULARY, build, tokens
from jobs import variants
from seqward.backbones import BACKBONES
from seqward.backbones.attention import Slots
from seqward.backbones.backbone import Histories, Vocabulary, initialise
from seqward.backbones.fpmc import FPMCSettings
from seqward.backbones.sasrec import SASRec, SASRecSettings
from seqward.errors import SeqwardError
from seqward.methods import METHODS
from seqward.model import Model, groups_of_length, last_row
from seqward.recommender import Recommender


def found() -> Iterator[Any]:
    """(settings class, changes) of every registered section: each choice of each named setting, and two blocks.

    Not of ``init``: ``build`` draws the weights.
    """
    for section in BACKBONES:
        deep = {key: 2 for key in ("n_blocks", "n_heads") if key in typing.get_type_hints(section)}
        named = [changes for changes in variants(section) if "init" not in changes]
        for changes in [*named, *([deep] if deep else [])]:
            words = "-".join(f"{key}={value}" for key, value in changes.items())
            yield pytest.param(section, changes, id=f"{section.__name__}-{words or 'defaults'}")


FOUND = list(found())
every_backbone = pytest.mark.parametrize(("section", "changes"), FOUND)
BESIDE = seqward.backbones.__path__
HISTORY = st.lists(st.integers(0, N_ITEMS - 1), min_size=1, max_size=CONTEXT)


def test_every_backbone_is_registered() -> None:
    """Each settings class of a file beside the contract builds one."""
    modules = [importlib.import_module(f"seqward.backbones.{f.name}") for f in pkgutil.iter_modules(BESIDE)]
    there = {
        kind
        for module in modules
        for name, kind in inspect.getmembers(module, inspect.isclass)
        if name.endswith("Settings") and kind.__module__ == module.__name__
    }
    assert there == set(BACKBONES)
    assert len(FOUND) >= 20


@every_backbone
@examples(deadline=None, max_examples=30)
@given(history=HISTORY, data=st.data())
def test_no_state_reads_a_later_event(section: Any, changes: dict[str, Any], history: list[int], data: Any) -> None:
    """Another item at place t changes the states from the one after it on, and none before."""
    backbone = build(section, changes)
    place = data.draw(st.integers(0, len(history) - 1))
    other = history.copy()
    other[place] = (other[place] + data.draw(st.integers(1, N_ITEMS - 1))) % N_ITEMS
    one, two = backbone(tokens(history)), backbone(tokens(other))
    torch.testing.assert_close(one[:, : place + 1], two[:, : place + 1])
    assert not torch.allclose(one[:, place + 1], two[:, place + 1])


@every_backbone
@examples(deadline=None, max_examples=30)
@given(history=HISTORY, more=st.integers(1, 3))
def test_padding_on_the_right_changes_nothing(
    section: Any, changes: dict[str, Any], history: list[int], more: int
) -> None:
    backbone = build(section, changes)
    padded = backbone(tokens(history + [PAD] * more))
    torch.testing.assert_close(padded[:, : len(history) + 1], backbone(tokens(history)))


packed_or_not = pytest.mark.parametrize("packs", [True, False], ids=["packed", "every slot"])
"""Where padding is skipped, nobody can attend it: that it is hidden is seen where it is read, as on a GPU."""


@every_backbone
@packed_or_not
@examples(deadline=None, max_examples=30)
@given(data=st.data())
def test_padding_is_never_attended_wherever_it_stands(
    section: Any, changes: dict[str, Any], packs: bool, data: Any
) -> None:
    """In front and in between too: what the pad's embedding holds is not in any state of an item."""
    backbone = build(section, changes)
    row = data.draw(st.lists(st.integers(0, N_ITEMS - 1) | st.just(PAD), min_size=1, max_size=CONTEXT))
    items = tokens(row)
    with patch.object(Slots, "packs", packs):
        before = backbone(items)
        with torch.no_grad():
            backbone.items.weight[PAD] = 100.0
        after = backbone(items)
    assert bool(torch.isfinite(after).all())
    real = items.items != PAD
    assert torch.equal(before[real], after[real])


@every_backbone
@packed_or_not
def test_nothing_flows_into_the_pad(section: Any, changes: dict[str, Any], packs: bool) -> None:
    backbone = build(section, changes)
    items = tokens([PAD, 3, PAD, 4, PAD])
    with patch.object(Slots, "packs", packs):
        states = backbone(items)
    (states[items.items != PAD] ** 2).sum().backward()
    assert backbone.items.weight.grad[PAD].tolist() == [0.0] * backbone.items.embedding_dim


@every_backbone
def test_a_session_alone_is_a_session_in_a_batch(section: Any, changes: dict[str, Any]) -> None:
    backbone = build(section, changes)
    rows = [[1, 2, 3, 4, 5], [6, PAD, PAD, PAD, PAD], [PAD, 7, PAD, 8, PAD]]
    together = backbone(tokens(*rows))
    for row, states in zip(rows, together, strict=True):
        real = tokens(row).items[0] != PAD
        torch.testing.assert_close(backbone(tokens(row))[0][real], states[real])


@every_backbone
def test_every_parameter_learns(section: Any, changes: dict[str, Any]) -> None:
    """But for a bias that the softmax takes out (the attention's keys)."""
    backbone = build(section, changes)
    states = backbone(tokens([1, 2, 3, 4, 5], [5, 4, 3, 2, 1]))
    (states * torch.randn(states.shape)).sum().backward()
    for name, parameter in backbone.named_parameters():
        assert parameter.grad is not None, name
        assert bool((parameter.grad != 0).any()) or name.endswith("key.bias"), name


@every_backbone
def test_order_matters(section: Any, changes: dict[str, Any]) -> None:
    """But before the last item, where nothing else is read (FPMC)."""
    backbone = build(section, changes)
    there, back = backbone(tokens([1, 2, 3], [2, 1, 3]))[:, -1]
    assert torch.allclose(there, back) == (section is FPMCSettings)


@every_backbone
def test_dropout_is_on_in_training_only(section: Any, changes: dict[str, Any]) -> None:
    backbone, items = build(section, changes, dropout=0.5), tokens([1, 2, 3])
    assert not torch.equal(backbone(items), backbone(items))
    backbone.eval()
    assert torch.equal(backbone(items), backbone(items))


@every_backbone
def test_histories_read_in_groups_of_like_length_give_the_same(
    section: Any, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """States and gradients, at all rows up to the last item, wherever padding stands."""
    monkeypatch.setattr("seqward.model.SLOTS_A_PASS", 0)
    monkeypatch.setattr("seqward.model.PAIRS_A_PASS", 0)
    rows = [row[:CONTEXT] + [PAD] * (CONTEXT - len(row)) for row in ROWS]
    histories = Histories(
        torch.tensor(rows), torch.tensor([0, 1, -1, 0, 1, 0, 1]), torch.linspace(0, 2, 42).view(7, CONTEXT + 1)
    )
    assert all(len(groups_of_length(histories.items, PAD, skips)) > 1 for skips in (False, True))
    real = torch.arange(CONTEXT + 1) <= last_row(histories.items, PAD)[:, None]
    found = []
    for whole in (False, True):
        backbone = build(section, changes)
        model = Model(lambda vocabulary, built=backbone: built, {}, VOCABULARY)
        states = model.states(histories, padding=whole)[real]
        states.square().sum().backward()
        found.append((states.detach(), [p.grad for p in backbone.parameters()]))
        assert not backbone.items._forward_hooks
    torch.testing.assert_close(found[0], found[1], rtol=1e-3, atol=1e-4)


@every_backbone
@pytest.mark.parametrize("causal", [True, False])
def test_one_state_of_each_history_is_the_one_among_all(section: Any, changes: dict[str, Any], causal: bool) -> None:
    """After the last item, wherever padding stands; in evaluation, with known users and returns asked for."""
    backbone = build(section, changes).eval()
    if not (causal or backbone.bidirectional):
        return
    items = torch.tensor([row[:CONTEXT] + [PAD] * (CONTEXT - len(row)) for row in ROWS])
    wanted = torch.linspace(0, 2, 42).view(7, CONTEXT + 1)
    histories = Histories(items, torch.tensor([0, 1, -1, 0, 1, 0, 1]), wanted)
    model = Model(lambda vocabulary: backbone, {}, VOCABULARY)
    expected = model.states(histories, causal)[torch.arange(len(ROWS)), last_row(items, PAD)]
    torch.testing.assert_close(model.last_state(histories, causal), expected, rtol=1e-4, atol=1e-5)


@every_backbone
def test_widths_and_contexts_are_told(section: Any, changes: dict[str, Any]) -> None:
    backbone = build(section, changes)
    assert (backbone.items.num_embeddings, backbone.items.embedding_dim) == (VOCABULARY.n_tokens, 8)
    assert backbone.context == CONTEXT
    for items in ([], [1, 2], [1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 6]):
        states = backbone(tokens(items))
        assert states.shape == (1, len(items) + 1, backbone.width)
        assert bool(torch.isfinite(states).all())


@pytest.mark.parametrize(
    ("section", "changes"),
    [p for p in FOUND if build(*p.values).bidirectional],  # type: ignore[misc]
)
@packed_or_not
def test_without_causality_every_slot_reads_all(section: Any, changes: dict[str, Any], packs: bool) -> None:
    backbone = build(section, changes)
    with patch.object(Slots, "packs", packs):
        one, two = (backbone(tokens([1, 2, last, PAD]), causal=False) for last in (3, 4))
        for slot in range(3):
            assert not torch.allclose(one[0, slot], two[0, slot])
        with torch.no_grad():
            backbone.items.weight[PAD] = 100.0
        torch.testing.assert_close(backbone(tokens([1, 2, 3, PAD]), causal=False)[:, :4], one[:, :4])


@every_backbone
def test_packed_or_not_states_are_the_same(section: Any, changes: dict[str, Any]) -> None:
    """Those of padding, too. What says that it skips padding shows no layer more than the eight slots that are none."""
    backbone = build(section, changes)
    items = tokens([1, 2, PAD, 3], [PAD, 4, PAD, PAD], [PAD, PAD, PAD, 5])
    with patch.object(Slots, "packs", False):
        every = backbone(items)
    rows: list[int] = []
    for layer in backbone.modules():
        if isinstance(layer, nn.Linear):
            layer.register_forward_pre_hook(lambda _, args: rows.append(args[0].shape[:-1].numel()))
    torch.testing.assert_close(backbone(items), every)
    if backbone.skips_padding:
        assert rows and set(rows) == {int((items.items != PAD).sum())} == {8}


@pytest.mark.parametrize(
    ("section", "changes"),
    [p for p in FOUND if not build(*p.values).bidirectional],  # type: ignore[misc]
)
def test_a_backbone_that_reads_forwards_only_says_so(section: Any, changes: dict[str, Any]) -> None:
    """Nothing is read the causal way where all slots were asked for."""
    model = Model(lambda vocabulary: build(section, changes), {}, VOCABULARY)
    with pytest.raises(SeqwardError, match=f"{type(model.backbone).__name__} reads a history forwards only"):
        model.states(Histories(torch.tensor([[4, 1, 7]])), causal=False)


@every_backbone
def test_rows_of_a_model_stand_after_each_item(section: Any, changes: dict[str, Any]) -> None:
    """Row t of the states of a history is the last row of its first t items."""
    torch.manual_seed(0)
    model = Model(lambda vocabulary: build(section, changes), {}, VOCABULARY)
    states = model.states(Histories(torch.tensor([[4, 1, 7]])))[0]
    for length in range(4):
        part = torch.tensor([[4, 1, 7][:length]], dtype=torch.int64).view(1, -1)
        torch.testing.assert_close(model.states(Histories(part))[0, -1], states[length])


# SASRec's own choices ------------------------------------------------------------------------------------------------


def sasrec(**changes: Any) -> SASRec:
    backbone = build(SASRecSettings, changes)
    assert isinstance(backbone, SASRec)
    return backbone


def slow_sasrec(b: SASRec, items: list[int]) -> dict[int, Tensor]:
    """Slot -> state of an item, one block, one head, slot by slot, as method-spec 2.1 and 2.2 have it.

    Padding has a slot and a position, and is otherwise not there.
    """
    s = b.settings
    scale = 8**0.5 if s.scale_embedding else 1.0
    x = {
        slot: scale * b.items.weight[item] + b.positions.weight[min(slot, CONTEXT)]
        for slot, item in enumerate(items)
        if item != PAD
    }
    block: Any = b.blocks[0]
    states = {}
    for t in x:
        q = block.norm_attention(x[t])
        read = [x[slot] for slot in x if slot <= t]
        keys, values = (torch.stack([layer(v) for v in read]) for layer in (block.key, block.value))
        share = torch.softmax(keys @ block.query(q) / 8**0.5, 0)
        attended = block.projection(share @ values)
        y = block.norm_feed(q + attended + (q if s.residual == "double" else 0))
        y = y + block.feed_2(torch.relu(block.feed_1(y)))
        states[t] = b.norm(y)
    return states


@pytest.mark.parametrize("changes", list(variants(SASRecSettings)), ids=str)
def test_sasrec_against_its_equations(changes: dict[str, Any]) -> None:
    """Double residual, scaled embeddings and projection each as stated; a sixth item stands at the last position.

    Padding in front, in between and at the end is no key of any attention.
    """
    backbone = sasrec(**changes)
    rows = [[], [1, 2, 3], [1, 2, 3, 4, 5, 6], [PAD, 1, PAD, PAD, 2], [PAD, PAD, 3], [4, PAD, 5, PAD, PAD]]
    for row in rows:
        states = backbone(tokens(row))[0]
        for slot, expected in slow_sasrec(backbone, [START, *row]).items():
            torch.testing.assert_close(states[slot], expected)


def test_sasrec_variants_differ() -> None:
    items = tokens([1, 2, 3])
    plain = sasrec()(items)
    for changes in ({"residual": "double"}, {"scale_embedding": False}):
        assert not torch.allclose(sasrec(**changes)(items), plain)


def test_sasrec_states_of_padding_are_the_last_norms_bias() -> None:
    backbone = sasrec()
    states = backbone(tokens([1, PAD, 2, PAD]))[0]
    for slot in (2, 4):
        torch.testing.assert_close(states[slot], backbone.norm.bias)


@pytest.mark.parametrize("init", ["normal", "xavier"])
def test_sasrec_initialisation(init: str) -> None:
    """N(0, .01) everywhere, or Glorot-uniform in +- sqrt(6 / (fan in + fan out)) but for embeddings; biases 0."""
    torch.manual_seed(0)
    backbone = SASRec(SASRecSettings(init=init, n_factors=64), Vocabulary(1000))  # type: ignore[arg-type]
    head = nn.Linear(64, 1000)
    initialise(head, init)
    for p in (*backbone.parameters(), *head.parameters()):
        p.requires_grad_(False)
    assert abs(float(backbone.items.weight.std()) - 0.01) < 0.0005
    for layer, bound in ((backbone.blocks[0].query, (6 / 128) ** 0.5), (head, (6 / 1064) ** 0.5)):  # type: ignore[index]
        assert isinstance(layer, nn.Linear)
        assert bool((layer.bias == 0).all())
        if init == "normal":
            assert abs(float(layer.weight.std()) - 0.01) < 0.001
        else:
            assert 0.97 * bound < float(layer.weight.abs().max()) <= bound
            assert abs(float(layer.weight.std()) - bound / 3**0.5) < 0.05 * bound
    assert bool((backbone.norm.weight == 1).all())


def test_sasrec_heads_must_divide_the_width() -> None:
    with pytest.raises(SeqwardError) as refusal:
        Recommender("sasrec", n_heads=3)
    assert str(refusal.value) == "backbone n_factors 64 is not a multiple of n_heads 3."


def test_published_backbones() -> None:
    """method-spec 2.1: scaled, 2q + attn, N(0, .01); 2.2: unscaled, q + attn, Glorot."""
    released, snqn = (METHODS[name].sections["backbone"] for name in ("sasrec-ccql-released", "sasrec-ac"))
    choice = lambda s: (s.scale_embedding, s.residual, s.init, s.projection)  # noqa: E731
    assert choice(released) == (True, "double", "normal", False)
    assert choice(snqn) == (False, "single", "xavier", False)
    for s in (released, snqn):
        assert (s.n_factors, s.n_blocks, s.n_heads, s.session_max_len, s.dropout_rate) == (64, 1, 1, 10, 0.1)
