"""The lazy step: right rows, one computation each, gradients where they belong, and draws that follow from names."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import Tensor

from seqward.augment import Augment, crop, mask, permutation, permutation_with_padding, reorder
from seqward.backbones.backbone import Histories, Vocabulary
from seqward.backbones.sasrec import SASRec, SASRecSettings
from seqward.catalogue import LinearScores
from seqward.data.batches import Draw, TrainingEvents
from seqward.data.dataset import TEST, TRAIN
from seqward.errors import SeqwardError
from seqward.heads import TiedHead, item_head, pair_head, value_head
from seqward.model import Model
from seqward.step import Outside, Step
from worlds import data_of, random_sessions

N = 9
CONTEXT = 4
SESSIONS = [[0, 1, 2, 3], [4, 5], [6, 7, 8, 0, 1, 2, 3], [8]]
SHUFFLED = permutation()


def model_of(seed: int = 0, dropout: float = 0.0, n_items: int = N) -> Model:
    torch.manual_seed(seed)
    settings = SASRecSettings(n_factors=8, session_max_len=CONTEXT, dropout_rate=dropout, init="xavier")
    heads = {
        "policy": item_head("xavier"),
        "q": item_head("xavier"),
        "behaviour": item_head("xavier", detached=True),
        "v": value_head("xavier"),
        "judge": pair_head("xavier"),
    }
    return Model(lambda vocabulary: SASRec(settings, vocabulary), heads, Vocabulary(n_items))


def step_of(
    sessions: list[list[int]] = SESSIONS,
    draw: Draw = "sessions",
    dropout: float = 0.0,
    number: int = 0,
    n_items: int = N,
) -> Step:
    events = TrainingEvents(data_of(sessions, n_items), CONTEXT, draw)
    batch = events.collate(torch.arange(events.n_pieces))
    return Step(model_of(0, dropout, n_items), model_of(1, dropout, n_items), batch, seed=3, number=number)


def unchanged(items: Tensor, generator: torch.Generator, vocabulary: Vocabulary) -> Tensor:
    return items


def alone(model: Model, history: list[int]) -> Tensor:
    """The state after a history, computed by itself."""
    return model.states(Histories(torch.tensor([history], dtype=torch.int64).view(1, -1)))[0, -1]


@pytest.mark.parametrize("draw", ["sessions", "transitions"])
def test_now_stands_before_the_event_and_next_after_it(draw: Draw) -> None:
    """Each row against the history encoded alone, on both networks; the state after has read the event itself."""
    step = step_of(SESSIONS[:2] + SESSIONS[3:], draw)
    rows = torch.arange(N).expand(len(step.action), N)
    session_of = step.column("session").tolist()
    seen: Counter[int] = Counter()
    for i, session in enumerate(session_of):
        items = [SESSIONS[0], SESSIONS[1], SESSIONS[3]][session]
        t = seen[session]
        seen[session] += 1
        assert step.action[i] == items[t]
        for model, now, following in (
            (step.online, step.now("q"), step.next("q")),
            (step.target, step.target_now("q"), step.target_next("q")),
        ):
            before = model.scores("q", alone(model, items[:t])[None]).at(rows[:1])
            after = model.scores("q", alone(model, items[: t + 1])[None]).at(rows[:1])
            torch.testing.assert_close(now.at(rows)[i : i + 1], before)
            torch.testing.assert_close(following.at(rows)[i : i + 1], after)


def test_a_full_piece_has_a_next_state() -> None:
    """Context 4: the fifth event of a piece has all four before it, and the state after it exists."""
    step = step_of([SESSIONS[2]])
    assert int(step.batch.row.max()) == CONTEXT
    assert step.next("q").n_rows == len(step.action)


def test_nll_and_logged_are_of_the_logged_item() -> None:
    step = step_of()
    matrix = step.now("q").at(torch.arange(N).expand(len(step.action), N))
    own = matrix.gather(1, step.action[:, None])[:, 0]
    torch.testing.assert_close(step.logged("q"), own)
    torch.testing.assert_close(step.nll("q", 0.5), 0.5 * torch.logsumexp(matrix / 0.5, 1) - own)
    following = step.next("q").at(torch.arange(N).expand(len(step.action), N))
    assert torch.equal(step.greedy("q"), following.argmax(1))
    assert torch.equal(step.greedy("q", 0), matrix.argmax(1))


def asked_of_the_catalogue(step: Step) -> list[int]:
    """How many states each question from now on is about."""
    rows: list[int] = []
    scores = step.online.scores

    def counted(head: str, states: Tensor) -> LinearScores:
        rows.append(len(states))
        return scores(head, states)

    step.online.scores = counted  # type: ignore[method-assign]
    return rows


@pytest.mark.parametrize("first", [0, 1])
def test_the_catalogue_is_asked_once_about_a_state(first: int) -> None:
    """What stands after one event stands before the next: behind the first answer, one state a piece is left to ask."""
    step = step_of()
    rows = asked_of_the_catalogue(step)
    step.greedy("q", first), step.greedy("q", 1 - first)
    assert rows == [len(step.action), len(step.batch.end)]


def test_a_sum_over_the_catalogue_leaves_the_best_items_behind() -> None:
    step, other = step_of(), step_of()
    rows = asked_of_the_catalogue(step)
    assert torch.equal(step.nll("q", 0.5, and_greedy=True), other.nll("q", 0.5))
    assert torch.equal(step.greedy("q"), other.greedy("q"))
    assert torch.equal(step.greedy("q", 0), other.greedy("q", 0))
    assert rows == [len(step.action), len(step.batch.end)]


def everything(step: Step, order: int = 1) -> list[Tensor]:
    """All questions, forwards or backwards; the answers in one order."""
    questions = [
        lambda: step.now("policy").at(step.action),
        lambda: step.logged("q"),
        lambda: step.next("q").at(step.action),
        lambda: step.greedy("q"),
        lambda: step.greedy("q", 0),
        lambda: step.target_now("q").at(step.action),
        lambda: step.target_next("q").at(step.action),
        lambda: step.nll("policy"),
        lambda: step.nll("q", 0.5),
        step.state,
        lambda: step.view("one", SHUFFLED),
        lambda: step.negatives(3),
        lambda: step.live,
    ]
    answers = {i: questions[i]() for i in range(len(questions))[::order]}
    return [answers[i] for i in range(len(questions))]


def test_nothing_is_computed_before_it_is_asked_and_nothing_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The online histories, their view and the target's are encoded once each, whatever is asked how often."""
    calls: Counter[object] = Counter()
    encode, score = Model.states, Model.scores

    def counted_states(self: Model, histories: Histories, causal: bool = True, padding: bool = False) -> Tensor:
        calls["states", self] += 1
        return encode(self, histories, causal, padding)

    def counted_scores(self: Model, head: str, states: Tensor) -> object:
        calls["scores", self, head] += 1
        return score(self, head, states)

    monkeypatch.setattr(Model, "states", counted_states)
    monkeypatch.setattr(Model, "scores", counted_scores)
    step = step_of()
    assert not calls
    for _ in range(3):
        everything(step)
    assert calls["states", step.online] == 2
    assert calls["states", step.target] == 1
    assert calls["scores", step.online, "policy"] == 1
    assert calls["scores", step.online, "q"] == 4, (
        "now, next, and the best items of what stands after events and before"
    )
    assert calls["scores", step.target, "q"] == 2
    other = step_of()
    other.nll("policy")
    assert calls["states", other.online] == 1
    assert calls["states", other.target] == 0, "cross-entropy alone asks no target"


