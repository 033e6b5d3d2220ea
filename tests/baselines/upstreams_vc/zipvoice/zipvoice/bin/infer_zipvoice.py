"""k2-fsa/ZipVoice@2f7326fb: the names and signatures of zipvoice/bin/infer_zipvoice.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fake_tools import Module, record


class Vocoder(Module):
    pass


def get_vocoder(vocos_local_path: str | None = None) -> Vocoder:
    assert vocos_local_path, "it would download"
    record("vocoder", place=vocos_local_path)
    return Vocoder()


def _parts(*parts: Any) -> list[str]:
    return [type(part).__name__ for part in parts]


def generate_sentence_raw_evaluation(
    save_path: str,
    prompt_text: str,
    prompt_wav: str,
    text: str,
    model: Any,
    vocoder: Any,
    tokenizer: Any,
    feature_extractor: Any,
    device: Any,
    num_step: int = 16,
    guidance_scale: float = 1.0,
    speed: float = 1.0,
    t_shift: float = 0.5,
    target_rms: float = 0.1,
    feat_scale: float = 0.1,
    sampling_rate: int = 24000,
) -> dict[str, float]:
    parts = _parts(model, vocoder, tokenizer, feature_extractor, device)
    record("raw", text=text, prompt_text=prompt_text, prompt=prompt_wav, steps=num_step, parts=parts)
    Path(save_path).touch()
    return {"wav_seconds": 0.1}


def generate_sentence(
    save_path: str,
    prompt_text: str,
    prompt_wav: str,
    text: str,
    model: Any,
    vocoder: Any,
    tokenizer: Any,
    feature_extractor: Any,
    device: Any,
    num_step: int = 16,
    guidance_scale: float = 1.0,
    speed: float = 1.0,
    t_shift: float = 0.5,
    target_rms: float = 0.1,
    feat_scale: float = 0.1,
    sampling_rate: int = 24000,
    max_duration: float = 100,
    remove_long_sil: bool = False,
) -> dict[str, float]:
    record(
        "sentence",
        text=text,
        prompt_text=prompt_text,
        prompt=prompt_wav,
        steps=num_step,
        guidance=guidance_scale,
        t_shift=t_shift,
        rate=sampling_rate,
        parts=_parts(model, vocoder, tokenizer, feature_extractor, device),
    )
    Path(save_path).touch()
    return {"wav_seconds": 0.1}
