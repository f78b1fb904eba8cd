"""Tables that cannot be are told from those that can."""

from __future__ import annotations

import csv
import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqward import SeqwardError
from seqward.cli import main
from seqward.errors import Finding
from seqward.lint import lint_table, refuse_impossible_figures

PAPER = Path(__file__).parents[1] / "benchmarks" / "published" / "ccql-tables.csv"


def table(folder: Path, text: str) -> Path:
    file = folder / "table.csv"
    file.write_text(text)
    return file


def broken(folder: Path, text: str, **rewards: float) -> list[str]:
    return [f"{found.line} {found.broken}" for found in lint_table(table(folder, text), **rewards)[1]]


def test_of_the_papers_54_rows_14_are_impossible() -> None:
    """An independent count of the same tables."""
    rows, found, unchecked = lint_table(PAPER)
    assert rows == 54
    assert len({one.line for one in found}) == 14
    (said,) = unchecked
    assert said.startswith("Reward@k was not checked, since the counts n_click and n_goal are not given: ")


def test_the_bounds_by_hand(tmp_path: Path) -> None:
    """Ten more hits in a hundred between 5 and 10 lie at ranks 6 to 10: worth .1 / log2(11) = .0289 to .1 / log2(7) =
    .0356, with .0005 for each of the two figures.
    """
    for ndcg, fine in ((0.228, True), (0.227, False), (0.236, True), (0.238, False)):
        said = broken(tmp_path, f"model,task,HR@5,NDCG@5,HR@10,NDCG@10\nm,click,.300,.200,.400,{ndcg}\n")
        assert (said == []) is fine, ndcg


@pytest.mark.parametrize(
    ("header", "row", "said"),
    [
        ("HR@5,NDCG@20", ".300,.100", "NDCG@20 is 0.1000, but with HR@5 of 0.3000 one ranking allows 0.1154 to 0.5502"),
        ("HR@5,NDCG@20", ".300,.120", None),
        ("HR@5,NDCG@20", ".300,.548", None),
        ("HR@5,NDCG@20", ".300,.560", "NDCG@20 is 0.5600, but with HR@5 of 0.3000 one ranking allows 0.1154 to 0.5502"),
        (
            "HR@20,NDCG@5",
            ".300,.310",
            "NDCG@5 is 0.3100, but with HR@20 of 0.3000 one ranking allows 0.0000 to 0.3010",
        ),
        ("HR@20,NDCG@5", ".300,.300", None),
        ("HR@2,MRR@9", ".400,.150", "MRR@9 is 0.1500, but with HR@2 of 0.4000 one ranking allows 0.1992 to 0.6008"),
        ("HR@5,HR@20,NDCG@20", ".300,.310,.100", "but with HR@5 of 0.3000 one ranking allows 0.1176 to 0.3046"),
        ("HR@5,HR@20,NDCG@20", ".300,.310,.306", "but with HR@5 of 0.3000 one ranking allows 0.1176 to 0.3046"),
        ("HR@5,HR@20,NDCG@20", ".300,.310,.304", None),
        ("HR@5,HR@20,NDCG@20", ".300,.900,.240", "but with HR@5 of 0.3000 one ranking allows 0.2520 to 0.5147"),
        ("HR@5,NDCG@5,NDCG@20", ".300,.150,.500", "but with HR@5 of 0.3000 one ranking allows 0.1490 to 0.4005"),
        ("HR@5,NDCG@5,NDCG@20", ".300,.150,.400", None),
    ],
)
def test_metrics_at_other_cut_offs_than_hr_are_held_to_it(
    tmp_path: Path, header: str, row: str, said: str | None
) -> None:
    """.3 of the events hit among five are worth .3 / log2(6) = .1161 or more, and what comes later .7 / log2(7) = .2493
    or less; .4 among two .4 / 2 = .2 or more. Three decimals leave .0005 to either side.

    Where HR@20 is .31, the .01 later are worth .01 / log2(7) = .0036 at most and .01 / log2(21) = .0023 at least; where
    it is .9, .6 / log2(21) = .1366 and more. Where NDCG@5 is .15, NDCG@20 is .15 + .2493 or less.
    """
    found = broken(tmp_path, f"model,task,{header}\nm,click,{row}\n")
    assert len(found) == (said is not None)
    assert said is None or said in found[0]