def test_what_is_asked_first_changes_no_bit() -> None:
    """Dropout, augmentation and negatives are drawn by their names, not in the order of the questions."""
    for a, b in zip(everything(step_of(dropout=0.5)), everything(step_of(dropout=0.5), order=-1), strict=True):
        assert torch.equal(a, b)


def test_draws_follow_from_seed_and_step() -> None:
    def drawn(step: Step) -> tuple[Tensor, ...]:
        return step.logged("q"), step.negatives(3), step.view("one", permutation())

    same, again = drawn(step_of(dropout=0.5)), drawn(step_of(dropout=0.5))
    assert all(torch.equal(a, b) for a, b in zip(same, again, strict=True))
    later = drawn(step_of(dropout=0.5, number=1))
    assert not any(torch.equal(a, b) for a, b in zip(same, later, strict=True))


def test_passes_drop_out_apart() -> None:
    """Online, target and each view have noise of their own, though the networks and histories be the same."""
    step = step_of(dropout=0.5)
    step.target = step.online
    assert not torch.equal(step.now("q").at(step.action), step.target_now("q").at(step.action))
    one, two = step.view("one", unchanged), step.view("two", unchanged)
    assert not torch.equal(one, two)
    assert not torch.equal(one, step.state())


def test_what_is_dropped_of_items_is_dropped_wherever_they_are_read() -> None:
    """A half of the elements is 0 and the others doubled, for histories and for a tied head; gradients likewise."""
    step = step_of()
    items, target = step.online.backbone.items, step.target.backbone.items
    weight, head = items.weight, TiedHead(5)
    with step.items_dropped(0.5):
        read = items(torch.arange(5))
        assert torch.equal(head(step.online.backbone)[0], read)
        factor = read / weight[:5]
        assert set(factor.unique().tolist()) == {0.0, 2.0}
        assert not torch.equal(target.weight == 0, items.weight == 0)
        read.sum().backward()
    assert items.weight is weight
    assert torch.equal(weight.grad[:5], factor)
    same, later = step_of(), step_of(number=1)
    with same.items_dropped(0.5), later.items_dropped(0.5):
        assert torch.equal(same.online.backbone.items(torch.arange(5)), read)
        assert not torch.equal(later.online.backbone.items(torch.arange(5)), read)
    with step.items_dropped(0.0):
        assert items.weight is weight


