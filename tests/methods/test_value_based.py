"""SQN, SAC, SNQN and SA2C: their terms against their equations, item by item, and what their sources set."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from jobs import after_steps, assert_same_bits, job_of, loss_of, loud_step, shop
from seqward.method import scorer_of
from seqward.methods import METHODS
from seqward.recommender import Recommender
from seqward.step import Step
from seqward.target import Ema
from seqward.train import total_loss

ITEMS = 12


def matrix(step: Step, scores: Any) -> Tensor:
    """[n, items]"""
    return scores.at(torch.arange(ITEMS).expand(len(step.action), ITEMS)).detach()


@pytest.mark.parametrize("leads_to", ["same", "next"])
@pytest.mark.parametrize("outside", ["action", "session"])
def test_negatives_against_the_equation(leads_to: str, outside: Any) -> None:
    """Sum over negatives of .5 (r + g Q'(s*, argmax Q(s*)) - Q(s, a-))^2, where s* is s, and never ends, or s'."""
    job = job_of("snqn", shop(), negative_leads_to=leads_to, outside=outside, negative_reward=-0.5, gamma=0.8)
    step = loud_step(job)
    now = matrix(step, step.now("q"))
    same = leads_to == "same"
    greedy = (now if same else matrix(step, step.next("q"))).argmax(1)
    values = matrix(step, step.target_now("q") if same else step.target_next("q"))
    expected = []
    for i, negatives in enumerate(step.negatives(3, outside).tolist()):
        goes_on = 1.0 if same else float(step.live[i])
        target = -0.5 + 0.8 * goes_on * float(values[i, greedy[i]])
        expected.append(sum(0.5 * (target - float(now[i, item])) ** 2 for item in negatives))
    torch.testing.assert_close(loss_of(job, "ω L_N")(step).detach(), torch.tensor(expected))
    assert 0 < int((step.live == 0).sum()) < len(step.live)


def test_of_negatives_only_their_own_q_learns() -> None:
    job = job_of("snqn", shop())
    step = loud_step(job)
    loss_of(job, "ω L_N")(step).sum().backward()
    bias = step.online.heads["q"].linear.bias.grad
    assert (bias != 0).nonzero()[:, 0].tolist() == step.negatives(3, "action").unique().tolist()
    assert [p.grad for p in step.online.heads["policy"].parameters()] == [None, None]


def test_no_negatives_are_no_term(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Step, "negatives", lambda *_: pytest.fail("negatives were drawn"))
    job = job_of("snqn", shop(), negatives=0)
    _, means = total_loss(job.method.phases[0], loud_step(job))
    assert list(means) == ["L_CE", "ω L_Q"]


@pytest.mark.parametrize("name", [n for n, e in METHODS.items() if hasattr(e.sections.get("objective"), "lr_phase_2")])
def test_the_second_learning_rate(name: str) -> None:
    """Its own, or that of training; never of a method in one phase."""
    for changes, rates in (({}, [0.5, 0.5]), ({"lr_phase_2": 0.25}, [0.5, 0.25]), ({"phases": 1}, [0.5])):
        method = job_of(name, shop(), **{"lr": 0.5, "lr_phase_2": None} | changes).method
        assert [phase.lr for phase in method.phases] == rates


@pytest.mark.parametrize(("name", "power"), [("sa2c", 0.0), ("sa2c-smooth", 1.0), ("sa2c-smooth", 0.5)])
def test_the_actor_of_sa2c_against_the_equation(name: str, power: float) -> None:
    """clip(Q(a) - mean(Q(a), Q(a-)), 0, 1) * clip(pi(a) / popularity(a), .5, 2)^power * -log pi(a)."""
    changes = {"advantage_max": 1.0, "propensity_min": 0.5, "propensity_max": 2.0, "propensity_power": power}
    job = job_of(name, shop(), **changes)
    step = loud_step(job)
    q, logits = matrix(step, step.now("q")), matrix(step, step.now("policy"))
    counts = torch.bincount(torch.from_numpy(shop().item[shop().split == 0].astype("int64")), minlength=ITEMS)
    advantages, ratios, expected = [], [], []
    for i, (action, negatives) in enumerate(
        zip(step.action.tolist(), step.negatives(3, "action").tolist(), strict=True)
    ):
        mean = (q[i, action] + sum(q[i, item] for item in negatives)) / 4
        advantages.append(float(q[i, action] - mean))
        pi = float(torch.softmax(logits[i], 0)[action])
        ratios.append(pi / float(counts[action] / counts.sum()))
        weight = min(max(advantages[-1], 0.0), 1.0) * min(max(ratios[-1], 0.5), 2.0) ** power
        expected.append(weight * -float(torch.log(torch.tensor(pi))))
    symbol = "ρ A L_CE" if power else "A L_CE"
    torch.testing.assert_close(loss_of(job, symbol, 1)(step).detach(), torch.tensor(expected), rtol=1e-4, atol=1e-5)
    assert min(advantages) < 0 and max(advantages) > 1, "both ends of the clip are met"
    assert min(ratios) < 0.5 and max(ratios) > 2


def test_without_limits_an_advantage_may_be_negative() -> None:
    job = job_of("sa2c", shop(), advantage_min=None, advantage_max=None)
    loss = loss_of(job, "A L_CE", 1)(loud_step(job))
    assert bool((loss < 0).any())


@pytest.mark.parametrize("name", ["snqn", "sa2c"])
def test_the_head_that_ranks(name: str) -> None:
    """What is ranked and selected by; training is the same."""
    by_policy, by_q = (job_of(name, shop(), rank_by=head) for head in ("policy", "q"))
    assert_same_bits(*(after_steps(job, 3).modules.state_dict() for job in (by_policy, by_q)))
    model = after_steps(by_q, 3).evaluated
    assert [scorer_of(job.method, model).ranks for job in (by_policy, by_q)] == [{"policy": 1.0}, {"q": 1.0}]


def test_a_recommender_that_ranks_by_q_recommends_so() -> None:
    fitted = Recommender("snqn", rank_by="q", n_factors=8, session_max_len=4, epochs=1, batch_size=8).fit(shop())
    own, by_q, by_policy = (fitted.recommend(histories=[["i1"]], k=12, rank_by=by) for by in (None, "q", "policy"))
    assert own.equals(by_q)
    assert not own.equals(by_policy)


AS_PUBLISHED = [
    # name, lr, lr of phase 2, events of phase 1 (None: one phase), batch, passes
    ("gru4rec-sqn", 0.01, None, None, 256, 30),
    ("caser-sqn", 0.01, None, None, 256, 30),
    ("nextitnet-sqn", 0.01, None, None, 256, 30),
    ("sasrec-sqn", 0.01, None, None, 256, 30),
    ("sasrec-ac", 0.01, 0.01, 30_000 * 256, 256, 30),
    ("snqn", 0.01, None, None, 256, 50),
    ("sa2c", 0.01, 0.001, 15_000 * 256, 256, 50),
    ("sa2c-smooth", 0.01, 0.001, 15_000 * 256, 256, 50),
    ("sasrec-co", 0.01, 0.01, 30_000 * 256, 256, 60),
    ("sasrec-ccql", 0.005, 0.001, 15_000 * 256, 256, 60),
    ("sasrec-ac-released", 0.01, 0.01, 30_000 * 256, 256, 60),
    ("sasrec-co-released", 0.01, 0.01, 30_000 * 256, 256, 60),
    ("sasrec-ccql-released", 0.005, 0.001, 15_000 * 256, 256, 60),
]


@pytest.mark.parametrize(("name", "lr", "lr_2", "warmup", "batch", "epochs"), AS_PUBLISHED)
def test_what_the_source_sets(
    name: str, lr: float, lr_2: float | None, warmup: int | None, batch: int, epochs: int
) -> None:
    entry = METHODS[name]
    method, train = entry.build(**entry.sections), entry.sections["train"]
    assert [phase.lr for phase in method.phases] == [rate for rate in (lr, lr_2) if rate is not None]
    assert [phase.events for phase in method.phases] == ([None] if warmup is None else [warmup, None])
    assert (train.batch_size, train.epochs) == (batch, epochs)
    assert (method.gamma, method.critic, method.ranks) == (0.5, "q", "policy")
    backbone = entry.sections["backbone"]
    assert (backbone.n_factors, backbone.session_max_len) == (64, 10)


@pytest.mark.parametrize("base", ["gru4rec", "caser", "nextitnet"])
def test_other_backbones_are_weighted_by_q_from_the_first_step(base: str) -> None:
    entry = METHODS[f"{base}-ac"]
    (phase,) = entry.build(**entry.sections).phases
    assert [term.symbol for term in phase.terms] == ["Q L_CE", "ω L_Q"]
    assert phase.lr == 0.01
    assert entry.sections["backbone"].dropout_rate == 0.0


def test_negatives_as_published() -> None:
    """Ten, anything but the logged item, that earn nothing and leave the user where he was; A in [0, 10]."""
    for name in ("snqn", "sa2c", "sa2c-smooth"):
        o = METHODS[name].sections["objective"]
        assert (o.negatives, o.outside, o.negative_reward, o.negative_leads_to) == (10, "action", 0.0, "same")
    o = METHODS["sa2c-smooth"].sections["objective"]
    assert (o.advantage_min, o.advantage_max, o.propensity_min, o.propensity_max) == (0.0, 10.0, 0.1, 10.0)
    assert [METHODS[name].sections["objective"].propensity_power for name in ("sa2c", "sa2c-smooth")] == [0.0, 1.0]


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("snqn", {"draw": "transitions", "patience": 0, "rank_by": "q"}),
        ("snqn", {"draw": "transitions", "patience": 0, "lr": 0.005}),
        ("sa2c", {"draw": "transitions", "patience": 0}),
        ("sa2c", {"draw": "transitions", "patience": 0, "lr": 0.005}),
        ("gru4rec-ac", {"draw": "transitions", "patience": 0, "lr": 0.005, "warmup_events": 3_840_000}),
    ],
)
def test_what_makes_a_method_that_of_its_code_is_a_setting(name: str, changes: dict[str, Any]) -> None:
    """The settings that the docstrings name; a step of them is one of drawn transitions."""
    settings = Recommender(name, **changes).settings
    assert {k: v for section in settings.values() for k, v in section.items() if k in changes} == changes
    job = job_of(name, shop(), **{"batch_size": 24} | changes)
    assert len(job.data.batch(0, 24, 0).event) == 24
    after_steps(job, 1)


def test_an_ema_target_follows_at_its_rate() -> None:
    assert job_of("sa2c", shop(), target="ema", tau=0.25).method.target == Ema(0.25)


# CQL ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_the_conservative_term_against_the_equation(temperature: float) -> None:
    """t log sum_i exp(Q(s, i) / t) - Q(s, a) over all items, the logged one among them."""
    job = job_of("sasrec-cql", shop(), temperature=temperature)
    step = loud_step(job)
    q = matrix(step, step.now("q"))
    expected = temperature * (q / temperature).exp().sum(1).log() - q[torch.arange(len(q)), step.action]
    torch.testing.assert_close(loss_of(job, "α L_CQL")(step).detach(), expected)


def test_without_conservation_it_is_sqn() -> None:
    """alpha 0 is SQN to the bit, on twins and on a following target; alpha 1 is another method."""
    for target in ("twin", "ema"):
        sqn, bare, whole = (
            after_steps(job_of(name, shop(), target=target, **changes), 5).modules.state_dict()
            for name, changes in (("sasrec-sqn", {}), ("sasrec-cql", {"alpha": 0.0}), ("sasrec-cql", {}))
        )
        assert_same_bits(bare, sqn)
        assert not all(torch.equal(sqn[key], whole[key]) for key in sqn)


def test_conservation_opens_a_gap_under_logged_items() -> None:
    """After the same steps Q of other items lies further below that of the logged ones than SQN has it."""
    gaps = []
    for alpha in (0.0, 1.0):
        job = job_of("sasrec-cql", shop(), alpha=alpha, lr=0.01, target="ema")
        model = after_steps(job, 60).evaluated.eval()
        step = Step(model, model, job.data.batch(0, 40, 0), 0, 0)
        q = matrix(step, step.now("q"))
        gaps.append(float((step.logged("q").detach() - q.mean(1)).mean()))
    assert gaps[0] < 0.1 and gaps[1] > 0.25


def test_published_cql() -> None:
    """The base is SASRec-SQN's, settings and all."""
    cql, sqn = METHODS["sasrec-cql"].sections, METHODS["sasrec-sqn"].sections
    assert (cql["backbone"], cql["train"]) == (sqn["backbone"], sqn["train"])
    assert (cql["objective"].alpha, cql["objective"].temperature, cql["objective"].gamma) == (1.0, 1.0, 0.5)
