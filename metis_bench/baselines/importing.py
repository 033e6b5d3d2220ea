"""`metis-bench baselines import`: outputs that somebody else has made, copied, checked, and with where they came from.

They lie as the system `imported` reads them, `<item id>.<suffix>`, subfolders kept, beside a provenance.json. A report
says of such a row what that file says.
"""

from __future__ import annotations

import getpass
import json
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from metis_bench.audio import decode, read_bytes
from metis_bench.baselines import machine
from metis_bench.baselines.manifest import Manifest
from metis_bench.corpora.download import Progress
from metis_bench.errors import AudioError, CorpusError, ItemError, UsageError
from metis_bench.files import replace_tree
from metis_bench.hashing import sha256_bytes
from metis_bench.metrics.alignment import is_silent
from metis_bench.systems.imported import SUFFIXES, file_name

PROVENANCE = "provenance.json"
SHOWN = 10  # problems that a message names


@dataclass(frozen=True)
class Told:
    """What the user says of the outputs."""

    note: str | None = None
    commit: str | None = None
    by: str | None = None


@dataclass(frozen=True)
class Brought:
    """A finished import. replaced: how many files were there before, None if there were none."""

    folder: Path
    provenance: Mapping[str, Any]
    replaced: int | None

    def to_json(self) -> dict[str, Any]:
        """A plain dict."""
        return {"folder": str(self.folder), "replaced": self.replaced, **self.provenance}


def bring(name: str, source: Path, told: Told, *, allow: bool = False, progress: Progress) -> Brought:
    """Copy the outputs below `source` to where the baseline's are looked for, in place of those that were there.

    allow: take files with problems too (they fail as items, or their channels are averaged). Raises UsageError for a
    baseline that is not brought, and CorpusError with the files' names for broken, silent and stereo ones.
    """
    manifest = machine.known(name).manifest
    _require_manual(manifest)
    target = machine.outputs_folder(name)
    files = _audio_files(source, target)
    machine.require_folder(target.parent)
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        checked = [_copy(path, source, staging) for path in _counted(files, progress)]
        problems = [f"{row['file']}: {row['problem']}" for row in checked if row["problem"]]
        if problems and not allow:
            more = f"\n  ... and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
            raise CorpusError(
                f"{len(problems)} of {len(files)} files cannot be taken:\n  " + "\n  ".join(problems[:SHOWN]) + more,
                where=source,
                fix="mend or remove them, or take them with --allow (broken ones will fail, channels are averaged)",
            )
        facts = _facts(source, told, checked, len(problems))
        (staging / PROVENANCE).write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        staging.chmod(0o755)  # a temporary folder is its owner's alone
        before = len(_below(target)) if target.is_dir() else None
        replace_tree(staging, target)
    except OSError as error:
        raise UsageError(
            f"outputs cannot be kept in {target}: {error.strerror}", fix="make room, or see its rights"
        ) from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return Brought(target, facts, before)


def _require_manual(manifest: Manifest) -> None:
    if manifest.status == "manual":
        return
    name = manifest.name
    own = f"in a suite:  systems: [{{my-{name}: {{system: imported, path: DIR}}}}]"
    if manifest.status == "runnable":
        why = f"'{name}' is run from here: its outputs are not imported"
        raise UsageError(why, fix=f"metis-bench baselines doctor {name}; or, for outputs made elsewhere, {own}")
    raise UsageError(f"of '{name}' there are only published numbers", fix=f"for outputs of your own, {own}")


def _below(folder: Path) -> list[Path]:
    """Audio files in it, none of a hidden folder."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    return sorted(path for path in found if not any(p.startswith(".") for p in path.relative_to(folder).parts))


def _audio_files(source: Path, target: Path) -> list[Path]:
    """Those to copy, no two for one item. Raises UsageError, CorpusError."""
    if not source.is_dir():
        raise UsageError(f"{source} is not a folder", fix="give the folder of the outputs, <item id>.wav in it")
    if source.resolve() == target.resolve() or source.resolve().is_relative_to(target.resolve()):
        raise UsageError(f"{source} is where imported outputs are kept", fix="give the folder that they came from")
    files = _below(source)
    if not files:
        raise UsageError(f"{source} holds no {', '.join(SUFFIXES)} files", fix="name them <item id>.wav")
    ids = Counter(_id(path, source) for path in files)
    double = sorted(name for name, count in ids.items() if count > 1)
    if double:
        raise CorpusError(f"more than one file for {', '.join(double[:SHOWN])}", where=source, fix="keep one of them")
    return files


def _id(path: Path, source: Path) -> str:
    try:
        return file_name(path.relative_to(source).with_suffix("").as_posix())
    except ItemError as error:
        raise CorpusError(error.message, where=path) from None


def _counted(files: Sequence[Path], progress: Progress) -> Iterator[Path]:
    for done, path in enumerate(files):
        progress("importing", done, len(files))
        yield path
    progress("importing", len(files), len(files))


def _copy(path: Path, source: Path, staging: Path) -> dict[str, Any]:
    """Into the staging folder, with a suffix that is found again; what is known of it, and what is wrong with it."""
    relative = path.relative_to(source)
    row: dict[str, Any] = {"file": relative.with_suffix(path.suffix.lower()).as_posix(), "problem": None}
    place = staging / row["file"]
    try:
        data = read_bytes(path)
    except AudioError as error:
        return {**row, "problem": error.message}
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)
    row["sha256"] = sha256_bytes(data)
    try:
        samples, info = decode(data, path)
    except AudioError as error:
        return {**row, "problem": error.message}
    row |= {"rate": info.rate, "seconds": round(info.seconds, 4)}
    if info.channels > 1:
        row["problem"] = f"{info.channels} channels, expected mono"
    elif is_silent(np.asarray(samples[:, 0])):
        row["problem"] = "silent"
    return row


def _facts(source: Path, told: Told, rows: Sequence[Mapping[str, Any]], problems: int) -> dict[str, Any]:
    rates = Counter(str(row["rate"]) for row in rows if "rate" in row)
    return {
        "schema": 1,
        "imported": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "by": told.by or _user(),
        "from": str(source),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "note": told.note,
        "commit": told.commit,
        "count": len(rows),
        "seconds": round(sum(row.get("seconds", 0.0) for row in rows), 3),
        "rates": dict(sorted(rates.items())),
        "problems": problems,
        "files": [{key: value for key, value in row.items() if value is not None} for row in rows],
    }


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return "unknown"


def origin(folder: Path) -> str:
    """In a line, where the outputs in a folder come from: for a reader of a table."""
    try:
        facts = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
        words = [f"its outputs were made elsewhere: {facts['count']} files from {facts['from']}"]
        words.append(f"imported {facts['imported'][:10]} by {facts['by']}")
        words += [f"commit {facts['commit']}"] if facts["commit"] else []
        words += [facts["note"]] if facts["note"] else []
        return ", ".join(words)
    except OSError:
        return "its outputs were made elsewhere, nobody has noted where"
    except (ValueError, KeyError, TypeError):
        return f"its outputs were made elsewhere; {PROVENANCE} cannot be read"
