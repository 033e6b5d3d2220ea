"""Test sets for enhancement and extraction from anyone's own clean speech, by the paper's simulation (§4.2, §4.3).

Every item follows from (seed, its key) and the recordings it is made of, whatever else is made. The ratio of speech to
noise, or of the target to the other talker, is exact over the whole item. Files are 16 kHz floats; where a sum would
exceed full scale, mixture and reference are made softer together. The result is read by the corpus `folder`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from metis_bench.audio import Audio, encode_wav
from metis_bench.errors import CorpusError, UsageError
from metis_bench.files import write_atomic
from metis_bench.hashing import JSON
from reference_models.errors import InputError, MetisError
from reference_models.seeds import derive_seed

if TYPE_CHECKING:
    from reference_models.training.simulate import World
    from reference_models.training.sources import Utterance

F64 = NDArray[np.float64]
MANIFEST = "manifest.jsonl"
PEAK = 0.95
RATE = 16_000  # Hz


@dataclass(frozen=True)
class Made:
    """What became of the utterances. failures: key and reason of those that could not be used."""

    items: int
    seconds: float
    failures: tuple[tuple[str, str], ...]


def make_set(
    task: Literal["se", "tse"],
    sources: Sequence[str],
    out: Path,
    *,
    noise: Path | None = None,
    rooms: Path | None = None,
    snr_db: tuple[float, float] | None = None,
    seed: int = 0,
    limit: int | None = None,
    progress: Callable[[str, int, int], None] = lambda _what, _done, _total: None,
) -> Made:
    """Write files and manifest into `out`.

    sources: `folder:PATH`, `jsonl:PATH`, `libritts:PATH`, `emilia:PATH`; noise, rooms: folders of recordings, without:
    synthetic; snr_db: from .. to, else the paper's (se -5..20; tse -5..5, ours); limit: the first so many utterances

    Raises CorpusError where nothing can be used, UsageError where `out` holds something else.
    """
    from reference_models.training.simulate import make_world
    from reference_models.training.sounds import Voices
    from reference_models.training.sources import open_sources

    if out.exists() and any(out.iterdir()) and not (out / MANIFEST).is_file():
        raise UsageError(f"{out} is not empty", fix="choose another --out")
    try:
        utterances = open_sources(sources)
        world = make_world(Voices.of(utterances), noise=noise, rooms=rooms)
    except MetisError as error:
        raise CorpusError(error.message, fix=error.fix) from None
    if snr_db is not None:
        world = replace(world, chances=replace(world.chances, snr_db=snr_db, mixture_db=snr_db))
    chosen, lines, failures, seconds = utterances[:limit], [], [], 0.0
    for done, utterance in enumerate(chosen, start=1):
        rng = np.random.RandomState(derive_seed("simulated", seed, task, utterance.key))
        try:
            files, facts = _enhance(utterance, world, rng) if task == "se" else _extract(utterance, world, rng)
        except (InputError, UsageError) as error:
            failures.append((utterance.key, error.message))
            continue
        for role, samples in files.items():
            path = out / role / f"{utterance.key}.wav"
            write_atomic(path, encode_wav(Audio(samples.astype(np.float32), RATE)))
        seconds += len(files["source"]) / RATE
        lines.append(_line(task, utterance, files, facts))
        progress("simulating", done, len(chosen))
    if not lines:
        raise CorpusError(f"none of {len(chosen)} utterances can be used: {failures[0][1]}")
    write_atomic(out / MANIFEST, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode())
    return Made(len(lines), seconds, tuple(failures))


def _line(task: str, utterance: Utterance, files: Mapping[str, F64], facts: Mapping[str, JSON]) -> dict[str, JSON]:
    line: dict[str, JSON] = {"id": utterance.key, **{role: f"{role}/{utterance.key}.wav" for role in files}}
    if task == "se" and utterance.text:  # of an extraction the text says the enrolment, too
        line["text"] = utterance.text
    if utterance.language:
        line["language"] = utterance.language
    return {**line, "cluster": utterance.speaker or utterance.key, "meta": dict(facts)}


def _clean(utterance: Utterance) -> F64:
    from reference_models.mini.acoustics import rms
    from reference_models.training.sounds import at_16k

    samples: F64 = at_16k(utterance.load())
    if rms(samples) == 0:
        raise InputError("it is silent")
    return samples


def _enhance(utterance: Utterance, world: World, rng: np.random.RandomState) -> tuple[dict[str, F64], dict[str, JSON]]:
    """Noisy speech and the dry, clean one."""
    from reference_models.training.simulate import degrade, draw_degradation

    clean = _clean(utterance)
    what = draw_degradation(world.chances, rng)
    facts: dict[str, JSON] = {"snr_db": what.snr_db, "reverb": what.reverb, "band_hz": what.band_hz}
    return _together({"source": degrade(clean, what, rng, world, utterance.key), "reference": clean}), facts


def _extract(utterance: Utterance, world: World, rng: np.random.RandomState) -> tuple[dict[str, F64], dict[str, JSON]]:
    """A clean prefix as the enrolment; behind it, the rest with another talker, and alone."""
    from reference_models.training.simulate import draw_prompt, mix
    from reference_models.training.sounds import excerpt

    clean = _clean(utterance)
    assert world.voices is not None and world.chances.mixture_db is not None
    _, start = draw_prompt(len(clean), world.chances, rng)
    rest = clean[start:]
    other = excerpt(world.voices.other(utterance.speaker, rng), len(rest), rng)
    snr_db = float(rng.uniform(*world.chances.mixture_db))
    made = _together({"source": mix(rest, other, snr_db), "reference": rest})
    return {**made, "prompt": clean[:start]}, {"snr_db": snr_db}


def _together(files: dict[str, F64]) -> dict[str, F64]:
    """All softer by the same, where one would exceed full scale."""
    peak = max(float(np.abs(samples).max()) for samples in files.values())
    return {role: samples * min(1.0, PEAK / peak) if peak > 1 else samples for role, samples in files.items()}