def test_each_figure_has_the_room_of_its_own_decimals(tmp_path: Path) -> None:
    """.2 stands for .15 to .25, .200 for .1995 to .2005."""
    row = "model,task,HR@5,NDCG@5,HR@10,NDCG@10\nm,click,.30,{},.30,.24\n"
    assert broken(tmp_path, row.format(".2")) == []
    assert broken(tmp_path, row.format(".200"))


@given(st.lists(st.integers(1, 40), min_size=1, max_size=60), st.integers(2, 5))
def test_a_true_row_is_never_accused(tmp_path_factory: pytest.TempPathFactory, ranks: list[int], decimals: int) -> None:
    rank = np.array(ranks)
    ks = (1, 3, 10, 20)
    hr = {k: float((rank <= k).mean()) for k in ks}
    ndcg = {k: float(np.where(rank <= k, 1 / np.log2(rank + 1), 0).mean()) for k in ks}
    reward = {k: 0.2 * float((rank <= k).sum()) for k in ks}
    names = [f"{m}@{k}" for k in ks for m in ("HR", "NDCG", "Reward")]
    cells = [f"{value:.{decimals}f}" for k in ks for value in (hr[k], ndcg[k], reward[k])]
    empty = ["0" for _ in names]
    lines = [["model", "task", "n_click", "n_goal", *names], ["m", "click", str(len(rank)), "0", *cells]]
    lines += [
        [
            "m",
            "goal",
            "",
            "",
            *[c if n.startswith("Reward") else e for n, c, e in zip(names, cells, empty, strict=True)],
        ]
    ]
    folder = tmp_path_factory.mktemp("true")
    for kept in (names, [n for n in names if n not in ("HR@3", "NDCG@1", "HR@20")]):
        columns = [*range(4), *(4 + names.index(name) for name in kept)]
        with (folder / "table.csv").open("w", newline="") as stream:
            csv.writer(stream).writerows([[line[c] for c in columns] for line in lines])
        assert lint_table(folder / "table.csv")[1] == []


def test_what_falls_with_the_length_of_the_list_is_impossible(tmp_path: Path) -> None:
    """Where HR or NDCG stands alone, too, and for other metrics."""
    assert broken(tmp_path, "model,task,NDCG@5,NDCG@10\nm,click,0.31,0.29\n") == [
        "2 from 5 to 10: NDCG falls by 0.02, but no longer list holds less"
    ]
    assert broken(tmp_path, "model,task,MRR@5,MRR@20\nm,click,0.310,0.309\n") == []
    assert broken(tmp_path, "model,task,hr@20,hr@5\nm,click,0.20,0.31\n")


@pytest.mark.parametrize("metric", ["HR", "NDCG", "MRR", "Reward"])
def test_the_first_and_the_last_are_compared_whatever_is_between(tmp_path: Path, metric: str) -> None:
    """.310 to .3 (.25 to .35) and .3 to .305 are possible, .3095 or more to .3055 or less is not."""
    names = ",".join(f"{metric}@{k}" for k in (1, 5, 10))
    assert broken(tmp_path, f"model,task,{names}\nm,click,.310,.3,.305\n") == [
        f"2 from 1 to 10: {metric.upper()} falls by 0.005, but no longer list holds less"
    ]
    assert broken(tmp_path, f"model,task,{names}\nm,click,.310,.3,.310\n") == []


REWARDS = "model,task,n_click,n_goal,HR@20,Reward@20\nm,click,1000,100,0.30,{}\nm,purchase,,,0.50,\n"


def test_reward_is_the_sum_that_the_hit_rates_imply(tmp_path: Path) -> None:
    """1,000 * .2 * .30 + 100 * 1 * .50 = 110, with 1 + .5 for rounding; .5 more where it is printed whole."""
    assert broken(tmp_path, REWARDS.format("112")) == []
    assert broken(tmp_path, REWARDS.format("108.4")) == ["2 reward@20 is 108.4, but hr@20 implies 108.45 to 111.55"]
    assert broken(tmp_path, REWARDS.format("108.4"), click_reward=0.195) == []
    assert broken(tmp_path, REWARDS.replace("1000,100", ",").format("900")) == [], "nothing is known without counts"


