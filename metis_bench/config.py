"""Facts of this machine: where corpora lie, where the store is, workers and plug-ins. Never part of a suite.

Looked for in this order: --config FILE, $METIS_BENCH_CONFIG, ./metis-bench.yaml, and metis-bench/metis-bench.yaml in
the user's config folder. Relative paths are relative to the file. Example:

    corpora:
      root: /data/speech            # a folder with dns2020/, seedtts/, ... in it
      dns2020: /data/DNS-Challenge  # or one corpus by name (of your own data: the suite's name for it)
    store: /scratch/metis-store   # or a URL that fsspec knows: s3://bucket/metis (docs/scale.md)
    executor: ray                 # or ray:ADDRESS; default: local, the processes of this machine
    workers: 8
    devices: [0, 1]               # GPUs for systems that use one; default: all that are visible ([0, 0]: two workers)
    checkpoints: /data/metis      # the files of the Metis release (see docs/reference-models.md)
    weights: /data/metric-weights # models that metrics need (see docs/metrics.md)
    plugins: [my_systems.py]        # Python files that register systems or metrics
    baselines: {seed-vc: {python: /envs/seedvc/bin/python}}  # competitors' environments (docs/baselines.md)
    baseline_folders: [my_baselines]
    timeout_s: 900
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metis_bench.errors import MetisBenchError, MissingPrerequisite, SuiteError, UsageError, nearest
from metis_bench.hashing import sha256_bytes
from metis_bench.places import Place, place
from metis_bench.suite import documents

FILE_NAME = "metis-bench.yaml"
CHECKPOINTS = "METIS_CHECKPOINTS"  # where the weights of the reference models lie, for this process and its workers
WEIGHTS = "METIS_BENCH_WEIGHTS"  # and those of the metrics' models
BASELINES = "METIS_BENCH_BASELINES"  # what the config says of them, as JSON
LOCAL, RAY = "local", "ray"
EXECUTORS = re.compile(r"local|ray|ray:(//)?([^:/\s]+|\[[\da-f:]+\]):\d{1,5}|ray:auto")
GPU = re.compile(r"\d+|(GPU|MIG)-[\w/-]+")  # what CUDA_VISIBLE_DEVICES takes
KEYS = (
    *("corpora", "store", "runs", "executor", "workers", "devices", "checkpoints", "weights", "plugins", "timeout_s"),
    *("baselines", "baseline_folders"),
)


def home() -> Path:
    """Where generated corpora and the default store live: $METIS_BENCH_HOME, else the user's cache folder."""
    base = os.environ.get("METIS_BENCH_HOME")
    if base:
        return Path(base).expanduser().resolve()
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "metis-bench"


def cpu_count() -> int:
    """Cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        return os.cpu_count() or 1


def cuda_visible() -> bool:
    """Whether a worker with this environment may expect a GPU; torch is not asked."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return any(x.strip() not in ("", "-1") for x in visible.split(","))
    return bool(listed_gpus())


def listed_gpus() -> tuple[str, ...]:
    """Ids that nvidia-smi knows."""
    if shutil.which("nvidia-smi") is None:
        return ()
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(str(i) for i, line in enumerate(listed.splitlines()) if line.startswith("GPU "))