def test_items_come_back_after_a_failure() -> None:
    step = step_of()
    weight = step.online.backbone.items.weight
    with pytest.raises(KeyError), step.items_dropped(0.5):
        raise KeyError
    assert step.online.backbone.items.weight is weight
    assert "backbone.items.weight" in step.online.state_dict()


def test_gradient_flows_through_the_online_scores_only() -> None:
    step = step_of()
    for answer in (step.logged("q"), step.nll("q"), step.state(), step.view("one", permutation())):
        assert answer.requires_grad
    items = step.action
    for scores in (step.next("q"), step.target_now("q"), step.target_next("q")):
        assert not scores.at(items).requires_grad
        assert not scores.nll(items).requires_grad


def test_gradient_mode_is_the_steps_own() -> None:
    """The first question stands under no_grad, as when a target or a log is computed first: the loss still trains."""
    step = step_of()
    with torch.no_grad():
        step.greedy("q"), step.state(), step.nll("policy"), step.view("one", permutation())
    step.nll("policy").sum().backward()
    assert all(p.grad is not None for p in step.online.backbone.parameters())
    with torch.no_grad():
        frozen = step_of()
    assert not frozen.nll("policy").requires_grad


def test_the_target_network_is_encoded_without_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is a graph built for it, which would be thrown away."""
    encode, seen = Model.states, []
    monkeypatch.setattr(Model, "states", lambda *of: (seen.append((of[0], torch.is_grad_enabled())), encode(*of))[1])
    step = step_of()
    step.target_next("q"), step.now("q")
    assert seen == [(step.target, False), (step.online, True)]
    (step.target_next("q").at(step.action).sum() + step.nll("policy").sum()).backward()
    assert [p.grad for p in step.target.parameters()] == [None] * len(list(step.target.parameters()))


@pytest.mark.parametrize("augment", [crop(0.5), mask(0.5), reorder(0.5), permutation()], ids=["c", "m", "r", "p"])
@pytest.mark.parametrize("draw", ["sessions", "transitions"])
def test_a_view_is_the_state_after_the_last_item_left(augment: Augment, draw: Draw) -> None:
    """Crop and mask leave padding where the history ended; its state is a constant that tells nothing."""
    step = step_of(draw=draw)
    constant = step.online.backbone.norm.bias
    view = step.view("one", augment)
    assert view.shape == step.state().shape
    assert not bool((view == constant).all(1).any())


def test_a_view_reads_the_changed_history() -> None:
    """Against the changed history encoded alone, each item at its own position."""

    def drop_last(items: Tensor, generator: torch.Generator, vocabulary: Vocabulary) -> Tensor:
        return items.index_fill(1, torch.tensor([3]), vocabulary.pad)

    step = step_of([[0, 1, 2, 3], [4, 5]])
    view = step.view("one", drop_last)
    torch.testing.assert_close(view[0], alone(step.online, [0, 1, 2]))
    torch.testing.assert_close(view[1], alone(step.online, [4, 5]))
    released = step_of([[0, 1, 2, 3], [4, 5]])
    same_row = released.view("one", drop_last, same_row=True)
    torch.testing.assert_close(same_row[0], released.online.backbone.norm.bias.detach())
    torch.testing.assert_close(same_row[1], view[1])


def test_views_of_one_name_are_of_the_augmentation_asked_for() -> None:
    """They share their draws, and nothing else: a term never reads the view of another's augmentation."""
    augment, one, other = permutation(), step_of(), step_of()
    first = one.view("one", augment)
    for change in (unchanged, permutation_with_padding(CONTEXT)):
        for same_row in (False, True):
            found = one.view("one", change, same_row)
            assert torch.equal(found, step_of().view("one", change, same_row))
            assert found is one.view("one", change, same_row)
    assert one.view("one", augment) is first
    assert torch.equal(first, other.view("one", permutation()))