def test_a_click_may_cost(tmp_path: Path) -> None:
    """1,000 * -.2 * .30 + 100 * 1 * .50 = -10, with 1 + .5 for rounding, .5 or .05 for the reward's own, and 1e-5.

    A longer list then may collect less: clicks of -.2 at .30 and at .60 collect -60 and -120.
    """
    assert broken(tmp_path, REWARDS.format("-12"), click_reward=-0.2) == []
    assert broken(tmp_path, REWARDS.format("-12.4"), click_reward=-0.2) == [
        "2 reward@20 is -12.4, but hr@20 implies -11.55 to -8.44999"
    ]
    falls = "model,task,Reward@5,Reward@10\nm,click,-60,-120\n"
    assert broken(tmp_path, falls, click_reward=-0.2) == []
    assert broken(tmp_path, falls) == ["2 from 5 to 10: REWARD falls by 60, but no longer list holds less"]


@pytest.mark.parametrize(
    ("rewards", "fine"),
    [
        ({"column": "amount", "least": -1.0}, True),
        ({"types": {"view": 1.0, "return": -1.0, "cart": 0.5}}, True),
        ({"types": {"view": 1.0, "cart": 0.0, "buy": 2.0}}, False),
        ({"column": "amount"}, False),
    ],
)
def test_reward_falls_with_the_list_only_where_an_event_costs(rewards: dict[str, Any], fine: bool) -> None:
    group = {"n": 10, "hr@5": 0.1, "hr@10": 0.2}
    figures = {"goal": group, "click": group, "reward@5": 1.0, "reward@10": 0.0}
    with nullcontext() if fine else pytest.raises(Finding, match="from 5 to 10: REWARD falls by 1"):
        refuse_impossible_figures([("m", figures)], {"goal": "buy", "rewards": rewards})


@pytest.mark.parametrize("task", ["all", "purchase_repeat", "Goal_Novel"])
def test_a_row_of_both_tasks_or_of_a_part_hides_no_wrong_reward(tmp_path: Path, task: str) -> None:
    rows = REWARDS.format("108.4") + f"m,{task},,,0.32,\n"
    assert broken(tmp_path, rows) == ["2 reward@20 is 108.4, but hr@20 implies 108.45 to 111.55"]


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (
            REWARDS.format("1") + "m,cart,,,0.1,\n",
            "one row of clicks and one of goals are expected, and there are 1 and 2",
        ),
        (REWARDS.format("1").replace("purchase", "all"), "there are 1 and 0"),
        (REWARDS.format("1").replace("1000,100", ",100"), "the counts n_click and n_goal are not given"),
        (REWARDS.format("1").replace("0.50", ""), "HR at the same k is not given for both tasks"),
    ],
    ids=["two goals", "no goal", "no count", "no hits"],
)
def test_rewards_that_cannot_be_checked_are_said_to_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rows: str, why: str
) -> None:
    found = lint_table(table(tmp_path, rows))
    assert found.found == [] and len(found.unchecked) == 1
    assert why in found.unchecked[0] and found.unchecked[0].endswith(": m.")
    assert main(["lint-table", str(tmp_path / "table.csv")]) == 0
    assert found.unchecked[0] in capsys.readouterr().err
    assert lint_table(table(tmp_path, REWARDS.format("110"))).unchecked == []


@pytest.mark.parametrize("name", ["Recall", "recall", "Hit", "Hits", "Hit Rate", "hit_ratio", "HitRate"])
def test_a_hit_rate_by_another_name_is_checked(tmp_path: Path, name: str) -> None:
    (tmp_path / "table.csv").write_text(f"model,task,{name}@5,{name}@10\nm,all,0.20,0.10\n")
    (one,) = lint_table(tmp_path / "table.csv").found
    assert one.broken == "from 5 to 10: HR falls by 0.1, but no longer list holds less"


def test_a_metric_that_is_not_known_is_told_and_makes_no_other_row(tmp_path: Path) -> None:
    """Precision differs between the two rows of a model; it takes no part in the model's name, so Reward is checked."""
    columns = "model,task,precision@20,HR@20,reward@20,n_click,n_goal\n"
    (tmp_path / "table.csv").write_text(columns + "m,click,0.02,0.30,108.4,1000,100\nm,buy,0.03,0.50,,,\n")
    found = lint_table(tmp_path / "table.csv")
    assert found.unchecked == ["Not checked: precision@20. HR, NDCG, MRR and Reward are."]
    assert [one.broken for one in found.found] == ["reward@20 is 108.4, but hr@20 implies 108.45 to 111.55"]


