"""The loop: the same losses however a run is cut into slices, processes and micro-batches."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from reference_models.errors import CheckpointError, MetisError
from reference_models.lora import ADDED
from reference_models.training import checkpoint
from reference_models.training.batches import TokenBatches
from reference_models.training.logs import read_metrics
from reference_models.training.loop import LoopConfig, Trained, train
from reference_models.training.models import build
from reference_models.training.optim import MovingAverage, OptimConfig, lr_factor
from reference_models.training.processes import Processes
from reference_models.training.recipe import Recipe, load
from reference_models.training.shards import Shards
from tests.conftest import REPO
from tests.reference_models.training.toys import toy_shards

pytest.importorskip("accelerate")

SMALL = ("size=tiny", "init=scaled", "precision=fp32", "recompute=false", "batch_tokens=400", "optimiser.warmup=2")
STEPS = 12


def recipe(*changes: str) -> Recipe:
    return load("tts", [*SMALL, "start=scratch", f"steps={STEPS}", "optimiser.lr=3e-3", *changes])


def run(out: Path, data: Path, config: LoopConfig, chosen: Recipe | None = None) -> tuple[list[float], Trained]:
    chosen = chosen or recipe()
    trainee = build(chosen)
    batches = TokenBatches(Shards([data]), tokens=chosen.batch_tokens, seed=0, names=trainee.arrays)
    trained = train(trainee.objective, batches, config, out)
    return [line["loss"] for line in read_metrics(out / "metrics.jsonl")], trained


def config(**changes: object) -> LoopConfig:
    optim = OptimConfig(lr=3e-3, warmup=2, schedule="constant", ema=0.9)
    return LoopConfig(**{"steps": STEPS, "optim": optim, "log_every": 1, "cpu": True, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_shards(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory, data: Path) -> list[float]:
    losses, trained = run(tmp_path_factory.mktemp("straight"), data, config())
    assert trained.finished and trained.step == STEPS and not trained.interrupted
    assert losses[-1] < losses[0]
    return losses


def test_slices_give_the_same_losses(tmp_path: Path, data: Path, straight: list[float]) -> None:
    """Stopped after every step by a time limit of nothing, and started again."""
    for done in range(1, STEPS + 1):
        losses, trained = run(tmp_path, data, config(minutes=0.0))
        assert trained.step == done and trained.finished is (done == STEPS)
    assert losses == straight
    assert len(list((tmp_path / "checkpoints").glob("*.pt"))) == checkpoint.KEPT
    again, trained = run(tmp_path, data, config())  # finished: nothing is done again
    assert again == straight and trained.finished


def test_log_lines_are_means_over_slices_too(tmp_path: Path, data: Path, straight: list[float]) -> None:
    losses, _ = run(tmp_path / "a", data, config(log_every=5, minutes=None))
    for _ in range(STEPS):
        sliced, _ = run(tmp_path / "b", data, config(log_every=5, minutes=0.0))
    assert losses == sliced and len(losses) == 3


def test_micro_batches_give_the_same_losses(tmp_path: Path, data: Path, straight: list[float]) -> None:
    """Also more of them than a batch has rows."""
    losses, _ = run(tmp_path / "3", data, config(accumulate=3))
    assert losses == pytest.approx(straight, rel=1e-4)
    many, _ = run(tmp_path / "40", data, config(accumulate=40, steps=2))
    assert many == pytest.approx(straight[:2], rel=1e-4)


def test_recomputing_changes_memory_only(tmp_path: Path, data: Path, straight: list[float]) -> None:
    losses, _ = run(tmp_path, data, config(steps=3), recipe("recompute=true"))
    assert losses == pytest.approx(straight[:3], rel=1e-5)


def test_bf16_trains_too(tmp_path: Path, data: Path, straight: list[float]) -> None:
    losses, _ = run(tmp_path, data, config(precision="bf16"))
    assert losses != straight and losses == pytest.approx(straight, rel=0.05)


def test_lora_dropout_resumes_exactly(tmp_path: Path, data: Path) -> None:
    lora = recipe("lora={rank: 2, dropout: 0.3}")
    whole, _ = run(tmp_path / "a", data, config(steps=4), lora)
    run(tmp_path / "b", data, config(steps=4, minutes=0.0), lora)
    sliced, _ = run(tmp_path / "b", data, config(steps=4), lora)
    assert sliced == whole


SCRIPT = """
import sys
from pathlib import Path
from reference_models.training.processes import leave
from tests.reference_models.training.test_loop import config, run
run(Path(sys.argv[1]), Path(sys.argv[2]), config(**eval(sys.argv[3])))
leave()
"""


def start(tmp_path: Path, *arguments: str, launcher: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPO)}
    return subprocess.Popen([sys.executable, *launcher, str(script), *arguments], env=environment, cwd=tmp_path)


@pytest.mark.long
def test_a_killed_run_goes_on_with_the_same_losses(tmp_path: Path, data: Path, straight: list[float]) -> None:
    out, often = tmp_path / "run", "{'checkpoint_every': 1}"
    killed = 0
    for wanted in (2, 5):
        process = start(tmp_path, str(out), str(data), often)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            if len(read_metrics(out / "metrics.jsonl")) >= wanted:
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.005)
        killed += process.wait() == -signal.SIGKILL
    assert killed
    losses, trained = run(out, data, config())
    assert trained.finished and losses == pytest.approx(straight, rel=1e-6)


def test_processes_that_see_no_gpu_are_not_left_to_train_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(MetisError, match="2 processes were launched, and none sees a GPU"):
        Processes()


@pytest.mark.long
def test_two_processes_give_the_losses_of_one(tmp_path: Path, data: Path, straight: list[float]) -> None:
    """Data parallel over gloo on the CPU, as `accelerate launch` starts it."""
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    process = start(tmp_path, str(tmp_path / "two"), str(data), "{}", launcher=launcher)
    assert process.wait(timeout=120) == 0
    losses = [line["loss"] for line in read_metrics(tmp_path / "two" / "metrics.jsonl")]
    assert losses == pytest.approx(straight, rel=1e-4)


def test_a_signal_ends_a_run_with_a_checkpoint(tmp_path: Path, data: Path) -> None:
    def interrupt(step: int, _steps: int, _loss: float) -> None:
        if step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    chosen = recipe()
    trainee = build(chosen)
    batches = TokenBatches(Shards([data]), tokens=400, seed=0, names=trainee.arrays)
    former = signal.getsignal(signal.SIGTERM)
    trained = train(trainee.objective, batches, config(), tmp_path, progress=interrupt)
    assert trained.interrupted and trained.step == 3
    found = checkpoint.latest(tmp_path / "checkpoints")
    assert found is not None and checkpoint.read(found).step == 3
    assert signal.getsignal(signal.SIGTERM) is former


def test_the_moving_average_is_what_a_run_ends_with(tmp_path: Path, data: Path) -> None:
    trainee = build(recipe())
    batches = TokenBatches(Shards([data]), tokens=400, seed=0, names=trainee.arrays)
    train(trainee.objective, batches, config(), tmp_path)
    found = checkpoint.latest(tmp_path / "checkpoints")
    assert found is not None
    state = checkpoint.read(found)
    name = "model.to_logit.weight"
    assert torch.equal(trainee.objective.get_parameter(name), state.average[name])
    assert not torch.equal(state.average[name], state.model[name])


def test_averages_forget_the_start() -> None:
    weights = {"w": torch.zeros(3)}
    average = MovingAverage(weights, 0.99)
    for step in range(50):
        average.update({"w": torch.ones(3)}, step)
    assert float(average.weights["w"][0]) > 0.99


def test_learning_rates() -> None:
    steady, falling = OptimConfig(warmup=10, schedule="inverse_sqrt"), OptimConfig(warmup=10, schedule="cosine")
    assert [lr_factor(steady, s, 100) for s in (0, 4, 9)] == [0.1, 0.5, 1.0]
    assert lr_factor(steady, 39, 100) == pytest.approx(0.5)
    assert lr_factor(falling, 100, 100) == pytest.approx(falling.final) and lr_factor(falling, 55, 100) == 0.525
    assert lr_factor(OptimConfig(warmup=0, schedule="constant"), 0, 9) == 1.0


def test_damaged_checkpoints_are_named(tmp_path: Path) -> None:
    path = tmp_path / "step-000000001.pt"
    for content in (b"", b"PK nonsense"):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="no checkpoint of a training run"):
            checkpoint.read(path)
    torch.save({"step": 1}, path)
    with pytest.raises(CheckpointError, match="no checkpoint"):
        checkpoint.read(path)


def test_validation_is_the_same_every_time(tmp_path: Path, data: Path) -> None:
    trainee = build(recipe())
    batches = TokenBatches(Shards([data]), tokens=400, seed=0, names=trainee.arrays)
    still = OptimConfig(lr=1e-12, warmup=0, schedule="constant")
    train(
        trainee.objective,
        batches,
        config(optim=still, validate_every=4, validate_batches=2),
        tmp_path,
        validation={"": batches},
    )
    found = [line["validation_loss"] for line in read_metrics(tmp_path / "metrics.jsonl") if "validation_loss" in line]
    assert len(found) == 3 and found == pytest.approx([found[0]] * 3, rel=1e-6)


def test_checkpoints_of_a_lora_leave_out_the_base(tmp_path: Path, data: Path) -> None:
    run(tmp_path, data, config(steps=1), recipe("lora={rank: 2}"))
    found = checkpoint.latest(tmp_path / "checkpoints")
    assert found is not None
    names = checkpoint.read(found).model
    assert names and all(".lora_" in name or name.removeprefix("model.").startswith(ADDED) for name in names)


def test_checkpoints_of_another_model_are_refused(tmp_path: Path, data: Path) -> None:
    run(tmp_path, data, config(steps=1), recipe("lora={rank: 2}"))
    for other in (recipe(), recipe("lora={rank: 3}")):
        with pytest.raises(CheckpointError, match="of another model or optimiser"):
            run(tmp_path, data, config(), other)


@pytest.mark.parametrize("clip", [0.0, 1.0])
def test_a_gradient_that_is_not_finite_ends_the_run(clip: float, tmp_path: Path, data: Path) -> None:
    """Before the weights that it leads to are saved."""
    trainee = build(recipe())
    batches = TokenBatches(Shards([data]), tokens=400, seed=0, names=trainee.arrays)
    steps = iter(range(STEPS))
    bias = trainee.objective.get_parameter("model.to_logit.bias")
    bias.register_hook(lambda gradient: gradient * (float("inf") if next(steps) == 2 else 1.0))
    with pytest.raises(MetisError, match="gradient of step 2 is"):
        train(trainee.objective, batches, config(optim=OptimConfig(clip=clip), checkpoint_every=1), tmp_path)
    found = checkpoint.latest(tmp_path / "checkpoints")
    assert found is not None and checkpoint.read(found).step == 2
    assert all(tensor.isfinite().all() for tensor in checkpoint.read(found).model.values())


def test_validation_hears_the_average_and_training_goes_on_without(tmp_path: Path, data: Path) -> None:
    """The last validation is of the weights that a run ends with; losses are those of a run without validation."""
    trainee = build(recipe())
    batches = TokenBatches(Shards([data]), tokens=400, seed=0, names=trainee.arrays)
    both = config(validate_every=4, validate_batches=1)
    train(trainee.objective, batches, both, tmp_path / "a", validation={"": batches})
    lines = read_metrics(tmp_path / "a" / "metrics.jsonl")
    loss = trainee.objective.eval()(batches(0))
    mean = float((loss.total / loss.count).detach())
    assert [line["validation_loss"] for line in lines if "validation_loss" in line][-1] == pytest.approx(mean, rel=1e-5)
    alone, _ = run(tmp_path / "b", data, config())
    assert [line["loss"] for line in lines if "loss" in line] == alone
    assert all(line["counted_per_second"] > 0 for line in lines if "loss" in line)