@pytest.mark.parametrize("draw", ["sessions", "transitions"])
def test_the_released_view_takes_any_draw(draw: Draw) -> None:
    """Pieces of five events with a context of four, padding permuted too."""
    step = step_of(draw=draw)
    view = step.view("one", permutation_with_padding(CONTEXT), same_row=True)
    assert view.shape == step.state().shape


def test_a_view_of_drawn_transitions_has_not_read_the_event() -> None:
    step = step_of([[0, 1, 2]], "transitions")
    expected = torch.stack([alone(step.online, [0, 1, 2][:t]) for t in range(3)])
    torch.testing.assert_close(step.view("one", unchanged), expected)
    torch.testing.assert_close(step.state(), expected)


def test_negatives_are_never_in_the_session() -> None:
    """Nor later in it: 2,000 draws for an event, from all five that the session does not hold, about as often."""
    step = step_of([[0, 1, 0, 2, 3]])
    drawn = step.negatives(2000)
    assert drawn.shape == (5, 2000)
    counts = drawn.flatten().bincount(minlength=N)
    assert counts[:4].tolist() == [0] * 4
    expected = 10_000 / 5
    assert bool(((counts[4:] - expected).abs() < 5 * expected**0.5).all())


def test_negatives_of_each_session_are_its_own() -> None:
    step = step_of(random_sessions(40, N, 6))
    sessions: dict[int, set[int]] = {}
    data = step.batch.data
    for session, item in zip(data.session.tolist(), data.item.tolist(), strict=True):
        sessions.setdefault(session, set()).add(item)
    for session, items in zip(step.column("session").tolist(), step.negatives(20).tolist(), strict=True):
        assert not sessions[session] & set(items)


def test_a_session_that_holds_nearly_everything_still_has_negatives() -> None:
    """299 of 300 items: drawing again would take 300 tries; the one that is left is found."""
    step = step_of([list(range(299)), [0, 1]], n_items=300)
    session = step.column("session")
    drawn = step.negatives(4)
    assert bool((drawn[session == 0] == 299).all())
    assert bool((drawn[session == 1] > 1).all())


def test_a_session_that_holds_everything_draws_what_it_did_not_choose() -> None:
    step = step_of([list(range(N)), [0, 1]])
    session, drawn = step.column("session"), step.negatives(5)
    whole = session == 0
    assert bool((drawn[whole] != step.action[whole, None]).all())
    assert bool((drawn[~whole] > 1).all())


def test_a_catalogue_of_one_item_has_no_negatives() -> None:
    with pytest.raises(SeqwardError, match="the catalogue has one item"):
        step_of([[0, 0, 0]], n_items=1).negatives(2)


def test_columns_are_packed_like_the_scores() -> None:
    step = step_of()
    n = len(step.action)
    assert n == sum(map(len, SESSIONS))
    assert len(step.reward) == len(step.live) == step.now("q").n_rows == step.target_next("q").n_rows == n
    assert int((step.live == 0).sum()) == len(SESSIONS)
    assert step.state().shape == (len(step.batch.items), 8)


# Returns, values, pairs, samples ------------------------------------------------------------------------------------


