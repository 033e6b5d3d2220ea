"""wenet-e2e/wesep@cf8ee7fe: wesep/cli/extractor.py, class Extractor."""

import os
import shutil
import tarfile

from wesep import load_model_local


def load(ctx):
    return Extractor(ctx)


def unpack(archive, folder):
    """Files by their names alone: nothing can leave the folder. (`._*`: what macOS puts beside them.)"""
    os.makedirs(folder, exist_ok=True)
    with tarfile.open(archive) as tar:
        for member in tar:
            name = os.path.basename(member.name)
            if member.isfile() and not name.startswith("._"):
                with open(os.path.join(folder, name), "wb") as file:
                    shutil.copyfileobj(tar.extractfile(member), file)
    return folder


class Extractor:
    def __init__(self, ctx):
        self.extractor = load_model_local(unpack(ctx.weights["model"], os.path.join(ctx.work, "model")))
        self.extractor.set_device(ctx.device)
        self.extractor.set_vad(ctx.options["vad"])
        self.extractor.set_output_norm(ctx.options["output_norm"])

    def run(self, item):
        speech = self.extractor.extract_speech(item["source"], item["prompt"])
        if speech is None:
            raise ValueError("WeSep's voice activity detection found no speech in the enrolment")
        return speech, self.extractor.resample_rate
