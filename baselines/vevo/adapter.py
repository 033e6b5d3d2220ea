"""open-mmlab/Amphion@6b1411c7: models/vc/vevo/vevo_utils.py, as infer_vevotimbre.py uses it."""

import os

import torch
from models.vc.vevo.vevo_utils import VevoInferencePipeline, save_audio

CONFIGS = "models/vc/vevo/config"  # below the checkout, where the worker runs


def load(ctx):
    return Vevo(ctx)


class Vevo:
    def __init__(self, ctx):
        self.options = ctx.options
        # torchaudio's HuBERT is looked for in this folder's `checkpoints`
        torch.hub.set_dir(os.path.dirname(os.path.dirname(ctx.weights["hubert"])))
        folder = ctx.weights["vevo"]
        self.pipeline = VevoInferencePipeline(
            content_style_tokenizer_ckpt_path=os.path.join(folder, "tokenizer/vq8192"),
            fmt_cfg_path=os.path.join(CONFIGS, "Vq8192ToMels.json"),
            fmt_ckpt_path=os.path.join(folder, "acoustic_modeling/Vq8192ToMels"),
            vocoder_cfg_path=os.path.join(CONFIGS, "Vocoder.json"),
            vocoder_ckpt_path=os.path.join(folder, "acoustic_modeling/Vocoder"),
            device=torch.device(ctx.device),
        )

    def run(self, item):
        audio = self.pipeline.inference_fm(
            src_wav_path=item["source"],
            timbre_ref_wav_path=item["prompt"],
            flow_matching_steps=self.options["steps"],
        )
        return save_audio(audio, output_path=item["out"] + ".wav")  # 24 kHz, at -25 dB
