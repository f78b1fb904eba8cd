"""FPMC: its score is the user's taste plus the step from the last item; a stranger has the step only."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from encoders import PAD, START, VOCABULARY, assert_states, build, tokens
from jobs import job_of, recommender
from seqward.backbones.backbone import Histories
from seqward.backbones.fpmc import FPMC, FPMCSettings
from seqward.data.dataset import TEST
from seqward.methods import METHODS
from seqward.model import Model
from worlds import data_of, ranks, split_by_session


def slow(b: FPMC, row: list[int]) -> dict[int, Tensor]:
    """Of user 1, whose factor is the second after the one that is nobody's."""
    return {t: torch.cat([b.users.weight[2], b.items.weight[i]]) for t, i in enumerate(row) if i != PAD}


def test_against_its_equation() -> None:
    assert_states(build(FPMCSettings, {}), slow)


def test_the_score_is_the_sum_of_two_products() -> None:
    """<V_u^UI, V_i^IU> + <V_l^LI, V_i^IL>, without a bias; the first item's step is from the start token."""
    entry = METHODS["fpmc"]
    method = entry.build(**entry.sections)
    torch.manual_seed(0)
    model = Model(method.backbone, method.heads, VOCABULARY)
    b: Any = model.backbone
    rows = model.heads["policy"].linear.weight
    assert model.heads["policy"].linear.bias is None
    of_user, of_item = rows.split(64, 1)
    states = model.states(Histories(torch.tensor([[3, 5], [5, 3]]), users=torch.tensor([0, -1])))
    for row, (user, history) in enumerate([(b.users.weight[1], [START, 3, 5]), (torch.zeros(64), [START, 5, 3])]):
        for t, last in enumerate(history):
            found = model.scores("policy", states[row, t][None]).at(torch.arange(12)[None])
            torch.testing.assert_close(found[0], of_user @ user + of_item @ b.items.weight[last])


def test_nobody_is_a_stranger() -> None:
    """Users that are not told, and a user of -1; whatever row 0 of the factors holds."""
    b = build(FPMCSettings, {})
    known = tokens([1, 2])
    stranger, nobody = known._replace(users=torch.tensor([-1])), known._replace(users=None)
    assert torch.equal(b(stranger), b(nobody))
    assert not torch.allclose(b(stranger), b(known))
    b.users.weight.data[0] = 100.0
    assert torch.equal(b(stranger)[:, :, :8], torch.zeros(1, 3, 8))
    b(stranger).sum().backward()
    assert float(b.users.weight.grad.abs().sum()) == 0


# Users from the log to the recommendation ----------------------------------------------------------------------------

LOVES = {"ann": [0, 1], "bob": [2, 3]}
"""Two users whose steps are the same (any item after any other of two) and whose taste differs."""


def log(users: bool) -> Any:
    sessions, owners = [], []
    for user, (one, other) in LOVES.items():
        for order in ([4, one, 4, other], [4, other, 4, one], [4, one, 4, one], [4, other, 4, other]):
            sessions.append(order)
            owners.append(user)
    sessions.append([4, 0, 4])
    owners.append("eve")
    return split_by_session(data_of(sessions, 6, users=owners if users else None), 1)


def test_users_are_those_of_the_pieces() -> None:
    """Numbers of users with training events, in the order of their names; eve has none."""
    job = job_of("fpmc", log(True), session_max_len=1)
    assert job.data.n_users == 2
    batch = job.data.collate(torch.arange(job.data.n_pieces))
    owner = job.data.session[batch.event] // 4
    assert torch.equal(batch.users[batch.piece], owner)
    assert int((log(True).training_users()[0] == -1).sum()) == 1
    assert job_of("fpmc", log(False)).data.n_users == 8, "where no user is named each session is one"


@pytest.fixture(scope="module")
def fitted() -> Any:
    return recommender("fpmc", epochs=60, lr=0.05, n_factors=8, patience=0).fit(log(True))


def test_a_known_user_is_served_by_taste(fitted: Any) -> None:
    """The last session of each ends with an item of theirs; ann gets hers and bob his."""
    candidates = ["i0", "i1", "i2", "i3"]
    frame = fitted.recommend(dataset=log(True), users=["ann", "bob"], k=2, items_to_recommend=candidates)
    listed = {user: set(frame.filter(frame["user_id"] == user)["item_id"]) for user in LOVES}
    assert listed == {"ann": {"i0", "i1"}, "bob": {"i2", "i3"}}


def test_of_a_stranger_nothing_but_the_last_item_is_known(fitted: Any) -> None:
    asked = fitted.recommend(histories=[["i4", "i0", "i4"], ["i4", "i2", "i4"]], k=6)
    one, two = (asked.filter(asked["session_id"] == row).drop("session_id") for row in (0, 1))
    assert one.equals(two)


def test_another_data_sets_users_are_strangers(fitted: Any) -> None:
    """The same names and numbers, other events: they may be other people."""
    data = log(True)
    other = type(data)(**{**data.__dict__, "reward": data.reward * 2})
    known, unknown = (fitted.recommend(dataset=d, users=["ann"], k=6) for d in (data, other))
    assert not known.equals(unknown)
    alone = fitted.recommend(histories={"ann": data.item_ids[data.item[12:16]].tolist()}, k=6)
    assert unknown["item_id"].to_list() == alone["item_id"].to_list()


def test_evaluation_knows_the_users(fitted: Any) -> None:
    """After a 4 the two items that a user loves stand in front; of strangers with these sessions some do not."""
    data = log(True)
    strangers = type(data)(**{**data.__dict__, "split": np.full(data.n_events, TEST, dtype=np.uint8)})
    loved = data.item[data.events_of("train")] != 4
    known, unknown = (
        ranks(fitted.scorer, d, split).rank[: len(loved)] for d, split in ((data, "train"), (strangers, "test"))
    )
    assert bool((known[loved] <= 2).all())
    assert not bool((unknown[loved] <= 2).all())


def test_published() -> None:
    """literature 6.2: width 64, pairs of one other item each."""
    backbone, objective, train = METHODS["fpmc"].sections.values()
    assert (backbone.n_factors, backbone.dropout_rate, objective.negatives, train.lr) == (64, 0.0, 1, 0.001)
