"""From a suite file to a `Suite`: include, extends, profiles, --set, and errors with file:line and the nearest name."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from metis_bench.corpora.base import Params, corpora
from metis_bench.errors import SuiteError, nearest
from metis_bench.metrics.base import metrics
from metis_bench.published import names as published_names
from metis_bench.resources import data_dir
from metis_bench.suite import documents
from metis_bench.suite.arms import arms_of
from metis_bench.suite.documents import Document, KeyPath, outranked, overlay
from metis_bench.suite.schema import (
    FILE_KEYS,
    NAME,
    AblationModel,
    CorpusSpec,
    MetricSpec,
    OracleOrder,
    OverlayModel,
    Stats,
    StatsModel,
    Suite,
    SuiteModel,
    SuiteTask,
    SystemSpec,
    tasks_of,
)
from metis_bench.suite.validate import validate
from metis_bench.systems.base import systems
from reference_models.errors import InputError
from reference_models.grid import expand

DEFAULT_PROFILE = "mini"


def find_suite(name: str) -> Path:
    """A path, or a shipped suite by name or path ('tts', 'suites/tts.yaml'). Raises SuiteError with the nearest."""
    if len(name) > 1000 or "\0" in name:
        raise SuiteError("that is no file name")
    path = Path(name)
    if path.is_file():
        return path
    found = _shipped(path)
    if found is not None:
        return found
    shipped = data_dir("suites")
    names = [f"suites/{p.relative_to(shipped).as_posix()}" for p in shipped_suites()]
    raise SuiteError(f"no suite '{name}' here or among the shipped ones{nearest(name, names)}")


def _shipped(path: Path) -> Path | None:
    """The shipped file meant by 'tts', 'tts.yaml' or 'suites/tts.yaml'; nothing outside the shipped folder."""
    shipped = data_dir("suites")
    relative = Path(*path.parts[1:]) if path.parts and path.parts[0] == "suites" else path
    for candidate in (shipped / relative, shipped / f"{relative}.yaml"):
        if candidate.is_file() and candidate.resolve().is_relative_to(shipped.resolve()):
            return candidate
    return None


def shipped_suites() -> list[Path]:
    """The suite files that come with the package (protocol fragments excluded)."""
    shipped = data_dir("suites")
    return sorted(
        p for p in shipped.rglob("*.yaml") if not any(x.startswith("_") for x in p.relative_to(shipped).parts)
    )


def load_document(path: Path, chain: tuple[Path, ...] = ()) -> Document:
    """A suite file with everything it includes and extends applied. Raises SuiteError; cycles are named."""
    here = path.resolve()
    if here in chain:
        loop = " -> ".join(p.name for p in (*chain[chain.index(here) :], here))
        raise SuiteError(f"include/extends cycle: {loop}", where=path)
    own = documents.read(path)
    merged = Document()
    for target, place in _targets(own, path):
        try:
            merged = overlay(merged, load_document(target, (*chain, here)))
        except SuiteError as error:
            if error.where == target and error.message == "no such file":
                raise SuiteError(f"no such file: {target}", where=path, line=place) from None
            raise
    stripped = Document({k: v for k, v in own.data.items() if k not in FILE_KEYS}, own.places)
    return overlay(outranked(merged, stripped), stripped)


def _targets(doc: Document, path: Path) -> list[tuple[Path, int | None]]:
    """Files to lay under this one, base first: `extends`, then each `include`."""
    out: list[tuple[Path, int | None]] = []
    for key in reversed(FILE_KEYS):
        value = doc.data.get(key, [])
        names = [value] if isinstance(value, str) and key == "extends" else value
        if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
            raise doc.error((key,), f"'{key}' must be {'a file name' if key == 'extends' else 'a list of file names'}")
        place = doc.place((key,))
        out += [(_beside(path, n), place.line if place else None) for n in names]
    return out


def _beside(path: Path, name: str) -> Path:
    """A file named in another: beside it, else a shipped one ('suites/se.yaml')."""
    beside = path.parent / name
    return beside if beside.is_file() or not name.startswith("suites/") else _shipped(Path(name)) or beside


def load_suite(
    path: str | Path,
    profile: str | None = None,
    *,
    overrides: Sequence[str] = (),
    only_systems: Sequence[str] = (),
    only_corpora: Sequence[str] = (),
    limit: int | None = None,
) -> Suite:
    """Read, resolve and check a suite.

    profile:      a name under `profiles`; None takes 'mini' where the suite has one
    overrides:    'a.b=value' assignments (YAML values), applied after the profile
    only_systems: keep these systems (in this order); a registered one the suite does not list is added
    only_corpora: keep these corpora;  limit: first N items of each subset
    Raises SuiteError with file:line, and the nearest valid value for every unknown name.
    """
    file = find_suite(str(path))
    whole = load_document(file)
    profiles = _profiles(whole)
    if profile is None:
        profile = DEFAULT_PROFILE if DEFAULT_PROFILE in profiles else None
    elif profile not in profiles:
        raise SuiteError(f"no profile '{profile}'{nearest(profile, profiles)}", where=file)
    for other in profiles:  # a typo in a profile that is not run today is still a typo
        if other != profile:
            _resolve(_with_profile(whole, other), other, None)
    doc = _with_profile(whole, profile)
    for assignment in overrides:
        doc = documents.set_value(doc, assignment)
    return _select(_resolve(doc, profile, limit), only_systems, only_corpora)


def _profiles(doc: Document) -> dict[str, Any]:
    profiles = doc.data.get("profiles") or {}
    if not isinstance(profiles, dict):
        raise doc.error(("profiles",), "'profiles' must map names to overlays")
    for name, body in profiles.items():
        if body is not None and not isinstance(body, dict):
            raise doc.error(("profiles", name), "a profile must be a mapping of keys to values")
        _validate(OverlayModel, Document(body or {}, doc.places), ("profiles", name))
    return profiles


def _with_profile(doc: Document, profile: str | None) -> Document:
    if profile is None:
        return doc
    prefix = ("profiles", profile)
    places = {p[2:]: v for p, v in doc.places.items() if p[:2] == prefix and len(p) > 2}
    return overlay(doc, Document(doc.data["profiles"][profile] or {}, places))


def _validate(model: type[Any], doc: Document, prefix: KeyPath) -> Any:
    return validate(model, doc, prefix, () if prefix else FILE_KEYS)


def _params(cls: type[Any], raw: Any, doc: Document, path: KeyPath) -> Params:
    """Validate a corpus', system's or metric's own parameters at their place in the file."""
    if not isinstance(raw or {}, dict):
        raise doc.error(path, f"parameters of '{path[-1]}' must be a mapping")
    result: Params = _validate(cls.params_type, Document(raw or {}, doc.places), path)
    return result


