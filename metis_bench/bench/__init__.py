"""`metis-bench bench`: how fast this machine generates and scores, beside what its arithmetic could give.

clips.py       what is scored: synthetic speech, or recordings of the user's
generation.py  reference models with random weights, in a worker of their own (`reference_models.measuring`)
scoring.py     every metric that can be computed here, as the workers of a run compute it
show.py        both as tables
"""

from __future__ import annotations

from typing import Any

from metis_bench import __version__, provenance
from metis_bench.bench import generation, scoring
from metis_bench.bench.generation import Generating, Say
from metis_bench.bench.scoring import Scoring
from metis_bench.config import Config
from metis_bench.engine.progress import Progress, quiet
from metis_bench.hashing import JSON

SCHEMA = 1
OK, MISSING, FAILED = 0, 5, 6


def silent(line: str) -> None:
    """Says nothing."""
    del line


def bench(
    config: Config,
    generating: Generating | None,
    scored: Scoring | None,
    *,
    progress: Progress = quiet,
    say: Say = silent,
) -> dict[str, Any]:
    """Measure both parts, one after the other; None leaves one out. JSON, with the machine and the date.

    A part that cannot be measured here says why (`unavailable`: reason and fix), and the other one is measured.
    Raises UsageError, SuiteError. say: told what is about to happen
    """
    for part in (generating, scored):
        if part is not None:
            part.check()
    where = provenance.collect()
    names = where["packages"]
    assert isinstance(names, dict)
    facts: dict[str, JSON] = {name: where[name] for name in ("created", "python", "platform", "hardware", "git")}
    packages = {name: names.get(name) for name in ("torch", "numpy", "onnxruntime", "transformers")}
    return {
        "schema": SCHEMA,
        "metis_bench": __version__,
        **facts,
        "packages": packages,
        "generation": None if generating is None else generation.measure(generating, config, progress, say),
        "scoring": None if scored is None else scoring.measure(scored, config, progress),
    }


def exit_code(found: dict[str, Any]) -> int:
    """5 where a part cannot be measured here, 6 where a row of one has no number. An absent metric is neither."""
    parts = [found[name] for name in ("generation", "scoring") if found[name] is not None]
    if any(part["unavailable"] for part in parts):
        return MISSING
    return FAILED if any(row["failed"] for part in parts for row in part["rows"]) else OK
