"""Rikorose/DeepFilterNet@d375b2d8, released as deepfilternet==0.5.6: df/enhance.py."""

import os
import zipfile

from df.enhance import enhance, init_df
from df.io import load_audio


def load(ctx):
    return Enhancer(ctx)


class Enhancer:
    def __init__(self, ctx):
        os.environ["DEVICE"] = ctx.device  # how upstream is told; else it takes the first GPU
        with zipfile.ZipFile(ctx.weights["model"]) as archive:
            archive.extractall(ctx.work)
        self.limit = ctx.options["atten_lim_db"]
        # the release returns three things, the commit four
        self.model, self.state = init_df(
            model_base_dir=os.path.join(ctx.work, "DeepFilterNet3"),
            post_filter=ctx.options["post_filter"],
            log_level="WARNING",
            log_file=None,
        )[:2]

    def run(self, item):
        noisy = load_audio(item["source"], sr=self.state.sr(), verbose=False)[0]
        return enhance(self.model, self.state, noisy, pad=True, atten_lim_db=self.limit), self.state.sr()
