"""Test sets from one's own speech: exact ratios, seeded, read by the corpus `folder`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from metis_bench.audio import Audio, encode_wav, load
from metis_bench.corpora.folder import Folder, FolderParams
from metis_bench.corpora.simulated import make_set
from metis_bench.errors import CorpusError, UsageError
from tests.e2e.conftest import TOYS, Command, metis_bench  # noqa: F401 - a fixture


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    """Three talkers, two utterances each, one of them silent."""
    folder = tmp_path / "speech"
    for talker in range(3):
        for number in range(2):
            rng = np.random.default_rng(10 * talker + number)
            samples = rng.standard_normal(48_000 + 8000 * number).astype(np.float32) * 0.1
            path = folder / f"talker{talker}" / f"u{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_wav(Audio(samples, 16_000)))
    (folder / "talker0" / "silent.wav").write_bytes(encode_wav(Audio(np.zeros(16_000, np.float32), 16_000)))
    return folder


def lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def ratio(clean: np.ndarray, mixed: np.ndarray) -> float:
    return float(10 * np.log10(np.sum(clean**2) / np.sum((mixed - clean) ** 2)))


def test_enhancement(speech: Path, tmp_path: Path) -> None:
    made = make_set("se", [f"folder:{speech}"], tmp_path / "set", snr_db=(3.0, 3.0))
    assert made.items == 6 and [(k, r) for k, r in made.failures] == [(made.failures[0][0], "it is silent")]
    exact = 0
    for line in lines(tmp_path / "set"):
        source, clean = (load(tmp_path / "set" / str(line[role])).samples for role in ("source", "reference"))
        meta = line["meta"]
        assert isinstance(meta, dict) and len(source) == len(clean)
        if meta["snr_db"] is not None and not meta["reverb"] and meta["band_hz"] in (None, 8000):
            assert ratio(clean.astype(np.float64), source) == pytest.approx(3.0, abs=1e-3)
            exact += 1
    assert exact
    corpus = Folder(FolderParams(task="se", path=str(tmp_path / "set")), None, tmp_path / "cache").load()
    assert len(corpus.items) == 6 and {i.cluster for i in corpus.items} == {"talker0", "talker1", "talker2"}


def test_extraction(speech: Path, tmp_path: Path) -> None:
    make_set("tse", [f"folder:{speech}"], tmp_path / "set")
    for line in lines(tmp_path / "set"):
        files = {role: load(tmp_path / "set" / str(line[role])).samples for role in ("source", "reference", "prompt")}
        meta = line["meta"]
        assert isinstance(meta, dict) and -5 <= meta["snr_db"] <= 5
        assert ratio(files["reference"].astype(np.float64), files["source"]) == pytest.approx(meta["snr_db"], abs=1e-3)
        assert len(files["prompt"]) >= 8000 and len(files["source"]) == len(files["reference"])
        assert "text" not in line


def test_an_item_is_its_seeds_alone(speech: Path, tmp_path: Path) -> None:
    def made(name: str, **how: object) -> dict[object, bytes]:
        make_set("se", [f"folder:{speech}"], tmp_path / name, **how)  # type: ignore[arg-type]
        return {x["id"]: (tmp_path / name / str(x["source"])).read_bytes() for x in lines(tmp_path / name)}

    whole = made("a")
    assert made("b") == whole
    few = made("c", limit=3)
    assert few == {key: whole[key] for key in few}
    assert made("d", seed=1) != whole


def test_what_cannot_be_made(speech: Path, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="kind"):
        make_set("se", ["foldr:x"], tmp_path / "a")
    with pytest.raises(CorpusError, match="none of 1 utterances"):
        make_set("se", [f"folder:{speech}"], tmp_path / "b", limit=1)
    with pytest.raises(UsageError, match="is not empty"):
        make_set("se", [f"folder:{speech}"], speech)


def test_the_command(metis_bench: Command, speech: Path, tmp_path: Path) -> None:  # noqa: F811
    done = metis_bench("simulate", "se", f"folder:{speech}", "--out", "set", "--json")
    assert done.code == 6 and done.json["items"] == 6 and "left out:" in done.err
    (tmp_path / "metis-bench.yaml").write_text(f"plugins: ['{TOYS}']\n")
    (tmp_path / "mine.yaml").write_text(
        "name: mine\ntask: se\ncorpora: {mine: {corpus: folder, task: se, path: set}}\n"
        "systems: [noisy, ground-truth]\nmetrics: [toy-level]\n"
    )
    assert metis_bench("run", "mine.yaml").code == 0
