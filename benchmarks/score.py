"""Time scoring against a plain loop over the public packages on the same recordings, and compare every score.

    python benchmarks/score.py FOLDER [--count 60]

FOLDER holds LibriSpeech's tree (flac and *.trans.txt). White noise at 5 dB is added to `--count` utterances; DNSMOS,
PESQ, ESTOI, WER (pocketsphinx) and SIM (GE2E, against the clean recording) are scored by

    plain        speechmos, pesq, pystoi, pocketsphinx and resemblyzer, file after file, each loaded once
    metis-bench  `metis-bench run`: plan, workers, store, tables and report included

Then the suite is run again with another normaliser (WER profile `hubert`), which needs no recogniser.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from _rows import Aim, Row, add_option, whole_number, write

from metis_bench.audio import load
from metis_bench.bench import clips
from metis_bench.config import Config
from metis_bench.engine.run import run
from metis_bench.metrics.asr.pocketsphinx import _decoder, dithered, to_pcm16, vocabulary_of
from metis_bench.metrics.wer import edits
from metis_bench.suite.load import load_suite
from metis_bench.text.seed_tts_eval import SeedTTSEval

RATE = 16_000
SUITE = """\
name: score
task: se
corpora: {{speech: {{corpus: folder, task: se, path: {path}}}}}
systems: [noisy]
metrics:
  - dnsmos
  - pesq
  - estoi: {{align: none}}
  - wer: {{asr: pocketsphinx, profile: {profile}}}
  - sim: {{model: ge2e, pair: reference}}
"""
TOLERANCE = {"dnsmos.ovrl": 1e-5, "dnsmos.p808": 1e-5, "pesq.wb": 1e-9, "estoi.none": 1e-9, "wer.pocketsphinx": 1e-9}
TOLERANCE |= {"sim.ge2e.ref": 1e-5}


def utterances(folder: Path, count: int) -> Iterator[tuple[str, Path, str]]:
    """(id, file, text) of the first so many."""
    for listing in sorted(folder.rglob("*.trans.txt")):
        for line in listing.read_text(encoding="utf-8").splitlines():
            name, _, text = line.partition(" ")
            file = listing.parent / f"{name}.flac"
            if file.is_file() and count > 0:
                count -= 1
                yield name, file, text


def prepare(found: Sequence[tuple[str, Path, str]], folder: Path) -> None:
    """Clean and noisy wavs, and a manifest."""
    clips.write(folder, [clips.Utterance(name, load(file, RATE), text) for name, file, text in found])


def plain(found: Sequence[tuple[str, Path, str]], folder: Path) -> dict[tuple[str, str], float]:
    """What a user writes in an afternoon; the recogniser gets our vocabulary and dither, so that it hears the same."""
    import pesq
    from pystoi import stoi
    from resemblyzer import VoiceEncoder
    from resemblyzer.audio import normalize_volume
    from speechmos import dnsmos

    encoder = VoiceEncoder("cpu", verbose=False)
    decoder = _decoder(vocabulary_of(tuple(sorted({text for _, _, text in found}))))
    out: dict[tuple[str, str], float] = {}
    for name, _, text in found:
        clean, noisy = (soundfile.read(folder / p / f"{name}.wav", dtype="float32")[0] for p in ("clean", "noisy"))
        quality = dnsmos.run(noisy, RATE)
        out[name, "dnsmos.ovrl"], out[name, "dnsmos.p808"] = float(quality["ovrl_mos"]), float(quality["p808_mos"])
        out[name, "pesq.wb"] = float(pesq.pesq(RATE, clean, noisy, "wb"))
        np.random.seed(0)
        out[name, "estoi.none"] = float(stoi(clean, noisy, RATE, extended=True))
        decoder.reinit_feat()
        decoder.start_utt()
        decoder.process_raw(to_pcm16(dithered(noisy)), full_utt=True)
        decoder.end_utt()
        heard, profile = decoder.hyp(), SeedTTSEval()
        said = profile.hypothesis(heard.hypstr if heard else "", "en")
        detail: dict[str, Any] = edits(profile.reference(text, "en"), said)
        out[name, "wer.pocketsphinx"] = 100 * detail["errors"] / detail["words"]
        a, b = (encoder.embed_utterance(normalize_volume(x, -30, increase_only=True)) for x in (noisy, clean))
        out[name, "sim.ge2e.ref"] = float(a @ b)
    return out


def ours(folder: Path, profile: str = "seed_tts_eval") -> dict[tuple[str, str], float]:
    """A whole run."""
    suite = folder / f"{profile}.yaml"
    suite.write_text(SUITE.format(path=folder, profile=profile), encoding="utf-8")
    result = run(load_suite(suite), Config(store=folder / "store", runs=folder / "runs"))
    lines = [json.loads(x) for x in (result.folder / "scores.jsonl").read_text(encoding="utf-8").splitlines()]
    return {(x["item"], x["column"]): x["value"] for x in lines}


def timed(what: Callable[[], dict[tuple[str, str], float]]) -> tuple[float, dict[tuple[str, str], float]]:
    """Seconds, and what came out."""
    start = time.perf_counter()
    found = what()
    return time.perf_counter() - start, found


def main() -> None:
    """Print both times, the ratio, the largest differences, and what scoring again costs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=whole_number, default=60)
    add_option(parser)
    args = parser.parse_args()
    found = list(utterances(args.folder, args.count))
    with tempfile.TemporaryDirectory() as folder:
        prepare(found, Path(folder))
        theirs_s, theirs = timed(lambda: plain(found, Path(folder)))
        ours_s, first = timed(lambda: ours(Path(folder)))
        again_s, _ = timed(lambda: ours(Path(folder), "hubert"))
    print(f"{len(found)} clips: plain {theirs_s:.1f} s, metis-bench {ours_s:.1f} s: {theirs_s / ours_s:.2f} x")
    wrong: str | None = None
    print(f"again with another normaliser: {again_s:.2f} s: {ours_s / again_s:.0f} x faster than the first time")
    for column, tolerance in TOLERANCE.items():
        worst = max(abs(theirs[name, column] - first[name, column]) for name, _, _ in found)
        wrong = wrong if worst <= tolerance else f"{column} differs by {worst:.1e}"
        print(f"{column:18} largest difference {worst:.1e} {'' if worst <= tolerance else '  NOT EQUAL'}")
    what, again = (
        f"scoring {len(found)} clips with five metrics",
        "the same, another normaliser, against the first time",
    )
    write(
        args.rows,
        [
            Row(what, "s", ours_s, theirs_s, aim=Aim("ratio", ">=", 3), why=wrong),
            Row(again, "s", again_s, ours_s, aim=Aim("ratio", ">=", 50)),
        ],
    )


if __name__ == "__main__":
    main()
