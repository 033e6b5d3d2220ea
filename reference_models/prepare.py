"""A job as tokens and features: everything that happens before the first masked model runs.

Source: `Amphion:models/tts/metis/metis.py`. Jobs are prepared one by one, so that nothing depends on a batch; it costs
below two per cent of a generation.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from reference_models.conditioning import behind_prompt, to_token_rate
from reference_models.config import FEATURE_SAMPLE_RATE, SAMPLE_RATE, SEMANTIC_RATE
from reference_models.errors import InputError
from reference_models.jobs import Job, Settings, check, check_length
from reference_models.parts import Parts
from reference_models.speech import Speech
from reference_models.text.frontend import phonemize
from reference_models.text.lengths import frames_by_bytes, frames_by_phones, frames_of
from reference_models.text.tokenizer import Mode


@dataclass(frozen=True)
class Prepared:
    """A job as tokens.

    prompt: (L,) semantic; codes: (L, Q) acoustic (official mode: as many as there are); phones: (P,) ids or None, those
    of the prompt first where stage 1 sees it;
    condition: (L + frames, D) or None; frames: of the target, at 50 Hz.
    """

    prompt: Tensor
    codes: Tensor
    phones: Tensor | None
    condition: Tensor | None
    frames: int
    seed: int
    settings: Settings


@torch.inference_mode()
def prepare(job: Job, parts: Parts, settings: Settings, official: bool = False) -> Prepared:
    """Raises InputError when the job lacks a field, is too long, or cannot be read."""
    check(job)
    prompt, codes = _prompt(job.prompt, parts, official)
    phones, frames, condition = None, 0, None
    if job.task == "tts":
        ids, prompt_ids = _phones(job, parts, official)
        phones = prompt_ids + ids if settings.stage1_prompt else ids
        frames = _duration(job, len(prompt), len(ids), len(prompt_ids), settings)
    else:
        condition = _condition(job, parts, len(prompt))
        frames = len(condition) - len(prompt)
        if job.text is not None:  # text-guided TSE, SE, ... (Omni)
            if not parts.stage1.config.phones:
                raise InputError(f"this model's {job.task} cannot be told a text", fix="leave it out, or use Omni")
            ids, prompt_ids = _phones(job, parts, official)
            phones = prompt_ids + ids
    check_length((len(prompt) + frames) / SEMANTIC_RATE)
    ids_tensor = None if phones is None else torch.tensor(phones, dtype=torch.int64, device=prompt.device)
    return Prepared(prompt, codes, ids_tensor, condition, frames, job.seed, settings)


def _prompt(speech: Speech | None, parts: Parts, official: bool) -> tuple[Tensor, Tensor]:
    """Semantic tokens (L,) and acoustic codes (L', Q) of a prompt; both empty without one.

    There may be one code more than there are tokens (never less). The release leaves it at that, and S2A then takes the
    target's first frame for the prompt's last; the default mode cuts the codes to L.
    """
    device = parts.stage1.cond_emb.weight.device
    if speech is None:
        layers = len(parts.fine.token_emb)
        return torch.zeros(0, dtype=torch.int64, device=device), torch.zeros(
            0, layers, dtype=torch.int64, device=device
        )
    semantic, codes = parts.prompts.get(speech.digest, lambda: _encoded(speech, parts))
    return semantic, codes if official else codes[: len(semantic)]


def _encoded(speech: Speech, parts: Parts) -> tuple[Tensor, Tensor]:
    """Semantic tokens (L,) and all acoustic codes (F, Q)."""
    device = parts.stage1.cond_emb.weight.device
    semantic = parts.semantic_codec.encode(parts.features(speech.at(FEATURE_SAMPLE_RATE).to(device)))[0]  # (L,)
    latents = parts.encoder(speech.at(SAMPLE_RATE).to(device)[None, None])  # (1, C, F)
    return semantic, parts.decoder.quantize(latents)[0][0]


def _phones(job: Job, parts: Parts, official: bool) -> tuple[list[int], list[int]]:
    """Ids of the text, and of the prompt's text (none without one)."""
    mode: Mode = "official" if official else "fixed"

    def ids(text: str, language: str) -> list[int]:
        return list(phonemize(text, language, mode, mandarin=parts.pronouncer(text, mode)).ids)

    text = ids(job.text or "", job.language)
    if job.prompt_text is None or job.prompt is None:
        return text, []
    return text, ids(job.prompt_text, job.prompt_language or job.language)


def _duration(job: Job, prompt_frames: int, phones: int, prompt_phones: int, settings: Settings) -> int:
    """Frames of the speech to generate (tts)."""
    assert job.text is not None and job.prompt_text is not None and job.prompt is not None  # `check` saw to it
    if job.seconds is not None:
        return frames_of(job.seconds)
    if settings.length_rule == "bytes":
        return frames_by_bytes(job.text, job.prompt_text, prompt_frames)
    return frames_by_phones(phones, prompt_phones, job.prompt.seconds)


def _condition(job: Job, parts: Parts, prompt_frames: int) -> Tensor:
    """Frames of prompt and target, (L + T, D)."""
    if job.task == "l2s":
        return behind_prompt(to_token_rate(_lips(job.video, parts)), prompt_frames)
    assert job.source is not None  # `check` saw to it
    heard = [s.at(FEATURE_SAMPLE_RATE) for s in (job.prompt, job.source) if s is not None]
    features = parts.features(torch.cat(heard).to(parts.stage1.cond_emb.weight.device))[0]  # (L + T, D)
    if len(features) <= prompt_frames:
        raise InputError(f"the source ({job.source.seconds:.3f} s) is too short for a frame")
    return features  # type: ignore[no-any-return]


def _lips(video: Path | Tensor | None, parts: Parts) -> Tensor:
    """Visual features (T, D) at 25 Hz: given, or of a file."""
    if isinstance(video, Tensor):  # (T, D)
        if video.ndim != 2 or len(video) == 0 or not video.is_floating_point() or not bool(video.isfinite().all()):
            raise InputError(f"lip features are finite floats (T, D), not {video.dtype} {tuple(video.shape)}")
        return video.to(parts.stage1.cond_emb.weight.device)
    from reference_models.lips import lip_features

    assert video is not None  # `check` saw to it
    return lip_features(video, parts.visual)
