"""The seal of a run: hashes of its files, so that an edit by hand is noticed. No signature: it stops no forger."""

from __future__ import annotations

from pathlib import Path

from pydantic import TypeAdapter

from metis_bench.hashing import JSON, sha256_file

FILE = "seal.json"
SEALED = ("plan.jsonl", "generations.jsonl", "scores.jsonl", "results.json")


def seal(folder: Path) -> dict[str, JSON]:
    """What `seal.json` of a finished run says."""
    return {name: sha256_file(folder / name) for name in SEALED}


def broken(folder: Path) -> str | None:
    """Why a run cannot be trusted to be what was measured; None if it can."""
    try:
        kept = TypeAdapter(dict[str, str]).validate_json((folder / FILE).read_bytes())
    except (OSError, ValueError):  # pydantic's error is one, too
        return f"{folder / FILE} cannot be read, so nobody knows whether the run was changed"
    for name in SEALED:
        if not (folder / name).is_file() or kept.get(name) != sha256_file(folder / name):
            return f"{folder / name} is not what the run wrote: it was changed afterwards"
    return None
