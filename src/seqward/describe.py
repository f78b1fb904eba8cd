"""The methods in words: the rows of ``seqward methods`` and the page docs/methods.md, both made from the registry."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from seqward.config import key_docs
from seqward.method import Method, Phase, Term
from seqward.methods import METHODS, Entry

NEEDS = {"goal": "events of a goal", "rewards": "rewards that differ"}
WEIGHTS = {
    "ω": "omega",
    "α": "alpha",
    "λ": "contrast_weight",
    "λ_CL": "contrast_weight",
    "L_CO": "contrast_weight",
    "L_CO as released": "contrast_weight",
    "β": "segment_weight",
    "L_MIP": "masked_weight",
    "ν": "count_weight",
}
"""The setting that a term's weight is: by what stands before its loss, or by the symbol where nothing does."""
FACTORS = {
    "A": "A is the advantage of the logged item in Q over the mean of it and the negatives, clipped",
    "ρ A": "A is the advantage as in sa2c; ρ is the propensity correction, how likely the policy chooses the logged "
    "item against how popular it is, clipped, to `objective.propensity_power`",
    "f(A)": "f(A) is as `objective.advantage_weight` says, A the advantage in Q over items drawn from the policy",
    "exp(βA)": "exp(βA) is capped, β is `objective.beta`, A the target's Q of the logged item less the state's value",
    "w": "w is what `objective.event_weight` says",
    "w λ_K R": "w is how much more likely the policy chooses the logged item than who acted, capped; λ_K is the "
    "correction for a slate of K; R is the return from the event on, for events that have a reward themselves",
}
"""By what an event counts in cross-entropy, where the term's own words do not say it."""

ALWAYS = ("epochs", "batch_size", "lr", "patience")
"""What is told of a method's training though it be as everywhere."""


def facts() -> list[dict[str, Any]]:
    """One record a method: name, family, summary, backbone, terms and their symbols at the defaults, needs, source."""
    return [_facts(entry) for entry in METHODS.values()]


def _facts(entry: Entry) -> dict[str, Any]:
    record: dict[str, Any] = {"method": entry.name, "family": entry.family, "summary": entry.summary}
    built = entry.build(**entry.sections) if entry.trained else None
    phases = built.phases if isinstance(built, Method) else ()
    return record | {
        "backbone": type(entry.sections["backbone"]).__name__.removesuffix("Settings") if entry.trained else None,
        "terms": [_sum(phase.terms) for phase in phases],
        "symbols": _symbols(phases),
        "ranks by": built.ranks if isinstance(built, Method) else None,
        "needs": list(entry.needs),
        "source": entry.source,
    }


def _sum(terms: tuple[Term, ...]) -> str:
    return " + ".join(term.symbol for term in terms if term.weight != 0)


def _symbols(phases: tuple[Phase, ...]) -> dict[str, str]:
    """Each term in words, by its symbol, in the order of the phases."""
    terms = [term for phase in phases for term in phase.terms if term.weight != 0]
    return {term.symbol: _words(term) for term in terms}


def _words(term: Term) -> str:
    """The weight of a term, the setting that it is, what the term is, and by what its events count."""
    before = term.symbol.partition("L_")[0].strip()
    setting = WEIGHTS.get(before or term.symbol)
    weight = f"weight {term.weight:g}"
    if setting:
        weight += f" ({before + ' = ' if before else ''}`objective.{setting}`)"
    return "; ".join([weight, _about(term), *([FACTORS[before]] if before in FACTORS else [])])


def _about(term: Term) -> str:
    """The first line of what is said of the function that is the loss, or that makes it, without its symbol."""
    maker = getattr(inspect.getmodule(term.loss), term.loss.__qualname__.partition(".")[0])
    first = (inspect.getdoc(maker) or "").partition("\n")[0].replace("``", "`")
    return re.sub(r"^L_\S+: ", "", first).rstrip(".")


def page() -> str:
    """The page docs/methods.md."""
    lines = [
        "# Methods",
        "",
        "Made from the registry by `seqward methods --markdown`, and tested to be. What a method minimises is a sum",
        "of terms, in phases; each number below is a setting: `seqward train DATA --method NAME --set key=value`.",
        "Patience that a method's text does not speak of is Seqward's, not its source's.",
        "",
    ]
    records = facts()
    for family in dict.fromkeys(record["family"] for record in records):
        named = [f"[{r['method']}](#{r['method']})" for r in records if r["family"] == family]
        lines.append(f"- *{family}*: {', '.join(named)}")
    for record in records:
        lines += ["", f"## {record['method']}", "", *_section(METHODS[record["method"]], record)]
    return "\n".join(lines) + "\n"


def _section(entry: Entry, record: dict[str, Any]) -> Iterator[str]:
    yield entry.summary
    if entry.details:
        yield from ("", *entry.details.splitlines())
    yield from ("", f"- *Family*: {entry.family}. *Source*: {entry.source}.")
    if entry.needs:
        yield f"- *Needs*: {', '.join(NEEDS[need] for need in entry.needs)}."
    if record["backbone"]:
        yield f"- *Backbone*: {record['backbone']}. *Ranks by*: the {record['ranks by']} head."
    for number, terms in enumerate(record["terms"], 1):
        yield f"- *Phase {number}*: {terms}"
    yield from (f"- `{symbol}`: {words}." for symbol, words in record["symbols"].items())
    yield from _settings(entry)


def _settings(entry: Entry) -> Iterator[str]:
    rows = [
        (f"{name}.{field.name}", getattr(section, field.name), key_docs(type(section)).get(field.name, ""))
        for name, section in entry.sections.items()
        for field in fields(section)
        if name != "train"
        or field.name in ALWAYS
        or getattr(section, field.name) != getattr(type(section)(), field.name)
    ]
    if rows:
        yield from ("", "| setting | default | |", "|---|---|---|")
        for key, value, explanation in rows:
            yield f"| `{key}` | {value} | {explanation.replace('|', '/')} |"