@dataclass(frozen=True)
class Config:
    """This machine. All paths are absolute.

    executor: `local`, `ray`, or `ray:ADDRESS`: where work is done (docs/scale.md)
    """

    file: Path | None = None
    corpora: dict[str, Path] = field(default_factory=dict)
    store: Place = field(default_factory=lambda: home() / "store")
    runs: Path = field(default_factory=lambda: Path.cwd() / "runs")
    executor: str = LOCAL
    workers: int = field(default_factory=cpu_count)
    devices: tuple[str, ...] | None = None
    checkpoints: Path | None = None
    weights: Path | None = None
    plugins: tuple[str, ...] = ()
    timeout_s: float = 900.0
    baselines: dict[str, dict[str, Any]] = field(default_factory=dict)
    baseline_folders: tuple[Path, ...] = ()

    @property
    def cache(self) -> Path:
        """Where generated corpora are kept."""
        return home() / "corpora"

    @property
    def data(self) -> Path:
        """Where downloaded corpora go: the common root, else a folder of our own. They are found there."""
        return self.corpora.get("root", home() / "data")

    def corpus_root(self, type_name: str, default_folder: str | None, how_to_get: str) -> Path | None:
        """Where a corpus lies here: by name, else its folder under corpora.root. None for generated corpora."""
        if type_name in self.corpora:
            return self.corpora[type_name]
        common = self.corpora.get("root")
        if default_folder is not None and (self.data / default_folder).is_dir():
            return self.data / default_folder
        if default_folder is None:
            return None
        looked = f"{common / default_folder} does not exist" if common else "no corpora.root is set"
        name_it = f"name its folder in {FILE_NAME}:  corpora: {{{type_name}: /path/to/it}}"
        raise MissingPrerequisite(
            f"the corpus '{type_name}' is not on this machine ({looked}, and no corpora.{type_name})",
            fix=f"{how_to_get}\n       then {name_it}" if how_to_get else name_it,
        )

    def named_root(self, name: str) -> Path | None:
        """Where data of this name lies here: by name, else its folder under corpora.root, if any."""
        if name in self.corpora:
            return self.corpora[name]
        return self.data / name if (self.data / name).is_dir() else None

    def gpus(self) -> tuple[str, ...]:
        """GPU ids that workers may be bound to."""
        if self.devices is not None:
            return self.devices
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        if visible is not None:
            return tuple(x for x in visible.split(",") if x.strip() and x.strip() != "-1")
        return listed_gpus()


def find_config(explicit: str | None) -> Path | None:
    """The config file that applies, or None. Raises SuiteError when an explicitly named one is missing."""
    named = explicit or os.environ.get("METIS_BENCH_CONFIG")
    if named:
        path = Path(named).expanduser()
        if not path.is_file():
            raise SuiteError("the config file does not exist", where=path)
        return path
    user = Path(os.environ.get("XDG_CONFIG_HOME", "~/.config")).expanduser() / "metis-bench" / FILE_NAME
    return next((p for p in (Path(FILE_NAME), user) if p.is_file()), None)


def check_executor(name: str) -> str:
    """`name`, if it says where work may be done. Raises UsageError."""
    kind = name.partition(":")[0]
    if kind not in (LOCAL, RAY) or not EXECUTORS.fullmatch(name):
        raise UsageError(
            f"unknown executor '{name}'{nearest(kind, (LOCAL, RAY))}",
            fix="local, ray (the cluster of $RAY_ADDRESS or of this machine), ray:HOST:PORT or ray://HOST:PORT",
        )
    return name


def load_config(
    explicit: str | None = None,
    *,
    store: str | None = None,
    workers: int | None = None,
    executor: str | None = None,
) -> Config:
    """Read the machine's config; flags win over the file. Raises SuiteError with file:line, UsageError for a flag."""
    path = find_config(explicit)
    values: dict[str, Any] = {}
    if path is not None:
        values = _parse(documents.read(path), path)
    if store is not None:
        values["store"] = place(store)
    if workers is not None:
        values["workers"] = workers
    if executor is not None:
        values["executor"] = check_executor(executor)
    config = Config(file=path, **values)
    for name, folder in ((CHECKPOINTS, config.checkpoints), (WEIGHTS, config.weights)):
        if folder is not None:
            os.environ[name] = str(folder)  # workers inherit it
    if config.baselines or config.baseline_folders:
        told = {"folders": [str(folder) for folder in config.baseline_folders], "baselines": config.baselines}
        os.environ[BASELINES] = json.dumps(told)
    if config.devices == ():  # no GPU, for this process and its workers: signatures tell the device
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    load_plugins(config.plugins)
    return config


