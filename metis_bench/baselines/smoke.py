"""One small item a task, made on the spot, and whether what a baseline makes of it can be speech at all.

The items are the mini corpus' first ones: synthetic speech, offline, in a second. What is asked of an output is little:
a plausible length, a level, samples that are not clipped, and a level that moves as that of speech does. Whatever
passes may still be bad; whatever fails would only have shown as a ruined table.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from metis_bench.audio import Audio
from metis_bench.baselines.manifest import Manifest
from metis_bench.corpora.base import Task
from metis_bench.corpora.mini import RATE, make, prompt_text
from metis_bench.systems.base import Request, require_package
from metis_bench.systems.told import told
from reference_models.mini.espeak import EspeakEngine
from reference_models.mini.grammar import sentence

LANGUAGE = "en"  # of every item
QUIET_DB = -60.0  # RMS re full scale: nobody speaks so softly into a file
CLIPPED, MAX_CLIPPED = 0.999, 0.05  # from where a sample counts as clipped, and how many of them may be
FRAME_S, STEADY_DB = 0.05, 3.0  # speech's frames differ by tens of dB, those of a tone or of noise by less than this
STRETCH = 2.0  # by how much a conversion may change the pace
SLACK_S = 0.5  # what an enhancer or extractor may add or cut


def item(task: Task, folder: Path) -> Request:
    """The item; a video goes into `folder`. Raises MissingPrerequisite when eSpeak NG is not installed."""
    require_package("espeakng-loader", "the smoke item", "embedded")
    with told(), EspeakEngine() as engine:
        made = make(engine, task, 0, 0)
    audio = {role: Audio(x.astype(np.float32) / 32768.0, RATE[task]) for role, x in made.audio.items()}
    video = None
    if made.video is not None:
        video = folder / "smoke.npy"
        np.save(video, made.video, allow_pickle=False)
    spoken = prompt_text(0, task, 0) if "prompt" in audio else None
    return Request(
        id="smoke",
        task=task,
        language=LANGUAGE,
        seed=0,
        text=sentence(0, task, "target", 0) if task == "tts" else None,
        prompt=audio.get("prompt"),
        prompt_text=spoken,
        source=audio.get("source"),
        video=video,
    )


def implausible(output: Audio, request: Request, manifest: Manifest) -> str | None:
    """Why it cannot be speech for this item; None if it can."""
    shortest, longest = manifest.smoke.min_s, manifest.smoke.max_s
    if request.source is not None:
        source, converted = request.source.seconds, request.task == "vc"
        shortest = max(shortest, source / STRETCH if converted else source - SLACK_S)
        longest = min(longest, source * STRETCH if converted else source + SLACK_S)
    if not shortest <= output.seconds <= longest:
        return f"{output.seconds:.2f} s long, expected {shortest:.2f} to {longest:.2f} s"
    samples = output.samples.astype(np.float64)
    level = decibels(float(np.mean(np.square(samples - samples.mean()))))
    if level < QUIET_DB:
        return f"all but silent ({level:.0f} dB re full scale)"
    clipped = float(np.mean(np.abs(samples) >= CLIPPED))
    if clipped > MAX_CLIPPED:
        return f"{100 * clipped:.0f} % of its samples are clipped"
    moves = range_of_levels(samples, output.rate)
    if moves < STEADY_DB:
        return f"its level hardly moves (by {moves:.1f} dB): a tone or noise, not speech"
    return None


def range_of_levels(samples: np.ndarray[tuple[int], np.dtype[np.float64]], rate: int) -> float:
    """dB between soft and loud frames (the 10th and the 90th of 100)."""
    size = round(FRAME_S * rate)
    frames = samples[: len(samples) // size * size].reshape(-1, size)
    levels = [decibels(float(power)) for power in np.mean(np.square(frames), axis=1)]
    low, high = np.percentile(levels, [10, 90])
    return float(high - low)


def decibels(power: float) -> float:
    """Of a mean square; what is digital silence is very low, not infinite."""
    return float(10 * np.log10(max(power, 1e-12)))
