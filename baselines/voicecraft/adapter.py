"""jasonppy/VoiceCraft@a702dfd2: inference_tts_scale.py, called as in tts_demo.py, with the whole prompt."""

import argparse

from data.tokenizer import AudioTokenizer, TextTokenizer
from inference_tts_scale import inference_one_sample
from models import voicecraft

RATE = 16000
CODEC = {"codec_audio_sr": RATE, "codec_sr": 50, "silence_tokens": [1388, 1898, 131]}  # of encodec_4cb2048_giga
WHOLE = -1  # the prompt's last sample: no cut, so no alignment is needed


def load(ctx):
    return VoiceCraft(ctx)


class VoiceCraft:
    def __init__(self, ctx):
        self.device = ctx.device
        self.decoding = dict(ctx.options, **CODEC)
        self.model = voicecraft.VoiceCraft.from_pretrained(ctx.weights["voicecraft"])
        self.model.to(ctx.device)
        self.model.eval()
        self.audio = AudioTokenizer(device=ctx.device, signature=ctx.weights["encodec"])
        self.text = TextTokenizer(backend="espeak")

    def run(self, item):
        if item["language"] != "en":
            raise ValueError("VoiceCraft speaks English only, not '{}'".format(item["language"]))
        args = self.model.args
        _, generated = inference_one_sample(
            self.model,
            argparse.Namespace(**vars(args)),
            args.phn2num,
            self.text,
            self.audio,
            item["prompt"],
            item["prompt_text"].strip() + " " + item["text"].strip(),
            self.device,
            self.decoding,
            WHOLE,
        )
        return generated, RATE  # (1, 1, T); the first of the two has the prompt in front
