"""idiap/coqui-ai-TTS@7cde79ec: TTS/vc/models/openvoice.py, loaded as TTS/utils/synthesizer.py does."""

from TTS.vc.configs.openvoice_config import OpenVoiceConfig
from TTS.vc.models.openvoice import OpenVoice


def load(ctx):
    return Converter(ctx)


class Converter:
    def __init__(self, ctx):
        config = OpenVoiceConfig()
        self.model = OpenVoice.init_from_config(config)
        # It reads config.json beside the checkpoint.
        self.model.load_checkpoint(config, ctx.weights["checkpoint"], eval=True)
        self.model.to(ctx.device)

    def run(self, item):
        samples = self.model.voice_conversion(item["source"], [item["prompt"]])
        return samples, self.model.config.audio.output_sample_rate
