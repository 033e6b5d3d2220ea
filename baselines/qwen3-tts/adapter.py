"""QwenLM/Qwen3-TTS@022e286b: qwen_tts/inference/qwen3_tts_model.py, `generate_voice_clone` with the prompt's text."""

import torch
from qwen_tts import Qwen3TTSModel

LANGUAGES = {
    "zh": "Chinese",
    "en": "English",
    "ja": "Japanese",
    "ko": "Korean",
    "de": "German",
    "fr": "French",
    "ru": "Russian",
    "pt": "Portuguese",
    "es": "Spanish",
    "it": "Italian",
}


def load(ctx):
    return Qwen(ctx)


class Qwen:
    def __init__(self, ctx):
        self.options = ctx.options
        self.model = Qwen3TTSModel.from_pretrained(
            ctx.weights["model"],
            device_map=ctx.device,
            dtype=getattr(torch, self.options["dtype"]),
            attn_implementation=self.options["attention"],
        )

    def run(self, item):
        if item["language"] not in LANGUAGES:
            raise ValueError("Qwen3-TTS does not speak '{}'".format(item["language"]))
        wavs, rate = self.model.generate_voice_clone(
            text=item["text"],
            language="Auto" if self.options["guess_language"] else LANGUAGES[item["language"]],
            ref_audio=item["prompt"],
            ref_text=item["prompt_text"],
            max_new_tokens=self.options["max_new_tokens"],
        )
        return wavs[0], rate