def _entry(entry: Any, index: int, key: str, doc: Document) -> tuple[str, dict[str, Any], KeyPath]:
    """A list entry `name` or `{name: {params}}`: (name, params, place of the params)."""
    raw: Any = {}
    name, path = entry, cast(KeyPath, (key, index))
    if not isinstance(entry, str):
        if len(entry) != 1:
            raise doc.error(path, f"an entry of '{key}' is a name, or one name with its parameters")
        ((name, raw),) = entry.items()
        path = (key, index, name)
    return name, dict(raw or {}), path


def _checked_name(name: str, doc: Document, path: KeyPath) -> str:
    if not re.match(NAME, name):
        raise doc.error(path, f"'{name}' is no name: letters, digits and . _ + - only, first a letter or digit")
    return name


def _resolve(doc: Document, profile: str | None, limit: int | None) -> Suite:
    model: SuiteModel = _validate(SuiteModel, doc, ())
    protocol = dict(model.protocol)
    for name in protocol:
        _registered(metrics, name, doc, ("protocol", name))
    orders = tuple(
        OracleOrder(o.column, o.better, o.worse, tuple(o.sets) if o.sets else None) for o in model.oracle_order
    )
    if len(set(model.seeds)) != len(model.seeds):
        raise doc.error(("seeds",), "seeds: the same seed stands twice")
    listed = _unique([s for i, e in enumerate(model.systems) for s in _systems(e, i, model.task, doc)], doc)
    names = [s.name for s in listed]
    for i, order in enumerate(orders):
        for side, name in (("better", order.better), ("worse", order.worse)):
            if name not in names:
                raise doc.error(("oracle_order", i, side), f"the suite has no system '{name}'{nearest(name, names)}")
        for j, name in enumerate(order.sets or ()):
            if name.split("/")[0] not in model.corpora:
                message = f"the suite has no corpus '{name.split('/')[0]}'{nearest(name, model.corpora)}"
                raise doc.error(("oracle_order", i, "sets", j), message)
    stats: StatsModel = model.stats
    return Suite(
        name=model.name,
        title=model.title or model.name,
        description=model.description,
        task=model.task,
        profile=profile,
        corpora=tuple(_corpus(key, raw, doc) for key, raw in model.corpora.items()),
        systems=listed,
        metrics=_once([_metric(e, i, protocol, model.task, doc) for i, e in enumerate(model.metrics)]),
        seeds=tuple(model.seeds),
        oracle_order=orders,
        stats=Stats(stats.resamples, stats.level, stats.seed),
        limit=limit,
        published=_published(model.published, doc),
        ablation=_ablation(model.ablation, listed, doc),
    )


