"""sh-lee-prml/HierSpeechpp@318c633c: inference_vc.py. Its functions read globals of the module, which `main` sets."""

import argparse
import os

import inference_vc
import torch
from transformers import Wav2Vec2ForPreTraining


def load(ctx):
    if not ctx.device.startswith("cuda"):
        raise RuntimeError("HierSpeech++ needs a GPU: its code moves everything to CUDA")
    return HierSpeech(ctx)


class HierSpeech:
    def __init__(self, ctx):
        original, mms = Wav2Vec2ForPreTraining.from_pretrained, ctx.weights["mms"]
        Wav2Vec2ForPreTraining.from_pretrained = lambda name: original({"facebook/mms-300m": mms}[name])
        self.arguments = argparse.Namespace(
            ckpt=ctx.weights["checkpoint"],
            ckpt_sr="speechsr24k/G_340000.pth",  # this and the next two lie in the checkout
            ckpt_sr48="speechsr48k/G_100000.pth",
            denoiser_ckpt="denoiser/g_best",
            scale_norm="max",
            output_sr=48000,
            noise_scale_vc=ctx.options["noise_scale"],
            denoise_ratio=ctx.options["denoise_ratio"],
        )
        inference_vc.device = torch.device(ctx.device)
        configs = {
            "hps": ctx.weights["config"],
            "h_sr": "speechsr24k/config.json",
            "h_sr48": "speechsr48k/config.json",
            "hps_denoiser": "denoiser/config.json",
        }
        for name, path in configs.items():
            setattr(inference_vc, name, inference_vc.utils.get_hparams_from_file(path))
        self.networks = inference_vc.model_load(self.arguments)

    def run(self, item):
        call = argparse.Namespace(source_speech=item["source"], target_speech=item["prompt"], output_dir=item["out"])
        inference_vc.VC(argparse.Namespace(**dict(vars(self.arguments), **vars(call))), self.networks)
        stems = [os.path.splitext(os.path.basename(item[role]))[0] for role in ("source", "prompt")]
        return os.path.join(item["out"], "_to_".join(stems) + ".wav")
