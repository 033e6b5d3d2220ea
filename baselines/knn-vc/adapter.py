"""idiap/coqui-ai-TTS@7cde79ec: TTS/utils/synthesizer.py with TTS/vc/models/knnvc.py and its prematched vocoder."""

import glob
import os
import zipfile

from TTS.utils.synthesizer import Synthesizer
from TTS.vc.configs.knnvc_config import KNNVCConfig


def load(ctx):
    return KNN(ctx)


class KNN:
    def __init__(self, ctx):
        self.options = ctx.options
        os.environ["TTS_HOME"] = os.path.abspath(os.path.join(ctx.weights["wavlm"], "../../.."))  # tts/wavlm below it
        folder = os.path.join(ctx.work, "vocoder")
        with zipfile.ZipFile(ctx.weights["vocoder"]) as archive:
            archive.extractall(folder)
        (checkpoint,) = glob.glob(os.path.join(folder, "**", "*.pt*"), recursive=True)
        (vocoder_config,) = glob.glob(os.path.join(folder, "**", "config.json"), recursive=True)
        config = os.path.join(ctx.work, "knnvc.json")
        KNNVCConfig().save_json(config)
        self.synthesizer = Synthesizer(
            vc_checkpoint=ctx.weights["wavlm"],  # only its being there counts: nearest neighbours learn nothing
            vc_config=config,
            vocoder_checkpoint=checkpoint,
            vocoder_config=vocoder_config,
            use_cuda=ctx.device.startswith("cuda"),
        )

    def run(self, item):
        samples = self.synthesizer.voice_conversion(
            source_wav=item["source"],
            target_wav=item["prompt"],
            topk=self.options["topk"],
        )
        return samples, self.synthesizer.output_sample_rate
