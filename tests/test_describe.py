"""The methods in words: every symbol of a sum is told, with the weight that it has."""

from __future__ import annotations

import re

import pytest

from jobs import TRAINED, job_of, shop
from seqward.describe import FACTORS, WEIGHTS, facts, page
from seqward.method import Term
from seqward.methods import METHODS

RECORDS = {record["method"]: record for record in facts()}


def terms_of(name: str) -> list[Term]:
    """The terms of a method at its defaults, those of weight 0 left out."""
    entry = METHODS[name]
    phases = entry.build(**entry.sections).phases  # type: ignore[union-attr]
    return [term for phase in phases for term in phase.terms if term.weight != 0]


@pytest.mark.parametrize("name", TRAINED)
def test_every_symbol_is_told_with_its_weight(name: str) -> None:
    """The setting that is named is the weight, and each letter before a loss comes again in the words."""
    symbols, objective = RECORDS[name]["symbols"], METHODS[name].sections["objective"]
    assert list(symbols) == list(dict.fromkeys(term.symbol for term in terms_of(name)))
    for term in terms_of(name):
        words = symbols[term.symbol]
        assert re.match(rf"weight {term.weight:g}( \(.*\))?; \S.*", words)
        before = term.symbol.partition("L_")[0].strip()
        assert all(part in words for part in before.split()), words
        assert not words.endswith("."), words
        setting = WEIGHTS.get(before or term.symbol)
        if setting:
            assert getattr(objective, setting) == term.weight
        else:
            assert term.weight == 1


def test_each_line_of_the_tables_is_in_use() -> None:
    keys = {key for name in TRAINED for t in terms_of(name) for key in (t.symbol, t.symbol.partition("L_")[0].strip())}
    assert WEIGHTS.keys() | FACTORS.keys() <= keys


def test_a_symbol_is_the_same_loss_wherever_it_stands() -> None:
    """But for what bootstraps L_Q, how L_CO is taken as released, and over what L_CQL runs; in no method twice."""
    told: dict[str, set[str]] = {}
    for record in RECORDS.values():
        for symbol, words in record["symbols"].items():
            told.setdefault(symbol, set()).add(words.partition("; ")[2])
    assert {s for s, words in told.items() if len(words) > 1} == {"ω L_Q", "L_CO as released", "α L_CQL"}
    for name in TRAINED:
        for phase in job_of(name, shop()).method.phases:
            assert len({term.symbol for term in phase.terms}) == len(phase.terms)


def test_the_correction_of_sa2c_smooth_is_in_its_sum() -> None:
    assert RECORDS["sa2c"]["terms"] == ["L_CE + ω L_Q + ω L_N", "A L_CE + ω L_Q + ω L_N"]
    assert RECORDS["sa2c-smooth"]["terms"] == ["L_CE + ω L_Q + ω L_N", "ρ A L_CE + ω L_Q + ω L_N"]


def test_the_page_tells_the_symbols_of_each_method() -> None:
    section = page().partition("\n## sasrec-count-past\n")[2].partition("\n## ")[0]
    assert "- *Phase 1*: L_CE + ν L_count\n" in section
    assert "- `ν L_count`: weight 1 (ν = `objective.count_weight`); how many events of the session came" in section
