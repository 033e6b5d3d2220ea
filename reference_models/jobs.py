"""What to generate, and with which settings: the inputs of `pipeline.Metis`, checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from torch import Tensor

from reference_models.config import Task
from reference_models.errors import InputError
from reference_models.speech import Speech

LengthRule: TypeAlias = Literal["phones", "bytes"]

MAX_SECONDS = 60.0  # prompt and target together: attention is quadratic, and training saw about 30 s


@dataclass(frozen=True)
class Job:
    """One generation.

    tts: text, prompt, prompt_text. vc: source, prompt. tse: source (the mixture), prompt (the enrolment). se: source.
    l2s: video, and a prompt for the voice if there is one. Omni also uses text (and prompt_text) for tse and se.

    video:   a file, or (T, D) features of the visual encoder at 25 Hz
    seconds: duration of the speech to generate (tts); without it a rule on the texts decides
    seed:    everything random follows from its lowest 64 bits
    """

    task: Task
    text: str | None = None
    prompt: Speech | None = None
    prompt_text: str | None = None
    language: str = "en"
    prompt_language: str | None = None  # None: as `language`
    source: Speech | None = None
    video: Path | Tensor | None = None
    seconds: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.task not in _NEEDS:
            raise InputError(f"there is no task '{self.task}'", fix=f"one of {', '.join(_NEEDS)}")


_NEEDS: dict[Task, tuple[str, ...]] = {
    "tts": ("text", "prompt", "prompt_text"),
    "vc": ("source", "prompt"),
    "tse": ("source", "prompt"),
    "se": ("source",),
    "l2s": ("video",),
}


def check(job: Job) -> None:
    """Raise InputError when a field is missing or the whole is too long."""
    for name in _NEEDS[job.task]:
        if getattr(job, name) is None:
            raise InputError(f"{job.task} needs a {name.replace('_', ' ')}")
    if job.task == "se" and job.prompt is not None:
        raise InputError("se takes no prompt: the release would align it wrongly")
    if job.seconds is not None and not job.seconds > 0:
        raise InputError(f"a duration of {job.seconds} s")
    prompt, source = (speech.seconds if speech else 0.0 for speech in (job.prompt, job.source))
    check_length(prompt + ((job.seconds or 0.0) if job.task == "tts" else source))


def check_length(seconds: float) -> None:
    """Raise InputError where prompt and target together are too long."""
    if seconds > MAX_SECONDS:
        fix = "cut the prompt (and its text), or split the source"
        raise InputError(f"{seconds:.1f} s of prompt and target; at most {MAX_SECONDS:.0f} s together", fix=fix)


@dataclass(frozen=True)
class Settings:
    """How to decode. Defaults of each task: `DEFAULTS`. Sources: `metis.py`, `metis_infer_*.py`, paper §4.

    steps, guidance, temperature: of stage 1; total weight of the condition is 1 + guidance
    first_steps, first_guidance: of S2A's codebook 0; fine_steps, fine_guidance: of each other codebook
    length_rule:   tts: by phones (paper) or by UTF-8 bytes (release)
    stage1_prompt: tts: stage 1 continues the prompt, as in the paper; without, only S2A hears the prompt, and the
                   text alone decides what is said (small models say more of it rightly)
    """

    steps: int
    guidance: float
    temperature: float = 0.9
    first_steps: int = 40
    first_guidance: float = 0.0
    fine_steps: tuple[int, ...] = (16, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)
    fine_guidance: float = 2.5
    acoustic_temperature: float = 1.5
    rescale: float = 0.75
    keep: float = 1 - 0.98
    length_rule: LengthRule = "phones"
    stage1_prompt: bool = True

    def __post_init__(self) -> None:
        for steps in (self.steps, self.first_steps, *self.fine_steps):
            if not isinstance(steps, int) or steps < 1:
                raise InputError(f"decoding takes at least one step, and a whole number of them, not {steps}")


DEFAULTS: dict[Task, Settings] = {
    "tts": Settings(25, 2.5),
    "vc": Settings(20, 1.0),
    "tse": Settings(10, 0.0),
    "se": Settings(10, 0.0),
    "l2s": Settings(25, 0.0),
}