@pytest.mark.parametrize("draw", ["sessions", "transitions"])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0])
def test_returns_are_those_of_the_whole_session(draw: Draw, gamma: float) -> None:
    """Sessions of up to 11 events in pieces of five: a return does not end where the piece does.

    Held-out events pay nothing: the last two of each session are worth 100.
    """
    sessions = random_sessions(30, N, 9)
    rewards = [[0.1 * (1 + place % 7) for place in range(len(session))] for session in sessions]
    held_out = [[*session, 0, 1] for session in sessions]
    splits = [[TRAIN] * len(session) + [TEST] * 2 for session in sessions]
    data = data_of(held_out, N, rewards=[[*r, 100.0, 100.0] for r in rewards], splits=splits)
    events = TrainingEvents(data, CONTEXT, draw)
    batch = events.collate(torch.arange(events.n_pieces))
    step = Step(model_of(), model_of(1), batch, seed=3, number=0)
    expected = [
        slow_return(rewards[session], gamma, place)
        for session, place in zip(step.column("session").tolist(), step.column("before").long().tolist(), strict=True)
    ]
    torch.testing.assert_close(step.returns(gamma), torch.tensor(expected))
    asked = batch.returns(gamma)
    assert asked.shape == (len(batch.items), batch.items.shape[1] + 1)
    torch.testing.assert_close(asked[batch.piece, batch.row], step.returns(gamma))
    assert int(torch.isfinite(asked).sum()) == len(batch.event), "an event that does not count is not told"


def slow_return(rewards: list[float], gamma: float, place: int) -> float:
    return sum(gamma ** (later - place) * rewards[later] for later in range(place, len(rewards)))


def test_the_backbone_is_told_what_followed_only_where_it_is_asked_for() -> None:
    """``wanted`` reaches the pass over the batch's own histories, on both networks, and no view of them."""
    told: list[tuple[object, Tensor | None]] = []

    class Listener(SASRec):
        def forward(self, histories: Histories, causal: bool = True) -> Tensor:
            told.append((self, histories.wanted))
            return super().forward(histories, causal)

    def listening(seed: int) -> Model:
        torch.manual_seed(seed)
        settings = SASRecSettings(n_factors=8, session_max_len=CONTEXT, dropout_rate=0.0, init="xavier")
        return Model(lambda vocabulary: Listener(settings, vocabulary), {"q": item_head("xavier")}, Vocabulary(N))

    batch = step_of().batch
    for wanted in (None, 0.5):
        told.clear()
        step = Step(listening(0), listening(1), batch, seed=3, number=0, wanted=wanted)
        step.now("q"), step.target_next("q"), step.view("one", permutation())
        (_, own), (network, target), (_, view) = told
        assert network is step.target.backbone
        assert view is None
        if wanted is None:
            assert own is None
            assert target is None
        else:
            assert own is not None
            assert target is not None
            torch.testing.assert_close(own, batch.returns(0.5), equal_nan=True)
            torch.testing.assert_close(target, own, equal_nan=True)


def test_values_stand_before_the_event_and_next_values_after_it_detached() -> None:
    step = step_of(SESSIONS[:1])
    model, items = step.online, SESSIONS[0]
    expected = torch.stack([model.value("v", alone(model, items[:t])[None])[0] for t in range(5)])
    torch.testing.assert_close(step.value("v"), expected[:4])
    torch.testing.assert_close(step.next_value("v"), expected[1:])
    assert step.value("v").requires_grad
    assert not step.next_value("v").requires_grad
    step.value("v").sum().backward()
    assert all(p.grad is not None for p in model.backbone.parameters())


def test_pairs_are_judged_on_states_without_gradient() -> None:
    """The logged item and k others of each row alike; the judge learns, and what made the state does not."""
    step = step_of(SESSIONS[:2])
    several = torch.stack([step.action, (step.action + 1) % N], 1)
    logits = step.pairs("judge", several)
    assert logits.shape == (6, 2)
    torch.testing.assert_close(step.pairs("judge", step.action), logits[:, 0])
    model = step.online
    state = alone(model, SESSIONS[0][:2])
    both = torch.cat([state, model.backbone.items.weight[SESSIONS[0][2]]])
    judge = model.heads["judge"]
    torch.testing.assert_close(judge.out(torch.relu(judge.hidden(both)))[0], logits[2, 0])
    logits.sum().backward()
    assert all(p.grad is not None for p in judge.parameters())
    assert {name for name, p in model.backbone.named_parameters() if p.grad is not None} == {"items.weight"}
    judged = torch.zeros(model.vocabulary.n_tokens, dtype=torch.bool)
    judged[several.flatten()] = True
    assert not bool(model.backbone.items.weight.grad[~judged].any()), "but for the rows of the judged items"


