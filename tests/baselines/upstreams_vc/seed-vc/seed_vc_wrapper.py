"""Plachtaa/seed-vc@d334fb72: the names and signatures of seed_vc_wrapper.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from fake_tools import record, tone


class WhisperModel:
    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str, *, torch_dtype: str | None = None) -> None:
        record("whisper", place=pretrained_model_name_or_path, dtype=torch_dtype)


class AutoFeatureExtractor:
    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str) -> None:
        record("extractor", place=pretrained_model_name_or_path)


class bigvgan:  # noqa: N801 - a module upstream
    class BigVGAN:
        @classmethod
        def from_pretrained(cls, pretrained_model_name_or_path: str, *, use_cuda_kernel: bool = False) -> None:
            record("bigvgan", place=pretrained_model_name_or_path, kernel=use_cuda_kernel)


def load_custom_model_from_hf(
    repo_id: str, model_filename: str = "pytorch_model.bin", config_filename: str | None = None
) -> Any:
    raise AssertionError("it would download")


class SeedVCWrapper:
    def __init__(self, device: Any = None) -> None:
        self.device = device
        self._load_base_model()
        self._load_f0_model()
        self._load_additional_modules()

    def _load_base_model(self) -> None:
        files = load_custom_model_from_hf(
            "Plachta/Seed-VC",
            "DiT_seed_v2_uvit_whisper_small_wavenet_bigvgan_pruned.pth",
            "config_dit_mel_seed_uvit_whisper_small_wavenet.yml",
        )
        record("dit", files=files)
        WhisperModel.from_pretrained("openai/whisper-small", torch_dtype=torch.float16)
        AutoFeatureExtractor.from_pretrained("openai/whisper-small")

    def _load_f0_model(self) -> None:
        raise AssertionError("the model for singing is not among the weights")

    def _load_additional_modules(self) -> None:
        record(
            "campplus",
            file=load_custom_model_from_hf("funasr/campplus", "campplus_cn_common.bin", config_filename=None),
        )
        bigvgan.BigVGAN.from_pretrained("nvidia/bigvgan_v2_22khz_80band_256x", use_cuda_kernel=False)
        bigvgan.BigVGAN.from_pretrained("nvidia/bigvgan_v2_44khz_128band_512x", use_cuda_kernel=False)
        record("rmvpe", file=load_custom_model_from_hf("lj1995/VoiceConversionWebUI", "rmvpe.pt", None))

    def convert_voice(
        self,
        source: str,
        target: str,
        diffusion_steps: int = 10,
        length_adjust: float = 1.0,
        inference_cfg_rate: float = 0.7,
        f0_condition: bool = False,
        auto_f0_adjust: bool = True,
        pitch_shift: int = 0,
        stream_output: bool = True,
    ) -> Iterator[Any]:
        assert self.device.type in ("cpu", "cuda")
        record(
            "convert_voice",
            source=source,
            target=target,
            diffusion_steps=diffusion_steps,
            inference_cfg_rate=inference_cfg_rate,
            f0_condition=f0_condition,
        )
        if stream_output:
            yield b"mp3", None
            return None, None
        return tone(2205)
