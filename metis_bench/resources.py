"""Where the data folders (`suites`, `reports`, `baselines`) lie: in an installed wheel, or beside the package."""

from __future__ import annotations

from pathlib import Path

from metis_bench.errors import MetisBenchError

PACKAGE = Path(__file__).resolve().parent
DATA = "_data"  # of an installed wheel


def data_dir(name: str) -> Path:
    """The shipped data folder `name`. Raises MetisBenchError when neither the wheel nor a checkout has it."""
    candidates = (PACKAGE / DATA / name, PACKAGE.parent / name)
    for folder in candidates:
        if folder.is_dir():
            return folder
    places = " and ".join(str(folder) for folder in candidates)
    raise MetisBenchError(
        f"the data folder '{name}' of metis-bench is missing (looked for {places})",
        fix="reinstall it: pip install --force-reinstall metis-bench",
    )
