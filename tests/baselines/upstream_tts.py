"""Fakes of the upstream APIs of the TTS baselines: their names, parameters, defaults and what they return; no more.

Each `fake_<baseline>` installs the modules that the adapter imports. Signatures are those of the pinned commits.
"""

from __future__ import annotations

import os
import types
import wave
from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.baselines.fakes_tts import Tensor, install, recorded, tone


def read_wav(path: str) -> tuple[np.ndarray, int]:
    """(T,) float32 in [-1, 1] and the rate."""
    with wave.open(path, "rb") as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return samples.astype(np.float32) / 32768, file.getframerate()


def install_torch() -> None:
    """What the adapters and the worker ask of it."""

    def tensor(data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
        return Tensor(data)

    def cat(tensors: list[Tensor], dim: int = 0) -> Tensor:
        return Tensor(np.concatenate([one.array for one in tensors], axis=dim))

    def manual_seed(seed: int) -> None:
        pass

    cuda = types.SimpleNamespace(is_available=lambda: False)
    install("torch", tensor=tensor, cat=cat, manual_seed=manual_seed, cuda=cuda)


class Network:
    """A torch module, as far as adapters handle one."""

    def to(self, device: str) -> Network:
        return self

    def eval(self) -> Network:
        return self


def fake_vall_e() -> None:
    install_torch()

    @recorded
    def librosa_load(
        path: str,
        *,
        sr: float | None = 22050,
        mono: bool = True,
        offset: float = 0.0,
        duration: float | None = None,
        dtype: Any = np.float32,
        res_type: str = "soxr_hq",
    ) -> tuple[np.ndarray, float]:
        samples, rate = read_wav(path)
        assert rate == sr, "the fake does not resample"
        return samples, rate

    class G2pProcessor:
        @recorded
        def __call__(self, txt: str, lang: str = "en") -> tuple[None, list[int]]:
            return None, [5, *(ord(letter) % 200 for letter in txt), 6]

    class ValleInference(Network):
        @recorded
        def __init__(
            self,
            use_vocos: bool = False,
            use_speechtokenizer: bool = True,
            ar_path: str | None = None,
            nar_path: str | None = None,
            speechtokenizer_path: str | None = None,
            device: str = "cuda",
        ) -> None:
            assert ar_path and nar_path and speechtokenizer_path

        @recorded
        def __call__(
            self, batch: dict[str, Any], chunk_configs: list[Any], return_prompt: bool = False, prompt_len: Any = None
        ) -> Tensor:
            names = ("top_p", "top_k", "temperature", "num_beams", "repeat_penalty", "max_length")
            assert len(batch["speech"].shape) == len(batch["phone_ids"].shape) == 2
            assert all(name in chunk for chunk in chunk_configs for name in names)
            return Tensor(tone(1.5, 16_000)[None, None])

    install("librosa", load=librosa_load)
    install("models.tts.valle_v2.g2p_processor", G2pProcessor=G2pProcessor)
    install("models.tts.valle_v2.valle_inference", ValleInference=ValleInference)


def fake_maskgct() -> None:
    class Wav2Vec2BertModel:
        @classmethod
        @recorded
        def from_pretrained(cls, pretrained_model_name_or_path: str) -> None:
            pass

    class SeamlessM4TFeatureExtractor:
        @classmethod
        @recorded
        def from_pretrained(cls, pretrained_model_name_or_path: str) -> None:
            pass

    class Config(types.SimpleNamespace):
        pass

    sections = {name: Config(is_=name) for name in ("semantic_codec", "acoustic_codec", "t2s_model")}
    s2a = Config(s2a_1layer=Config(is_="s2a_1layer"), s2a_full=Config(is_="s2a_full"))

    class Model(Network):
        def __init__(self, is_: str) -> None:
            self.is_ = is_

    @recorded
    def load_config(config_fn: str, lowercase: bool = False) -> Config:
        return Config(model=Config(**sections, s2a_model=s2a))

    @recorded
    def build_semantic_model(device: str) -> tuple[Model, Tensor, Tensor]:
        upstream.Wav2Vec2BertModel.from_pretrained("facebook/w2v-bert-2.0")
        return Model("semantic_model"), Tensor(np.zeros(1024)), Tensor(np.ones(1024))

    @recorded
    def build_semantic_codec(cfg: Config, device: str) -> Model:
        return Model(cfg.is_)

    @recorded
    def build_acoustic_codec(cfg: Config, device: str) -> tuple[Model, Model]:
        return Model(cfg.is_ + ".encoder"), Model(cfg.is_ + ".decoder")

    @recorded
    def build_t2s_model(cfg: Config, device: str) -> Model:
        return Model(cfg.is_)

    @recorded
    def build_s2a_model(cfg: Config, device: str) -> Model:
        return Model(cfg.is_)

    class MaskGCT_Inference_Pipeline:  # noqa: N801
        def __init__(
            self,
            semantic_model: Model,
            semantic_codec: Model,
            codec_encoder: Model,
            codec_decoder: Model,
            t2s_model: Model,
            s2a_model_1layer: Model,
            s2a_model_full: Model,
            semantic_mean: Tensor,
            semantic_std: Tensor,
            device: str,
        ) -> None:
            upstream.SeamlessM4TFeatureExtractor.from_pretrained("facebook/w2v-bert-2.0")
            got = [semantic_model, semantic_codec, codec_encoder, codec_decoder, t2s_model, s2a_model_1layer]
            names = [model.is_ for model in (*got, s2a_model_full)]
            wanted = ["semantic_model", "semantic_codec", "acoustic_codec.encoder", "acoustic_codec.decoder"]
            assert names == [*wanted, "t2s_model", "s2a_1layer", "s2a_full"], names
            assert not semantic_mean.array.any() and semantic_std.array.all() and device == "cuda:0"

        @recorded
        def maskgct_inference(
            self,
            prompt_speech_path: str,
            prompt_text: str,
            target_text: str,
            language: str = "en",
            target_language: str = "en",
            target_len: float | None = None,
            n_timesteps: int = 25,
            cfg: float = 2.5,
            rescale_cfg: float = 0.75,
            n_timesteps_s2a: tuple[int, ...] = (25, 10, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1),
            cfg_s2a: float = 2.5,
            rescale_cfg_s2a: float = 0.75,
        ) -> np.ndarray:
            print("predict semantic shape")  # as upstream does
            return tone(1.5, 24_000)

    @recorded
    def load_model(model: Model, filename: str, strict: bool = True, device: str = "cpu") -> tuple[list, list]:
        return [], []

    upstream = install(
        "models.tts.maskgct.maskgct_utils",
        Wav2Vec2BertModel=Wav2Vec2BertModel,
        SeamlessM4TFeatureExtractor=SeamlessM4TFeatureExtractor,
        load_config=load_config,
        build_semantic_model=build_semantic_model,
        build_semantic_codec=build_semantic_codec,
        build_acoustic_codec=build_acoustic_codec,
        build_t2s_model=build_t2s_model,
        build_s2a_model=build_s2a_model,
        MaskGCT_Inference_Pipeline=MaskGCT_Inference_Pipeline,
    )
    install("safetensors.torch", load_model=load_model)


def fake_voicecraft() -> None:
    class Tokenizer:
        @recorded
        def __init__(self, device: Any = None, signature: str | None = None) -> None:
            assert signature

    class TextTokenizer:
        @recorded
        def __init__(self, language: str = "en-us", backend: str = "espeak") -> None:
            pass

    class VoiceCraft(Network):
        args = types.SimpleNamespace(phn2num={"h": 1}, n_codebooks=4)

        @classmethod
        @recorded
        def from_pretrained(cls, pretrained_model_name_or_path: str) -> VoiceCraft:  # noqa: ARG003
            return cls()

        @recorded
        def to(self, device: str) -> Network:
            return self

    @recorded
    def inference_one_sample(
        model: VoiceCraft,
        model_args: Any,
        phn2num: dict[str, int],
        text_tokenizer: TextTokenizer,
        audio_tokenizer: Tokenizer,
        audio_fn: str,
        target_text: str,
        device: str,
        decode_config: dict[str, Any],
        prompt_end_frame: int,
    ) -> tuple[Tensor, Tensor]:
        names = ("top_k", "top_p", "temperature", "stop_repetition", "kvcache", "silence_tokens", "codec_sr")
        assert all(name in decode_config for name in (*names, "sample_batch_size")) and model_args.n_codebooks == 4
        return Tensor(tone(2.5, 16_000)[None, None]), Tensor(tone(1.5, 16_000)[None, None])

    install("data.tokenizer", AudioTokenizer=Tokenizer, TextTokenizer=TextTokenizer)
    install("inference_tts_scale", inference_one_sample=inference_one_sample)
    install("models.voicecraft", VoiceCraft=VoiceCraft)


def install_wetext() -> types.ModuleType:
    def snapshot_download(model_id: str) -> str:
        raise AssertionError("a download")

    install_torch()
    return install("wetext.wetext", snapshot_download=snapshot_download)


@recorded
def grammars(folder: str) -> None:
    """Called with what wetext got instead of a download."""


def chunks_of(rate: int) -> Iterator[dict[str, Tensor]]:
    yield {"tts_speech": Tensor(tone(1.0, rate)[None])}
    yield {"tts_speech": Tensor(tone(0.5, rate)[None])}


def fake_cosyvoice() -> None:
    wetext = install_wetext()

    class CosyVoice:
        sample_rate = 22050
        model = types.SimpleNamespace(device=types.SimpleNamespace(type="cpu"))

        @recorded
        def __init__(
            self,
            model_dir: str,
            load_jit: bool = False,
            load_trt: bool = False,
            fp16: bool = False,
            trt_concurrent: int = 1,
        ) -> None:
            grammars(wetext.snapshot_download("pengzhendong/wetext"))

        @recorded
        def inference_zero_shot(
            self,
            tts_text: str,
            prompt_text: str,
            prompt_speech_16k: Tensor,
            zero_shot_spk_id: str = "",
            stream: bool = False,
            speed: float = 1.0,
            text_frontend: bool = True,
        ) -> Iterator[dict[str, Tensor]]:
            return chunks_of(22050)

    @recorded
    def load_wav(wav: str, target_sr: int) -> Tensor:
        return Tensor(read_wav(wav)[0][None])

    install("cosyvoice.cli.cosyvoice", CosyVoice=CosyVoice)
    install("cosyvoice.utils.file_utils", load_wav=load_wav)


def fake_cosyvoice2(jit: bool = True) -> None:
    wetext = install_wetext()

    class Model:
        sample_rate = 24_000
        model = types.SimpleNamespace(device=types.SimpleNamespace(type="cpu"))

        def start(self) -> None:
            grammars(wetext.snapshot_download("pengzhendong/wetext"))
            self.frontend = types.SimpleNamespace(text_frontend=os.environ.get("METIS_BENCH_FAKE_FRONTEND", "wetext"))

        @recorded
        def inference_zero_shot(
            self,
            tts_text: str,
            prompt_text: str,
            prompt_wav: str,
            zero_shot_spk_id: str = "",
            stream: bool = False,
            speed: float = 1.0,
            text_frontend: bool = True,
        ) -> Iterator[dict[str, Tensor]]:
            return chunks_of(24_000)

    class CosyVoice2(Model):
        @recorded
        def __init__(
            self,
            model_dir: str,
            load_jit: bool = False,
            load_trt: bool = False,
            load_vllm: bool = False,
            fp16: bool = False,
            trt_concurrent: int = 1,
        ) -> None:
            self.start()

    class CosyVoice3(Model):
        @recorded
        def __init__(
            self,
            model_dir: str,
            load_trt: bool = False,
            load_vllm: bool = False,
            fp16: bool = False,
            trt_concurrent: int = 1,
        ) -> None:
            self.start()

    def AutoModel(**kwargs: Any) -> Model:  # noqa: N802
        return CosyVoice2(**kwargs) if jit else CosyVoice3(**kwargs)

    install("cosyvoice.cli.cosyvoice", AutoModel=AutoModel)


def fake_cosyvoice3() -> None:
    fake_cosyvoice2(jit=False)


def fake_xtts_v2() -> None:
    class XttsConfig:
        @recorded
        def load_json(self, file_name: str) -> None:
            self.audio = types.SimpleNamespace(sample_rate=22050, output_sample_rate=24_000)

    class Xtts(Network):
        @staticmethod
        @recorded
        def init_from_config(config: XttsConfig) -> Xtts:  # noqa: ARG004
            return Xtts()

        @recorded
        def load_checkpoint(
            self,
            config: XttsConfig,
            checkpoint_dir: str | None = None,
            checkpoint_path: str | None = None,
            vocab_path: str | None = None,
            eval: bool = True,
            strict: bool = True,
            use_deepspeed: bool = False,
            speaker_file_path: str | None = None,
        ) -> None:
            pass

        @recorded
        def to(self, device: str) -> Network:
            return self

        @recorded
        def synthesize(
            self,
            text: str,
            config: Any = None,
            *,
            speaker: str | None = None,
            speaker_wav: str | None = None,
            voice_dir: str | None = None,
            language: str | None = None,
            enable_text_splitting: bool = False,  # upstream hands it on to inference()
        ) -> dict[str, Any]:
            return {"wav": tone(1.5, 24_000), "gpt_latents": None, "speaker_embedding": None}

    install("TTS.tts.configs.xtts_config", XttsConfig=XttsConfig)
    install("TTS.tts.models.xtts", Xtts=Xtts)


def fake_f5_tts() -> None:
    class F5TTS:
        mel_spec_type = "the mel"
        ema_model, vocoder = "the model", "the vocoder"

        @recorded
        def __init__(
            self,
            model: str = "F5TTS_v1_Base",
            ckpt_file: str = "",
            vocab_file: str = "",
            ode_method: str = "euler",
            use_ema: bool = True,
            vocoder_local_path: str | None = None,
            device: str | None = None,
            hf_cache_dir: str | None = None,
        ) -> None:
            self.device = device

        @recorded
        def infer(
            self,
            ref_file: str,
            ref_text: str,
            gen_text: str,
            show_info: Any = print,
            progress: Any = "tqdm",
            target_rms: float = 0.1,
            cross_fade_duration: float = 0.15,
            sway_sampling_coef: float = -1,
            cfg_strength: float = 2,
            nfe_step: int = 32,
            speed: float = 1.0,
            fix_duration: float | None = None,
            remove_silence: bool = False,
            file_wave: str | None = None,
            file_spec: str | None = None,
            seed: int | None = None,
        ) -> tuple[np.ndarray, int, np.ndarray]:
            return tone(1.5, 24_000), 24_000, np.zeros((100, 140))

    @recorded
    def infer_batch_process(
        ref_audio: tuple[Tensor, int],
        ref_text: str,
        gen_text_batches: list[str],
        model_obj: Any,
        vocoder: Any,
        mel_spec_type: str = "vocos",
        progress: Any = "tqdm",
        target_rms: float = 0.1,
        cross_fade_duration: float = 0.15,
        nfe_step: int = 32,
        cfg_strength: float = 2.0,
        sway_sampling_coef: float = -1,
        speed: float = 1,
        fix_duration: float | None = None,
        device: str | None = None,
        streaming: bool = False,
        chunk_size: int = 2048,
    ) -> Iterator[tuple[np.ndarray, int, np.ndarray]]:
        return iter([(tone(1.5, 24_000), 24_000, np.zeros((100, 140)))])

    def torchaudio_load(uri: str) -> tuple[Tensor, int]:
        samples, rate = read_wav(uri)
        return Tensor(samples[None]), rate

    install("f5_tts.api", F5TTS=F5TTS)
    install("f5_tts.infer.utils_infer", infer_batch_process=infer_batch_process)
    install("torchaudio", load=torchaudio_load)
