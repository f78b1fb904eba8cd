"""The simulated shop: its shape, its funnel, and that its stated truth is the law of the log."""

from __future__ import annotations

import errno
from collections import Counter

import numpy as np
import polars as pl
import pytest

from seqward.data.simulate import Shop, discover, recall, shape_of, simulate, write_log
from seqward.data.world import World
from seqward.errors import SeqwardError


def sessions_of(shop: Shop) -> list[tuple[list[int], list[str]]]:
    grouped = shop.log.group_by("session_id", maintain_order=True).agg("item_id", "event_type")
    return list(zip(grouped["item_id"].to_list(), grouped["event_type"].to_list(), strict=True))


# --- shape -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_retailrocket_preset_has_its_shape_at_a_twentieth(seed: int) -> None:
    shape = shape_of(simulate(preset="retailrocket", sessions=9_776, seed=seed))
    assert shape["sessions"] == 9_776
    assert shape["items"] == pytest.approx(70_852 / 20, rel=0.01)
    assert shape["views"] == pytest.approx(1_176_680 / 20, rel=0.01)
    assert shape["carts"] == pytest.approx(57_269 / 20, rel=0.05)
    assert shape["mean_length"] == pytest.approx(6.31, rel=0.01)
    assert shape["repeated_views"] == pytest.approx(0.36, abs=0.015)
    assert shape["repeated_carts"] == pytest.approx(0.69, abs=0.03)
    assert shape["purchases"] == 0


@pytest.mark.slow
def test_the_retailrocket_preset_has_its_shape_in_full() -> None:
    shape = shape_of(simulate(preset="retailrocket"))
    assert shape["sessions"] == 195_523
    assert shape["items"] == pytest.approx(70_852, rel=0.01)
    assert shape["views"] == pytest.approx(1_176_680, rel=0.002)
    assert shape["carts"] == pytest.approx(57_269, rel=0.01)
    assert shape["repeated_views"] == pytest.approx(0.36, abs=0.003)
    assert shape["repeated_carts"] == pytest.approx(0.69, abs=0.006)


def test_lengths_start_at_three_and_have_a_heavy_tail() -> None:
    lengths = simulate(preset="retailrocket", sessions=9_776).log["session_id"].value_counts()["count"].to_numpy()
    assert lengths.min() == 3
    # The quantiles of the visitors of the raw sample of RetailRocket with at least three events: 4, 6, 10, 33.
    assert np.quantile(lengths, [0.5, 0.75, 0.9]).tolist() == [4, 6, 11]
    assert 30 <= np.quantile(lengths, 0.99) <= 45
    assert lengths.max() > 100


def test_popularity_follows_zipf() -> None:
    shop = simulate(sessions=20_000, items=2_000, related=0.0, cluster=0.0, drift=0.0, repeats=0.0, carts=0.0)
    counts = np.sort(shop.log["item_id"].value_counts()["count"].to_numpy())[::-1]
    ranks = np.arange(20, 500)
    slope = np.polyfit(np.log(ranks), np.log(counts[ranks - 1]), 1)[0]
    assert slope == pytest.approx(-0.8, abs=0.08)


def test_the_log_is_in_time_order_and_times_increase_within_a_session() -> None:
    log = simulate(sessions=500, items=100).log
    assert log.columns == ["session_id", "item_id", "event_type", "timestamp"]
    assert log["timestamp"].is_sorted()
    assert log.select((pl.col("timestamp").diff().over("session_id") <= 0).any()).item() is False


def test_the_other_size_keeps_the_proportion_of_the_preset() -> None:
    shop = simulate(preset="retailrocket", items=1_000)
    assert shop.log["session_id"].n_unique() == round(1_000 * 195_523 / 70_852)
    assert simulate(sessions=100).world.n_items == 20


