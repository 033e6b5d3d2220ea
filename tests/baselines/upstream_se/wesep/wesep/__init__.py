import wave
from pathlib import Path

import numpy as np
import torch
from record import record


class Extractor:
    def __init__(self, model_dir: str):
        record("Extractor", files=sorted(path.name for path in Path(model_dir).iterdir()))
        self.resample_rate = 16000
        self.apply_vad = False

    def set_device(self, device: str):
        record("set_device", device=device)

    def set_vad(self, apply_vad: bool):
        self.apply_vad = apply_vad
        record("set_vad", apply_vad=apply_vad)

    def set_output_norm(self, output_norm: bool):
        record("set_output_norm", output_norm=output_norm)

    def extract_speech(self, audio_path: str, audio_path_2: str):
        record("extract_speech", audio_path=audio_path, audio_path_2=audio_path_2)
        if self.apply_vad:  # as if the enrolment held no speech
            return None
        with wave.open(audio_path) as file:
            return torch.Tensor(np.full((1, file.getnframes()), 0.5, np.float32))


def load_model_local(model_dir: str) -> Extractor:
    return Extractor(model_dir)
