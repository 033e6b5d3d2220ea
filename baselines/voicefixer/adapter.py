"""haoheliu/voicefixer@aae2253c, released as voicefixer==0.1.3: voicefixer/base.py, class VoiceFixer."""

import os
import tempfile

import librosa
import matplotlib.pyplot  # noqa: F401  (before HOME is another: its cache of fonts lies there)
import torch

RATE = 44100
PLACES = {
    "analysis": ".cache/voicefixer/analysis_module/checkpoints/vf.ckpt",
    "vocoder": ".cache/voicefixer/synthesis_module/44100/model.ckpt-1490000_trimed.pt",
}


def load(ctx):
    return Restorer(ctx)


def construct(home):
    """A VoiceFixer that looks for its weights below `home`. Importing it downloads those that are not there."""
    before = os.environ.get("HOME")
    os.environ["HOME"] = home
    try:
        from voicefixer import VoiceFixer

        return VoiceFixer()
    finally:
        if before is None:
            del os.environ["HOME"]
        else:
            os.environ["HOME"] = before


class Restorer:
    def __init__(self, ctx):
        self.mode = ctx.options["mode"]
        self.cuda = ctx.device != "cpu"
        if self.cuda:
            torch.cuda.set_device(ctx.device)  # upstream knows only "the" GPU
        home = tempfile.mkdtemp(dir=ctx.work)
        for name, place in PLACES.items():
            file, link = os.path.abspath(ctx.weights[name]), os.path.join(home, place)
            if not os.path.isfile(file):
                raise FileNotFoundError(file)  # upstream would download it, through the link
            os.makedirs(os.path.dirname(link))
            os.symlink(file, link)
        self.model = construct(home)

    def run(self, item):
        noisy = librosa.load(item["source"], sr=RATE)[0]
        return self.model.restore_inmem(noisy, cuda=self.cuda, mode=self.mode), RATE
