"""All key lists of the official files: names and shapes of our models at full size, without memory."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch

from reference_models.checkpoints import Checkpoints  # noqa: F401 (imports everything that loading does)
from reference_models.config import FeaturesConfig
from reference_models.features import SemanticFeatures, unused_key
from reference_models.loading import check
from reference_models.registry import FILES, WRAPPED, expected
from tests.reference_models.key_lists import key_list


def lists(golden: Path) -> dict[str, dict[str, Any]]:
    found = {path.stem: json.loads(path.read_text()) for path in sorted((golden / "checkpoints").glob("*.json"))}
    assert found
    return found


def test_golden_key_lists_are_ours(golden: Path) -> None:
    for name in lists(golden):
        ours, theirs = expected(name), key_list(golden, name)
        assert ours == theirs, name


def test_golden_key_lists_name_the_files_of_the_registry(golden: Path) -> None:
    known = {**FILES, WRAPPED.name: WRAPPED}
    for name, facts in lists(golden).items():
        file = known[name]
        assert file.numbers == facts.get("n_elements", facts["n_params"]), name
        if "name_status" in facts:
            assert facts["name_status"].startswith(file.name_status), name
        if file.name_status == "in code":
            assert facts["file"].endswith(file.file), name
        if "lora" in facts:
            assert file.rank == facts["lora"]["r"], name


def test_golden_key_lists_of_features_are_read_or_skipped(golden: Path) -> None:
    """Every tensor of w2v-BERT is one of ours, or of a layer that is known not to be built."""
    names = key_list(golden, "w2v_bert_2.0")
    with torch.device("meta"):
        model = SemanticFeatures(FeaturesConfig()).model
        read = {name: torch.empty(shape) for name, shape in names.items() if not unused_key(name)}
    check(read, model.state_dict(), "w2v_bert_2.0")
    skipped = {name.split(".")[2] for name in names if unused_key(name)}
    assert skipped == {str(n) for n in range(FeaturesConfig().layer, FeaturesConfig().num_layers)}
    assert sum(math.prod(names[name]) for name in read) < sum(map(math.prod, names.values()))
