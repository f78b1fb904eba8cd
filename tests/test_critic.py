"""What a critic is told of several steps and of whole sessions, by which network, and in which form."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from jobs import assert_same_bits, in_phase, job_of, loss_of, loud_step, recommender, shop
from seqward.backbones.backbone import Histories
from seqward.catalogue.valued import Binned
from seqward.critic import Critic
from seqward.data.dataset import Dataset
from seqward.errors import SeqwardError
from seqward.job import Job
from seqward.method import scorer_of
from seqward.networks import Networks
from seqward.objectives import bins
from seqward.step import Step
from seqward.terms import td_loss
from worlds import data_of

GAMMA = 0.9


def sessions() -> Dataset:
    """Of 3, 1 and 8 events; rewards are powers of 2, so that a sum says of what it is. Pieces hold 5 events."""
    items = [[0, 1, 2], [3], [4, 5, 6, 7, 8, 9, 10, 11]]
    rewards = [[1.0, 2.0, 4.0], [8.0], [16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0]]
    return data_of(items, 12, rewards=rewards)


def q_of(step: Step, target: bool, scores: str = "next", steps: int = 1) -> Tensor:
    """[n, 12] Q by one of the networks."""
    asked = getattr(step, ("target_" if target else "") + scores)
    rows = asked("q") if scores == "now" else asked("q", steps)
    return rows.at(torch.arange(12).expand(len(step.action), 12))


def whole(**changes: Any) -> Step:
    """All events at once, by networks that have something to say."""
    job = job_of("sasrec-sqn", sessions(), gamma=GAMMA, batch_size=100, **changes)
    return loud_step(job)


def target_of(critic: Critic, step: Step) -> Tensor:
    """[n] what Q is brought to: Q less the derivative of half the squared error."""
    q = step.logged("q")
    (slope,) = torch.autograd.grad(td_loss(critic)(step).sum(), q)
    return q.detach() - slope


# Several steps -----------------------------------------------------------------------------------------------------


def test_how_far_a_piece_goes() -> None:
    """The long session is pieces of events 0 to 4, 2 to 6 and 4 to 7, which count 5, 2 and 1 events."""
    step = whole()
    by_event = dict(zip(step.batch.event.tolist(), step.ahead(3).tolist(), strict=True))
    assert by_event == {0: 3, 1: 2, 2: 1, 3: 1, 4: 3, 5: 3, 6: 3, 7: 2, 8: 1, 9: 2, 10: 1, 11: 1}
    assert step.ahead(1).tolist() == [1] * 12
    ends = dict(zip(step.batch.event.tolist(), step.live_after(3).tolist(), strict=True))
    assert sorted(event for event, live in ends.items() if not live) == [0, 1, 2, 3, 11]


def test_states_of_several_steps_on_are_those_after_that_history() -> None:
    step = whole()
    items = step.batch.data.item
    for i, event in enumerate(step.batch.event.tolist()):
        if event > 8:
            continue  # read by a later piece, which does not begin with the session
        begin = 0 if event < 3 else 3 if event == 3 else 4
        history = items[begin : event + int(step.ahead(3)[i])]
        for model, asked in ((step.online, step.next), (step.target, step.target_next)):
            state = model.states(Histories(history[None]))[:, -1]
            expected = model.scores("q", state).at(torch.arange(12)[None])
            torch.testing.assert_close(asked("q", 3).at(torch.arange(12).expand(12, 12))[i], expected[0])


def test_targets_of_three_steps_event_by_event() -> None:
    """What 3 steps earn, and then the target's value of the online network's best item unless the session is over."""
    step = whole()
    ours, theirs = q_of(step, False, steps=3), q_of(step, True, steps=3)
    found, reward = target_of(Critic(GAMMA, n_step=3), step), step.batch.data.reward.tolist()
    for i, event in enumerate(step.batch.event.tolist()):
        ahead, live = int(step.ahead(3)[i]), float(step.live_after(3)[i])
        expected = sum(GAMMA**h * reward[event + h] for h in range(ahead))
        expected += GAMMA**ahead * live * float(theirs[i, ours[i].argmax()])
        assert float(found[i]) == pytest.approx(expected, rel=1e-5)


def test_one_step_is_what_there_was_to_the_bit() -> None:
    step = whole()
    best = q_of(step, False).argmax(1)
    target = step.reward + GAMMA * step.live * step.target_next("q").at(best)
    assert torch.equal(td_loss(Critic(GAMMA))(step), 0.5 * (target - step.logged("q")).square())


def test_more_steps_than_any_session_has_are_its_return() -> None:
    """Where a piece holds a whole session."""
    step = whole(session_max_len=10)
    many, returns = (target_of(c, step) for c in (Critic(GAMMA, n_step=50), Critic(GAMMA, monte_carlo=True)))
    torch.testing.assert_close(many, returns)
    torch.testing.assert_close(returns, step.returns(GAMMA))


def test_monte_carlo_returns_are_of_whole_sessions_whatever_the_piece() -> None:
    """Event 4 of the long session: 16 + .9 * 32 + ... + .9^7 * 2048, of which its piece holds five."""
    step = whole()
    found = dict(zip(step.batch.event.tolist(), target_of(Critic(GAMMA, monte_carlo=True), step).tolist(), strict=True))
    assert found[4] == pytest.approx(sum(GAMMA**h * 2.0 ** (4 + h) for h in range(8)), rel=1e-5)
    assert found[2] == pytest.approx(4.0)


def test_a_return_of_more_than_the_log_pays_adds_it_as_far_as_the_piece_goes() -> None:
    """1 more for every event: for the first, of three, 1 + .9 + .81; for the fifth of its piece, 1."""
    step = whole()
    more = td_loss(Critic(GAMMA, monte_carlo=True), lambda s: s.reward + 1.0)(step)
    (slope,) = torch.autograd.grad(more.sum(), step.logged("q"))
    beside = step.logged("q").detach() - slope - step.returns(GAMMA)
    by_event = dict(zip(step.batch.event.tolist(), beside.tolist(), strict=True))
    assert by_event[0] == pytest.approx(2.71, abs=1e-4)
    assert by_event[8] == pytest.approx(1.0, abs=1e-3)


def test_drawn_transitions_have_no_later_events() -> None:
    step = whole(draw="transitions")
    with pytest.raises(SeqwardError, match=r"objective\.n_step=2 sums rewards of later events.*train\.draw=sessions"):
        td_loss(Critic(GAMMA, n_step=2))(step)
    torch.testing.assert_close(target_of(Critic(GAMMA, monte_carlo=True), step), step.returns(GAMMA))


# The lesser of two -------------------------------------------------------------------------------------------------


def at_odds(step: Step) -> Step:
    """The same, where the target thinks more than the online network of every other item."""
    with torch.no_grad():
        step.target.heads["q"].linear.bias[::2] += 4.0  # type: ignore[union-attr]
    return step


def test_the_lesser_of_two_networks_at_the_greedy_item() -> None:
    """Not at the item that the target would choose, and not the least of all items."""
    step = at_odds(whole())
    ours, theirs = q_of(step, False), q_of(step, True)
    best = ours.argmax(1, keepdim=True)
    least = torch.minimum(ours.gather(1, best), theirs.gather(1, best))[:, 0]
    assert 0 < int((least == ours.gather(1, best)[:, 0]).sum()) < 12
    torch.testing.assert_close(
        target_of(Critic(GAMMA, least=True), step), step.reward + GAMMA * step.live * least, rtol=1e-4, atol=1e-5
    )


def test_it_holds_for_negatives_wherever_they_lead() -> None:
    for leads_to, asked in (("same", "now"), ("next", "next")):
        job = job_of("snqn", shop(), target_min=True, negative_leads_to=leads_to, negative_reward=-1.0)
        step = at_odds(loud_step(job))
        ours, theirs = (q_of(step, target, asked).detach() for target in (False, True))
        best = ours.argmax(1, keepdim=True)
        least = torch.minimum(ours.gather(1, best), theirs.gather(1, best))[:, 0]
        discount = 0.5 if leads_to == "same" else 0.5 * step.live
        errors = (-1.0 + discount * least)[:, None] - step.unlogged("q", 3, "action")
        found = loss_of(job, "ω L_N")(step)
        torch.testing.assert_close(found, 0.5 * errors.square().sum(1))


def test_the_lesser_value_teaches_the_online_network_nothing() -> None:
    step = at_odds(whole())
    value = Critic(GAMMA, least=True).least_of(step.target_now("q"), step.now("q"), step.action)
    assert step.now("q").at(step.action).requires_grad
    assert not value.requires_grad


# Forms of Q --------------------------------------------------------------------------------------------------------

FORMS = ("bounded", "hl-gauss")


def forms(name: str = "sasrec-sqn", **changes: Any) -> list[tuple[Job, Step]]:
    jobs = [job_of(name, shop(), critic=form, q_min=-1.0, q_max=1.5, **changes) for form in FORMS]
    return [(job, loud_step(job)) for job in jobs]


def test_every_value_lies_between_the_bounds_and_is_in_the_order_of_the_scores() -> None:
    for job, step in forms():
        rows = torch.arange(12).expand(len(step.action), 12)
        for asked in (step.now, step.next, step.target_now, step.target_next):
            valued: Any = asked("q")
            values, scores = valued.at(rows), valued.scores.at(rows)
            assert bool(((values > -1.0) & (values < 1.5)).all())
            assert torch.equal(values.argsort(1), scores.argsort(1))
            assert float(scores.detach().abs().max()) > 1.5, "else the bounds would not show"
        scorer = scorer_of(job.method, step.online)
        histories = Histories(torch.tensor([[1, 2, 3]]))
        served = scorer.values(histories).at(torch.arange(12)[None])
        assert bool(((served > -1.0) & (served < 1.5)).all())
        best = step.next("q").max()
        assert torch.equal(best.values, step.next("q").at(best.items))


def test_bounded_targets_are_clipped() -> None:
    """Half the squared error of a value between the bounds and of a target that is brought there."""
    job, step = forms(gamma=0.9)[0]
    target = step.reward + 0.9 * step.live * step.target_next("q").at(step.greedy("q"))
    assert bool((target > 1.5).any())
    expected = 0.5 * (target.clamp(-1.0, 1.5) - step.logged("q")).square()
    torch.testing.assert_close(loss_of(job, "ω L_Q")(step), expected)


def test_the_loss_of_bins_is_cross_entropy_of_the_histogram() -> None:
    job, step = forms(gamma=0.9)[1]
    now: Any = step.now("q")
    reading: Binned = now.reading
    log_p = bins.tilted(reading.shape, now.scores.at(step.action))
    target = step.reward + 0.9 * step.live * step.target_next("q").at(step.greedy("q"))
    expected = bins.cross_entropy(log_p, target, -1.0, 1.5)
    torch.testing.assert_close(loss_of(job, "ω L_Q")(step), expected)
    torch.testing.assert_close(step.logged("q"), bins.mean(log_p, -1.0, 1.5))


def test_the_bounds_follow_the_discount_where_nothing_is_said() -> None:
    """1 / (1 - gamma)."""
    objective = recommender("sasrec-sqn", critic="bounded", gamma=0.9).sections["objective"]
    assert (objective.span.low, objective.span.high) == (0.0, pytest.approx(10.0))


def test_the_conservative_term_over_all_items_is_of_scores() -> None:
    linear, step = job_of("sasrec-cql", shop()), loud_step(job_of("sasrec-cql", shop()))
    expected = loss_of(linear, "α L_CQL")(step)
    for job, bounded in forms("sasrec-cql"):
        assert_same_bits({"a": bounded.online.heads["q"].linear.weight}, {"a": step.online.heads["q"].linear.weight})  # type: ignore[union-attr,dict-item]
        assert torch.equal(loss_of(job, "α L_CQL")(bounded), expected)


def test_that_over_negatives_is_of_values() -> None:
    for job, step in forms("sasrec-ccql"):
        q = torch.cat([step.logged("q")[:, None], step.unlogged("q", 3)], 1)
        expected = 0.5 * torch.logsumexp(q / 0.5, 1) - step.logged("q")
        torch.testing.assert_close(loss_of(job, "α L_CQL")(step), expected)


def test_the_head_normalises_states_and_no_other_does() -> None:
    job = job_of("sasrec-sqn", shop(), critic_norm=True)
    step = loud_step(job)
    head: Any = step.online.heads["q"]
    nn.init.constant_(head.norm.weight, 2.0), nn.init.constant_(head.norm.bias, 0.5)
    states = step._packed(0)
    normal = (states - states.mean(1, keepdim=True)) / (states.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    expected = (2 * normal + 0.5) @ head.linear.weight.T + head.linear.bias
    rows = torch.arange(12).expand(len(states), 12)
    torch.testing.assert_close(step.now("q").at(rows), expected, rtol=1e-4, atol=1e-4)
    policy: Any = step.online.heads["policy"]
    torch.testing.assert_close(step.now("policy").at(rows), states @ policy.linear.weight.T + policy.linear.bias)


def test_a_mixture_reads_each_head_by_its_own_states() -> None:
    for norm in (False, True):
        model = loud_step(job_of("sasrec-sqn", shop(), critic_norm=norm)).online
        states, rows = torch.randn(3, 8), torch.arange(12).expand(3, 12)
        policy, q = (model.scores(head, states).at(rows) for head in ("policy", "q"))
        found = model.mixed_scores({"policy": 1.0, "q": 0.5}, states).at(rows)
        torch.testing.assert_close(found, policy + 0.5 * q)


@pytest.mark.parametrize("form", FORMS)
def test_a_mixture_of_what_are_no_scores_is_refused(form: str) -> None:
    model = loud_step(job_of("sasrec-sqn", shop(), critic=form)).online
    with pytest.raises(SeqwardError, match=r"with objective\.critic other than linear the values of q are not its"):
        model.mixed_scores({"policy": 1.0, "q": 0.5}, torch.randn(3, 8))


def test_rows_of_the_head_begin_as_they_would_without() -> None:
    """So that variants are compared from the same start."""
    plain = Networks(job_of("sasrec-sqn", shop())).modules.state_dict()
    for changes in ({"critic": "bounded"}, {"critic_norm": True}):
        other = Networks(job_of("sasrec-sqn", shop(), **changes)).modules.state_dict()
        assert all(torch.equal(plain[k], other[k]) for k in plain if "heads.q" in k)


def test_huber_limits_the_pull() -> None:
    job = job_of("sasrec-sqn", shop(), critic_loss="huber", huber_delta=0.1)
    step = loud_step(in_phase(job, 0))
    (slope,) = torch.autograd.grad(loss_of(job, "ω L_Q")(step).sum(), step.logged("q"))
    assert float(slope.abs().max()) == pytest.approx(0.1)
