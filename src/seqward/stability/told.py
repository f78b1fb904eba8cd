"""What the records of a run's log, or its ``run.json``, tell of its stability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from seqward.stability.rules import STATES


def stability_of(records: list[dict[str, Any]]) -> dict[str, Any] | None:
    """What a log tells of a run's stability: None where nobody watched.

    ``state`` at the end; ``worst`` with the ``step`` at which it was first seen and its ``reason``; and ``repairs``,
    what was done about it.
    """
    seen = [record for record in records if record["kind"] in ("guard", "repair") and "state" in record]
    if not seen:
        return None
    worst = max(seen, key=lambda record: STATES.index(record["state"]))
    repairs = [{key: r[key] for key in ("step", "action", "text")} for r in records if r["kind"] == "repair"]
    figures = {"worst": worst["state"], "step": worst["step"], "reason": worst["reason"], "repairs": repairs}
    return {"state": "healthy" if goes_on_sound(seen[-1]) else seen[-1]["state"], **figures}


def goes_on_sound(record: Mapping[str, Any]) -> bool:
    """Whether it tells of a roll back that training went on from."""
    return "back_to" in record and record["action"] != "stop"


def repairs_of(description: Mapping[str, Any]) -> list[str]:
    """What the guard did to a run, by its ``run.json`` or its result in a study: names of actions, in order."""
    return [repair["action"] for repair in (description.get("stability") or {}).get("repairs", [])]


def marked(name: str, repairs: Sequence[str]) -> str:
    """What a model is called beside its figures: a run that the guard has touched says so."""
    return f"{name} (repaired)" if repairs else name
