"""Settings from files, overrides and keywords: what is accepted, and what each refusal says."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqward import config
from seqward.errors import SeqwardError
from seqward.settings import Count, NonNegative, Positive, Share, settings


@settings
class Backbone:
    """The network."""

    n_factors: Count = 64
    """Width of the states
    and of the items."""
    dropout_rate: Share = 0.1
    pooling: Literal["last", "mean"] = "last"


@settings
class Objective:
    alpha: NonNegative = 0.01
    """Weight of the conservative term."""
    name: str = "plain"
    offset: float = 0.0


@settings
class Clock:
    max_minutes: Positive | None = None
    """Time limit."""


@settings
class Train(Clock):
    lr: Positive = 1e-3
    epochs: Count = 10
    at: tuple[int, ...] = (5, 20)
    workers: int | Literal["auto"] = "auto"
    shuffle: bool = True


DEFAULTS = {"backbone": Backbone(), "objective": Objective(), "train": Train()}


def write(folder: Path, text: str) -> Path:
    file = folder / "run.yaml"
    file.write_text(text)
    return file


def refusal(file: Path | None = None, *overrides: str) -> str:
    with pytest.raises(SeqwardError) as caught:
        config.read_config(DEFAULTS, file, overrides)
    return str(caught.value)


def test_nothing_given_is_the_defaults() -> None:
    assert config.read_config(DEFAULTS) == DEFAULTS


def test_file_then_overrides(tmp_path: Path) -> None:
    file = write(tmp_path, "method: sasrec\ntrain:\n  lr: 1e-4\n  epochs: 3\n")
    got = config.read_config(DEFAULTS, file, ["train.epochs=7", "alpha=1", "train.at=[1, 2]", "pooling=mean"])
    assert got["train"] == Train(lr=1e-4, epochs=7, at=(1, 2))
    assert got["objective"] == Objective(alpha=1.0)
    assert got["backbone"] == Backbone(pooling="mean")
    assert config.method_named_in(file) == "sasrec"


def test_yaml_is_version_1_2(tmp_path: Path) -> None:
    file = write(tmp_path, "objective: {name: no, alpha: 1e-3}\ntrain: {max_minutes: ~, epochs: 1_000}\n")
    got = config.read_config(DEFAULTS, file)
    assert (got["objective"].name, got["objective"].alpha, got["train"].epochs) == ("no", 1e-3, 1000)


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    assert config.read_config(DEFAULTS, write(tmp_path, "# nothing\n")) == DEFAULTS


def test_keywords_find_their_section() -> None:
    got = config.from_keywords(DEFAULTS, {"alpha": 0.5, "n_factors": np.int64(8), "at": [1]})
    assert (got["objective"].alpha, got["backbone"].n_factors, got["train"].at) == (0.5, 8, (1,))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.lr=-1", "train.lr should be greater than 0, got -1 (in --set train.lr=-1)."),
        ("train.lr=fast", "train.lr should be a valid number, got 'fast' (in --set train.lr=fast)."),
        ("train.epochs=2.5", "train.epochs should be a valid integer, got 2.5 (in --set train.epochs=2.5)."),
        ("train.epochs=true", "train.epochs should be a valid integer, got True (in --set train.epochs=true)."),
        ("train.shuffle=yes", "train.shuffle should be a valid boolean, got 'yes' (in --set train.shuffle=yes)."),
        ("train.at=3", "train.at should be a valid list, got 3 (in --set train.at=3)."),
        ("train.max_minutes=0", "train.max_minutes should be greater than 0, got 0 (in --set train.max_minutes=0)."),
        ("workers=x", "train.workers should be a valid integer or should be 'auto', got 'x' (in --set workers=x)."),
        ("dropout_rate=1", "backbone.dropout_rate should be less than 1, got 1 (in --set dropout_rate=1)."),
        ("pooling=max", "backbone.pooling should be 'last' or 'mean', got 'max' (in --set pooling=max)."),
        ("offset=.inf", "objective.offset should be a finite number, got inf (in --set offset=.inf)."),
        ("train.epohcs=1", "train.epohcs: no such key (in --set train.epohcs=1). Did you mean 'epochs'?"),
        ("train.alpha=1", "train.alpha: no such key (in --set train.alpha=1). It belongs to 'objective'."),
        ("objective.q=1", "objective.q: no such key (in --set objective.q=1). Keys: alpha, name, offset."),
        ("trian.lr=1", "trian: no such section (in --set trian.lr=1). Did you mean 'train'?"),
        ("zzz.lr=1", "zzz: no such section (in --set zzz.lr=1). Sections: backbone, objective, train."),
        ("epohcs=1", "Unknown setting 'epohcs' (in --set epohcs=1). Did you mean 'epochs'?"),
        ("gamma=1", "Unknown setting 'gamma' (in --set gamma=1). `seqward config METHOD` prints those of a method."),
        ("train.lr", "--set expects section.key=value, such as backbone.n_factors=64; got 'train.lr'."),
        ("train.at=[1", "--set train.at=[1, line 1: not readable as YAML: "),
    ],
)
def test_refused_override(override: str, message: str) -> None:
    assert refusal(None, override).startswith(message)


def test_all_errors_at_once_one_line_each(tmp_path: Path) -> None:
    file = write(tmp_path, "train: {lr: 0, epoch: 3}\nbackbone: 7\n")
    assert refusal(file, "alpha=-1").splitlines() == [
        f"backbone: expected a section such as backbone.n_factors=64; got 7 (in {file}).",
        f"train.epoch: no such key (in {file}). Did you mean 'epochs'?",
        "objective.alpha should be greater than or equal to 0, got -1 (in --set alpha=-1).",
        f"train.lr should be greater than 0, got 0 (in {file}).",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train:\n  lr: 1\n  lr: 2\n", "{file}, line 3: not readable as YAML: 'lr' stands twice."),
        ("train: [1\n", "{file}, line 2: not readable as YAML: "),
        ("lr=3", "{file}: expected sections such as `train:` with keys below, got 'lr=3'."),
        ("a: !!python/name:os.system\n", "{file}, line 1: not readable as YAML: could not determine a constructor"),
        ("a: b\x00\n", "{file}: not readable as YAML: "),
    ],
)
def test_refused_file(tmp_path: Path, text: str, message: str) -> None:
    file = write(tmp_path, text)
    assert refusal(file).startswith(message.format(file=file))


def test_an_unknown_section_is_refused_though_nothing_is_in_it(tmp_path: Path) -> None:
    file = write(tmp_path, "trian: {}\nguards:\n")
    assert refusal(file).splitlines() == [
        f"trian: no such section (in {file}). Did you mean 'train'?",
        f"guards: no such section (in {file}). Sections: backbone, objective, train.",
    ]


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    assert (
        refusal(tmp_path / "no.yaml") == f"Cannot read the configuration {tmp_path}/no.yaml: No such file or directory."
    )
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    assert refusal(tmp_path / "b.yaml") == f"Cannot read the configuration {tmp_path}/b.yaml: it is no UTF-8 text."


def test_method_in_a_file_is_a_name(tmp_path: Path) -> None:
    file = write(tmp_path, "method: 3\n")
    with pytest.raises(SeqwardError, match="method: expected a name, got 3"):
        config.method_named_in(file)


def test_unknown_keyword_of_a_method_without_settings() -> None:
    with pytest.raises(SeqwardError, match=r"Unknown setting 'alpha' \(in keyword\)\. The method has no settings"):
        config.from_keywords({}, {"alpha": 1})


def test_yaml_explains_each_key() -> None:
    text = config.to_yaml("sasrec", DEFAULTS)
    assert text.startswith("method: sasrec\n\n# The network.\nbackbone:\n")
    assert "  # Width of the states and of the items. [>= 1]\n  n_factors: 64\n" in text
    assert "  # [>= 0 and < 1]\n  dropout_rate: 0.1\n" in text
    assert "  # [last | mean]\n  pooling: last\n" in text
    assert "  # Time limit. [> 0 | null]\n  max_minutes: null\n" in text


words = st.text(st.characters(exclude_categories=("Cs", "Cc"), max_codepoint=0x2FF), max_size=8) | st.sampled_from(
    ["no", "null", "1e3", "a: b", "~"]
)
sections = st.fixed_dictionaries(
    {
        "backbone": st.builds(Backbone, n_factors=st.integers(1, 9), pooling=st.sampled_from(["last", "mean"])),
        "objective": st.builds(Objective, name=words, offset=st.floats(allow_nan=False, allow_infinity=False)),
        "train": st.builds(
            Train,
            lr=st.floats(1e-12, 1e9),
            max_minutes=st.none() | st.floats(1e-9, 10),
            at=st.lists(st.integers(-3, 3)).map(tuple),
            workers=st.integers(0, 3) | st.just("auto"),
            shuffle=st.booleans(),
        ),
    }
)


@given(values=sections)
def test_printed_configuration_reads_back(tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any]) -> None:
    file = tmp_path_factory.getbasetemp() / "printed.yaml"
    file.write_text(config.to_yaml("sasrec", values), encoding="utf-8")
    assert config.read_config(DEFAULTS, file) == values


@given(values=sections)
def test_plain_data_reads_back(values: dict[str, Any]) -> None:
    assert config.from_dict(DEFAULTS, config.to_dict(values), "run.json") == values
