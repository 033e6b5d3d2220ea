"""FunAudioLLM/CosyVoice@ace7c47f: cosyvoice/cli/cosyvoice.py (prompts are paths at this commit)."""

import torch
import wetext.wetext
from cosyvoice.cli.cosyvoice import AutoModel

LANGUAGES = ("zh", "en", "ko", "de", "es", "fr", "it", "ru")  # Japanese: only as katakana, so not here
PREFIX = "You are a helpful assistant.<|endofprompt|>"  # the model was trained with it and refuses to go without


def load(ctx):
    return Adapter(ctx)


class Adapter:
    def __init__(self, ctx):
        self.options = ctx.options
        # wetext asks ModelScope for its grammars each time it starts
        wetext.wetext.snapshot_download = lambda _repository: ctx.weights["wetext"]
        self.model = AutoModel(model_dir=ctx.weights["model"], load_trt=False, fp16=False)
        if self.options["text_frontend"] and not self.model.frontend.text_frontend:
            raise RuntimeError("wetext did not load; upstream would go on without text normalisation")
        chosen = self.model.model.device.type
        if chosen != ctx.device.split(":")[0]:
            raise RuntimeError(f"CosyVoice takes the GPU that it sees and chose {chosen}, not {ctx.device}")

    def run(self, item):
        if item["language"] not in LANGUAGES:
            raise ValueError("CosyVoice 3 speaks {}, not '{}'".format(", ".join(LANGUAGES), item["language"]))
        chunks = self.model.inference_zero_shot(
            item["text"],
            PREFIX + item["prompt_text"],
            item["prompt"],
            stream=False,
            speed=self.options["speed"],
            text_frontend=self.options["text_frontend"],
        )
        return torch.cat([chunk["tts_speech"] for chunk in chunks], dim=1), self.model.sample_rate
