"""`metis-bench doctor`: what this machine can do, and one fix for everything it cannot."""

from __future__ import annotations

import os
import platform
import re
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from metis_bench import provenance
from metis_bench.baselines import overview
from metis_bench.config import CHECKPOINTS, Config, listed_gpus, load_config
from metis_bench.corpora.base import corpora
from metis_bench.errors import MissingPrerequisite, install_command
from metis_bench.metrics.weights import Weights

SKIPPED_EXTRAS = {"dev"}


def examine(config_file: str | None) -> list[dict[str, Any]]:
    """Rows {check, status: ok|missing|optional, detail, fix}. Raises SuiteError for a broken config."""
    config = load_config(config_file)
    rows = [_row("python", "ok", f"{platform.python_version()} ({sys.executable})")]
    rows += _packages()
    rows.append(_row("config", "ok", str(config.file or "none found: defaults")))
    rows += [_store(config), _gpus(config)]
    rows += [_corpus(name, config) for name in corpora.names()]
    rows += _checkpoints()
    rows += _metric_weights()
    rows.append(_baselines())
    return rows


def _baselines() -> dict[str, Any]:
    """How many competitors could be measured here; each has a doctor of its own."""
    able, ready = overview.counts()
    fix = None if ready == able else "metis-bench baselines list, then: metis-bench baselines doctor NAME"
    return _row("baselines", "optional" if fix else "ok", f"{able} runnable, {ready} ready", fix)


def _metric_weights() -> list[dict[str, Any]]:
    """Every file or folder of weights that a metric of our protocols needs, and what else of the kind is here."""
    from metis_bench.metrics.asr.base import recognisers
    from metis_bench.metrics.base import metrics
    from metis_bench.metrics.speakers.base import encoders
    from metis_bench.metrics.speakers.encodec import Reconstructed

    families = (("recogniser", recognisers), ("speaker encoder", encoders), ("metric", metrics))
    needing: dict[Weights, list[str]] = {}
    for kind, registry in families:
        for name, cls in registry.items():
            for weights in cls.weights:
                needing.setdefault(weights, []).append(f"{kind} {name}")
    for weights in Reconstructed.weights:
        needing.setdefault(weights, []).append("SIM-r")
    rows = []
    for weights, users in needing.items():
        found = weights.find()
        if found is None and not weights.usual:
            continue
        detail = f"{weights.gigabytes:.2g} GB, {weights.licence}; for {', '.join(users)}"
        status, fix = ("ok", None) if found else ("optional", weights.how_to_get())
        rows.append(_row(f"weights: {weights.name}", status, f"{found}: {detail}" if found else detail, fix))
    return rows


def _row(check: str, status: str, detail: str, fix: str | None = None) -> dict[str, Any]:
    return {"check": check, "status": status, "detail": detail, "fix": fix}


def _requirements() -> dict[str, list[str]]:
    """Distribution names by extra ('core' for none), as the installed package declares them."""
    out: dict[str, list[str]] = {"core": []}
    for line in metadata.requires("metis-bench") or []:
        name = re.split(r"[\s<>=!~;\[]", line, maxsplit=1)[0]
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)", line)
        out.setdefault(extra.group(1) if extra else "core", []).append(name)
    return out


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _packages() -> list[dict[str, Any]]:
    rows = []
    for extra, names in _requirements().items():
        if extra in SKIPPED_EXTRAS:
            continue
        missing = [n for n in names if not _installed(n)]
        if not missing:
            rows.append(_row(f"packages: {extra}", "ok", f"{len(names)} of {len(names)} installed"))
        else:
            status = "missing" if extra == "core" else "optional"
            rows.append(
                _row(
                    f"packages: {extra}",
                    status,
                    f"missing: {', '.join(missing)}",
                    install_command(None if extra == "core" else extra),
                )
            )
    return rows


def _store(config: Config) -> dict[str, Any]:
    folder = config.store
    if isinstance(folder, str):  # asking a server takes its time, and `run` does it first of all
        return _row("store", "ok", f"{folder} (not asked)")
    while not folder.exists():
        folder = folder.parent
    if folder.is_dir() and os.access(folder, os.W_OK):
        return _row("store", "ok", str(config.store))
    return _row("store", "missing", f"{config.store} cannot be written", "set 'store' in metis-bench.yaml")


def _gpus(config: Config) -> dict[str, Any]:
    known = listed_gpus()
    absent = [name for name in config.devices or () if name.isdecimal() and name not in known]
    if absent:
        told = (
            f"devices names {', '.join(absent)}, and nvidia-smi knows {', '.join(known) or 'no GPU'}: CPUs do the work"
        )
        return _row("gpus", "missing", told, "correct 'devices' in metis-bench.yaml, or see what nvidia-smi says")
    names = provenance.hardware()["gpus"]
    count = len(config.gpus())
    return _row("gpus", "ok", f"{count} usable ({names})" if count else f"none; {config.workers} CPU workers")


def _corpus(name: str, config: Config) -> dict[str, Any]:
    cls = corpora.get(name)
    try:
        root = config.corpus_root(name, cls.default_folder, cls.how_to_get)
    except MissingPrerequisite as error:
        return _row(f"corpus: {name}", "optional", error.message, error.fix)
    if root is not None and not root.is_dir():
        return _row(f"corpus: {name}", "missing", f"{root} is not a folder", "correct it in metis-bench.yaml")
    return _row(f"corpus: {name}", "ok", "needs no root" if root is None else str(root))


def _checkpoints() -> list[dict[str, Any]]:
    """The files of the Metis release, and for each reference system whether those that it reads are here."""
    from metis_bench.suite.load import system_names
    from metis_bench.systems.base import systems
    from metis_bench.systems.metis import ReferenceSystem
    from reference_models.hub import download_commands, folder_of, is_here, status

    given = os.environ.get(CHECKPOINTS)  # set from the config, or by the user
    folder = Path(given).expanduser() if given else None
    here = {file.name for file, path in status(folder) if path is not None}
    total, where = len(status(folder)), folder or "the Hugging Face cache (no 'checkpoints' in metis-bench.yaml)"
    fix = None if len(here) == total else "; ".join(download_commands(folder))
    rows = [_row("checkpoints", "optional" if fix else "ok", f"{len(here)} of {total} files in {where}", fix)]
    for name, (type_name, params) in system_names().items():
        if type_name in systems.others():  # a baseline: `_baselines` tells of those
            continue
        cls = systems.get(type_name)
        if issubclass(cls, ReferenceSystem):
            wanted = cls(cls.params_type.model_validate(params)).parts().values()
            place = folder_of(params.get("checkpoint")) or folder
            missing = [file for file in wanted if isinstance(file, str) and not is_here(file, place)]
            detail = f"missing: {', '.join(missing)}" if missing else f"all {len(wanted)} files"
            rows.append(_row(f"weights: {name}", "optional" if missing else "ok", detail))
    return rows
