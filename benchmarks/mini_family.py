"""What the mini family can do: over 100 utterances of unseen synthetic talkers a task, with intervals over talkers.

    python benchmarks/mini_family.py [--checkpoint FOLDER] [--system A,B] [--out DIR] [--json FILE]

Runs `mini_family.yaml` (both parts) and prints each target beside what was measured. A comparison counts as won where
the 95 % intervals do not overlap. `top-1`: of twelve talkers, whose recordings an output is nearest to (GE2E).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _rows import Aim, Row, add_option, whole_number, write

from metis_bench.audio import load
from metis_bench.config import Config, load_config
from metis_bench.engine.run import run
from metis_bench.engine.store import Store
from metis_bench.errors import MetisBenchError
from metis_bench.metrics.speakers import ge2e
from metis_bench.report.data import load_run
from metis_bench.suite.load import load_suite

SUITE = Path(__file__).with_suffix(".yaml")
WER = "wer.mini"
# the mini recogniser was trained in noise, the other was not
HEARD = {"WER": WER, "WER (pocketsphinx)": "wer.pocketsphinx"}
RESAMPLES = 10_000


@dataclass(frozen=True)
class Cell:
    """A measured mean with its interval, of n items of N."""

    value: float
    low: float
    high: float
    n: int
    N: int

    def __str__(self) -> str:
        return f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}] {self.n}/{self.N}"


class Results:
    """Cells of a run by (system, set, column)."""

    def __init__(self, results: Mapping[str, Any]) -> None:
        self.cells = {(c["system"], c["set"], c["column"]): c for c in results["cells"] if c.get("value") is not None}

    def __call__(self, system: str, test_set: str, column: str) -> Cell | None:
        """None: not run, or no score."""
        found = self.cells.get((system, test_set, column))
        return None if found is None else Cell(found["value"], *found["ci"], found["n"], found["N"])


ROWS: list[Row] = []  # of the table of all benchmarks


def told(name: str, target: str, met: bool | None, *cells: Cell | None, aim: Aim | None = None) -> None:
    """One line: met, missed, or not measured."""
    ours, other = (*(None if cell is None else cell.value for cell in cells), None)[:2]
    why = "not run" if ours is None else None
    ROWS.append(Row(f"mini family, {name} ({target})", "", ours, other, aim=aim, why=why))
    state = "not run" if met is None or None in cells else "met   " if met else "MISSED"
    print(f"{state}  {name:34} {target:38} {'   '.join(map(str, cells))}")


def most(name: str, cell: Cell | None, limit: float, unit: str = "% WER") -> None:
    """A mean that may be so high."""
    told(
        name,
        f"<= {limit:.1f} {unit}",
        None if cell is None else cell.value <= limit,
        cell,
        aim=Aim("ours", "<=", limit),
    )


def lower(name: str, ours: Cell | None, other: Cell | None, what: str) -> None:
    """Clearly below another."""
    told(name, f"{what}: below, intervals apart", ours and other and ours.high < other.low, ours, other)


def higher(name: str, ours: Cell | None, other: Cell | None, what: str) -> None:
    """Clearly above another."""
    told(name, f"{what}: above, intervals apart", ours and other and ours.low > other.high, ours, other)


def top_one(folder: Path, store: Store, test_set: str, system: str) -> Cell | None:
    """Share of outputs nearest to their own talker, of the twelve: mean embedding of the prompts of other items."""
    data = load_run(folder)
    items = {item: data.items[where, item] for where, item in data.items if where == test_set}
    outputs = {
        g.item: g.audio.sha256
        for g in data.generations.values()
        if g.system == system and g.set == test_set and g.audio is not None
    }
    if not outputs:
        return None
    prompts = {name: item.audio["prompt"] for name, item in items.items()}
    voices = {n: ge2e.embed(load(Path(p.path), ge2e.RATE).samples) for n, p in prompts.items() if p is not None}
    talker = {name: str(item.cluster) for name, item in items.items()}
    talkers = sorted(set(talker.values()))
    right: dict[str, list[bool]] = {t: [] for t in talkers}
    for item, sha256 in sorted(outputs.items()):
        made = ge2e.embed(load(store.audio_path(sha256), ge2e.RATE).samples)
        known = [np.mean([v for n, v in voices.items() if n != item and talker[n] == t], 0) for t in talkers]
        nearest = talkers[int(np.argmax([made @ k / np.linalg.norm(k) for k in known]))]
        right[talker[item]].append(nearest == talker[item])
    means = np.array([100 * np.mean(r) for r in right.values() if r])
    drawn = np.random.default_rng(0).choice(means, (RESAMPLES, len(means))).mean(1)
    n = sum(map(len, right.values()))
    return Cell(float(means.mean()), *np.quantile(drawn, (0.025, 0.975)), n, len(items))


def report(got: Results, mos: Results, folder: Path, store: Store) -> None:
    """Every target of the mini family."""
    for test_set in ("mini-tts", "mini-vc", "mini-tse", "mini-l2s"):
        truth = got("ground-truth", test_set, WER)
        if truth is not None:
            most(f"codec resynthesis, {test_set}", got("metis-mini-codec", test_set, WER), truth.value + 5)
    most("TTS", got("metis-mini-tts", "mini-tts", WER), 20)
    identified = top_one(folder, store, "mini-tts", "metis-mini-tts")
    told(
        "TTS, talker identified",
        ">= 60 % top-1 of 12",
        identified and identified.value >= 60,
        identified,
        aim=Aim("ours", ">=", 60),
    )
    most("VC", got("metis-mini-vc", "mini-vc", WER), 15)
    vc = [got("metis-mini-vc", "mini-vc", c) for c in ("sim.ge2e", "sim.ge2e.source")]
    higher("VC, nearer the prompt's talker", vc[0], vc[1], "SIM to prompt, to source")
    for system in ("metis-mini-se", "metis-mini-omni"):
        for subset in ("no_reverb", "with_reverb"):
            place = f"mini-se/{subset}"
            for what, column in HEARD.items():
                lower(f"{system} {subset}", got(system, place, column), got("source-copy", place, column), what)
            ovrl = [mos(s, place, "dnsmos.ovrl") for s in (system, "source-copy")]
            higher(f"{system} {subset}", ovrl[0], ovrl[1], "OVRL")
    for system in ("metis-mini-tse", "metis-mini-omni", "metis-mini-omni-text"):
        for what, column in HEARD.items():
            lower(system, got(system, "mini-tse", column), got("source-copy", "mini-tse", column), what)
        alike = [got(s, "mini-tse", "sim.ge2e.ref") for s in (system, "source-copy")]
        higher(system, alike[0], alike[1], "SIM to target talker")
    most("L2S", got("metis-mini-l2s", "mini-l2s", WER), 50)
    print("\nall WER: mini / pocketsphinx")
    for system, test_set in sorted({(s, t) for s, t, column in got.cells if column == WER}):
        print(f"{test_set:22} {system:24} {got(system, test_set, WER)}   {got(system, test_set, 'wer.pocketsphinx')}")


CARDS = {  # what a model card shows of its system: label, column
    "WER % (mini recogniser)": WER,
    "WER % (pocketsphinx)": "wer.pocketsphinx",
    "SIM to the prompt (GE2E)": "sim.ge2e",
    "SIM to the target talker (GE2E)": "sim.ge2e.ref",
}


def cards(got: Results) -> dict[str, dict[str, str]]:
    """What `metis-train pack --results` writes on the cards: by system, what was measured where."""
    found: dict[str, dict[str, str]] = {}
    for system, test_set, column in sorted(got.cells):
        for label, shown in CARDS.items():
            if column == shown and system.startswith("metis-mini"):
                found.setdefault(system, {})[f"{label}, {test_set}"] = str(got(system, test_set, column))
    return found


def main() -> None:
    """Run both parts, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", help="a folder of weights instead of the shipped ones")
    parser.add_argument("--system", help="only these")
    parser.add_argument("--items", type=whole_number, help="of each set, instead of all")
    parser.add_argument("--json", type=Path, help="what model cards show, for `metis-train pack --results`")
    add_option(parser)
    parser.add_argument("--out", type=Path, default=Path("runs"))
    given = parser.parse_args()
    config = load_config(None)
    try:
        results, folders = _measured(config, given)
    except MetisBenchError as error:  # such as another run's results in --out
        sys.exit(f"error: {error}")
    report(results[0], results[1], folders[0], Store(config.store))
    write(given.rows, ROWS)
    if given.json:
        given.json.write_text(json.dumps(cards(results[0]), indent=1), encoding="utf-8")


def _measured(config: Config, given: argparse.Namespace) -> tuple[list[Results], list[Path]]:
    """Both parts of the suite, run: what they found, and where."""
    results, folders = [], []
    for profile in (None, "mos"):
        suite = load_suite(SUITE, profile, limit=given.items)
        names = [s.name for s in suite.systems if not given.system or s.name in given.system.split(",")]
        changes = [
            f"systems.{s}.checkpoint={given.checkpoint}" for s in names if s.startswith("metis") and given.checkpoint
        ]
        suite = load_suite(SUITE, profile, overrides=changes, only_systems=names, limit=given.items)
        ended = run(suite, config, out=given.out / f"mini-family-{profile or 'all'}")
        results.append(Results(ended.results))
        folders.append(ended.folder)
    return results, folders


if __name__ == "__main__":
    main()
