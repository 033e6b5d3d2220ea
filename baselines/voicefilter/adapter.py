"""nguyenvulebinh/voice-filter@993ec3bc: src/model/modeling_enh.py, used as service.py uses it."""

import librosa
import numpy as np
import torch
from src.model.modeling_enh import VoiceFilter

RATE = 16000
CHUNK = 5 * RATE  # the enrolment's embedding is the mean over such chunks, the last one filled up with zeros


def load(ctx):
    return Extractor(ctx)


def read(path):
    return librosa.load(path, sr=RATE)[0]


def full_scale(samples):
    return samples / (abs(samples).max() or 1.0)


class Extractor:
    def __init__(self, ctx):
        self.device = ctx.device
        self.model = VoiceFilter.from_pretrained(ctx.weights["model"]).to(ctx.device)

    def run(self, item):
        voice = read(item["prompt"])
        chunks = np.pad(voice, (0, -len(voice) % CHUNK)).reshape(-1, 1, CHUNK)
        mixture = full_scale(read(item["source"]))
        with torch.no_grad():
            speaker = self.model.xvector_model(torch.from_numpy(chunks).to(self.device)).mean(dim=0)
            speech = self.model.do_enh(torch.from_numpy(mixture).to(self.device), speaker)
        return full_scale(speech.cpu().numpy()), RATE
