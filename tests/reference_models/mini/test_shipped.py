"""The weights of the mini family that come with the package: all there, all described, small, and they open."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from metis_bench.suite.load import presets
from metis_bench.systems.base import System, systems
from metis_bench.systems.metis import ReferenceSystem
from metis_bench.systems.metis_codec import PARTS, MetisCodec
from reference_models.checkpoints import open_source
from reference_models.hub import MINI, SHIPPED, find
from reference_models.loading import load_tensors
from reference_models.mini.package import FP32, LIMIT
from reference_models.mini.recognise import FILE

WEIGHTS = sorted(p for p in SHIPPED.rglob("*") if p.suffix in (".safetensors", ".pt", ".pth"))
FAMILY = [name for name in presets() if name.startswith("metis-mini-")]
TOLD = ("trained on", "steps", "minutes of training", "hardware")


def system(name: str) -> System:
    """The preset, without its name."""
    given = dict(presets()[name])
    cls = systems.get(str(given.pop("system")))
    return cls(cls.params_type.model_validate(given))


def named(path: Path) -> str:
    return path.relative_to(SHIPPED).as_posix()


def test_the_family_is_there() -> None:
    assert len(FAMILY) == 8
    read = {find("metis_base", SHIPPED), SHIPPED / FILE}
    for name in FAMILY:
        made = system(name)
        made.check()
        if isinstance(made, ReferenceSystem):
            read |= {find(str(part), SHIPPED) for part in made.parts().values()}
        else:
            assert isinstance(made, MetisCodec)
            read |= {find(part, SHIPPED) for part in PARTS}
    assert {named(p) for p in WEIGHTS} == {named(p) for p in read}, "all that is read is there, and nothing else"


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


@pytest.mark.parametrize("name", FAMILY)
def test_a_preset_opens_strictly(name: str) -> None:
    """Missing, unknown and misshapen tensors are refused by the loader: opening is the proof."""
    made = system(name)
    made.check()
    made.setup()
    made.close()
    assert made.caveat() == "mini weights, trained on synthetic speech alone: no statement about human speech"


def test_what_new_models_start_from_opens() -> None:
    assert open_source(MINI).stage1("base").config.adapter == "none"
