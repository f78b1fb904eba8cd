"""A method's settings from a YAML file, from ``--set section.key=value`` and from keywords, strictly checked.

``sections`` below is always ``{"backbone": ..., "objective": ..., "train": ...}``, each a dataclass made by
``@settings``. Whatever is wrong is reported at once, one line an error, with where it was written.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from seqward.errors import SeqwardError, did_you_mean
from seqward.settings import RETIRED, to_dict

__all__ = [
    "find_section",
    "from_dict",
    "from_keywords",
    "from_paths",
    "key_docs",
    "method_named_in",
    "parse_yaml",
    "read_config",
    "to_dict",
    "to_yaml",
]

Sections = Mapping[str, Any]


@dataclass(frozen=True)
class Change:
    """One value that differs from a method's default, and where the user wrote it."""

    section: str
    key: str
    value: Any
    where: str


def read_config(defaults: Sections, file: Path | None = None, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """The defaults, changed by a YAML file and then by ``section.key=value`` texts (or ``key=value``).

    Raises:
        SeqwardError: a file that cannot be read, an unknown section or key, a value of a wrong type or out of range.
    """
    changes: list[Change] = []
    problems: list[str] = []
    for section, values in ({} if file is None else _sections_of(file)).items():
        if section not in defaults:
            problems.append(_no_section(defaults, section, str(file)))
        elif isinstance(values, Mapping):
            changes += [Change(section, str(key), value, str(file)) for key, value in values.items()]
        else:
            problems.append(f"{section}: expected a section such as {_example(defaults)}; got {values!r} (in {file}).")
    for text in overrides:
        try:
            changes.append(_override(defaults, text))
        except SeqwardError as error:
            problems.append(str(error))
    return _apply(defaults, changes, problems)


def from_keywords(defaults: Sections, keywords: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults, changed by flat keywords: ``from_keywords(defaults, {"alpha": 0.1})``.

    Raises:
        SeqwardError: an unknown key, a value of a wrong type or out of range.
    """
    return from_paths(defaults, keywords, "keyword")


def from_paths(defaults: Sections, values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The defaults, changed by ``{"train.lr": 0.1}`` (or ``{"lr": 0.1}``); ``where`` stands in the messages.

    Raises:
        SeqwardError: as ``read_config``.
    """
    changes: list[Change] = []
    problems: list[str] = []
    for path, value in values.items():
        section, dot, key = path.rpartition(".")
        try:
            changes.append(Change(section if dot else find_section(defaults, key, where), key, value, where))
        except SeqwardError as error:
            problems.append(str(error))
    return _apply(defaults, changes, problems)


def find_section(defaults: Sections, key: str, where: str) -> str:
    """The section that has ``key``; a key's name is unique over the sections of a method.

    Raises:
        SeqwardError: no section has it; names ``where`` it stands.
    """
    for name, section in defaults.items():
        if key in _keys(section):
            return name
    known = [key for section in defaults.values() for key in _keys(section)]
    hint = did_you_mean(key, known) or (
        " `seqward config METHOD` prints those of a method." if known else " The method has no settings."
    )
    raise SeqwardError(f"Unknown setting {key!r} (in {where}).{hint}")


def method_named_in(file: Path) -> str | None:
    """What the file's ``method:`` says, if anything."""
    name = _mapping(file).get("method")
    if name is not None and not isinstance(name, str):
        raise SeqwardError(f"method: expected a name, got {name!r} (in {file}).")
    return name


def from_dict(defaults: Sections, values: Mapping[str, Mapping[str, Any]], where: str) -> dict[str, Any]:
    """The inverse of ``to_dict``, checked like a file; ``where`` stands in the messages.

    What an earlier version wrote is read as well: ``RETIRED`` settings are left out, later ones get their defaults.

    Raises:
        SeqwardError: as ``read_config``.
    """
    changes = [Change(section, key, value, where) for section, keys in values.items() for key, value in keys.items()]
    return _apply(defaults, [c for c in changes if f"{c.section}.{c.key}" not in RETIRED], [])


def to_yaml(method: str, sections: Sections) -> str:
    """A file that ``read_config`` reads back into the same settings; each key is explained by its docstring."""
    lines = [f"method: {method}"]
    for name, section in sections.items():
        lines += ["", *_comment(_first_line(type(section))), f"{name}:" if fields(section) else f"{name}: {{}}"]
        for key in _keys(section):
            lines += _comment(_explanation(type(section), key), "  ")
            lines.append(f"  {key}: {_inline(getattr(section, key))}")
    return "\n".join(lines) + "\n"


@cache
def key_docs(section: type) -> dict[str, str]:
    """The string literal below each field of a settings class, on one line; fields without one are left out."""
    docs: dict[str, str] = {}
    for cls in (cls for cls in reversed(section.__mro__) if "__dataclass_fields__" in vars(cls)):
        body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
        assert isinstance(body, ast.ClassDef)
        for field, below in zip(body.body, body.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
                docs[field.target.id] = " ".join(ast.literal_eval(below.value).split())
    return docs


# Checking


def _apply(defaults: Sections, changes: list[Change], problems: list[str]) -> dict[str, Any]:
    problems = [*problems, *filter(None, (_unknown(defaults, change) for change in changes))]
    sections = {}
    for name, section in defaults.items():
        keys = _keys(section)
        mine = {change.key: change for change in changes if change.section == name and change.key in keys}
        values = {key: getattr(section, key) for key in keys} | {key: change.value for key, change in mine.items()}
        try:
            # As JSON, because only there does a strict schema take a mapping for a dataclass and a list for a tuple.
            sections[name] = _adapter(type(section)).validate_json(json.dumps(values, default=_plain))
        except ValidationError as error:
            problems += _messages(name, mine, error)
    if problems:
        raise SeqwardError("\n".join(problems))
    return sections


def _unknown(defaults: Sections, change: Change) -> str:
    """What is wrong with the section or the key of a change; empty where both are known."""
    if change.section not in defaults:
        return _no_section(defaults, change.section, change.where)
    keys = _keys(defaults[change.section])
    if change.key in keys:
        return ""
    home = next((name for name, section in defaults.items() if change.key in _keys(section)), None)
    hint = f" It belongs to {home!r}." if home else did_you_mean(change.key, keys) or f" Keys: {', '.join(keys)}."
    return f"{change.section}.{change.key}: no such key (in {change.where}).{hint}"


def _no_section(defaults: Sections, name: str, where: str) -> str:
    hint = did_you_mean(name, defaults) or f" Sections: {', '.join(defaults)}."
    return f"{name}: no such section (in {where}).{hint}"


def _messages(section: str, changes: Mapping[str, Change], error: ValidationError) -> list[str]:
    """One line for each key: ``train.lr should be greater than 0, got -1 (in --set)``."""
    found: dict[str, list[str]] = {}
    for detail in error.errors():
        found.setdefault(str(detail["loc"][0]) if detail["loc"] else "", []).append(detail["msg"])
    lines = []
    for key, messages in found.items():
        path = f"{section}.{key}" if key else section
        said = (re.sub(r"^(Input|Tuple|Value error,) ", "", message) for message in messages)
        reasons = " or ".join(dict.fromkeys(said)).replace("array", "list")
        change = changes.get(key)
        lines.append(f"{path} {reasons}" + (f", got {change.value!r} (in {change.where})." if change else "."))
    return lines


def _plain(value: Any) -> Any:
    """A NumPy scalar as its Python value; anything else as text, which no setting takes for what it is not."""
    return value.item() if hasattr(value, "item") else str(value)


@cache
def _adapter(section: type) -> TypeAdapter[Any]:
    return TypeAdapter(section)


# Reading


def _override(defaults: Sections, text: str) -> Change:
    path, equals, value = text.partition("=")
    if not equals or not path:
        raise SeqwardError(f"--set expects section.key=value, such as {_example(defaults)}; got {text!r}.")
    section, dot, key = path.strip().rpartition(".")
    where = f"--set {text}"
    return Change(section if dot else find_section(defaults, key, where), key, parse_yaml(value, where), where)


def _example(defaults: Sections) -> str:
    for name, section in defaults.items():
        for key in _keys(section):
            return f"{name}.{key}={_inline(getattr(section, key))}"
    return "train.lr=0.001"


def _sections_of(file: Path) -> dict[str, Any]:
    return {str(name): values for name, values in _mapping(file).items() if name != "method"}


def _mapping(file: Path) -> dict[Any, Any]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise SeqwardError(f"Cannot read the configuration {file}: {reason}.") from error
    content = parse_yaml(text, str(file))
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SeqwardError(f"{file}: expected sections such as `train:` with keys below, got {str(content)[:40]!r}.")
    return content


class _Loader(yaml.SafeLoader):
    """The scalars of YAML 1.2, where 1e-3 is a number and `no` a word; a key that stands twice is an error."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - the base class's mutable attribute

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key is no word", problem_mark=key.start_mark)
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"{key.value!r} stands twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep=True)


for _tag, _pattern, _first in (
    ("null", r"null|~|", ["n", "~", ""]),
    ("bool", r"true|false", ["t", "f"]),
    ("int", r"[-+]?(0|[1-9][0-9_]*)", list("-+0123456789")),
    (
        "float",
        r"[-+]?((\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|\.inf)|\.nan",
        list("-+.0123456789"),
    ),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^({_pattern})$"), _first)


def parse_yaml(text: str, where: str) -> Any:
    """What a text says, in the YAML that settings are written in.

    Raises:
        SeqwardError: it cannot be read, or a key stands twice; names ``where`` and the line.
    """
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise SeqwardError(
            f"{where}{f', line {mark.line + 1}' if mark else ''}: not readable as YAML: {error.problem}."
        ) from error
    except yaml.YAMLError as error:
        raise SeqwardError(f"{where}: not readable as YAML: {str(error).splitlines()[0]}.") from error


# Writing


def _keys(section: Any) -> list[str]:
    return [field.name for field in fields(section)]


def _first_line(section: type) -> str:
    text = (section.__doc__ or "").partition("\n")[0]
    return "" if text.startswith(f"{section.__name__}(") else text  # a dataclass without a docstring gets its signature


def _explanation(section: type, key: str) -> str:
    return " ".join(filter(None, [key_docs(section).get(key, ""), _allowed(section, key)]))


@cache
def _schema(section: type) -> dict[str, Any]:
    return _adapter(section).json_schema()["properties"]


def _allowed(section: type, key: str) -> str:
    """The bounds or the choices of a key, as its annotation has them."""
    schema = _schema(section)[key]
    signs = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}
    parts = []
    for option in schema.get("anyOf", [schema]):
        choices = option.get("enum", [option["const"]] if "const" in option else [])
        parts += [_inline(choice) for choice in choices]
        parts.append(" and ".join(f"{sign} {option[name]:g}" for name, sign in signs.items() if name in option))
        parts += ["null"] * (option.get("type") == "null")
    return f"[{' | '.join(filter(None, parts))}]" if any(parts) else ""


def _comment(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(text, 116, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ") if text else []


def _inline(value: Any) -> str:
    """A value on one line: a word as it is where YAML reads it back as that word, anything else as JSON."""
    if isinstance(value, str) and value and _reads_back(value):
        return value
    return json.dumps(value)


def _reads_back(word: str) -> bool:
    try:
        return yaml.load(word, _Loader) == word
    except yaml.YAMLError:
        return False
