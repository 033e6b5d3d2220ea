"""open-mmlab/Amphion@6b1411c7: models/tts/valle_v2/valle_inference.py, called as in egs/tts/VALLE_V2/demo.ipynb."""

import librosa
import torch
from models.tts.valle_v2.g2p_processor import G2pProcessor
from models.tts.valle_v2.valle_inference import ValleInference

RATE = 16000  # of the SpeechTokenizer, in and out


def load(ctx):
    return VallE(ctx)


class VallE:
    def __init__(self, ctx):
        self.sampling = ctx.options
        self.phones = G2pProcessor()
        self.model = ValleInference(
            ar_path=ctx.weights["ar"],
            nar_path=ctx.weights["nar"],
            speechtokenizer_path=ctx.weights["speechtokenizer"],
            device=ctx.device,
        )

    def run(self, item):
        if item["language"] != "en":
            raise ValueError("this VALL-E speaks English only, not '{}'".format(item["language"]))
        speech, _ = librosa.load(item["prompt"], sr=RATE)
        # the second of the two is the list of ids; prompt and target are one sequence
        phones = self.phones(item["prompt_text"], "en")[1] + self.phones(item["text"], "en")[1]
        batch = {"speech": torch.tensor(speech).unsqueeze(0), "phone_ids": torch.tensor(phones).unsqueeze(0)}
        return self.model(batch, [dict(self.sampling)]), RATE  # (1, 1, T), without the prompt
