"""`metis-train` from shards to generated speech, on toys."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reference_models.checkpoints import open_source
from reference_models.jobs import Job
from reference_models.pipeline import Metis
from reference_models.random_weights import write_random
from reference_models.speech import Speech
from reference_models.training.claim import alone
from reference_models.training.cli import main
from reference_models.training.logs import read_metrics
from reference_models.training.models import build
from reference_models.training.recipe import load
from reference_models.training.run import _wanted
from reference_models.training.shards import ShardWriter
from tests.reference_models.training.toys import toy, toy_shards

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
    assert command("finetune", "--task", "omni", "--data", data, *more) == 2
    assert "not data without a name" in capsys.readouterr().err
    assert command("pretrain", "--data", f"a={data}", *more) == 2
    named = [part for name in ("tts", "vc", "tse", "se") for part in ("--data", f"{name}={data}")]
    held = ("--validation", f"tts={data}", "--validation", f"se={data}", "--set", "validate_every=1")
    assert command("finetune", "--task", "omni", *named, *more, *held) == 0
    last = read_metrics(tmp_path / "out" / "metrics.jsonl")[-1]
    assert last["validation_tts_loss"] != last["validation_se_loss"] and "validation_vc_loss" not in last
    bare = tmp_path / "bare"
    with ShardWriter(bare) as writer:
        writer.write(replace(toy(0), arrays={"semantic": toy(0).arrays["semantic"]}))
    for task, wanted in (("tts", "phones"), ("se", "condition")):  # what a task lives on is never left out in silence
        given = [part.replace(str(data), str(bare)) if part.startswith(f"{task}=") else part for part in named]
        assert command("finetune", "--task", "omni", *given, *more, "--out", tmp_path / task) == 2
        assert f"holds no {wanted}, which {task} needs" in capsys.readouterr().err


def test_omni_reads_what_a_task_has() -> None:
    """TTS has no condition, also where its shards hold one; the others are guided by text where there is one."""
    omni = build(load("omni", ["size=mini", "start=scratch"]))
    held = {"semantic", "phones", "condition"}
    assert _wanted(omni, "tts", held) == ["phones"]
    assert _wanted(omni, "se", held) == ["condition", "phones"]
    assert _wanted(omni, "se", held - {"phones"}) == ["condition"]
    assert _wanted(omni, "omni", held - {"condition"}) == ["phones"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["pretrain", "bas", "--data", "x", "--out", "y"], 2, "did you mean base"),
        (["pretrain", "--data", "nowhere", "--out", "y"], 2, "no shards"),
        (["finetune", "--task", "tts", "--data", "x", "--out", "y"], 2, "--from"),
        (["finetune", "--task", "tts", "--from", ".", "--data", "x", "--out", "y"], 5, "metis_base"),
        (["finetune", "--task", "xyz", "--data", "x", "--out", "y"], 2, "xyz"),
        (["show", "tts", "--set", "stepz=1"], 2, "did you mean steps"),
        (["finetune", "--task", "tts", "--from", "nowhere", "--data", "x", "--out", "y"], 2, "nowhere: there is no"),
        (["finetune", "--task", "tts", "--recipe", "mini-se", "--data", "x", "--out", "y"], 2, "is of --task se"),
        (["pretrain", "--data", "x", "--out", "y", "--minutes", "nan"], 2, "no finite number"),
        (["pretrain", "--data", "x", "--out", "y", "--minutes", "-1"], 2, "-1"),
        (["mini", "--work", "w", "--stage", "featurez"], 2, "did you mean 'features'"),
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


def test_a_folder_holds_one_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """More steps and other logs are the same run; another learning rate is another."""
    data = toy_shards(tmp_path / "data", 4)
    run = ("pretrain", "--data", data, "--out", tmp_path / "out", "--cpu", *SET)
    assert command(*run, "--set", "steps=1") == 0
    assert command(*run, "--set", "optimiser.lr=1", "--set", "steps=2") == 2
    assert "holds a run with optimiser" in capsys.readouterr().err
    assert command(*run, "--set", "steps=2", "--set", "log_every=1") == 0
    assert [line["step"] for line in read_metrics(tmp_path / "out" / "metrics.jsonl")] == [1, 2]
    (facts,) = (json.loads(path.read_text()) for path in (tmp_path / "out").rglob("*.training.json"))
    assert facts["data"] == ["data"] and facts["metrics"]["step"] == 2 and facts["metrics"]["loss"] > 0


def test_a_run_keeps_its_data_and_its_base(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever their names: they are known by what they hold."""
    data, other = toy_shards(tmp_path / "data", 4), toy_shards(tmp_path / "other", 4, first=50)
    for seed in (0, 1):
        base = ("pretrain", "--data", data, "--out", tmp_path / f"base{seed}", "--cpu", *SET, "--set", f"seed={seed}")
        assert command(*base, "--set", "steps=1") == 0

    def go(data: Path, base: int, steps: int) -> int:
        start = ("finetune", "--task", "tts", "--from", tmp_path / f"base{base}" / "weights", "--data", data)
        return command(*start, "--out", tmp_path / "out", "--cpu", *SET, "--set", f"steps={steps}")

    assert go(data, 0, 1) == 0
    assert go(other, 0, 2) == 2 and "holds a run with another data" in capsys.readouterr().err
    assert go(data, 1, 2) == 2 and "holds a run with another base" in capsys.readouterr().err
    assert go(data.rename(tmp_path / "moved"), 0, 2) == 0, "the same elsewhere"
    (facts,) = (json.loads(path.read_text()) for path in (tmp_path / "out").rglob("*.training.json"))
    assert len(facts["made_of"]["base"]) == 16 and facts["steps"] == 2
    (tmp_path / "out" / "recipe.json").write_text("{")
    assert go(tmp_path / "moved", 0, 3) == 2 and "is damaged" in capsys.readouterr().err


def test_two_processes_never_share_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("fcntl")
    data = toy_shards(tmp_path / "data", 4)
    run = ("pretrain", "--data", data, "--out", tmp_path / "out", "--cpu", *SET, "--set", "steps=1")
    with alone(tmp_path / "out"):
        assert command(*run) == 2 and "another process trains in" in capsys.readouterr().err
    assert command(*run) == 0
    (tmp_path / "file").touch()
    assert command(*run[:4], tmp_path / "file", *run[5:]) == 2 and "is a file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "trained"),
    [([], "_lora_4"), (["--method", "full"], ""), (["--rank", "2"], "_lora_2"), (["--method", "lora"], "_lora_4")],
)
def test_the_method_is_what_is_asked_for(arguments: list[str], trained: str, tmp_path: Path) -> None:
    data = toy_shards(tmp_path / "data", 4)
    run = ("finetune", "--task", "se", "--recipe", "se-lora-4", "--data", data, "--out", tmp_path / "out", "--cpu")
    assert command(*run, *arguments, *SET, "--set", "start=scratch", "--set", "steps=1") == 0
    assert (tmp_path / "out" / "weights" / "metis_se" / f"metis_se{trained}.safetensors").is_file()


def test_a_rank_needs_a_lora(capsys: pytest.CaptureFixture[str]) -> None:
    more = ("--data", "x", "--out", "y", "--method", "full", "--rank", "4")
    assert command("finetune", "--task", "se", *more) == 2
    assert "--rank" in capsys.readouterr().err