def test_the_seed_decides_every_bit() -> None:
    first, again, other = (simulate(sessions=300, items=80, seed=seed) for seed in (4, 4, 5))
    assert first.log.equals(again.log)
    assert not first.log.equals(other.log)


# --- funnel ----------------------------------------------------------------------------------------------------------


def test_nothing_is_carted_before_it_was_viewed_nor_bought_before_it_was_carted() -> None:
    shop = simulate(sessions=2_000, items=300, seed=3)
    bought = 0
    for items, events in sessions_of(shop):
        stages: dict[int, list[str]] = {}
        for item, event in zip(items, events, strict=True):
            stages.setdefault(item, []).append(event)
        for events_of_item in stages.values():
            kinds = Counter(events_of_item)
            assert events_of_item[0] == "view"
            assert kinds["cart"] <= 1
            assert kinds["purchase"] <= kinds["cart"]
            if kinds["purchase"]:
                bought += 1
                assert events_of_item.index("cart") < events_of_item.index("purchase")
    assert bought > 100


# --- truth -----------------------------------------------------------------------------------------------------------


def test_items_follow_the_stated_probabilities_in_a_world_small_enough_to_count() -> None:
    shop = simulate(sessions=60_000, items=9, mean_length=3.1, repeats=0.3, carts=0.0, cluster_size=3, links=2)
    after: dict[tuple[int, ...], np.ndarray] = {}
    for items, _ in sessions_of(shop):
        for t in range(3):
            after.setdefault(tuple(items[:t]), np.zeros(9))[items[t]] += 1
    surprise, freedom = 0.0, 0
    for history, counts in after.items():
        expected = counts.sum() * shop.true_probabilities(history)
        likely = expected > 5
        assert counts[expected == 0].sum() == 0
        surprise += ((counts - expected)[likely] ** 2 / expected[likely]).sum()
        freedom += likely.sum() - 1
    # Chi-square over about 600 degrees of freedom: mean `freedom`, variance twice that.
    assert freedom > 500
    assert surprise < freedom + 4 * np.sqrt(2 * freedom)


def test_the_stage_of_an_item_decides_what_can_happen_to_it() -> None:
    shop = simulate(sessions=500, items=40, seed=2)
    chances = shop.true_event_probabilities([1, 2, 2, 3, 3, 3], ["view", "view", "cart", "view", "cart", "purchase"])
    view, cart, purchase = chances
    assert cart[1] == pytest.approx(min(1, shop.world.cart_again * shop.world.value[1]) * chances[:, 1].sum())
    assert purchase[2] == pytest.approx(0.6 * chances[:, 2].sum())
    assert cart[2] == cart[3] == cart[0] == purchase[0] == purchase[1] == purchase[3] == 0
    assert (view[[0, 1, 2, 3]] > 0).all()


def test_when_everything_was_seen_only_the_history_can_follow() -> None:
    shop = simulate(sessions=2_000, items=3, mean_length=8, seed=2)
    chances = shop.true_probabilities([0, 1, 2])
    assert chances.sum() == pytest.approx(1)
    assert chances[2] > chances[1] > chances[0] > 0  # the latest is the likeliest to come back
    tail = [items for items, _ in sessions_of(shop) if len(items) > 3 and set(items[:3]) == {0, 1, 2}]
    last_again = np.mean([items[3] == items[2] for items in tail])
    assert last_again == pytest.approx(1 / (1 + 2**-2 + 3**-2), abs=0.08)


@pytest.mark.parametrize(("way", "moves"), [("cluster", 0), ("drift", 1)])
def test_taste_stays_in_its_cluster_or_drifts_to_the_next(way: str, moves: int) -> None:
    ways = {"related": 0.0, "cluster": 0.0, "drift": 0.0, way: 1.0}
    shop = simulate(sessions=300, items=400, cluster_size=40, **ways)
    cluster = shop.world.cluster_of
    steps = [(cluster[items[1]] - cluster[items[0]]) % 10 for items, _ in sessions_of(shop) if items[0] != items[1]]
    assert set(steps) == {moves}


