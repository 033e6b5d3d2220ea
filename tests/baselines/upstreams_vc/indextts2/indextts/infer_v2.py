"""index-tts/index-tts@ee40fa7d: the names and signatures of indextts/infer_v2.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fake_tools import record


class IndexTTS2:
    def __init__(
        self,
        cfg_path: str = "checkpoints/config.yaml",
        model_dir: str = "checkpoints",
        use_fp16: bool = False,
        device: str | None = None,
        use_cuda_kernel: bool | None = None,
        use_deepspeed: bool = False,
        use_accel: bool = False,
        use_torch_compile: bool = False,
        use_qwen_emo: bool = True,
        aux_paths: dict[str, str] | None = None,
    ) -> None:
        assert not use_qwen_emo, "its weights are not there"
        assert aux_paths is not None, "it would download"
        assert device is not None
        record(
            "load",
            cfg_path=cfg_path,
            model_dir=model_dir,
            use_fp16=use_fp16,
            use_cuda_kernel=use_cuda_kernel,
            device=device,
            aux={name: aux_paths[name] for name in ("w2v_bert", "semantic_codec", "campplus", "bigvgan")},
        )
        self.cache_spk_cond: str | None = None
        self.cache_spk_audio_prompt: str | None = None
        self.cache_emo_cond: str | None = None
        self.cache_emo_audio_prompt: str | None = None

    def infer(
        self,
        spk_audio_prompt: str,
        text: str,
        output_path: str | None,
        emo_audio_prompt: str | None = None,
        emo_alpha: float = 1.0,
        emo_vector: list[float] | None = None,
        use_emo_text: bool = False,
        emo_text: str | None = None,
        use_random: bool = False,
        interval_silence: int = 200,
        verbose: bool = False,
        max_text_tokens_per_segment: int = 120,
        stream_return: bool = False,
        more_segment_before: int = 0,
        **generation_kwargs: Any,
    ) -> str | None:
        fresh = self.cache_spk_cond is None and self.cache_emo_cond is None
        self.cache_spk_cond = self.cache_emo_cond = "features"
        self.cache_spk_audio_prompt = self.cache_emo_audio_prompt = spk_audio_prompt
        record(
            "infer",
            prompt=spk_audio_prompt,
            text=text,
            segment=max_text_tokens_per_segment,
            fresh=fresh,
            **generation_kwargs,
        )
        if text == "nothing":
            return None
        assert output_path is not None, "samples would come as 16-bit integers"
        Path(output_path).touch()
        return output_path
