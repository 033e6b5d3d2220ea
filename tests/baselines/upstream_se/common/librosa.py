"""librosa.load of 16-bit mono files; the rate is changed by straight lines."""

import wave

import numpy as np
from record import record


def load(path, *, sr=22050, mono=True, offset=0.0, duration=None, dtype=np.float32, res_type="soxr_hq"):
    record("librosa.load", path=path, sr=sr)
    with wave.open(path) as file:
        rate = file.getframerate()
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768
    length = round(len(samples) * sr / rate)
    return np.interp(np.arange(length) * rate / sr, np.arange(len(samples)), samples).astype(dtype), sr
