"""torchaudio.load, signature of 2.3.1."""

import wave

import librosa
import torch

from torchaudio import functional as functional


def load(
    uri, frame_offset=0, num_frames=-1, normalize=True, channels_first=True, format=None, buffer_size=4096, backend=None
):
    with wave.open(uri) as file:
        rate = file.getframerate()
    return torch.Tensor(librosa.load(uri, sr=rate)[0][None]), rate
