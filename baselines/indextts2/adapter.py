"""index-tts/index-tts@ee40fa7d: indextts/infer_v2.py (IndexTTS-2; 2.5 has a class of its own)."""

import os

from indextts.infer_v2 import IndexTTS2


def load(ctx):
    return IndexTTS(ctx)


class IndexTTS:
    def __init__(self, ctx):
        self.options = ctx.options
        self.tts = IndexTTS2(
            cfg_path=os.path.join(ctx.weights["model"], "config.yaml"),
            model_dir=ctx.weights["model"],
            use_fp16=self.options["fp16"],
            device=ctx.device,
            use_cuda_kernel=False,
            use_qwen_emo=False,
            aux_paths={  # without these it looks for the network and downloads
                "w2v_bert": ctx.weights["w2v-bert"],
                "semantic_codec": ctx.weights["semantic-codec"],
                "campplus": ctx.weights["campplus"],
                "bigvgan": ctx.weights["bigvgan"],
            },
        )

    def run(self, item):
        if item["language"] not in ("zh", "en"):
            raise ValueError("IndexTTS-2 speaks Chinese and English, not '{}'".format(item["language"]))
        # It remembers the last prompt by its path; another file may have the same one.
        self.tts.cache_spk_cond = self.tts.cache_emo_cond = None
        path = self.tts.infer(
            spk_audio_prompt=item["prompt"],
            text=item["text"],
            output_path=item["out"] + ".wav",
            max_text_tokens_per_segment=self.options["segment_tokens"],
            num_beams=self.options["beams"],
            temperature=self.options["temperature"],
            top_p=self.options["top_p"],
            top_k=self.options["top_k"],
        )
        if path is None:
            raise RuntimeError("IndexTTS-2 made nothing of this text")
        return path
