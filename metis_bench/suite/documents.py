"""YAML files as plain data that remembers the line of every key, and their overlay on each other.

Only data is read: tags, merge keys and duplicate keys are errors, no code is ever executed (design §2.8).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from metis_bench.errors import SuiteError

KeyPath: TypeAlias = "tuple[str | int, ...]"

MAX_NODES = 20_000  # aliases can expand a small file without bound
MERGED = ("protocol", "profiles", "stats")  # an overlay replaces every key it names, except these: merged key by key


@dataclass(frozen=True)
class Place:
    """Where a value stands."""

    file: str
    line: int | None


@dataclass
class Document:
    """A mapping and the place of each of its (nested) keys and list entries."""

    data: dict[str, Any] = field(default_factory=dict)
    places: dict[KeyPath, Place] = field(default_factory=dict)

    def place(self, path: KeyPath) -> Place | None:
        """The place of `path`, or of its nearest ancestor that has one."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path)

    def error(self, path: KeyPath, message: str, fix: str | None = None) -> SuiteError:
        """A SuiteError that names the file and line of `path`."""
        place = self.place(path)
        return SuiteError(message, where=place.file if place else None, line=place.line if place else None, fix=fix)


class _Builder:
    def __init__(self, file: str) -> None:
        self.file = file
        self.places: dict[KeyPath, Place] = {}
        self.count = 0

    def fail(self, node: yaml.Node, message: str) -> SuiteError:
        return SuiteError(message, where=self.file, line=node.start_mark.line + 1)

    def build(self, node: yaml.Node, path: KeyPath) -> Any:
        self.count += 1
        if self.count > MAX_NODES or len(path) > 30:
            raise self.fail(node, "the file is nested too deeply or its aliases expand without end")
        if not node.tag.startswith("tag:yaml.org,2002:") or "python" in node.tag:
            raise self.fail(node, f"tags are not allowed here ('{node.tag}')")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._child(child, child, (*path, i)) for i, child in enumerate(node.value)]
        return self._scalar(node)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self._scalar(key_node) if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(key, str):
                raise self.fail(key_node, "keys must be plain words")
            if key in out:
                raise self.fail(key_node, f"duplicate key '{key}'")
            out[key] = self._child(key_node, value_node, (*path, key))
        return out

    def _child(self, shown: yaml.Node, value: yaml.Node, path: KeyPath) -> Any:
        self.places[path] = Place(self.file, shown.start_mark.line + 1)
        return self.build(value, path)

    def _scalar(self, node: yaml.Node) -> Any:
        try:
            value = yaml.SafeLoader("").construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            raise self.fail(node, f"not a plain value: {error}".splitlines()[0]) from None
        if isinstance(value, float) and not math.isfinite(value):
            raise self.fail(node, "NaN and infinity are not allowed")
        if isinstance(value, str) and not value.isprintable() and any("\ud800" <= c <= "\udfff" for c in value):
            raise self.fail(node, "the text holds a lone surrogate, which is no character")
        if not isinstance(value, str | int | float | bool | type(None)):
            value = str(node.value)  # a date stays the text the user wrote
        return value


def parse(text: str, file: str) -> Document:
    """One YAML mapping. Raises SuiteError with file:line."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except RecursionError:
        raise SuiteError("the file is nested too deeply", where=file) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else None
        raise SuiteError(f"not valid YAML: {getattr(error, 'problem', error)}", where=file, line=line) from None
    if node is None:
        raise SuiteError("the file is empty", where=file)
    builder = _Builder(file)
    if not isinstance(node, yaml.MappingNode):
        raise builder.fail(node, "expected a mapping of keys to values at the top level")
    builder.places[()] = Place(file, None)
    return Document(builder.build(node, ()), builder.places)


def read(path: Path) -> Document:
    """Parse a file. Raises SuiteError when it is missing, unreadable, not UTF-8 or not YAML."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise SuiteError("no such file", where=path) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SuiteError(f"cannot read the file: {reason}", where=path) from None
    return parse(text, str(path))