def _parse(doc: documents.Document, path: Path) -> dict[str, Any]:
    base = path.resolve().parent
    out: dict[str, Any] = {}
    for key, value in doc.data.items():
        if key not in KEYS:
            raise doc.error((key,), f"unknown key '{key}'{nearest(key, KEYS)}")
        out[key] = _value(doc, key, value, base)
    return out


def _value(doc: documents.Document, key: str, value: Any, base: Path) -> Any:
    def absolute(text: Any, path: documents.KeyPath) -> Path:
        if not isinstance(text, str):
            raise doc.error(path, f"{'.'.join(map(str, path))} must be a folder")
        return (base / Path(text).expanduser()).resolve()

    if key == "corpora":
        if not isinstance(value, dict):
            raise doc.error((key,), "corpora must map corpus names to folders")
        return {name: absolute(text, (key, name)) for name, text in value.items()}
    if key in ("runs", "checkpoints", "weights"):
        return absolute(value, (key,))
    if key == "store":
        return place(value, base) if isinstance(value, str) else absolute(value, (key,))
    if key == "executor":
        try:
            return check_executor(str(value))
        except UsageError as error:
            raise doc.error((key,), error.message) from None
    if key == "baselines":
        return _baselines(doc, value, absolute)
    if key in ("devices", "plugins", "baseline_folders"):
        if not isinstance(value, list):
            raise doc.error((key,), f"{key} must be a list")
        if key == "devices":
            return tuple(_gpu(doc, i, str(v)) for i, v in enumerate(value))
        if key == "baseline_folders":
            return tuple(absolute(v, (key, i)) for i, v in enumerate(value))
        return tuple(str(absolute(v, (key, i))) if str(v).endswith(".py") else str(v) for i, v in enumerate(value))
    good = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
    if not good or (key == "workers" and not isinstance(value, int)):
        raise doc.error((key,), f"{key} must be a positive {'whole number' if key == 'workers' else 'number'}")
    return value


def _gpu(doc: documents.Document, i: int, name: str) -> str:
    if not GPU.fullmatch(name):
        raise doc.error(("devices", i), f"'{name}' is no GPU: write its number, or its GPU-... of nvidia-smi -L")
    return name


def _baselines(doc: documents.Document, value: Any, absolute: Callable[..., Path]) -> dict[str, dict[str, Any]]:
    """Entries by name, their paths made absolute."""
    from metis_bench.baselines.machine import Here
    from metis_bench.suite.validate import validate

    if not isinstance(value, dict):
        raise doc.error(("baselines",), "baselines must map the names of baselines to what is said of them")
    out = {}
    for name, entry in value.items():
        validate(Here, documents.Document(entry, doc.places), ("baselines", name))
        paths = {k: str(absolute(entry[k], ("baselines", name, k))) for k in ("repo", "weights") if k in entry}
        python = entry.get("python", "")
        if "/" in python:  # a symlink of a virtual environment must not be followed to the interpreter behind it
            folder, _, file = python.rpartition("/")
            paths["python"] = str(absolute(f"{folder}/", ("baselines", name, "python")) / file)
        out[name] = {**entry, **paths}
    return out


def load_plugins(plugins: tuple[str, ...]) -> None:
    """Import plug-ins: a .py file's path, or a module name. They register systems, metrics and corpora.

    A plug-in may import modules that lie beside it (its folder is searched last, so it can shadow nothing).
    Raises MissingPrerequisite when one is not there, SuiteError with file:line when it does not import.
    """
    for name in plugins:
        path = Path(name)
        if name.endswith(".py") and not path.is_file():
            raise MissingPrerequisite(f"plug-in file not found: {path}")
        try:
            _import_file(path) if name.endswith(".py") else importlib.import_module(name)
        except MetisBenchError:
            raise
        except Exception as error:  # a plug-in is the user's code: its errors are told as such
            raise SuiteError(f"the plug-in does not import: {type(error).__name__}: {error}", where=name) from error


def _import_file(path: Path) -> None:
    module_name = f"metis_bench_plugin_{path.stem}_{sha256_bytes(str(path.resolve()).encode())[:8]}"
    if module_name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None and spec.loader is not None
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[module_name]
        raise