def test_a_detached_head_learns_and_shapes_nothing() -> None:
    """Nor do its columns; what it says is what an attached one with its rows would say."""
    step = step_of()
    few = torch.tensor([3, 1])
    for answer in (step.nll("behaviour"), step.columns("behaviour", few)):
        step.online.zero_grad(set_to_none=True)
        answer.sum().backward(retain_graph=True)
        learned = {name for name, p in step.online.named_parameters() if p.grad is not None}
        assert learned == {"heads.behaviour.linear.weight", "heads.behaviour.linear.bias"}
    step.online.heads["q"].load_state_dict(step.online.heads["behaviour"].state_dict())
    torch.testing.assert_close(step.nll("behaviour"), step.nll("q"))
    with pytest.raises(ValueError, match="a tied head cannot be detached"):
        item_head("normal", tied=True, detached=True)


def test_columns_are_the_scores_of_the_same_items_in_every_row() -> None:
    step = step_of()
    few = torch.tensor([7, 0, 7])
    torch.testing.assert_close(step.columns("q", few), step.now("q").at(few.expand(len(step.action), 3)))


@pytest.mark.parametrize("name", ["samples", "next_samples"])
def test_samples_are_drawn_from_the_softmax_before_or_after_the_events(name: str) -> None:
    """4,000 draws a row: each item's count within five standard errors of its share, which differs by row."""
    step = step_of(SESSIONS[:1])
    for head in ("policy", "q"):
        step.online.heads[head].linear.weight.data *= 4
        items = getattr(step, name)(head, 4000)
        scores = step.now(head) if name == "samples" else step.next(head)
        shares = torch.softmax(scores.at(torch.arange(N).expand(4, N)), 1).detach()
        counts = torch.stack([row.bincount(minlength=N) for row in items]).float()
        assert bool(((counts - 4000 * shares).abs() <= 5 * (4000 * shares * (1 - shares)).sqrt() + 1).all())
        assert float((shares[0] - shares[3]).abs().max()) > 0.1, "the rows do not tell now from next"


def test_samples_have_names_of_their_own() -> None:
    """Now and next, and two heads that say the same, draw apart; the same question is answered once."""
    step = step_of()
    step.online.heads["q"].load_state_dict(step.online.heads["policy"].state_dict())
    first = step.samples("policy", 20)
    assert step.samples("policy", 20) is first
    assert not torch.equal(first, step.samples("q", 20))
    assert not torch.equal(first, step.next_samples("policy", 20))
    assert not torch.equal(step.next_samples("policy", 20), step.next_samples("policy", 20, 3)), "states further on"
    assert torch.equal(first, step_of().samples("policy", 20))
    assert not torch.equal(first, step_of(number=1).samples("policy", 20))


# What was not chosen, and segments -----------------------------------------------------------------------------------


def test_negatives_may_be_all_but_the_logged_item() -> None:
    """Others of the session too: 2,000 draws for an event, from all eight, about as often."""
    step = step_of([[0, 1, 0, 2, 3]])
    drawn = step.negatives(2000, "action")
    for action, row in zip(step.action.tolist(), drawn, strict=True):
        counts = row.bincount(minlength=N)
        assert counts[action] == 0
        assert bool(((counts - 250).abs()[torch.arange(N) != action] < 5 * 250**0.5).all())


def test_where_two_items_are_all_the_other_one_is_drawn() -> None:
    assert step_of([[0, 1, 0]], n_items=2).negatives(3, "action").tolist() == [[1] * 3, [0] * 3, [1] * 3]


@pytest.mark.parametrize("outside", ["session", "action"])
def test_unlogged_are_the_scores_of_the_negatives(outside: Outside) -> None:
    step = step_of()
    scores = step.unlogged("q", 4, outside)
    torch.testing.assert_close(scores, step.now("q").at(step.negatives(4, outside)))
    assert scores.requires_grad
    assert step.unlogged("q", 4, outside) is scores
    assert step.unlogged("q", 3, outside).shape == (len(step.action), 3)


MASK = Vocabulary(N).mask