def test_counts_of_a_models_two_rows_are_the_same(tmp_path: Path) -> None:
    rows = REWARDS.format("110").replace("purchase,,", "purchase,900,100")
    assert broken(tmp_path, rows) == ["3 n_click is 900, but 1000 in line 2: they are not of the same events"]
    assert broken(tmp_path, rows.replace("900", "1000.0")) == []


def test_a_part_has_counts_of_its_own(tmp_path: Path) -> None:
    rows = "model,task,HR@20,n_goal\na,goal,.2,100\na,goal_novel,.1,60\n"
    assert broken(tmp_path, rows) == []


def test_figures_of_other_events_are_refused_in_one_table(tmp_path: Path) -> None:
    """As from another split. A column that tells data sets apart makes two tables of it."""
    columns = "{}model,task,HR@20,n_click,n_goal\n"
    rows = columns.format("") + "a,click,.1,1000,100\na,goal,.2,,\nb,click,.1,1000,100\nb,goal,.2,,50\n"
    assert broken(tmp_path, rows) == ["5 n_goal is 50, but 100 in line 2: they are not of the same events"]
    assert broken(tmp_path, columns.format("data,") + "x,a,click,.1,1000,100\ny,a,click,.1,2000,50\n") == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty. Expected a CSV table with the columns model, task and metrics as HR@5"),
        ("modle,task,HR@5\n", "has no column 'model'. There are: modle, task, HR@5. Did you mean 'modle'"),
        (
            "model;task;HR@5\nm;click;.1\n",
            "no column 'model'. There are: model;task;HR@5. It is one column: commas are expected between columns.",
        ),
        ("model,task,HR@5\n\n", "table.csv has a header and no rows. Expected one row a model and task."),
        ("model,task,hits\n", "has no metric: expected columns such as HR@5 and NDCG@5; there are model, task, hits"),
        ("model,task,HR@5,hr@5\n", "has the column 'hr@5' twice: HR@5, hr@5. Leave one out."),
        ("model,task,HR@5,Recall@5\n", "has the column 'hr@5' twice: HR@5, Recall@5. Leave one out."),
        ("model,task,HR@5\nm,click\n", "line 2: 2 entries under 3 columns"),
        ("model,task,HR@5\nm,click,many\n", "line 2: hr@5 is 'many'; expected a number such as 0.613, or nothing"),
        ("model,task,HR@5\nm,click,nan\n", "hr@5 is 'nan'"),
        ("model,task,HR@5\nm,click,-.1\n", "hr@5 is '-.1'; expected a number such as 0.613, or nothing"),
        (
            "model,task,n_click,HR@5\nm,click,,.1\nm,goal,1000.9,.1\n",
            "line 3: n_click is '1000.9'; expected a whole number such as 1000, or nothing",
        ),
        ("model,task,n_goal,HR@5\nm,click,many,.1\n", "line 2: n_goal is 'many'; expected a whole number"),
        (
            "model,task,HR@5\nm,click,61.3\n",
            "hr@5 is 61.3; expected a share between 0 and 1. Divide percentages by 100",
        ),
    ],
)
def test_what_is_no_such_table_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SeqwardError) as error:
        lint_table(table(tmp_path, text))
    assert message in str(error.value)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(SeqwardError, match=r"none\.csv cannot be read as a CSV file: No such file or directory\.$"):
        lint_table(tmp_path / "none.csv")
    (tmp_path / "latin.csv").write_bytes("model,task,HR@5\nmü,click,.1\n".encode("latin-1"))
    with pytest.raises(SeqwardError, match=r"cannot be read as a CSV file: it is no UTF-8 text\.$"):
        lint_table(tmp_path / "latin.csv")


def test_the_command_prints_each_and_exits_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint-table", str(PAPER)]) == 1
    printed = capsys.readouterr()
    assert printed.out.splitlines()[0] == "line\tmodel\ttask\tbound that is broken"
    assert "14 of 54 rows are impossible." in printed.err
    assert main(["lint-table", str(PAPER), "--json"]) == 1
    assert {"line", "model", "task", "broken"} == json.loads(capsys.readouterr().out)[0].keys()
    assert main(["lint-table", str(table(tmp_path, "model,task,HR@5,NDCG@5\nm,click,0.3,0.2\n"))]) == 0
    assert "0 of 1 rows" in capsys.readouterr().err
    assert main(["lint-table", str(tmp_path / "none.csv")]) == 2