def _registered(registry: Any, name: str, doc: Document, path: KeyPath) -> Any:
    try:
        return registry.get(name)
    except SuiteError as error:
        raise doc.error(path, error.message) from None


def _published(name: str | None, doc: Document) -> str | None:
    if name is not None and name not in published_names():
        raise doc.error(("published",), f"no published results '{name}'{nearest(name, published_names())}")
    return name


def _ablation(model: AblationModel | None, listed: Sequence[SystemSpec], doc: Document) -> AblationModel | None:
    """Checked: its arms are in the suite's grids, its labels on the curve's axis."""
    if model is None:
        return None
    arms = arms_of({s.name: {"grid": s.grid, "factors": s.factors} for s in listed if s.grid})
    named: list[tuple[KeyPath, str]] = [(("ablation", "matrix", i), arm) for i, arm in enumerate(model.matrix)]
    named += [(("ablation", "against", where), arm) for where, arm in model.against.items()]
    for i, curve in enumerate(model.curves):
        place: KeyPath = ("ablation", "curves", i)
        named += [((*place, "arms", label), arm) for label, arm in curve.arms.items()]
        if curve.printed is not None:
            _published(curve.printed.source, doc)
            for label in curve.printed.rows.keys() - curve.arms.keys():
                raise doc.error((*place, "printed", "rows", label), f"no point '{label}'{nearest(label, curve.arms)}")
    for place, arm in named:
        if arm not in arms:
            raise doc.error(place, f"the suite's grids have no arm '{arm}'{nearest(arm, arms)}")
    return model


def _corpus(key: str, raw: dict[str, Any], doc: Document) -> CorpusSpec:
    path = ("corpora", key)
    name = raw.get("corpus", key)
    cls = _registered(corpora, str(name), doc, (*path, "corpus"))
    rest = {k: v for k, v in raw.items() if k != "corpus"}
    return CorpusSpec(key, str(name), _params(cls, rest, doc, path))


def _systems(entry: Any, index: int, task: SuiteTask, doc: Document) -> Iterator[SystemSpec]:
    """The system of an entry, or those of its grid."""
    name, given, path = _entry(entry, index, "systems", doc)
    try:
        expanded = list(expand(name, given))
    except InputError as error:
        raise doc.error(path, error.message) from None
    for single, params, factors in expanded:
        spec = _system(_checked_name(single, doc, path), params, path, task, doc)
        yield replace(spec, grid=name, factors=factors) if factors else spec