def outcomes(shop: Shop, sessions: int, goal: int) -> dict[str, np.ndarray]:
    """Rank of the true item for the oracles and baselines, and the hits that the truth promises."""
    popularity = shop.world.popularity
    rows = []
    for items, events in sessions_of(shop)[:sessions]:
        for t, (item, event) in enumerate(zip(items, events, strict=True)):
            by_event = shop.true_event_probabilities(items[:t], events[:t])
            next_item, next_goal = by_event.sum(axis=0), by_event[goal]
            recent = list(dict.fromkeys(reversed(items[:t])))
            rows.append(
                (
                    rank(next_item, item),
                    rank(next_goal, item),
                    rank(popularity, item),
                    recent.index(item) + 1 if item in recent else shop.world.n_items,
                    event == shop.world.settings.event_names[goal],
                    np.sort(next_item)[-20:].sum(),
                    next_goal.sum(),
                    by_event.sum(),
                )
            )
    names = ("oracle", "goal_oracle", "popularity", "last_items", "is_goal", "promised", "goal_chance", "total")
    return dict(zip(names, map(np.array, zip(*rows, strict=True)), strict=True))


def rank(scores: np.ndarray, item: int) -> int:
    return 1 + int((scores > scores[item]).sum())


@pytest.fixture(scope="module")
def retailrocket() -> dict[str, np.ndarray]:
    return outcomes(simulate(preset="retailrocket", items=2_000, seed=5), sessions=1_200, goal=1)


def test_the_hits_of_the_oracle_are_those_that_the_truth_promises(retailrocket: dict[str, np.ndarray]) -> None:
    hits = retailrocket["oracle"] <= 20
    error = np.sqrt((retailrocket["promised"] * (1 - retailrocket["promised"])).sum()) / len(hits)
    assert hits.mean() == pytest.approx(retailrocket["promised"].mean(), abs=4 * error)
    assert retailrocket["total"] == pytest.approx(1.0)


def test_as_many_carts_happen_as_the_truth_promises(retailrocket: dict[str, np.ndarray]) -> None:
    expected = retailrocket["goal_chance"].sum()
    assert retailrocket["is_goal"].sum() == pytest.approx(expected, abs=4 * np.sqrt(expected))


def test_the_oracle_beats_last_items_which_beat_popularity(retailrocket: dict[str, np.ndarray]) -> None:
    hit = {name: (retailrocket[name] <= 20).mean() for name in ("oracle", "last_items", "popularity")}
    assert hit["oracle"] > hit["last_items"] + 0.1
    assert hit["last_items"] > hit["popularity"] + 0.1


def test_the_value_dial_decides_whether_rewards_tell_items_apart() -> None:
    worth, flat = (simulate(preset="retailrocket", items=1_000, seed=6, value=value) for value in (1.0, 0.0))
    assert worth.log["item_id"].equals(flat.log["item_id"])  # only the events differ
    value = np.log(worth.world.value)
    assert (flat.world.value == 1).all()

    def gap(shop: Shop) -> float:
        is_cart = (shop.log["event_type"] == "addtocart").to_numpy()
        of_event = value[shop.log["item_id"].to_numpy()]
        return of_event[is_cart].mean() - of_event[~is_cart].mean()

    assert gap(worth) > 0.6
    assert abs(gap(flat)) < 0.15


def test_with_value_the_best_ranking_for_goals_is_another_than_for_items() -> None:
    seen = outcomes(simulate(preset="retailrocket", items=400, sessions=1_200, seed=7, value=2.0), 1_200, goal=1)
    goals = seen["is_goal"]
    assert (seen["goal_oracle"][goals] <= 5).mean() > (seen["oracle"][goals] <= 5).mean() + 0.03


