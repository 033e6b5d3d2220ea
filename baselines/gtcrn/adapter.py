"""Xiaobin-Rong/gtcrn@3862c448: gtcrn.py, used as infer.py uses it."""

import os

import soundfile
import soxr
import torch
from gtcrn import GTCRN

RATE, SIZE, HOP = 16000, 512, 256


def load(ctx):
    return Enhancer(ctx)


class Enhancer:
    def __init__(self, ctx):
        file = "model_trained_on_{}.tar".format(ctx.options["trained_on"])
        state = torch.load(os.path.join(ctx.repo, "checkpoints", file), map_location="cpu")
        self.device = ctx.device
        self.model = GTCRN().eval().to(ctx.device)
        self.model.load_state_dict(state["model"])
        self.window = torch.hann_window(SIZE).pow(0.5).to(ctx.device)

    def run(self, item):
        samples, rate = soundfile.read(item["source"], dtype="float32")
        noisy = torch.from_numpy(soxr.resample(samples, rate, RATE)).to(self.device)
        spectrum = torch.stft(noisy, SIZE, HOP, SIZE, self.window, return_complex=True)
        with torch.no_grad():
            enhanced = self.model(torch.view_as_real(spectrum)[None])[0]  # (257, T, 2)
        # upstream's infer.py passes real tensors, which torch 2 refuses
        speech = torch.istft(torch.view_as_complex(enhanced.contiguous()), SIZE, HOP, SIZE, self.window)
        return speech, RATE
