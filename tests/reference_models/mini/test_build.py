"""`make mini`, at a scale that shows that every stage runs, feeds the next, and speaks in the end."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from reference_models.checkpoints import open_source
from reference_models.errors import CheckpointError, InputError
from reference_models.jobs import Job
from reference_models.mini.build import STAGES, Work, adopt, build
from reference_models.mini.mouth import render
from reference_models.mini.package import LIMIT, pack
from reference_models.pipeline import Metis
from reference_models.speech import Speech

pytest.importorskip("accelerate")
pytest.importorskip("espeakng_loader")
pytest.importorskip("pyworld")


@pytest.mark.long
def test_all_stages_run_and_what_they_made_speaks(tmp_path: Path) -> None:
    work = Work(tmp_path, scale=0.0)
    build(work)
    done = {path.stem: path.stat().st_mtime_ns for path in (tmp_path / "done").iterdir()}
    assert set(done) == set(STAGES)
    build(work)  # nothing is done twice
    assert done == {path.stem: path.stat().st_mtime_ns for path in (tmp_path / "done").iterdir()}

    shipped = tmp_path / "shipped"
    assert 1e6 < pack(work.folder, shipped, results={"metis-mini-tts": {"WER": "12.3 %"}}) < LIMIT
    card = (shipped / "t2s_model" / "model.card.md").read_text()
    assert "| WER | 12.3 % |" in card and "| trained on | sentences: 8 examples" in card and "| hardware | " in card
    codec = (shipped / "acoustic_codec" / "model.card.md").read_text()
    assert "| steps | 2 + 2 |" in codec, "without codebooks, and on them"
    assert "12.3" not in (shipped / "metis_vc" / "metis_vc_lora_16.card.md").read_text()

    more = Work(tmp_path / "more", scale=0.0)  # on top of what was shipped
    adopt(more, shipped)
    build(more, ["vc_data", "vc"])
    trained = more.weights / "metis_vc" / "metis_vc_lora_16.safetensors"
    trained.write_bytes(b"trained here")
    adopt(more, shipped)
    assert trained.read_bytes() == b"trained here", "nothing trained is lost to what was adopted"
    shutil.copyfile(shipped / trained.relative_to(more.weights), trained)
    pack(more.folder, tmp_path / "again")
    cards = {p.relative_to(shipped) for p in shipped.rglob("*.card.md")}
    assert {p.relative_to(tmp_path / "again") for p in (tmp_path / "again").rglob("*.card.md")} == cards
    assert (tmp_path / "again" / "t2s_model" / "model.card.md").read_text() == card
    assert {path.stem for path in (more.folder / "done").iterdir()} == {"vc_data", "vc"}
    kept = "semantic_codec/model.safetensors"
    assert (tmp_path / "again" / kept).read_bytes() == (shipped / kept).read_bytes()

    (more.weights / "of-unknown-origin.safetensors").write_bytes((shipped / kept).read_bytes())
    with pytest.raises(CheckpointError, match=r"of-unknown-origin.*nor a card"):
        pack(more.folder, tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()

    rng = np.random.default_rng(0)
    prompt, source = (Speech(rng.standard_normal(n).astype(np.float32) * 0.1, 16_000) for n in (9000, 8000))
    quick = {"steps": 2, "first_steps": 2, "fine_steps": (1, 1, 1)}
    tts = Job("tts", text="two rings", prompt=prompt, prompt_text="ten", seconds=0.4)
    mouth = tmp_path / "mouth.npy"
    np.save(mouth, render((), 0.4, "anybody"))
    denoise, lips = Job("se", source=source), Job("l2s", video=mouth, prompt=prompt)
    speaking = {"tts": tts, "omni-lora-32": denoise, "se-lora-16": denoise, "l2s-lora-16": lips}
    for variant, job in speaking.items():
        made = Metis(open_source(shipped), variant).generate([job], **quick)[0]
        assert np.isfinite(made.samples).all()
        assert made.seconds == pytest.approx(0.5 if job.task == "se" else 0.4, abs=0.03)


def test_a_slice_ends_where_its_minutes_end(tmp_path: Path) -> None:
    build(Work(tmp_path, minutes=0.0, scale=0.0), ["features"])
    assert not (tmp_path / "done").exists() and list((tmp_path / "runs" / "features" / "checkpoints").iterdir())
    build(Work(tmp_path, scale=0.0), ["features"])
    assert (tmp_path / "done" / "features.json").is_file()


def test_a_try_out_is_never_taken_for_the_real_thing(tmp_path: Path) -> None:
    build(Work(tmp_path, scale=0.5), ["no stage"])
    with pytest.raises(InputError, match=r"--scale 0\.5, not 1"):
        build(Work(tmp_path))
