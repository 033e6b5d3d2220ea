"""Reading the golden folder: one `Recording` per numeric set (format: the folder's README)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Case:
    """One recorded call: inputs and outputs by name, random draws in call order, and what the JSON says of it."""

    name: str
    inputs: Tensors
    outputs: Tensors
    draws: list[torch.Tensor]
    facts: dict[str, Any]


@dataclass(frozen=True)
class Recording:
    """`numeric/<name>.json` with its tensors."""

    folder: Path
    name: str

    @cached_property
    def facts(self) -> dict[str, Any]:
        """The whole JSON."""
        return json.loads((self.folder / "numeric" / f"{self.name}.json").read_text())  # type: ignore[no-any-return]

    @cached_property
    def _io(self) -> Tensors:
        return load_file(self.folder / "numeric" / f"{self.name}.io.safetensors")

    def weights(self, part: str = "weights", prefix: str = "") -> Tensors:
        """Tensors of `<name>.<part>.safetensors` below `prefix`, which is cut off."""
        every = load_file(self.folder / "numeric" / f"{self.name}.{part}.safetensors")
        return {key.removeprefix(prefix): value for key, value in every.items() if key.startswith(prefix)}

    def case(self, name: str) -> Case:
        """The case `name`, with the draws it recorded (none when they are constant)."""
        facts = self.facts.get("cases", {}).get(name, {})
        below = {key[len(name) + 1 :]: t for key, t in self._io.items() if key.startswith(f"{name}.")}
        return Case(
            name,
            {key[3:]: t for key, t in below.items() if key.startswith("in.")},
            {key[4:]: t for key, t in below.items() if key.startswith("out.")},
            [below[key] for key in sorted(below) if key.startswith("draw.")],
            facts if isinstance(facts, dict) else {"desc": facts},
        )

    @cached_property
    def recorded_names(self) -> list[str]:
        """Names of the cases that have tensors, for sets whose JSON lists none."""
        return sorted({key.split(".")[0] for key in self._io})

    def cases(self, kind: str | None = None) -> list[Case]:
        """All cases, or those of one `kind`; never an empty list, which would be a test that cannot fail."""
        names = [
            n for n, f in self.facts["cases"].items() if kind is None or (isinstance(f, dict) and f.get("kind") == kind)
        ]
        assert names, f"{self.name}: no case of kind {kind}"
        return [self.case(name) for name in names]