def readings(model: Model, history: list[int]) -> list[tuple[Tensor, Tensor]]:
    """For each segment of a history the states of what is around it and of itself, each read alone from all slots."""
    pairs = []
    for length in range(1, max(1, len(history) // 2) + 1):
        for start in range(len(history) - length + 1):
            inside = [start <= slot < start + length for slot in range(len(history))]
            around = history if len(history) == 1 else [MASK if i else x for i, x in zip(inside, history, strict=True)]
            itself = [x if i else MASK for i, x in zip(inside, history, strict=True)]
            context, segment = (
                model.states(Histories(torch.tensor([row])), causal=False)[0, -1] for row in (around, itself)
            )
            pairs.append((context, segment))
    return pairs


def test_segments_are_read_from_all_slots_with_the_rest_hidden() -> None:
    """Each piece's pair of states is that of one of its segments, encoded alone, and other steps draw others."""
    sessions = SESSIONS[:2] + SESSIONS[3:]
    pairs = [readings(step_of().online, history) for history in sessions]
    chosen = set()
    for number in range(40):
        context, segment = step_of(sessions, number=number).segments()
        for row in range(len(sessions)):
            matches = [
                place
                for place, (one, other) in enumerate(pairs[row])
                if torch.allclose(context[row], one, atol=1e-5) and torch.allclose(segment[row], other, atol=1e-5)
            ]
            assert len(matches) == 1, sessions[row]
            chosen.add((row, matches[0]))
    assert Counter(row for row, _ in chosen) == {0: 7, 1: 2, 2: 1}, "of four items, of two, of one"


def test_segments_are_of_histories_that_have_not_read_a_drawn_event() -> None:
    """A transition's history may be empty, of one item, or of two."""
    step = step_of([[0, 1, 2]], "transitions")
    context, segment = step.segments()
    empty = step.online.states(Histories(torch.empty(1, 0, dtype=torch.int64)), causal=False)[0, 0]
    torch.testing.assert_close(context[0], empty)
    torch.testing.assert_close(segment[0], empty)
    for states in (context, segment):
        torch.testing.assert_close(states[1], readings(step.online, [0])[0][0])
    pairs = readings(step.online, [0, 1])
    assert any(torch.allclose(context[2], one) and torch.allclose(segment[2], other) for one, other in pairs)


def test_segments_have_gradient_and_are_drawn_once() -> None:
    step = step_of(dropout=0.5)
    context, segment = step.segments()
    assert context.requires_grad
    assert segment.requires_grad
    assert step.segments().context is context
    again, later = step_of(dropout=0.5).segments(), step_of(dropout=0.5, number=1).segments()
    assert torch.equal(context, again.context)
    assert torch.equal(segment, again.segment)
    assert not torch.equal(context, later.context)


# Hidden items, and negatives of the whole batch ----------------------------------------------------------------------


def hidden_slots(step: Step, share: float, last: float = 0.0) -> list[list[int]]:
    """The hidden slots of each piece, as the model was given them."""
    seen: list[Tensor] = []
    encode = step.online.states

    def watched(histories: Histories, causal: bool = True, padding: bool = False) -> Tensor:
        assert not causal
        seen.append(histories.items)
        return encode(histories, causal, padding)

    step.online.states = watched  # type: ignore[method-assign]
    step.cloze("policy", share, last)
    step.online.states = encode  # type: ignore[method-assign]
    return [row.nonzero()[:, 0].tolist() for row in seen[0] == MASK]


def test_cloze_reads_hidden_items_from_both_sides() -> None:
    """Each state against the piece with hidden items masked, encoded alone; the items are those that stood there."""
    step = step_of()
    hidden = hidden_slots(step, 0.4)
    cloze = step.cloze("policy", 0.4)
    row = 0
    for slots, items in zip(hidden, step.batch.items, strict=True):
        piece = items[items != N].tolist()
        masked = [MASK if slot in slots else item for slot, item in enumerate(piece)]
        states = step.online.states(Histories(torch.tensor([masked])), causal=False)[0]
        for slot in slots:
            assert cloze.items[row] == piece[slot]
            expected = step.online.scores("policy", states[slot + 1][None]).at(torch.arange(N)[None])[0]
            torch.testing.assert_close(cloze.scores.at(torch.arange(N).expand(len(cloze.items), N))[row], expected)
            row += 1
    assert row == len(cloze.items)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.9])
