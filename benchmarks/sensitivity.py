"""How long does it take to read a run otherwise? Ten systems on 2,020 items, a fifth of the transcripts wrong.

    python benchmarks/sensitivity.py [--systems 10] [--items 2020]

Printed: seconds of one core for all readings of a WER, with and without Whisper's own normalisers (which are given
every text once), and for counting the errors of one normalisation by `errors` and by `edits`, as the metric does.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from unittest import mock

import numpy as np
from _rows import Row, add_option, whole_number, write

from metis_bench import sensitivity
from metis_bench.metrics.wer import edits, errors, words
from metis_bench.report.data import (
    Cell,
    Column,
    Generation,
    Item,
    OutputAudio,
    PlanRow,
    RunData,
    Score,
    Stats,
    System,
    TestSet,
    _ResultsFile,
    _RunFile,
)
from metis_bench.report.data import Suite as RunSuite
from metis_bench.text.profiles import profiles

SIGNATURE = {"recogniser": {}, "profile": {"name": "seed_tts_eval"}, "language": "en", "against": "text"}
TEXT = "Don't stop, the well-known birds sing early at number {}, Mrs. O'Neil's"


def made(systems: int, items: int) -> tuple[RunData, dict[str, str]]:
    """A run, and what was heard by clip."""
    rng = np.random.default_rng(0)
    names, texts = [f"system{s}" for s in range(systems)], [TEXT.format(i) for i in range(items)]
    rows = [PlanRow(s, "set", f"item{i}", 0) for s in names for i in range(items)]
    said = [t if rng.random() < 0.8 else f"{t} {rng.choice(['uh', 'now', 'and'])}" for _ in names for t in texts]
    column = Column("wer.x", "WER", "lower", metric="wer", unit="%", headline=True, worst=100.0)
    score = {"column": column.id, "status": "ok", "signature": "s", "protocol": "p"}
    rates = 10.0 * rng.integers(0, 2, size=len(rows))
    means = rates.reshape(systems, items).mean(axis=1)
    cells = [
        Cell("set", s, column.id, "complete", items, items, float(v), penalised=float(v), signature="s", protocol="p")
        for s, v in zip(names, means, strict=True)
    ]
    results = _ResultsFile(
        1,
        RunSuite("x", "tts"),
        Stats(10_000, 0.95, 0),
        tuple(System(s, "neural", True) for s in names),
        (TestSet("set", items),),
        (column,),
        tuple(cells),
        signatures={"s": SIGNATURE},
    )
    data = RunData(
        run=_RunFile({}),
        results=results,
        cells={(c.set, c.system, c.column): c for c in cells},
        items={("set", f"item{i}"): Item("set", f"item{i}", text=t, cluster=f"c{i // 2}") for i, t in enumerate(texts)},
        rows=tuple(rows),
        generations={
            r.key: Generation(r.system, r.set, r.item, r.seed, "ok", audio=OutputAudio(str(i), 16000, 1.0))
            for i, r in enumerate(rows)
        },
        scores={
            r.key: {column.id: Score(r.system, r.set, r.item, r.seed, value=float(v), **score)}  # type: ignore[arg-type]
            for r, v in zip(rows, rates, strict=True)
        },
    )
    return data, {str(i): t for i, t in enumerate(said)}


def seconds(what: Callable[[], object]) -> float:
    """Of one core; the second time, when everything is imported."""
    what()
    started = time.process_time()
    what()
    return time.process_time() - started


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--systems", type=whole_number, default=10)
    parser.add_argument("--items", type=whole_number, default=2020)
    add_option(parser)
    arguments = parser.parse_args()
    data, heard = made(arguments.systems, arguments.items)

    def read() -> None:
        list(sensitivity.panels(data, lambda _, audio: heard[audio]))

    whole = seconds(read)
    plain = [name for name in profiles.names() if not name.startswith("whisper")]
    with mock.patch.object(profiles, "names", lambda: plain):
        short = seconds(read)
    print(f"all readings            {whole:6.2f} s")
    print(f"without Whisper's       {short:6.2f} s")
    pairs = list(zip([data.items["set", r.item].text or "" for r in data.rows], heard.values(), strict=True))
    slow = seconds(lambda: [edits(text, said) for text, said in pairs])
    fast = seconds(lambda: [errors(words(text), words(said)) for text, said in pairs])
    print(f"errors of {len(pairs)} pairs {fast:6.2f} s, by edits {slow:6.2f} s: {slow / fast:.1f} times as fast")
    readings = f"all readings of a WER, {len(pairs)} transcripts"
    counted = f"errors of {len(pairs)} transcripts, against `edits`"
    write(arguments.rows, [Row(readings, "s", whole), Row(counted, "s", fast, slow)])


if __name__ == "__main__":
    main()
