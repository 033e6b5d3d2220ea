"""k2-fsa/ZipVoice@2f7326fb: zipvoice/bin/infer_zipvoice.py. Loaded as its `main` does, then one call an item."""

import json

import torch
from zipvoice.bin.infer_zipvoice import generate_sentence, generate_sentence_raw_evaluation, get_vocoder
from zipvoice.models.zipvoice import ZipVoice
from zipvoice.tokenizer.tokenizer import EmiliaTokenizer
from zipvoice.utils.checkpoint import load_checkpoint
from zipvoice.utils.feature import VocosFbank


def load(ctx):
    return Zip(ctx)


class Zip:
    def __init__(self, ctx):
        self.options = ctx.options
        device = torch.device(ctx.device)
        tokenizer = EmiliaTokenizer(token_file=ctx.weights["tokens"])
        with open(ctx.weights["config"]) as file:
            config = json.load(file)
        model = ZipVoice(vocab_size=tokenizer.vocab_size, pad_id=tokenizer.pad_id, **config["model"])
        load_checkpoint(filename=ctx.weights["model"], model=model, strict=True)
        self.parts = {
            "model": model.to(device).eval(),
            "vocoder": get_vocoder(ctx.weights["vocos"]).to(device).eval(),
            "tokenizer": tokenizer,
            "feature_extractor": VocosFbank(),
            "device": device,
            "sampling_rate": config["feature"]["sampling_rate"],
        }

    @torch.inference_mode()
    def run(self, item):
        if item["language"] not in ("zh", "en"):
            raise ValueError("ZipVoice speaks Chinese and English, not '{}'".format(item["language"]))
        speak = generate_sentence_raw_evaluation if self.options["raw"] else generate_sentence
        path = item["out"] + ".wav"
        speak(
            save_path=path,
            prompt_text=item["prompt_text"],
            prompt_wav=item["prompt"],
            text=item["text"],
            num_step=self.options["steps"],
            guidance_scale=self.options["guidance"],
            t_shift=self.options["t_shift"],
            **self.parts,
        )
        return path