def overlay(base: Document, top: Document) -> Document:
    """`top` over `base`: keys of `top` replace those of `base`; MERGED keys and profiles are merged key by key."""
    out = Document(dict(base.data), dict(base.places))
    out.places.update({p: v for p, v in top.places.items() if not p})
    for key, value in top.data.items():
        deep = key in MERGED and isinstance(value, dict) and isinstance(base.data.get(key), dict)
        if deep:
            out.data[key] = _merge(base.data[key], value)
        else:
            out.data[key] = value
            out.places = {p: v for p, v in out.places.items() if p[:1] != (key,)}
        out.places.update({p: v for p, v in top.places.items() if p[:1] == (key,)})
    return out


def outranked(base: Document, top: Document) -> Document:
    """`base` without what its profiles say of keys that `top`, a file that extends it, names itself."""
    profiles = base.data.get("profiles")
    if not isinstance(profiles, dict):
        return base
    own = top.data.keys() - MERGED
    kept = {
        name: {k: v for k, v in body.items() if k not in own} if isinstance(body, dict) else body
        for name, body in profiles.items()
    }
    places = {p: v for p, v in base.places.items() if not (len(p) > 2 and p[0] == "profiles" and p[2] in own)}
    return Document({**base.data, "profiles": kept}, places)


def _merge(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    out = dict(base)
    for key, value in top.items():
        both = isinstance(value, dict) and isinstance(out.get(key), dict)
        out[key] = _merge(out[key], value) if both else value
    return out


def set_value(doc: Document, assignment: str) -> Document:
    """Apply one `--set a.b=value` (the value is YAML). Raises SuiteError."""
    where = f"--set {assignment}"
    name, equals, text = assignment.partition("=")
    keys = tuple(name.strip().split("."))
    if not equals or not all(keys):
        raise SuiteError("expected KEY=VALUE, as in --set seeds=[0]", where=where)
    top = parse(f"value: {text}", where)
    if set(top.data) != {"value"}:
        raise SuiteError("expected one YAML value", where=where)
    out = Document(_replaced(doc.data, keys, top.data["value"], where), dict(doc.places))
    path = _path_of(out.data, keys)
    for depth in range(1, len(path) + 1):
        out.places.setdefault(path[:depth], Place(where, None))
    out.places = {p: v for p, v in out.places.items() if p[: len(path)] != path}
    out.places[path] = Place(where, None)
    return out


def _path_of(data: Any, keys: tuple[str, ...]) -> KeyPath:
    """Where `keys` lead: a name in a list of entries is the entry's index and the name."""
    path: KeyPath = ()
    for key in keys:
        if isinstance(data, list):
            index = next(i for i, entry in enumerate(data) if isinstance(entry, dict) and key in entry)
            path, data = (*path, index), data[index]
        path, data = (*path, key), data[key]
    return path


def _replaced(data: Any, keys: tuple[str, ...], value: Any, where: str) -> Any:
    if not keys:
        return value
    if isinstance(data, list) and len(keys) > 1 and all(isinstance(e, (str, dict)) for e in data):
        return _entry_replaced(data, keys, value, where)
    if not isinstance(data, dict):
        raise SuiteError(f"'{keys[0]}' cannot be set inside {type(data).__name__}; set the whole value", where=where)
    return {**data, keys[0]: _replaced(data.get(keys[0], {}), keys[1:], value, where)}


def _entry_replaced(entries: list[Any], keys: tuple[str, ...], value: Any, where: str) -> list[Any]:
    """A list of `name` and `{name: {params}}` with one parameter set; a name that is not there is added."""
    name, out, found = keys[0], [], False
    for entry in entries:
        mine = entry == name or (isinstance(entry, dict) and name in entry)
        found = found or mine
        params = entry[name] or {} if isinstance(entry, dict) and mine else {}
        out.append({name: _replaced(params, keys[1:], value, where)} if mine else entry)
    return out if found else [*out, {name: _replaced({}, keys[1:], value, where)}]
