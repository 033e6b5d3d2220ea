"""Plachtaa/seed-vc@d334fb72: seed_vc_wrapper.py. `convert_voice` is a generator whose return value is the audio."""

from seed_vc_wrapper import SeedVCWrapper

RATE = 22050


def load(ctx):
    return SeedVC(ctx)


class SeedVC:
    def __init__(self, ctx):
        self.options = ctx.options
        self.wrapper = SeedVCWrapper(device=ctx.device)

    def run(self, item):
        conversion = self.wrapper.convert_voice(
            item["source"],
            item["prompt"],
            diffusion_steps=self.options["diffusion_steps"],
            inference_cfg_rate=self.options["cfg"],
            stream_output=False,
        )
        while True:
            try:
                next(conversion)
            except StopIteration as end:
                return end.value, RATE
