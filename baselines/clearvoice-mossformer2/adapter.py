"""modelscope/ClearerVoice-Studio@6b3774dc, released as clearvoice==0.1.2. The same file for each of its enhancers."""

import os

from clearvoice import ClearVoice
from clearvoice.networks import SpeechModel


def load(ctx):
    return Enhancer(ctx)


class Enhancer:
    def __init__(self, ctx):
        name, folder = ctx.options["model"], os.path.abspath(ctx.weights["model"])
        if not os.path.isfile(os.path.join(folder, "last_best_checkpoint")):
            # upstream would print a warning and go on with random weights
            raise FileNotFoundError("no file 'last_best_checkpoint' in " + folder)
        gpu = None if ctx.device == "cpu" else int(ctx.device.partition(":")[2] or 0)
        SpeechModel.get_free_gpu = lambda _: gpu  # upstream asks nvidia-smi, which also lists GPUs hidden from us
        link = os.path.join("checkpoints", name)  # upstream reads it from the current folder, which is ctx.work
        if not os.path.lexists(link):
            os.makedirs("checkpoints", exist_ok=True)
            os.symlink(folder, link)
        self.enhance = ClearVoice(task="speech_enhancement", model_names=[name])
        self.rate = self.enhance.models[0].args.sampling_rate

    def run(self, item):
        return self.enhance(input_path=item["source"], online_write=False), self.rate
