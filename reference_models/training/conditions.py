"""Frame-level conditions of training examples: simulated, then heard or seen exactly as at inference (`prepare.py`).

Once, while tokenising (`tokenize.py`), or anew in every step (`OnTheFly`, for extractors that are fast enough).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reference_models.conditioning import behind_prompt, to_token_rate
from reference_models.config import SAMPLE_RATE
from reference_models.errors import InputError
from reference_models.features import SemanticFeatures
from reference_models.mini.acoustics import F64, generator
from reference_models.seeds import derive_seed
from reference_models.speech import Speech
from reference_models.training.shards import Example, Fact, Shards
from reference_models.training.simulate import Chances, Heard, World, simulate
from reference_models.training.sounds import Talker, Voices, at_16k

FULL_SCALE = 32768.0  # of 16-bit samples
LIPS_TOLERANCE = 10  # token frames (0.2 s) by which picture and sound may differ in length


@dataclass(frozen=True)
class Condition:
    """features: (T, C); prompt: frames of the given prompt, None: drawn in training; facts: what was drawn."""

    features: NDArray[np.float16]
    prompt: int | None
    facts: Mapping[str, Fact]

    def added_to(self, example: Example) -> Example:
        """The example with this condition; what is not needed any more, audio, is left out.

        Everything is cut to the frames that both have.
        """
        frames = min(example.frames, len(self.features))
        arrays = {name: array for name, array in example.arrays.items() if name != "audio"}
        for name in ("semantic", "codes", "labels"):
            if name in arrays:
                arrays[name] = arrays[name][:frames]
        facts = {**example.facts, **self.facts}
        if self.prompt is not None:
            facts["prompt"] = self.prompt
        return Example(example.key, frames, {**arrays, "condition": self.features[:frames]}, facts)


@torch.inference_mode()
def heard(
    task: Heard,
    clean: F64,
    extract: SemanticFeatures,
    rng: np.random.RandomState,
    world: World,
    *,
    key: str,
    speaker: str | None,
) -> Condition:
    """What a model for `task` hears of an utterance (S,) at 16 kHz: T = features.frames(S), as many as clean speech.

    For tse and vc the clean prompt and the changed rest go through the extractor as one recording, as at inference.
    Errors: InputError as `simulate`
    """
    simulated = simulate(task, clean, rng, world, key=key, speaker=speaker)
    wav = torch.from_numpy(simulated.samples.astype(np.float32)).to(extract.mean.device)
    return Condition(_half(extract(wav)[0]), simulated.prompt, simulated.facts)


@torch.inference_mode()
def seen(visual: Tensor, frames: int, rng: np.random.RandomState, chances: Chances) -> Condition:
    """What a lip-to-speech model sees of an utterance of so many token frames.

    visual: (V, D) features at 25 Hz of the whole utterance. The prompt, a prefix, has zeros instead of them
    Errors: InputError where picture and sound are not equally long
    """
    if abs(2 * len(visual) - frames) > LIPS_TOLERANCE:
        raise InputError(f"its picture has {len(visual) / 25:.2f} s, its sound {frames / 50:.2f} s")
    given, share = rng.uniform(size=2)
    prompt = 2 * int(share * chances.prompt_share * frames / 2) if given < chances.lips_prompt else 0
    laid = behind_prompt(to_token_rate(visual[prompt // 2 :]), prompt)
    return Condition(_half(laid[:frames]), prompt, {})


class OnTheFly:
    """An example with `audio` to the same one with a condition simulated anew: `prepare` of `TokenBatches`."""

    def __init__(self, task: Heard, extract: SemanticFeatures, world: World) -> None:
        self.task, self.extract, self.world = task, extract, world

    def __call__(self, example: Example, seed: int) -> Example:
        """Depends on (seed, example) alone. Errors: InputError without audio, and as `heard`."""
        clean = at_16k(speech_of(example))
        speaker = example.facts.get("speaker")
        condition = heard(
            self.task,
            clean,
            self.extract,
            generator(derive_seed("fly", seed, example.key)),
            self.world,
            key=example.key,
            speaker=None if speaker is None else str(speaker),
        )
        return condition.added_to(replace(example, facts={**example.facts, "task": self.task}))


def speech_of(example: Example) -> Speech:
    """The clean speech that an example carries. Errors: InputError where it carries none."""
    audio = example.arrays.get("audio")
    if audio is None:
        raise InputError(f"example {example.key} has no audio", fix="tokenize with audio, or with the task")
    return Speech((audio / FULL_SCALE).astype(np.float32), SAMPLE_RATE)


def pcm(speech: Speech) -> NDArray[np.int16]:
    """(S,) 16-bit samples at 24 kHz, clipped at full scale."""
    scaled = np.round(speech.at(SAMPLE_RATE).numpy() * FULL_SCALE)
    return np.clip(scaled, -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


def voices_of(shards: Shards) -> Voices:
    """The utterances of tokenised data that carry audio, as other talkers."""

    def talker(number: int) -> Talker:
        example = shards.read(number)
        speaker = example.facts.get("speaker")
        return Talker(example.key, None if speaker is None else str(speaker), lambda: speech_of(example))

    return Voices(len(shards), talker)


def _half(features: Tensor) -> NDArray[np.float16]:
    return features.to(torch.float16).cpu().numpy()
