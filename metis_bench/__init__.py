"""metis-bench: a benchmark and evaluation harness for speech generation.

Every command is a thin wrapper of one of these:

    suite = load_suite("suites/se.yaml", profile="mini")
    config = load_config()
    prepared = prepare(suite, config)      # the plan: every (system, item, seed)
    result = run(suite, config)            # generate, measure, aggregate, report
    compare(result.folder, other_folder)   # paired differences, system by system
    gate(result.folder, base, policy)      # is it worse?
    export(result.folder, "latex", path)    # for papers, tables and model cards
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metis_bench.comparison import compare
    from metis_bench.config import Config, load_config
    from metis_bench.engine.prepare import Prepared, prepare
    from metis_bench.engine.run import RunResult, run
    from metis_bench.errors import MetisBenchError
    from metis_bench.exporting import export
    from metis_bench.gating import gate
    from metis_bench.suite.load import load_suite
    from metis_bench.suite.schema import Suite

__version__ = "0.1.0"

_HOME = {
    "Config": "metis_bench.config",
    "MetisBenchError": "metis_bench.errors",
    "Prepared": "metis_bench.engine.prepare",
    "RunResult": "metis_bench.engine.run",
    "Suite": "metis_bench.suite.schema",
    "compare": "metis_bench.comparison",
    "export": "metis_bench.exporting",
    "gate": "metis_bench.gating",
    "load_config": "metis_bench.config",
    "load_suite": "metis_bench.suite.load",
    "prepare": "metis_bench.engine.prepare",
    "run": "metis_bench.engine.run",
}

__all__ = [
    "Config",
    "MetisBenchError",
    "Prepared",
    "RunResult",
    "Suite",
    "__version__",
    "compare",
    "export",
    "gate",
    "load_config",
    "load_suite",
    "prepare",
    "run",
]


def __getattr__(name: str) -> Any:
    """Import public names on first use: `import metis_bench` stays free of numpy and torch."""
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'metis_bench' has no attribute '{name}'")
