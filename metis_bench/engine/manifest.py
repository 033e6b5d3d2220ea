"""What a corpus held when it was prepared, to be compared with what it holds now: `prepare --verify`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from metis_bench.config import Config
from metis_bench.errors import CorpusError, UsageError
from metis_bench.files import write_atomic
from metis_bench.hashing import JSON, sha256_json
from metis_bench.suite.plan import FileRef, TestSet
from metis_bench.suite.schema import CorpusSpec

Manifest: TypeAlias = dict[str, dict[str, JSON]]  # "set item field" -> what the file is
FACTS = ("rate", "channels", "frames")


def manifest_place(spec: CorpusSpec, limit: int | None, config: Config) -> Path:
    """One file for a reader with its parameters, wherever the corpus lies."""
    params: JSON = spec.params.model_dump(mode="json")
    return config.cache / "manifests" / f"{spec.key}-{sha256_json([spec.type, params, limit])[:12]}.json"


def manifest_of(sets: Sequence[TestSet]) -> Manifest:
    """Every file that can be used, by item and field; what cannot be used is not a state to go back to."""
    return {
        f"{test_set.id} {planned.item.id} {field}": _described(ref)
        for test_set in sets
        for planned in test_set.items
        for field, ref in sorted(planned.files.items())
        if ref.error is None
    }


def _described(ref: FileRef) -> dict[str, JSON]:
    known: dict[str, JSON] = {"file": ref.path.name, "bytes": ref.path.stat().st_size, "sha256": ref.sha256}
    if ref.info is not None:
        known |= {name: getattr(ref.info, name) for name in FACTS}
    return known


def keep(place: Path, manifest: Manifest) -> None:
    """Write it, if there is none yet: the first state is the one to compare with."""
    if not place.is_file():
        write_atomic(place, (json.dumps(manifest, indent=0, sort_keys=True) + "\n").encode())


def compare(place: Path, manifest: Manifest) -> list[str]:
    """Every difference, a line each: missing, extra, truncated, altered.

    Raises UsageError without a manifest, CorpusError for a damaged one.
    """
    try:
        before: Mapping[str, Mapping[str, JSON]] = json.loads(place.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError("there is no manifest of this corpus yet", fix="metis-bench prepare SUITE writes it") from None
    except ValueError as error:
        raise CorpusError(
            f"the manifest is damaged ({error})", where=place, fix="remove it, and prepare again"
        ) from None
    found = [f"missing: {key} ({before[key]['file']})" for key in before if key not in manifest]
    found += [f"extra: {key} ({manifest[key]['file']})" for key in manifest if key not in before]
    found += [change for key in before if key in manifest and (change := _change(key, before[key], manifest[key]))]
    return sorted(found)


def _change(key: str, before: Mapping[str, JSON], now: Mapping[str, JSON]) -> str | None:
    if before["sha256"] == now["sha256"]:
        return None
    facts = [
        f"{name} {before[name]} -> {now.get(name)}" for name in ("bytes", *FACTS) if before.get(name) != now.get(name)
    ]
    smaller = isinstance(now["bytes"], int) and isinstance(before["bytes"], int) and now["bytes"] < before["bytes"]
    what = "truncated" if smaller else "altered"
    return f"{what}: {key} ({now['file']}): {', '.join(facts) or 'other content of the same size'}"
