"""OpenBMB/VoxCPM@616d3d3e: the names and signatures of src/voxcpm/core.py."""

# ruff: noqa: ARG003 - the signature is upstream's

from __future__ import annotations

from typing import Any

import numpy as np
from fake_tools import record, tone


class _Model:
    sample_rate = 48000


class VoxCPM:
    tts_model = _Model()

    @classmethod
    def from_pretrained(
        cls,
        hf_model_id: str = "openbmb/VoxCPM2",
        load_denoiser: bool = True,
        zipenhancer_model_id: str = "iic/speech_zipenhancer_ans_multiloss_16k_base",
        cache_dir: str | None = None,
        local_files_only: bool = False,
        optimize: bool = True,
        device: str | None = None,
        lora_config: Any = None,
        lora_weights_path: str | None = None,
    ) -> VoxCPM:
        assert not load_denoiser, "it would download"
        record("from_pretrained", place=hf_model_id, optimize=optimize, device=device)
        return cls()

    def generate(self, *args: Any, **kwargs: Any) -> np.ndarray:
        return self._generate(*args, streaming=False, **kwargs)

    def _generate(
        self,
        text: str,
        prompt_wav_path: str | None = None,
        prompt_text: str | None = None,
        reference_wav_path: str | None = None,
        cfg_value: float = 2.0,
        inference_timesteps: int = 10,
        min_len: int = 2,
        max_len: int = 4096,
        normalize: bool = False,
        denoise: bool = False,
        retry_badcase: bool = True,
        retry_badcase_max_times: int = 3,
        retry_badcase_ratio_threshold: float = 6.0,
        streaming: bool = False,
        seed: int | None = None,
    ) -> np.ndarray:
        assert not retry_badcase
        record(
            "generate",
            text=text,
            prompt=prompt_wav_path,
            prompt_text=prompt_text,
            reference=reference_wav_path,
            cfg=cfg_value,
            steps=inference_timesteps,
            seed=seed,
        )
        return tone(4800)
