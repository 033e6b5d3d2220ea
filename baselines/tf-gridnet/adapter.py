"""espnet/espnet, released as espnet==202511: espnet2/bin/enh_inference.py, class SeparateSpeech."""

import os

import librosa
import yaml
from espnet2.bin.enh_inference import SeparateSpeech

RATE = 16000


def load(ctx):
    return Enhancer(ctx)


class Enhancer:
    def __init__(self, ctx):
        self.fs = ctx.options["fs"]
        folder = ctx.weights["model"]
        with open(os.path.join(folder, "meta.yaml"), encoding="utf-8") as file:
            meta = yaml.safe_load(file)  # as ESPnet packs a model: which of the files are which
        self.enhance = SeparateSpeech(
            train_config=os.path.join(folder, meta["yaml_files"]["train_config"]),
            model_file=os.path.join(folder, meta["files"]["model_file"]),
            device=ctx.device,
        )

    def run(self, item):
        noisy = librosa.load(item["source"], sr=RATE)[0]
        (speech,) = self.enhance(noisy[None, :], fs=self.fs)
        return speech, RATE
