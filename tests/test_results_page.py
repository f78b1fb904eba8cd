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
            assert f"| {run['method']} |" in section
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
