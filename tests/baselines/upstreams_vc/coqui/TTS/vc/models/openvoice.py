"""idiap/coqui-ai-TTS@7cde79ec: TTS/vc/models/openvoice.py."""

from __future__ import annotations

import numpy as np
from fake_tools import Module, record, tone
from TTS.vc.configs.openvoice_config import OpenVoiceConfig


class OpenVoice(Module):
    def __init__(self, config: OpenVoiceConfig) -> None:
        self.config = config

    @staticmethod
    def init_from_config(config: OpenVoiceConfig) -> OpenVoice:
        return OpenVoice(config)

    def load_checkpoint(
        self,
        config: OpenVoiceConfig,
        checkpoint_path: str,
        *,
        eval: bool = False,
        strict: bool = True,
        cache: bool = False,
    ) -> None:
        self.config.audio.output_sample_rate = 22050
        record("load_checkpoint", file=checkpoint_path, eval=eval)

    def voice_conversion(
        self,
        src: str,
        tgt: list[str] | None = None,
        *,
        speaker_id: str | None = None,
        voice_dir: str | None = None,
    ) -> np.ndarray:
        assert isinstance(tgt, list)
        record("voice_conversion", source=src, target=tgt)
        return tone(2205)
