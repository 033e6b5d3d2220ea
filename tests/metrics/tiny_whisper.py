"""Whisper with tiny random weights, as its authors' file and as transformers' folder."""

from __future__ import annotations

import json
from pathlib import Path

SIZE, LAYERS, HEADS, MELS = 32, 1, 2, 80


def _tokenizer(folder: Path) -> dict[str, int]:
    """Bytes, and the special tokens in the order of the real vocabulary; ids of the special ones."""
    from transformers.models.whisper.tokenization_whisper import LANGUAGES, WhisperTokenizer

    alphabet = sorted(_byte_names())
    special = ["<|endoftext|>", "<|startoftranscript|>", *(f"<|{code}|>" for code in LANGUAGES)]
    special += ["<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>"]
    special += ["<|notimestamps|>", *(f"<|{i * 0.02:.2f}|>" for i in range(1501))]
    vocabulary = {token: i for i, token in enumerate([*alphabet, *special])}
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    tokenizer = WhisperTokenizer(
        vocabulary,
        [],
        additional_special_tokens=special[1:],
        unk_token="<|endoftext|>",
        bos_token="<|endoftext|>",
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
    )
    tokenizer.save_pretrained(folder)
    return {token: vocabulary[token] for token in special}


def _byte_names() -> list[str]:
    """GPT-2's printable names of all bytes."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    return list(bytes_to_unicode().values())


def hf_whisper(folder: Path, seed: int = 0) -> None:
    """A folder as `openai/whisper-tiny` on the hub."""
    import torch
    from transformers import (
        GenerationConfig,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
    )

    ids = _tokenizer(folder)
    end, start = ids["<|endoftext|>"], ids["<|startoftranscript|>"]
    config = WhisperConfig(
        vocab_size=max(ids.values()) + 1, d_model=SIZE, encoder_layers=LAYERS, decoder_layers=LAYERS,
        encoder_attention_heads=HEADS, decoder_attention_heads=HEADS, encoder_ffn_dim=SIZE, decoder_ffn_dim=SIZE,
        num_mel_bins=MELS, pad_token_id=end, bos_token_id=end, eos_token_id=end, decoder_start_token_id=start,
    )  # fmt: skip
    torch.manual_seed(seed)
    model = WhisperForConditionalGeneration(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    languages = {token: i for token, i in ids.items() if len(token) < 8 and start < i < ids["<|translate|>"]}
    model.generation_config = GenerationConfig(
        is_multilingual=True, lang_to_id=languages, no_timestamps_token_id=ids["<|notimestamps|>"],
        task_to_id={"transcribe": ids["<|transcribe|>"], "translate": ids["<|translate|>"]},
        decoder_start_token_id=start, eos_token_id=end, pad_token_id=end, bos_token_id=end, max_length=24,
        max_initial_timestamp_index=50, prev_sot_token_id=ids["<|startofprev|>"],
        suppress_tokens=sorted(ids.values())[1:], begin_suppress_tokens=[end], return_timestamps=False,
    )  # fmt: skip
    model.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=MELS).save_pretrained(folder)


def openai_file(path: Path) -> None:
    """A file as `tiny.pt` of the package `openai-whisper`, where that is installed."""
    import torch

    try:
        from whisper.model import ModelDimensions, Whisper
    except ImportError:
        return
    sizes = {"n_mels": MELS, "n_audio_ctx": 1500, "n_vocab": 51865, "n_text_ctx": 448}
    for part in ("audio", "text"):
        sizes |= {f"n_{part}_state": SIZE, f"n_{part}_head": HEADS, f"n_{part}_layer": LAYERS}
    torch.manual_seed(0)
    model = Whisper(ModelDimensions(**sizes))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)  # its positions are not initialised at all otherwise
    torch.save({"dims": sizes, "model_state_dict": model.state_dict()}, path)
