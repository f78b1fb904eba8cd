"""The page of results is what the studies' results say."""

from __future__ import annotations

import re

from results_page import PAGE, page, studies


def test_the_page_is_made_from_the_results() -> None:
    assert PAGE.read_text() == page(studies())


def test_it_holds_every_finished_method_of_every_study() -> None:
    """With its seeds and a figure that a run has; baselines in every table."""
    text = PAGE.read_text()
    for study in studies():
        (section,) = re.findall(rf"^## {study['study']}\n(.*?)(?=^## |\Z)", text, flags=re.MULTILINE | re.DOTALL)
        for run in study["runs"]:
            assert f"| {run['method']} |" in re.sub(r"\| method \| mean Q(?:.+\n)*", "", section)
        assert section.count("| *last-items* |") == len({run["data"] for run in study["runs"]})


def test_mean_range_and_interval_of_the_seed_in_the_middle_moved_to_the_mean() -> None:
    def run(seed: int, hr: float) -> dict:
        figures = {
            "n": 10,
            "hr@20": hr,
            "ndcg@20": hr / 2,
            "ci": {"hr@20": [hr - 0.1, hr + 0.1], "ndcg@20": [0.0, 1.0]},
        }
        test = {"all": figures, "goal": None, "goal_repeat": None, "goal_novel": None}
        return {"data": "d", "method": "m", "seed": seed, "state": "finished", "stopped": "all", "test": test}

    data = {"recipe": {}, "baselines": {"popularity": {"all": {"n": 10, "hr@20": 0.1, "ndcg@20": 0.1, "ci": None}}}}
    study = {"study": "s", "evaluate": {}, "data": {"d": data}, "runs": [run(0, 0.5), run(1, 0.2), run(2, 0.4)]}
    text = page([study])
    assert (
        "| m | 3 | 0.3667 (0.2000 to 0.5000) [0.2667, 0.4667] | 0.1833 (0.1000 to 0.2500) [0.0000, 0.9833] |  |" in text
    )
    assert "| *popularity* |  | 0.1000 | 0.1000 |  |" in text


def test_it_says_what_of_a_shipped_study_was_not_run_and_what_the_critics_know() -> None:
    """Figure 1 has four methods and three seeds on each of two data sets; here is one run, whose Q is .1 at 0.4."""
    q = {"n": 10, "mean_q": 0.1, "max_q": 0.7, "mean_return": 0.4, "gap": -0.3, "rank_correlation": None}
    figures = {"n": 10, "hr@20": 0.5, "ndcg@20": 0.3, "ci": None}
    test = {"all": figures, "goal": None, "goal_repeat": None, "goal_novel": None, "q": q}
    one = {"data": "shop", "method": "snqn", "seed": 0, "state": "finished", "stopped": "all", "test": test}
    data = {"shop": {"recipe": {}, "baselines": {}}}
    text = page([{"study": "figure-1", "evaluate": {}, "data": data, "runs": [one]}])
    assert "Not finished: 11 of 12 runs on shop. Not finished: 12 of 12 runs on trivago." in text
    (others,) = re.findall("were not run yet: (.*)\\.", text)
    assert "figure-3" in others and "figure-1" not in others
    assert "| snqn | 0.100 (0.100 to 0.100) | 0.700 (0.700 to 0.700) | 0.400 (0.400 to 0.400) |  |" in text
