"""FunAudioLLM/CosyVoice@d9851003: cosyvoice/cli/cosyvoice.py (prompts are 16 kHz tensors at this commit)."""

import torch
import wetext.wetext
from cosyvoice.cli.cosyvoice import CosyVoice
from cosyvoice.utils.file_utils import load_wav

LANGUAGES = ("zh", "en", "ja", "ko")


def load(ctx):
    return Adapter(ctx)


class Adapter:
    def __init__(self, ctx):
        self.options = ctx.options
        # wetext asks ModelScope for its grammars each time it starts
        wetext.wetext.snapshot_download = lambda _repository: ctx.weights["wetext"]
        self.model = CosyVoice(ctx.weights["model"], load_jit=False, load_trt=False, fp16=False)
        chosen = self.model.model.device.type
        if chosen != ctx.device.split(":")[0]:
            raise RuntimeError(f"CosyVoice takes the GPU that it sees and chose {chosen}, not {ctx.device}")

    def run(self, item):
        if item["language"] not in LANGUAGES:
            raise ValueError("CosyVoice speaks {}, not '{}'".format(", ".join(LANGUAGES), item["language"]))
        chunks = self.model.inference_zero_shot(
            item["text"],
            item["prompt_text"],
            load_wav(item["prompt"], 16000),
            stream=False,
            speed=self.options["speed"],
            text_frontend=self.options["text_frontend"],
        )
        return torch.cat([chunk["tts_speech"] for chunk in chunks], dim=1), self.model.sample_rate
