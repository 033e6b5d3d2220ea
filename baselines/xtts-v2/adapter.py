"""idiap/coqui-ai-TTS@7cde79ec: TTS/tts/models/xtts.py. The model itself: TTS.api adds 0.42 s of silence a sentence."""

import os

from TTS.tts.configs.xtts_config import XttsConfig
from TTS.tts.models.xtts import Xtts

LANGUAGES = ("en", "es", "fr", "de", "it", "pt", "pl", "tr", "ru", "nl", "cs", "ar", "zh", "hu", "ko", "ja", "hi")


def load(ctx):
    return XTTS(ctx)


class XTTS:
    def __init__(self, ctx):
        self.options = ctx.options
        folder = ctx.weights["xtts"]
        config = XttsConfig()
        config.load_json(os.path.join(folder, "config.json"))
        self.rate = config.audio.output_sample_rate
        self.model = Xtts.init_from_config(config)
        self.model.load_checkpoint(config, checkpoint_dir=folder, eval=True)
        self.model.to(ctx.device)

    def run(self, item):
        language = item["language"]
        if language not in LANGUAGES:
            raise ValueError("XTTS-v2 speaks {}, not '{}'".format(", ".join(LANGUAGES), language))
        made = self.model.synthesize(
            item["text"],
            speaker_wav=item["prompt"],
            language="zh-cn" if language == "zh" else language,
            enable_text_splitting=self.options["enable_text_splitting"],
        )
        return made["wav"], self.rate
