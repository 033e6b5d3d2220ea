import wave

import librosa
import torch
from record import record


def load_audio(file, sr=None, verbose=True, **kwargs):
    """(samples (1, T), facts of the file)."""
    assert not kwargs
    record("load_audio", file=file, sr=sr)
    with wave.open(file) as opened:
        return torch.Tensor(librosa.load(file, sr=sr)[0][None]), opened.getparams()
