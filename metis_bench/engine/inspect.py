"""Looking at what is there: runs and their items, registered things, and whether corpora decode."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from metis_bench import audio
from metis_bench.config import Config
from metis_bench.corpora.base import corpora
from metis_bench.engine.manifest import compare, keep, manifest_of, manifest_place
from metis_bench.engine.prepare import load_corpora
from metis_bench.engine.run import read_header
from metis_bench.engine.store import Store
from metis_bench.errors import AudioError, SuiteError, UsageError, nearest
from metis_bench.hashing import canonical_json
from metis_bench.metrics.base import metrics
from metis_bench.places import place
from metis_bench.resources import data_dir
from metis_bench.suite.load import load_document, shipped_suites, system_names
from metis_bench.suite.plan import FileRef, PlannedItem, test_sets
from metis_bench.suite.schema import Suite
from metis_bench.systems.base import systems


def run_folders(config: Config) -> list[Path]:
    """Run folders under the configured runs folder, newest first."""
    found = (p.parent for p in config.runs.glob("*/run.json"))
    return sorted(found, key=lambda p: (p / "run.json").stat().st_mtime, reverse=True)


def find_run(name: str, config: Config) -> Path:
    """A run by folder, by name (or its beginning), or 'latest'. Raises UsageError with the nearest."""
    if (Path(name) / "run.json").is_file():
        return Path(name)
    if (Path(name) / "results.json").is_file():
        raise UsageError(f"{name} lacks its run.json", fix="copy the whole folder, or run the suite again")
    folders = run_folders(config)
    if name == "latest" and folders:
        return folders[0]
    matches = [f for f in folders if f.name == name] or [f for f in folders if f.name.startswith(name)]
    if len(matches) == 1:
        return matches[0]
    what = "more than one run begins with" if matches else "no run called"
    raise UsageError(f"{what} '{name}' in {config.runs}{nearest(name, [f.name for f in (matches or folders)])}")


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Objects of a JSONL file. Raises UsageError when the stage that writes it has not run."""
    if not path.is_file():
        raise UsageError(f"{path} does not exist: the run did not get that far", fix="run the suite again to resume")
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            yield json.loads(line)


def run_store(folder: Path) -> Store:
    """The store a run was made with."""
    return Store(place(read_header(folder)["store"]))


def item_record(folder: Path, name: str) -> dict[str, Any]:
    """All that a run knows of one item ('ID' or 'SET:ID'): texts, inputs, outputs, scores. Raises UsageError."""
    items = [x for x in read_lines(folder / "plan.jsonl") if x["type"] == "item"]
    found = [i for i in items if name in (i["item"], f"{i['set']}:{i['item']}")]
    if len(found) != 1:
        names = [f"{i['set']}:{i['item']}" for i in (found or items)]
        what = f"'{name}' stands in several sets" if found else f"no item '{name}' in this run"
        shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
        close = "" if found else nearest(name, [i["item"] for i in items]).split(" (valid")[0]
        raise UsageError(f"{what}{close}", fix=f"name one of: {shown}")
    item = found[0]
    store = run_store(folder)

    def mine(x: dict[str, Any]) -> bool:
        return bool(x["set"] == item["set"] and x["item"] == item["item"])

    scores_file = folder / "scores.jsonl"
    scores = [s for s in read_lines(scores_file) if mine(s)] if scores_file.is_file() else []
    outputs = []
    for g in filter(mine, read_lines(folder / "generations.jsonl")):
        own = [s for s in scores if (s["system"], s["seed"]) == (g["system"], g["seed"])]
        path = store.audio_place(g["audio"]["sha256"]) if g["audio"] else None
        outputs.append({**g, "path": path, "scores": own})
    return {"run": str(folder), "item": item, "outputs": outputs}


def verify_corpora(suite: Suite, config: Config, *, verify: bool = False) -> dict[str, Any]:
    """Load each corpus of the suite and decode every audio file once; problems are listed by file.

    What is there is written down at the first time; verify: compare with that.
    """
    out: list[dict[str, Any]] = []
    for spec, loaded in load_corpora(suite, config):
        sets = test_sets(spec.key, loaded, suite.limit)
        place, manifest = manifest_place(spec, suite.limit, config), manifest_of(sets)
        changes = compare(place, manifest) if verify else []
        keep(place, manifest)
        for test_set in sets:
            refs = dict.fromkeys(r for p in test_set.items for r in p.files.values())
            problems = [f"{ref.path}: {reason}" for ref in refs if (reason := ref.error or _decodes(ref))]
            out.append(
                {
                    "id": test_set.id,
                    "items": len(test_set.items),
                    "official_count": test_set.spec.official_count,
                    "list_hash": test_set.list_hash,
                    "files": len(refs),
                    "hours": sum(ref.info.seconds for ref in refs if ref.info) / 3600,
                    "warnings": list(test_set.warnings),
                    "problems": sorted(
                        [
                            *problems,
                            *_missing_fields(test_set.items, test_set.spec.provides),
                            *(change for change in changes if change.split(": ", 1)[1].startswith(f"{test_set.id} ")),
                        ]
                    ),
                }
            )
    return {"sets": out}


def _decodes(ref: FileRef) -> str | None:
    """Why an audio file does not decode; None where it does, and for a video."""
    if ref.info is None:
        return None
    try:
        audio.load(ref.path)
    except AudioError as error:
        return error.message
    return None


def _missing_fields(items: Iterable[PlannedItem], provides: Iterable[str]) -> list[str]:
    fields = sorted(provides)
    return [f"item {p.item.id}: no {f}" for p in items for f in fields if f not in p.files and not getattr(p.item, f)]


def _system_row(name: str, type_name: str, params: dict[str, Any]) -> dict[str, Any]:
    try:
        cls = systems.get(type_name)
    except SuiteError as error:  # a baseline of the user's own whose manifest is broken
        return {"name": name, "kind": "", "tasks": "", "needs": "", "what": f"broken: {error}"}
    what = _doc(cls) if name == type_name else f"{type_name} with {canonical_json(params)}"
    return {
        "name": name,
        "kind": cls.kind,
        "tasks": " ".join(sorted(cls.tasks)),
        "needs": " ".join(sorted(cls.needs)),
        "what": what,
    }


def listing(what: str, config: Config) -> list[dict[str, Any]]:
    """Rows for `ls`."""
    if what == "systems":
        return [_system_row(name, *made) for name, made in sorted(system_names().items())]
    if what == "metrics":
        return [{"name": n, "tasks": " ".join(sorted(c.tasks)), "what": _doc(c)} for n, c in metrics.items()]
    if what == "corpora":
        return [{"name": n, "what": _doc(c)} for n, c in corpora.items()]
    if what == "runs":
        return [_run_row(f) for f in run_folders(config)]
    return [_suite_row(p) for p in shipped_suites()]


def _doc(cls: type) -> str:
    return (cls.__doc__ or "").strip().split("\n")[0]


def _suite_row(path: Path) -> dict[str, Any]:
    data = load_document(path).data
    profiles = " ".join(data.get("profiles") or {})
    name = path.relative_to(data_dir("suites")).as_posix()
    return {"suite": f"suites/{name}", "task": data.get("task"), "profiles": profiles, "title": data.get("title")}


def _run_row(folder: Path) -> dict[str, Any]:
    try:
        header = read_header(folder)
    except UsageError as error:
        return {"run": folder.name, "suite": None, "created": None, "state": f"damaged: {error.message}"}
    return {
        "run": folder.name,
        "suite": header["suite"]["name"],
        "created": header["provenance"]["created"],
        "state": "complete" if (folder / "results.json").is_file() else "interrupted",
    }
