from pathlib import Path

import numpy as np
from record import record


class SeparateSpeech:
    def __init__(
        self,
        train_config: Path | str | None = None,
        model_file: Path | str | None = None,
        inference_config: Path | str | None = None,
        segment_size: float | None = None,
        hop_size: float | None = None,
        normalize_segment_scale: bool = False,
        show_progressbar: bool = False,
        ref_channel: int | None = None,
        normalize_output_wav: bool = False,
        device: str = "cpu",
        dtype: str = "float32",
        enh_s2t_task: bool = False,
    ):
        assert Path(train_config).is_file() and Path(model_file).is_file()
        record("SeparateSpeech", train_config=train_config, model_file=model_file, device=device, dtype=dtype)

    def __call__(self, speech_mix, fs: int = 8000, **kwargs):
        """(batch, samples) -> one such array a speaker."""
        assert isinstance(speech_mix, np.ndarray) and speech_mix.dtype == np.float32
        record("call", shape=speech_mix.shape, fs=fs, kwargs=kwargs)
        return [speech_mix * np.float32(0.5)]
