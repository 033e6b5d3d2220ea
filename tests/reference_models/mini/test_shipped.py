"""The weights of the mini family that come with the package: all there, all described, small, and they open."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from reference_models.checkpoints import open_source
from reference_models.hub import MINI, SHIPPED, find
from reference_models.loading import load_tensors
from reference_models.mini.package import FP32, LIMIT
from reference_models.mini.recognise import FILE, open_recogniser

WEIGHTS = sorted(p for p in SHIPPED.rglob("*") if p.suffix in (".safetensors", ".pt", ".pth"))
FILES_SO_FAR = (
    "w2v_bert_2.0",
    "wav2vec2bert_stats",
    "semantic_codec",
    "metis_base",
    "vis_model",
    "acoustic_codec_encoder",
    "acoustic_codec_decoder",
)
TOLD = ("trained on", "steps", "minutes of training", "hardware")


def named(path: Path) -> str:
    return path.relative_to(SHIPPED).as_posix()


def test_what_is_trained_is_there() -> None:
    read = {find(name, SHIPPED) for name in FILES_SO_FAR} | {SHIPPED / FILE}
    assert {named(p) for p in WEIGHTS} == {named(p) for p in read}, "and nothing else"


@pytest.mark.parametrize("path", WEIGHTS, ids=named)
def test_a_file_is_described_and_in_half_precision(path: Path) -> None:
    card = path.with_suffix(".card.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (.+?) \| (.+) \|$", card, re.MULTILINE))
    assert all(rows.get(label, "").strip() for label in TOLD), rows
    assert card.startswith(f"# {named(path)}\n")
    kept = {t.dtype for t in load_tensors(path).values() if t.is_floating_point()}
    assert kept == {torch.float32 if path.name in FP32 else torch.float16}


def test_together_they_are_small() -> None:
    files = [p for p in SHIPPED.rglob("*") if p.is_file()]
    assert {"".join(p.suffixes[-2:]) if p.suffix in (".md", ".json") else p.suffix for p in files} <= {
        ".safetensors", ".pt", ".pth", ".card.md", ".config.json",
    }  # fmt: skip
    assert sum(p.stat().st_size for p in WEIGHTS) <= LIMIT == 25_000_000
    assert sum(p.stat().st_size for p in files) <= 1.01 * LIMIT


def test_it_opens_strictly() -> None:
    """Missing, unknown and misshapen tensors are refused by the loader: opening is the proof."""
    source = open_source(MINI)
    assert source.stage1("base").config.adapter == "none"
    for part in (source.features(), source.semantic_codec(), source.visual()):
        assert not part.training
    assert open_recogniser(SHIPPED).search.words