def test_generic_purchases_follow_the_truth() -> None:
    seen = outcomes(simulate(sessions=800, items=300, seed=8), 800, goal=2)
    expected = seen["goal_chance"].sum()
    assert seen["is_goal"].sum() == pytest.approx(expected, abs=4 * np.sqrt(expected))
    assert (seen["goal_oracle"][seen["is_goal"]] <= 3).mean() > 0.95


def test_recall_prefers_the_recent_and_discover_avoids_the_seen() -> None:
    rng = np.random.default_rng(0)
    past = np.tile(np.array([7, 8, 9]), (4_000, 1))
    drawn = Counter(recall(past, 2.0, rng).tolist())
    assert [drawn[item] / 4_000 for item in (9, 8, 7)] == pytest.approx(np.array([1, 1 / 4, 1 / 9]) * 36 / 49, abs=0.03)
    world: World = simulate(sessions=10, items=12, cluster_size=4).world
    new = discover(world, np.tile(np.arange(10), (200, 1)), rng)
    assert set(new.tolist()) == {10, 11}


# --- writing and refusing --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_the_written_log_reads_back(tmp_path, ending: str) -> None:
    shop = simulate(sessions=50, items=30)
    path = write_log(shop, tmp_path / "new folder" / f"log{ending}")
    read = pl.read_csv(path) if ending == ".csv" else pl.read_parquet(path)
    assert read.equals(shop.log)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_an_existing_file_is_not_overwritten_without_force(tmp_path) -> None:
    shop, path = simulate(sessions=50, items=30), tmp_path / "log.csv"
    path.write_text("precious")
    with pytest.raises(SeqwardError, match=r"log\.csv already exists\. Give another --out, or --force"):
        write_log(shop, path)
    assert path.read_text() == "precious"
    write_log(shop, path, force=True)
    assert pl.read_csv(path).equals(shop.log)


@pytest.mark.parametrize(
    ("error", "said"),
    [(OSError(errno.ENOSPC, "No space left on device"), "No space left"), (pl.exceptions.ComputeError("IO"), "IO")],
)
def test_a_full_disk_leaves_no_half_file(tmp_path, monkeypatch, error: Exception, said: str) -> None:
    def fill(frame: pl.DataFrame, path) -> None:
        path.write_text("half")
        raise error

    monkeypatch.setattr(pl.DataFrame, "write_csv", fill)
    with pytest.raises(SeqwardError, match=rf"log\.csv cannot be written: .*{said}"):
        write_log(simulate(sessions=50, items=30), tmp_path / "log.csv")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"preset": "retailrock"}, r"No preset 'retailrock'\. There is: retailrocket\. Did you mean 'retailrocket'\?"),
        ({"repeat": 0.3}, r"no dial 'repeat'\. Did you mean 'repeats'\?"),
        ({"sessions": 0}, "at least 1 session and 2 items, not 0"),
        ({"sessions": 10, "items": 1}, "at least 1 session and 2 items, not 10 and 1"),
        ({"carts": 1.5}, "carts must lie between 0 and 1, not at 1.5"),
        ({"carts": 0.9}, r"ask for 5\d\d\.\d carts of items viewed before; this shop can reach"),
        ({"related": 0.7, "cluster": 0.7}, "at most 1: they are shares"),
        ({"repeats": 0.9}, r"repeats must be at most 0\.842, not 0\.9"),
        ({"mean_length": 2.0}, "min_length < mean_length < max_length, not 3, 2.0, 500"),
        ({"value": -1.0}, "value at least 0"),
    ],
)
def test_what_makes_no_shop_is_refused(arguments: dict, message: str) -> None:
    with pytest.raises(SeqwardError, match=message):
        simulate(**{"sessions": 100, **arguments})


def test_another_ending_is_refused(tmp_path) -> None:
    with pytest.raises(SeqwardError, match=r"written as \.csv or \.parquet, not as '\.json'"):
        write_log(simulate(sessions=50, items=30), tmp_path / "log.json")
