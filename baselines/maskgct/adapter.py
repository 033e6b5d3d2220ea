"""open-mmlab/Amphion@6b1411c7: models/tts/maskgct/maskgct_utils.py, put together as in maskgct_inference.py."""

import safetensors.torch
from models.tts.maskgct import maskgct_utils as upstream

RATE = 24000
LANGUAGES = ("en", "zh", "ja", "ko", "fr", "de")


class Local:
    """Upstream loads w2v-BERT by its name on the hub: here it comes from a folder."""

    def __init__(self, loaded_class, folder):
        self.loaded_class, self.folder = loaded_class, folder

    def from_pretrained(self, _name):
        return self.loaded_class.from_pretrained(self.folder)


def load(ctx):
    return MaskGCT(ctx)


class MaskGCT:
    def __init__(self, ctx):
        self.options = ctx.options
        for name in ("Wav2Vec2BertModel", "SeamlessM4TFeatureExtractor"):
            setattr(upstream, name, Local(getattr(upstream, name), ctx.weights["w2v-bert"]))
        cfg = upstream.load_config("./models/tts/maskgct/config/maskgct.json").model
        semantic_model, mean, std = upstream.build_semantic_model(ctx.device)
        semantic_codec = upstream.build_semantic_codec(cfg.semantic_codec, ctx.device)
        encoder, decoder = upstream.build_acoustic_codec(cfg.acoustic_codec, ctx.device)
        t2s = upstream.build_t2s_model(cfg.t2s_model, ctx.device)
        s2a_first = upstream.build_s2a_model(cfg.s2a_model.s2a_1layer, ctx.device)
        s2a_full = upstream.build_s2a_model(cfg.s2a_model.s2a_full, ctx.device)
        models = {"semantic-codec": semantic_codec, "acoustic-encoder": encoder, "acoustic-decoder": decoder}
        models.update({"t2s": t2s, "s2a-first": s2a_first, "s2a-full": s2a_full})
        for weight, model in models.items():
            safetensors.torch.load_model(model, ctx.weights[weight])
        networks = (semantic_model, semantic_codec, encoder, decoder, t2s, s2a_first, s2a_full)
        self.pipeline = upstream.MaskGCT_Inference_Pipeline(*networks, mean, std, ctx.device)

    def run(self, item):
        language = item["language"]
        if language not in LANGUAGES:
            raise ValueError("MaskGCT speaks {}, not '{}'".format(", ".join(LANGUAGES), language))
        samples = self.pipeline.maskgct_inference(
            item["prompt"],
            item["prompt_text"],
            item["text"],
            language=language,
            target_language=language,
            target_len=None,  # seconds; None: from the two texts' numbers of phones
            **self.options,
        )
        return samples, RATE
