"""idiap/coqui-ai-TTS@7cde79ec: the names and signatures of TTS/utils/synthesizer.py."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from fake_tools import Tensor, record, tone
from TTS.vc.models import freevc


class Synthesizer:
    def __init__(
        self,
        *,
        tts_checkpoint: str | None = None,
        tts_config_path: str | None = None,
        tts_speakers_file: str | None = None,
        tts_languages_file: str | None = None,
        vocoder_checkpoint: str | None = None,
        vocoder_config: str | None = None,
        encoder_checkpoint: str | None = None,
        encoder_config: str | None = None,
        vc_checkpoint: str | None = None,
        vc_config: str | None = None,
        model_dir: str | None = None,
        voice_dir: str | None = None,
        use_cuda: bool = False,
    ) -> None:
        assert vc_checkpoint and vc_config and not model_dir
        assert Path(vc_checkpoint).is_file()
        self.kind = json.loads(Path(vc_config).read_text())["model"]
        if self.kind == "freevc":
            freevc.make()
        else:
            record("wavlm", home=os.environ["TTS_HOME"])
            assert vocoder_checkpoint and vocoder_config
            self.vocoder = [Path(vocoder_checkpoint).read_text(), Path(vocoder_config).read_text()]
            record("vocoder", files=self.vocoder)
        record("synthesizer", kind=self.kind, checkpoint=Path(vc_checkpoint).name, use_cuda=use_cuda)
        self.output_sample_rate = 24000 if self.kind == "freevc" else 16000

    def voice_conversion(
        self,
        source_wav: str,
        target_wav: str | list[str] | None = None,
        *,
        speaker_id: str | None = None,
        voice_dir: str | None = None,
        **kwargs: Any,
    ) -> np.ndarray | Tensor:
        record("voice_conversion", source=source_wav, target=target_wav, **kwargs)
        return tone(2400) if self.kind == "freevc" else Tensor(tone(1600))