def test_every_piece_hides_at_least_one_item(share: float) -> None:
    """Never padding; at a share of 0 exactly one, and any of them; otherwise about so many."""
    pieces = [list(range(4))] * 300
    found = hidden_slots(step_of([*pieces, [5], [6]]), share)
    assert all(0 < len(slots) <= 4 for slots in found)
    assert found[-2:] == [[0], [0]], "a single item, before padding"
    count = sum(len(slots) for slots in found[:300])
    # Where nobody of four is drawn one is hidden all the same.
    expected = 300 * (4 * share + (1 - share) ** 4)
    assert abs(count - expected) <= 5 * (300 * 4 * share * (1 - share)) ** 0.5 + 1e-6
    where = Counter(slot for slots in found[:300] for slot in slots)
    assert all(abs(where[slot] - count / 4) < 5 * (count / 4) ** 0.5 for slot in range(4))


def test_some_pieces_hide_their_last_item_only() -> None:
    """A quarter of 400 pieces of four; of a share of 1 the others hide everything."""
    found = hidden_slots(step_of([*[[0, 1, 2, 3]] * 400, [4, 5]]), 1.0, last=0.25)
    alone = sum(slots == [3] for slots in found[:400])
    assert alone + sum(slots == [0, 1, 2, 3] for slots in found[:400]) == 400
    assert abs(alone - 100) < 5 * 75**0.5
    assert found[400] in ([1], [0, 1])


def test_a_hidden_item_says_nothing_of_itself() -> None:
    """Another item in its place changes no score, of none of the hidden slots; one that is not hidden changes all."""
    step = step_of([[0, 1, 2, 3]])
    (slots,) = hidden_slots(step, 0.3)
    rows = torch.arange(N).expand(len(slots), N)
    before = step.cloze("policy", 0.3).scores.at(rows)
    for slot in range(4):
        other = step_of([[0, 1, 2, 3]])
        other.batch.items[0, slot] = 8
        assert hidden_slots(other, 0.3) == [slots]
        cloze = other.cloze("policy", 0.3)
        if slot in slots:
            assert torch.equal(cloze.scores.at(rows), before)
            assert cloze.items[slots.index(slot)] == 8
        else:
            assert not torch.isclose(cloze.scores.at(rows), before).all(1).any()


def test_cloze_has_gradient_and_a_draw_of_its_own() -> None:
    step = step_of()
    cloze = step.cloze("policy", 0.4)
    assert cloze.scores.nll(cloze.items).requires_grad
    assert step.cloze("policy", 0.4).items is cloze.items
    again, later = step_of(), step_of(number=1)
    assert hidden_slots(again, 0.4) != hidden_slots(later, 0.4)
    assert torch.equal(step_of().cloze("policy", 0.4).items, cloze.items)


def test_shared_negatives_are_drawn_once_and_as_often_as_they_should_be() -> None:
    """6,000 draws: each item's count within five standard errors of 1/9."""
    step = step_of([[0, 0, 0, 1], [0, 1, 2], [8]])
    items = step.shared_negatives(6000)
    assert items.shape == (6000,)
    counts = items.bincount(minlength=N)
    assert bool(((counts - 6000 / N).abs() <= 5 * (6000 / N * (1 - 1 / N)) ** 0.5).all())
    assert step.shared_negatives(6000) is items
    assert torch.equal(step_of([[0, 0, 0, 1], [0, 1, 2], [8]]).shared_negatives(6000), items)
    assert not torch.equal(step_of(number=1).shared_negatives(50), step_of().shared_negatives(50))


def test_the_backbone_is_told_whose_piece_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """In every reading: online, target, views and hidden items; a session of several pieces is one user's."""
    data = data_of(SESSIONS, N, users=["b", "a", "b", "c"])
    events = TrainingEvents(data, CONTEXT)
    step = Step(model_of(), model_of(1), events.collate(torch.arange(events.n_pieces)), seed=3, number=0)
    encode, told = Model.states, []
    monkeypatch.setattr(Model, "states", lambda self, h, *how: (told.append(h.users), encode(self, h, *how))[1])
    step.now("q"), step.target_now("q"), step.view("one", permutation()), step.cloze("policy", 0.2), step.segments()
    assert len(told) == 6
    assert all(torch.equal(users, step.batch.users) for users in told)
    owner = torch.tensor([1, 0, 1, 2])
    assert torch.equal(step.batch.users[step.batch.piece], owner[step.column("session")])
    assert torch.equal(step.column("user"), step.batch.users[step.batch.piece])
    assert events.n_users == events.vocabulary.n_users == 3
