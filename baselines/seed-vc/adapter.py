"""Plachtaa/seed-vc@d334fb72: seed_vc_wrapper.py. `convert_voice` is a generator whose return value is the audio."""

import os

import seed_vc_wrapper
import torch

RATE = 22050


class Wrapper(seed_vc_wrapper.SeedVCWrapper):
    def _load_f0_model(self):
        """Only singing uses this second model."""


def load(ctx):
    return SeedVC(ctx)


def redirect(owner, places):
    """Upstream names hub repositories; ours are folders."""
    original = owner.from_pretrained
    owner.from_pretrained = lambda name, **options: original(places[name], **options)


class SeedVC:
    def __init__(self, ctx):
        self.options = ctx.options
        files = {os.path.basename(path): path for path in ctx.weights.values()}

        def local(_repo, model_filename="pytorch_model.bin", config_filename=None):
            return (files[model_filename], files[config_filename]) if config_filename else files[model_filename]

        seed_vc_wrapper.load_custom_model_from_hf = local
        whisper = {"openai/whisper-small": ctx.weights["whisper"]}
        redirect(seed_vc_wrapper.WhisperModel, whisper)
        redirect(seed_vc_wrapper.AutoFeatureExtractor, whisper)
        vocoders = {"22khz_80band_256x": "vocoder", "44khz_128band_512x": "singing-vocoder"}
        places = {"nvidia/bigvgan_v2_" + kind: ctx.weights[name] for kind, name in vocoders.items()}
        redirect(seed_vc_wrapper.bigvgan.BigVGAN, places)
        self.wrapper = Wrapper(device=torch.device(ctx.device))  # a string fails later: it reads `device.type`

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
