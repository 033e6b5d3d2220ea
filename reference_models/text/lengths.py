"""How long the speech of a text shall be, in frames of 50 Hz. See `target_frames`."""

from __future__ import annotations

from typing import Literal, TypeAlias

from reference_models.config import FEATURE_SAMPLE_RATE, SEMANTIC_RATE
from reference_models.errors import InputError

DurationPolicy: TypeAlias = Literal["bytes", "phones", "ground-truth", "fixed"]


def target_frames(
    policy: DurationPolicy,
    *,
    text: str = "",
    prompt_text: str = "",
    prompt_frames: int = 0,
    phones: int = 0,
    prompt_phones: int = 0,
    prompt_seconds: float = 0.0,
    seconds: float | None = None,
) -> int:
    """Frames to generate, at least 1. Each policy reads its own arguments:

    'bytes':        text, prompt_text, prompt_frames (semantic tokens of the prompt): Metis as released
    'phones':       phones, prompt_phones (number of ids), prompt_seconds: MaskGCT, and the Metis paper (App. A)
    'ground-truth': seconds of the real recording
    'fixed':        seconds that the user asks for

    Raises InputError for an empty prompt text or a duration that is missing or not above zero.
    """
    if policy == "bytes":
        return frames_by_bytes(text, prompt_text, prompt_frames)
    if policy == "phones":
        return frames_by_phones(phones, prompt_phones, prompt_seconds)
    if seconds is None:
        raise InputError(f"duration policy '{policy}' needs a duration in seconds")
    return frames_of(seconds)


def frames_by_bytes(text: str, prompt_text: str, prompt_frames: int) -> int:
    """As many frames a UTF-8 byte as the prompt has (Amphion: models/tts/metis/metis.py, text2semantic)."""
    prompt_bytes = len(prompt_text.encode("utf-8", "surrogatepass"))
    if not prompt_bytes:
        raise _no_prompt_text("bytes")
    return max(1, prompt_frames * len(text.encode("utf-8", "surrogatepass")) // prompt_bytes)


def frames_by_phones(phones: int, prompt_phones: int, prompt_seconds: float) -> int:
    """As many frames a phone as the prompt has (Amphion: models/tts/maskgct/maskgct_utils.py, text2semantic)."""
    if prompt_phones <= 0:
        raise _no_prompt_text("phones")
    # in samples and in this order, as in the release: a frame may hang on the last bit
    samples = round(_positive(prompt_seconds, "the prompt's duration") * FEATURE_SAMPLE_RATE)
    return max(1, int(samples * phones / prompt_phones / FEATURE_SAMPLE_RATE * SEMANTIC_RATE))


def frames_of(seconds: float) -> int:
    """Whole frames in `seconds`."""
    return max(1, int(_positive(seconds, "the duration") * SEMANTIC_RATE))


def _positive(seconds: float, what: str) -> float:
    if not 0 < seconds < float("inf"):
        raise InputError(f"{what} is {seconds} s; it must be above zero")
    return seconds


def _no_prompt_text(policy: str) -> InputError:
    return InputError(
        f"duration policy '{policy}' compares with the prompt's text, which is empty",
        fix="give the prompt's transcript, or choose the policy 'fixed' or 'ground-truth' with seconds",
    )
