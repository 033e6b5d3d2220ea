"""SWivid/F5-TTS@2ae2c9bd: src/f5_tts/api.py; for whole prompts infer_batch_process of infer/utils_infer.py."""

import torchaudio
from f5_tts.api import F5TTS
from f5_tts.infer.utils_infer import infer_batch_process

LANGUAGES = ("en", "zh")


def load(ctx):
    return F5(ctx)


class F5:
    def __init__(self, ctx):
        self.solver = {name: ctx.options[name] for name in ("nfe_step", "cfg_strength", "sway_sampling_coef", "speed")}
        self.trim_prompt = ctx.options["trim_prompt"]
        name = ctx.options["model"]
        if name not in ctx.weights:
            raise FileNotFoundError(f"this preset needs the weights '{name}'")
        self.tts = F5TTS(
            model=name,
            ckpt_file=ctx.weights[name],
            vocab_file="",  # the one in the package
            vocoder_local_path=ctx.weights["vocos"],
            device=ctx.device,
        )

    def run(self, item):
        if item["language"] not in LANGUAGES:
            raise ValueError("F5-TTS speaks {}, not '{}'".format(" and ".join(LANGUAGES), item["language"]))
        if not item["prompt_text"].strip():
            raise ValueError("F5-TTS needs the prompt's text; without it upstream would fetch and ask Whisper")
        if self.trim_prompt:
            samples, rate, _ = self.tts.infer(
                ref_file=item["prompt"],
                ref_text=item["prompt_text"],
                gen_text=item["text"],
                progress=None,
                seed=item["seed"] % 2**32,
                **self.solver,
            )
            return samples, rate
        # as eval/eval_infer_batch.py: the prompt as it is, the text in one piece
        pieces = infer_batch_process(
            torchaudio.load(item["prompt"]),
            item["prompt_text"],
            [item["text"]],
            self.tts.ema_model,
            self.tts.vocoder,
            mel_spec_type=self.tts.mel_spec_type,
            progress=None,
            device=self.tts.device,
            **self.solver,
        )
        samples, rate, _ = next(pieces)
        return samples, rate
