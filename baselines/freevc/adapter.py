"""idiap/coqui-ai-TTS@7cde79ec: TTS/utils/synthesizer.py with TTS/vc/models/freevc.py (freevc24)."""

import glob
import os
import zipfile

from TTS.utils.synthesizer import Synthesizer
from TTS.vc.models import freevc


def load(ctx):
    return FreeVC(ctx)


class FreeVC:
    def __init__(self, ctx):
        # Upstream looks for WavLM in $TTS_HOME/tts/wavlm, and names the speaker encoder by its address.
        os.environ["TTS_HOME"] = os.path.abspath(os.path.join(ctx.weights["wavlm"], "../../.."))
        encoder, place = freevc.SpeakerEncoderEx, ctx.weights["speaker-encoder"]
        freevc.SpeakerEncoderEx = lambda _address: encoder(place)
        folder = os.path.join(ctx.work, "freevc24")
        with zipfile.ZipFile(ctx.weights["archive"]) as archive:
            archive.extractall(folder)
        (checkpoint,) = glob.glob(os.path.join(folder, "**", "*.pt*"), recursive=True)
        (config,) = glob.glob(os.path.join(folder, "**", "config.json"), recursive=True)
        self.synthesizer = Synthesizer(
            vc_checkpoint=checkpoint,
            vc_config=config,
            use_cuda=ctx.device.startswith("cuda"),
        )

    def run(self, item):
        samples = self.synthesizer.voice_conversion(source_wav=item["source"], target_wav=item["prompt"])
        return samples, self.synthesizer.output_sample_rate
