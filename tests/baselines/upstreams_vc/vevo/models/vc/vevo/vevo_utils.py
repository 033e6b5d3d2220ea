"""open-mmlab/Amphion@6b1411c7: the names and signatures of models/vc/vevo/vevo_utils.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fake_tools import Tensor, record, tone


def save_audio(
    waveform: Tensor,
    sr: int = 24000,
    output_path: str | None = None,
    target_sample_rate: int | None = None,
    target_db: float = -25.0,
) -> str:
    assert output_path is not None
    record("save", shape=waveform.shape, rate=sr, target_db=target_db)
    Path(output_path).touch()
    return output_path


class VevoInferencePipeline:
    def __init__(
        self,
        content_tokenizer_ckpt_path: str | None = None,
        content_style_tokenizer_ckpt_path: str | None = None,
        ar_cfg_path: str | None = None,
        ar_ckpt_path: str | None = None,
        fmt_cfg_path: str | None = None,
        fmt_ckpt_path: str | None = None,
        vocoder_cfg_path: str | None = None,
        vocoder_ckpt_path: str | None = None,
        device: Any = None,
    ) -> None:
        assert (content_tokenizer_ckpt_path, ar_cfg_path, ar_ckpt_path) == (None, None, None)
        record(
            "pipeline",
            tokenizer=content_style_tokenizer_ckpt_path,
            flow=[fmt_cfg_path, fmt_ckpt_path],
            vocoder=[vocoder_cfg_path, vocoder_ckpt_path],
            device=device.name,
        )

    def inference_fm(
        self, src_wav_path: str, timbre_ref_wav_path: str, flow_matching_steps: int = 32, display_audio: bool = False
    ) -> Tensor:
        record("inference_fm", source=src_wav_path, prompt=timbre_ref_wav_path, steps=flow_matching_steps)
        return Tensor(tone(2400, 1))
