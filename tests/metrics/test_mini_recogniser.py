"""`wer.mini`: what it hears, what it refuses, and what identifies it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from metis_bench.errors import MissingPrerequisite
from metis_bench.metrics.asr import mini
from metis_bench.metrics.asr.base import recognisers
from reference_models.mini import hear
from reference_models.mini.recognise import MiniRecogniser, Search


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of weights instead of the package's."""
    monkeypatch.setattr("reference_models.hub.SHIPPED", tmp_path)
    for cache in (mini._recogniser, mini._content):
        cache.cache_clear()
    yield tmp_path
    for cache in (mini._recogniser, mini._content):
        cache.cache_clear()


def test_it_knows_its_words_only(shipped: Path) -> None:
    heard = recognisers.get("mini")
    with pytest.raises(MissingPrerequisite, match="recogniser"):
        heard(("ten rings",), "en").check()
    hear.export(MiniRecogniser(hear.new_network(), Search({"ten": ((1, 2),), "rings": ((3,),)}, 0.0, 0.0)), shipped, {})
    heard(("Ten rings.", "rings, ten"), "en").check()
    with pytest.raises(MissingPrerequisite, match="not 'eleven'"):
        heard(("eleven rings",), "en").check()
    with pytest.raises(MissingPrerequisite, match="knows only en"):
        heard(("ten rings",), "de").check()


def test_other_weights_are_another_metric(shipped: Path) -> None:
    search = Search({"ten": ((1, 2),)}, 0.0, 0.0)
    signatures = []
    for seed, insertion in ((0, 0.0), (1, 0.0), (1, 2.0)):
        made = MiniRecogniser(hear.new_network(seed), Search(search.words, 0.0, insertion))
        hear.export(made, shipped, {})
        mini._content.cache_clear()
        signatures.append(recognisers.get("mini")(("ten",), "en").signature())
    assert signatures[0] != signatures[1] != signatures[2]
