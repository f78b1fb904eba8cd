"""The methods in words: the rows of ``seqward methods`` and the page docs/methods.md, both made from the registry."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from seqward.config import key_docs
from seqward.method import Method, Term
from seqward.methods import METHODS, Entry

NEEDS = {"goal": "events of a goal", "rewards": "rewards that differ"}


def facts() -> list[dict[str, Any]]:
    """One record a method: name, family, summary, backbone, terms of each phase at the defaults, needs, source."""
    return [_facts(entry) for entry in METHODS.values()]


def _facts(entry: Entry) -> dict[str, Any]:
    record: dict[str, Any] = {"method": entry.name, "family": entry.family, "summary": entry.summary}
    built = entry.build(**entry.sections) if entry.trained else None
    phases = [_sum(phase.terms) for phase in built.phases] if isinstance(built, Method) else []
    return record | {
        "backbone": type(entry.sections["backbone"]).__name__.removesuffix("Settings") if entry.trained else None,
        "terms": phases,
        "ranks by": built.ranks if isinstance(built, Method) else None,
        "needs": list(entry.needs),
        "source": entry.source,
    }


def _sum(terms: tuple[Term, ...]) -> str:
    return " + ".join(term.symbol for term in terms if term.weight != 0)


def page() -> str:
    """The page docs/methods.md."""
    lines = [
        "# Methods",
        "",
        "Made from the registry by `seqward methods --markdown`, and tested to be. What a method minimises is a sum",
        "of terms, in phases; each number below is a setting: `seqward train DATA --method NAME --set key=value`.",
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
    about = inspect.getdoc(entry.build) or ""
    rest = about.partition("\n")[2].strip()
    if rest:
        yield from ("", *rest.splitlines())
    yield from ("", f"- *Family*: {entry.family}. *Source*: {entry.source}.")
    if entry.needs:
        yield f"- *Needs*: {', '.join(NEEDS[need] for need in entry.needs)}."
    if record["backbone"]:
        yield f"- *Backbone*: {record['backbone']}. *Ranks by*: the {record['ranks by']} head."
    for number, terms in enumerate(record["terms"], 1):
        yield f"- *Phase {number}*: {terms}"
    yield from _settings(entry)


def _settings(entry: Entry) -> Iterator[str]:
    rows = [
        (f"{name}.{field.name}", getattr(section, field.name), key_docs(type(section)).get(field.name, ""))
        for name, section in entry.sections.items()
        for field in fields(section)
        if name != "train" or getattr(section, field.name) != getattr(type(section)(), field.name)
    ]
    if rows:
        yield from ("", "| setting | default | |", "|---|---|---|")
        for key, value, explanation in rows:
            yield f"| `{key}` | {value} | {explanation.replace('|', '/')} |"
