"""HuBERT and Paraformer with tiny random weights in the real file formats."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from metis_bench.config import WEIGHTS
from metis_bench.errors import MissingPrerequisite
from metis_bench.metrics.asr import hubert, paraformer
from metis_bench.metrics.asr.base import recognisers
from metis_bench.metrics.base import Clip

Make = Callable[[np.ndarray, int], Clip]
LETTERS = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ETAONIHSRDLUMWCFGYPBVK'XJQZ"]  # of hubert-large-ls960-ft


def tiny_hubert(folder: Path) -> None:
    """A folder as facebook/hubert-large-ls960-ft."""
    import torch
    from transformers import HubertConfig, HubertForCTC, Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor

    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps({letter: i for i, letter in enumerate(LETTERS)}), encoding="utf-8")
    Wav2Vec2CTCTokenizer(str(folder / "vocab.json")).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(folder)
    torch.manual_seed(0)
    config = HubertConfig(
        vocab_size=len(LETTERS), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        conv_dim=(8,) * 7, feat_extract_norm="layer", do_stable_layer_norm=True, conv_bias=True,
        num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2, pad_token_id=0,
    )  # fmt: skip
    HubertForCTC(config).save_pretrained(folder)


def test_hubert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_clip: Make) -> None:
    import torch
    from transformers import HubertForCTC, Wav2Vec2Processor

    monkeypatch.setenv(WEIGHTS, str(tmp_path))
    hubert._loaded.cache_clear()
    heard = recognisers.get("hubert-large-ls960-ft")((), "en")
    with pytest.raises(MissingPrerequisite, match=r"hubert-large-ls960-ft \(1\.3 GB, Apache-2\.0\)"):
        heard.check()
    place = tmp_path / "hubert-large-ls960-ft"
    tiny_hubert(place)
    heard.check()
    wave = 0.1 * np.random.default_rng(0).standard_normal(24_000).astype(np.float32)
    processor, model = Wav2Vec2Processor.from_pretrained(place), HubertForCTC.from_pretrained(place).eval()
    with torch.inference_mode():
        logits = model(**processor(wave, sampling_rate=16_000, return_tensors="pt")).logits
    expected = processor.batch_decode(logits.argmax(-1))[0]
    assert expected.strip()
    assert heard.extract(make_clip(wave, 16_000)) == {"text": expected}
    assert heard.extract(make_clip(np.zeros(16_000, np.float32), 16_000)) == {"text": ""}
    assert heard.extract(make_clip(wave[:100], 16_000)) == {"text": ""}


PARAFORMER = """
model: BiCifParaformer
model_conf: {ctc_weight: 0.0, lsm_weight: 0.1, length_normalized_loss: true, predictor_weight: 1.0, predictor_bias: 1,
  sampling_ratio: 0.75}
encoder: SANMEncoder
encoder_conf: {output_size: 16, attention_heads: 2, linear_units: 16, num_blocks: 2, input_layer: pe, pos_enc_class:
  SinusoidalPositionEncoder, normalize_before: true, kernel_size: 11, sanm_shfit: 0, selfattention_layer_type: sanm}
decoder: ParaformerSANMDecoder
decoder_conf: {attention_heads: 2, linear_units: 16, num_blocks: 2, att_layer_num: 2, kernel_size: 11, sanm_shfit: 0}
predictor: CifPredictorV3
predictor_conf: {idim: 16, threshold: 1.0, l_order: 1, r_order: 1, tail_threshold: 0.45, smooth_factor2: 0.25,
  noise_threshold2: 0.01, upsample_times: 3, use_cif1_cnn: false, upsample_type: cnn_blstm}
frontend: WavFrontend
frontend_conf: {fs: 16000, window: hamming, n_mels: 80, frame_length: 25, frame_shift: 10, lfr_m: 7, lfr_n: 6}
tokenizer: CharTokenizer
tokenizer_conf: {unk_symbol: <unk>, split_with_space: true}
"""
CHARACTERS = [
    "<blank>",
    "<s>",
    "</s>",
    *"這個不是真正的識別器它只會亂說",
    "<unk>",
]  # traditional, to see them converted


def tiny_paraformer(folder: Path) -> None:
    """A folder as funasr/paraformer-zh: its files' names and formats."""
    import torch
    from funasr import AutoModel

    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(PARAFORMER, encoding="utf-8")
    (folder / "tokens.json").write_text(json.dumps(CHARACTERS, ensure_ascii=False), encoding="utf-8")
    numbers = {"AddShift": "0", "Rescale": "1"}
    lines = ["<Nnet>", "<Splice> 560 560", "[ 0 ]"]
    for part, value in numbers.items():
        lines += [f"<{part}> 560 560", "<LearnRateCoef> 0 [ " + " ".join([value] * 560) + " ]"]
    (folder / "am.mvn").write_text("\n".join([*lines, "</Nnet>", ""]), encoding="utf-8")
    torch.save({}, folder / "model.pt")
    threads = torch.get_num_threads()
    model = AutoModel(model=str(folder), disable_update=True, device="cpu", disable_log=True, ncpu=threads).model
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    torch.save(model.state_dict(), folder / "model.pt")


@pytest.mark.long
def test_paraformer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_clip: Make) -> None:
    pytest.importorskip("funasr")
    pytest.importorskip("zhconv")
    import torch

    monkeypatch.setenv(WEIGHTS, str(tmp_path))
    paraformer._model.cache_clear()
    heard = recognisers.get("paraformer-zh")((), "zh")
    with pytest.raises(MissingPrerequisite, match=r"paraformer-zh \(0\.9 GB, FunASR model licence"):
        heard.check()
    place = tmp_path / "paraformer-zh"
    tiny_paraformer(place)
    heard.check()
    wave = 0.1 * np.random.default_rng(0).standard_normal(32_000).astype(np.float32)
    text = heard.extract(make_clip(wave, 16_000))["text"]  # type: ignore[index, call-overload]
    assert text, "random weights must say something"
    assert set(text.replace(" ", "")) <= set("这个不是真正的识别器它只会乱说"), "simplified characters alone"
    assert heard.extract(make_clip(wave, 16_000)) == {"text": text}
    assert heard.extract(make_clip(np.zeros(16_000, np.float32), 16_000)) == {"text": ""}
    tensors = torch.load(place / "model.pt", weights_only=True)
    tensors.pop("encoder.after_norm.weight")
    torch.save(tensors, place / "model.pt")
    paraformer._model.cache_clear()
    with pytest.raises(MissingPrerequisite, match=r"lacks encoder\.after_norm\.weight"):
        heard.extract(make_clip(wave, 16_000))
