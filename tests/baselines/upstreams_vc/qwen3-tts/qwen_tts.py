"""QwenLM/Qwen3-TTS@022e286b: the names and signatures of qwen_tts/inference/qwen3_tts_model.py."""

from __future__ import annotations

from typing import Any

import numpy as np
from fake_tools import record, tone


class Qwen3TTSModel:
    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str, **kwargs: Any) -> Qwen3TTSModel:
        record("from_pretrained", place=pretrained_model_name_or_path, **kwargs)
        return cls()

    def generate_voice_clone(
        self,
        text: str | list[str],
        language: str | list[str] | None = None,
        ref_audio: Any = None,
        ref_text: str | list[str | None] | None = None,
        x_vector_only_mode: bool | list[bool] = False,
        voice_clone_prompt: Any = None,
        non_streaming_mode: bool = False,
        **kwargs: Any,
    ) -> tuple[list[np.ndarray], int]:
        assert x_vector_only_mode is False
        record("generate", text=text, language=language, ref_audio=ref_audio, ref_text=ref_text, **kwargs)
        return [tone(2400)], 24000
