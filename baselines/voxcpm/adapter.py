"""OpenBMB/VoxCPM@616d3d3e: src/voxcpm/core.py. Its seed must be given: without one it draws another for each call."""

from voxcpm import VoxCPM

LANGUAGES = "ar my zh da nl en fi fr de el he hi id it ja km ko lo ms no pl pt ru es sw sv tl th tr vi"


def load(ctx):
    return Vox(ctx)


class Vox:
    def __init__(self, ctx):
        self.options = ctx.options
        device = ctx.device.split(":")[0]  # it compiles for "cuda", not for "cuda:0"
        self.model = VoxCPM.from_pretrained(
            ctx.weights["model"],
            load_denoiser=False,
            optimize=self.options["compile"] and device == "cuda",
            device=device,
        )

    def run(self, item):
        if item["language"] not in LANGUAGES.split():
            raise ValueError("VoxCPM2 does not speak '{}'".format(item["language"]))
        samples = self.model.generate(
            text=item["text"],
            prompt_wav_path=item["prompt"],
            prompt_text=item["prompt_text"],
            reference_wav_path=item["prompt"] if self.options["reference"] else None,
            cfg_value=self.options["cfg"],
            inference_timesteps=self.options["steps"],
            retry_badcase=False,  # it would hide its failures
            seed=item["seed"],
        )
        return samples, self.model.tts_model.sample_rate