def _system(name: str, given: dict[str, Any], path: KeyPath, task: SuiteTask, doc: Document) -> SystemSpec:
    raw = given if "system" in given else {**presets().get(name, {}), **given}
    type_name = str(raw.pop("system", name))
    if type_name not in {*systems.names(), *systems.others()}:
        near = nearest(type_name, system_names())
        raise doc.error((*path, "system") if "system" in given else path, f"unknown system '{type_name}'{near}")
    cls = systems.get(type_name)
    if not tasks_of(task) & cls.tasks:
        can = ", ".join(sorted(cls.tasks))
        raise doc.error(path, f"system '{name}' does not do the task '{task}' (it does: {can})")
    return SystemSpec(name, type_name, _params(cls, raw, doc, path))


@functools.cache
def presets() -> dict[str, dict[str, Any]]:
    """Shipped variants of registered systems, by name: {"system": ..., parameters} (`suites/_systems/*.yaml`)."""
    files = sorted((data_dir("suites") / "_systems").glob("*.yaml"))
    return {name: body for file in files for name, body in documents.read(file).data.items()}


def system_names() -> dict[str, tuple[str, dict[str, Any]]]:
    """Every name that a suite may list without more: (registered system, parameters)."""
    made = {
        name: (body["system"], {k: v for k, v in body.items() if k != "system"}) for name, body in presets().items()
    }
    return made | {name: (name, {}) for name in (*systems.names(), *systems.others())}


def _unique(specs: list[SystemSpec], doc: Document) -> tuple[SystemSpec, ...]:
    seen: set[str] = set()
    for i, spec in enumerate(specs):
        if spec.name in seen:
            raise doc.error(("systems", i), f"the system name '{spec.name}' stands twice")
        seen.add(spec.name)
    return tuple(specs)


def _once(specs: Sequence[MetricSpec]) -> tuple[MetricSpec, ...]:
    """Metrics that a protocol has made equal are one."""
    return tuple(spec for i, spec in enumerate(specs) if spec not in specs[:i])


def _metric(entry: Any, index: int, protocol: dict[str, Any], task: SuiteTask, doc: Document) -> MetricSpec:
    name, raw, path = _entry(entry, index, "metrics", doc)
    _checked_name(name, doc, path)
    type_name = str(raw.pop("metric", name))
    cls = _registered(metrics, type_name, doc, path)
    if not tasks_of(task) & cls.tasks:
        raise doc.error(path, f"metric '{name}' is not defined for the task '{task}'")
    merged = {**protocol.get(type_name, {}), **raw}
    places = Document(merged, {**doc.places})
    for key in set(protocol.get(type_name, {})) - set(raw):  # errors point at the protocol line that set the value
        place = doc.place(("protocol", type_name, key))
        here = (*path, key)
        if place:
            places.places[here] = place
    return MetricSpec(type_name, _params(cls, merged, places, path))


def _select(suite: Suite, only_systems: Sequence[str], only_corpora: Sequence[str]) -> Suite:
    if only_corpora:
        known = {c.key: c for c in suite.corpora}
        for key in only_corpora:
            if key not in known:
                raise SuiteError(f"--corpus: the suite has no corpus '{key}'{nearest(key, known)}")
        suite = replace(suite, corpora=tuple(known[k] for k in dict.fromkeys(only_corpora)))
    if only_systems:
        listed = {s.name: s for s in suite.systems}
        chosen = [listed.get(n) or _added(n, suite) for n in dict.fromkeys(only_systems)]
        suite = replace(suite, systems=tuple(chosen))
    return suite


def _added(name: str, suite: Suite) -> SystemSpec:
    """A registered system or a preset that the suite does not list, with its default parameters."""
    listed = {s.name for s in suite.systems}
    made = system_names()
    able = {n for n, (type_name, _) in made.items() if tasks_of(suite.task) & systems.get(type_name).tasks}
    if name not in able:
        raise SuiteError(f"--system: no system '{name}' for the task '{suite.task}'{nearest(name, listed | able)}")
    type_name, params = made[name]
    try:
        return SystemSpec(name, type_name, systems.get(type_name).params_type.model_validate(params))
    except ValidationError as error:
        missing = ", ".join(str(e["loc"][0]) for e in error.errors())
        raise SuiteError(f"--system: '{name}' needs parameters ({missing}): list it in the suite") from None
