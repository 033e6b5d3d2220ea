"""`metis-train` from shards to generated speech, on toys."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from reference_models.checkpoints import open_source
from reference_models.jobs import Job
from reference_models.pipeline import Metis
from reference_models.random_weights import write_random
from reference_models.speech import Speech
from reference_models.training.cli import main
from reference_models.training.logs import read_metrics
from tests.reference_models.training.toys import toy_shards

pytest.importorskip("accelerate")

SETTINGS = "size=mini init=scaled precision=fp32 recompute=false batch_tokens=600 log_every=5 optimiser.warmup=5"
SET = [part for setting in [*SETTINGS.split(), "optimiser.lr=3e-3"] for part in ("--set", setting)]


def losses(out: Path) -> list[float]:
    return [line["loss"] for line in read_metrics(out / "metrics.jsonl")]


def command(*arguments: str | Path) -> int:
    try:
        main([str(a) for a in arguments])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.mark.long
def test_pretrain_finetune_and_speak(tmp_path: Path) -> None:
    """Losses fall, the weights load as the official ones do, and speech comes out."""
    data = toy_shards(tmp_path / "data")
    steps = ("--set", "steps=30")
    assert command("pretrain", "base", "--data", data, "--out", tmp_path / "base", *SET, *steps, "--cpu") == 0
    weights = tmp_path / "base" / "weights"
    run = ("--data", data, "--from", weights, "--cpu", *SET, *steps)
    wide = ("--set", "gate=1", "--set", "steps=90", "--set", "optimiser.lr=1e-2")  # so few numbers learn slowly
    assert command("finetune", "--task", "tts", *run, "--out", tmp_path / "tts", "--validation", data) == 0
    assert (
        command("finetune", "--task", "se", "--method", "lora", "--rank", "4", *run, *wide, "--out", tmp_path / "se")
        == 0
    )
    assert command("s2a", "first", "--data", data, "--out", tmp_path / "first", "--cpu", *SET, *steps) == 0
    assert command("s2a", "fine", "--data", data, "--out", tmp_path / "fine", "--cpu", *SET, *steps) == 0
    for name in ("base", "tts", "se", "first", "fine"):
        assert losses(tmp_path / name)[-1] < 0.9 * losses(tmp_path / name)[0], name

    together = tmp_path / "together"
    write_random(together, "mini", names=["w2v_bert_2.0", "wav2vec2bert_stats", "semantic_codec",
                                          "acoustic_codec_encoder", "acoustic_codec_decoder"])  # fmt: skip
    for name in ("tts", "first", "fine"):
        for path in (tmp_path / name / "weights").rglob("*.*"):
            place = together / path.relative_to(tmp_path / name / "weights")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(path.read_bytes())
    prompt = Speech(np.random.default_rng(0).standard_normal(8000).astype(np.float32) * 0.1, 16_000)
    job = Job("tts", text="ten rings", prompt=prompt, prompt_text="two", seconds=0.4)
    pytest.importorskip("espeakng_loader")
    out = Metis(open_source(together), "tts").generate([job], steps=3, first_steps=3, fine_steps=(1, 1, 1))[0]
    assert out.rate == 24_000 and len(out.samples) == round(0.4 * 24_000) and np.isfinite(out.samples).all()


def test_mixtures_need_their_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = toy_shards(tmp_path / "data", 4)
    more = ("--out", tmp_path / "out", *SET, "--set", "start=scratch", "--set", "steps=2", "--cpu")
    assert command("finetune", "--task", "omni", "--data", f"tts={data}", *more) == 2
    assert "--data vc=DIR" in capsys.readouterr().err
    assert command("pretrain", "--data", f"a={data}", *more) == 2
    named = [part for name in ("tts", "vc", "tse", "se") for part in ("--data", f"{name}={data}")]
    assert command("finetune", "--task", "omni", *named, *more) == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["pretrain", "bas", "--data", "x", "--out", "y"], 2, "did you mean base"),
        (["pretrain", "--data", "nowhere", "--out", "y"], 2, "no shards"),
        (["finetune", "--task", "tts", "--data", "x", "--out", "y"], 2, "--from"),
        (["finetune", "--task", "tts", "--from", ".", "--data", "x", "--out", "y"], 5, "metis_base"),
        (["finetune", "--task", "xyz", "--data", "x", "--out", "y"], 2, "xyz"),
        (["show", "tts", "--set", "stepz=1"], 2, "did you mean steps"),
    ],
)
def test_mistakes_end_in_one_screen(
    arguments: list[str], code: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    small = ["--set", "size=tiny"] if arguments[0] in ("pretrain", "finetune") else []
    assert command(*arguments, *small) == code
    assert message in capsys.readouterr().err


def test_ls_and_show(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("ls") == 0
    assert "base-no-prompt" in capsys.readouterr().out
    assert command("show", "se-lora-16") == 0
    assert "rank: 16" in capsys.readouterr().out


def test_help_does_not_import_torch() -> None:
    heavy = "{'torch', 'numpy', 'yaml', 'pydantic'}"
    code = f"import sys; from reference_models.training import cli; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
