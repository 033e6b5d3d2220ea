"""sh-lee-prml/HierSpeechpp@318c633c: the names and signatures of inference_vc.py, which reads globals of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import utils
from fake_tools import record
from transformers import Wav2Vec2ForPreTraining


def model_load(a: Any) -> tuple[str, str]:
    Wav2Vec2ForPreTraining.from_pretrained("facebook/mms-300m")
    record(
        "model_load",
        configs=[hps, h_sr, h_sr48, hps_denoiser],  # noqa: F821 - `main` sets them
        device=device,  # noqa: F821
        files=[a.ckpt, a.ckpt_sr, a.ckpt_sr48, a.denoiser_ckpt],
        output_sr=a.output_sr,
    )
    return "net_g", "mel_fn"


def VC(a: Any, hierspeech: tuple[str, str]) -> None:  # noqa: N802 - upstream's name
    assert hierspeech == ("net_g", "mel_fn")
    assert utils.LOADED
    Path(a.output_dir).mkdir(parents=True, exist_ok=True)
    name = f"{Path(a.source_speech).stem}_to_{Path(a.target_speech).stem}.wav"
    (Path(a.output_dir) / name).touch()
    record(
        "VC",
        source=a.source_speech,
        target=a.target_speech,
        noise=a.noise_scale_vc,
        denoise=a.denoise_ratio,
        norm=a.scale_norm,
    )
