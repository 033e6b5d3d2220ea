"""Models in parts (FSDP2, over gloo on the CPU) and whole in each process (DDP): the losses of a single process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from reference_models.errors import MetisError
from reference_models.training import checkpoint, sharding
from reference_models.training.batches import TokenBatch, TokenBatches
from reference_models.training.logs import read_metrics
from reference_models.training.loop import LoopConfig, Trained, train
from reference_models.training.models import build
from reference_models.training.objectives import Loss, Objective, Stage1Objective
from reference_models.training.optim import OptimConfig
from reference_models.training.processes import Processes, leave
from reference_models.training.recipe import load
from reference_models.training.shards import Shards
from reference_models.training.spectra import MelDistance
from tests.conftest import REPO
from tests.reference_models.training.toys import toy_shards

pytest.importorskip("accelerate")

STEPS = 6
SMALL = ("size=tiny", "init=scaled", "start=scratch", "precision=fp32", "recompute=false", "batch_tokens=400")
CASES: dict[str, tuple[str, tuple[str, ...], dict[str, Any]]] = {  # recipe, its changes, those of the loop
    "pretraining": ("base", (), {"validate_every": 3}),
    "recomputed micro-batches": ("tts", ("recompute=true",), {"accumulate": 3, "validate_every": 3}),
    "lora": ("tts", ("lora={rank: 2, dropout: 0.0}",), {}),
    "lora and adapter": ("se", ("size=mini", "lora={rank: 2, dropout: 0.0}", "gate=1"), {}),
    "fewer rows than processes": ("tts", ("batch_tokens=50",), {"validate_every": 3}),
    "one codebook a step": ("s2a-fine", ("size=mini",), {}),
    "bf16": ("base", (), {"precision": "bf16"}),
}
PER_STEP = ("tokens_per_second", "counted_per_second")  # of a run whose steps take another time
LOGGED = ("loss", "gradient", "validation_loss", "validation_accuracy")
# what a second process's order of summation may change; bf16 rounds what is summed in another order
TOLERANCE = {"bf16": 2e-2, "recomputed micro-batches": 5e-4}


def config(**changes: Any) -> LoopConfig:
    optim = OptimConfig(lr=3e-3, warmup=2, schedule="constant", ema=0.9)
    defaults: dict[str, Any] = {"steps": STEPS, "optim": optim, "log_every": 1, "cpu": True, "validate_batches": 3}
    return LoopConfig(**{**defaults, **changes})


def run(case: str, data: Path, out: Path, **changes: Any) -> tuple[Trained, Objective]:
    name, recipe_changes, loop_changes = CASES[case]
    recipe = load(name, [*SMALL, *recipe_changes])
    trainee = build(recipe)
    batches = TokenBatches(Shards([data]), tokens=recipe.batch_tokens, seed=0, names=trainee.arrays)
    trained = train(trainee.objective, batches, config(**{**loop_changes, **changes}), out, validation={"": batches})
    return trained, trainee.objective


def logged(out: Path) -> dict[str, list[float]]:
    lines = read_metrics(out / "metrics.jsonl")
    found = {name: [line[name] for line in lines if name in line] for name in LOGGED}
    for name in PER_STEP:
        found[name] = [line[name] / line["steps_per_second"] for line in lines if name in line]
    return found


class Exploding(Stage1Objective):
    """Its third loss is infinite, in one of the processes."""

    calls = 0

    def forward(self, batch: TokenBatch, phase: str = "model") -> Loss:
        loss = super().forward(batch, phase)
        self.calls += 1
        worst = self.calls == 3 and os.environ.get("RANK") == "1"
        return Loss(loss.total * float("inf"), loss.count, loss.stats) if worst else loss


def work(data: Path, out: Path) -> None:
    """What each of two processes does."""
    for case in CASES:
        _, objective = run(case, data, out / case)
        if os.environ["RANK"] == "0":
            torch.save(objective.state_dict(), out / case / "weights.pt")
    for _ in range(STEPS):
        run("pretraining", data, out / "sliced", minutes=0.0)
    prepared = Processes(cpu=True).prepare(build(load("base", SMALL)).objective)[1]
    held = {name: sharding.local(tensor).numel() for name, tensor in prepared.named_parameters()}
    (out / f"held-{os.environ['RANK']}.json").write_text(json.dumps(held))
    run("lora", data, out / "from-one-process")
    run("lora", data, out / "stopped", minutes=0.0)
    trainee = build(load("base", SMALL))
    batches = TokenBatches(Shards([data]), tokens=400, seed=0, names=())
    error = ""
    try:
        train(Exploding(trainee.model), batches, config(checkpoint_every=1), out / "exploding")  # type: ignore[arg-type]
    except MetisError as found:
        error = str(found)
    (out / f"error-{os.environ['RANK']}.txt").write_text(error)
    try:
        run("pretraining", data, out / ("pretraining" if os.environ["RANK"] == "0" else "nothing"))
    except MetisError as found:
        (out / f"alone-{os.environ['RANK']}.txt").write_text(str(found))
    leave()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_shards(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    out = tmp_path_factory.mktemp("alone")
    for case in CASES:
        run(case, data, out / case)
    return out


FSDP = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}  # what `accelerate launch --use_fsdp --fsdp_version 2` says


@pytest.fixture(scope="module", params=["in parts", "whole in each"])
def two(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    out = tmp_path_factory.mktemp("two")
    run("lora", data, out / "from-one-process", minutes=0.0)
    script = out / "script.py"
    script.write_text(
        "import sys; from pathlib import Path; from tests.reference_models.training.test_sharding import work\n"
        "work(Path(sys.argv[1]), Path(sys.argv[2]))\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPO)}
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    fsdp = FSDP if request.param == "in parts" else {}
    subprocess.run(
        [sys.executable, *launcher, str(script), str(data), str(out)],
        env={**environment, **fsdp},
        check=True,
        cwd=out,
        timeout=1800,  # processes that wait for each other forever
    )
    return out


@pytest.mark.long
@pytest.mark.parametrize("case", CASES)
def test_two_processes_give_the_losses_of_one(case: str, alone: Path, two: Path) -> None:
    ours, theirs = logged(two / case), logged(alone / case)
    assert len(ours["loss"]) == len(ours["tokens_per_second"]) == STEPS
    for name in theirs:
        assert ours[name] == pytest.approx(theirs[name], rel=TOLERANCE.get(case, 1e-4)), name


@pytest.mark.long
@pytest.mark.parametrize("case", ["pretraining", "lora and adapter", "one codebook a step"])
def test_the_objective_ends_trained_and_checkpoints_are_whole(case: str, alone: Path, two: Path) -> None:
    """A checkpoint of two processes has the names and shapes of one process's; the average is what a run ends with."""
    ours, theirs = (checkpoint.read(checkpoint.latest(out / case / "checkpoints")) for out in (two, alone))  # type: ignore[arg-type]
    assert {k: v.shape for k, v in ours.model.items()} == {k: v.shape for k, v in theirs.model.items()}
    assert ours.optimisers["model"]["state"].keys() == theirs.optimisers["model"]["state"].keys()
    for number, entry in ours.optimisers["model"]["state"].items():
        assert entry["exp_avg"].shape == theirs.optimisers["model"]["state"][number]["exp_avg"].shape
    weights = torch.load(two / case / "weights.pt", weights_only=True)
    assert ours.average and all(torch.equal(weights[name], tensor) for name, tensor in ours.average.items())


@pytest.mark.long
def test_slices_of_two_processes_give_the_same_losses(two: Path) -> None:
    sliced, straight = logged(two / "sliced"), logged(two / "pretraining")
    assert all(sliced[name] == straight[name] for name in LOGGED)


@pytest.mark.long
def test_each_process_holds_its_part(two: Path, request: pytest.FixtureRequest) -> None:
    sizes = {name: p.numel() for name, p in build(load("base", SMALL)).objective.named_parameters()}
    first, second = (json.loads((two / f"held-{rank}.json").read_text()) for rank in (0, 1))
    if "whole in each" in request.node.name:
        assert first == second == sizes
    else:
        assert {name: first[name] + second[name] for name in sizes} == sizes
        assert 0.49 < sum(first.values()) / sum(sizes.values()) < 0.51


@pytest.mark.long
def test_runs_go_on_with_another_number_of_processes(two: Path, alone: Path, data: Path) -> None:
    """From one process to two, and from two to one."""
    straight = logged(alone / "lora")["loss"]
    assert logged(two / "from-one-process")["loss"] == pytest.approx(straight, rel=1e-4)
    assert len(logged(two / "stopped")["loss"]) == 1
    trained, _ = run("lora", data, two / "stopped")
    assert trained.finished and logged(two / "stopped")["loss"] == pytest.approx(straight, rel=1e-4)


@pytest.mark.long
def test_a_gradient_that_is_not_finite_ends_all_processes(two: Path) -> None:
    for rank in (0, 1):
        assert "gradient of step 2 is" in (two / f"error-{rank}.txt").read_text()
    found = checkpoint.latest(two / "exploding" / "checkpoints")
    assert found is not None and checkpoint.read(found).step == 2


@pytest.mark.long
def test_processes_that_see_different_checkpoints_stop(two: Path) -> None:
    for rank, step in ((0, STEPS), (1, 0)):
        assert f"process {rank} at {step}\n  fix: put" in (two / f"alone-{rank}.txt").read_text()


@pytest.mark.parametrize(
    ("variables", "named", "fix"),
    [
        ({"FSDP_VERSION": "1"}, "--fsdp_version 1", "--fsdp_version 2"),
        ({}, "--fsdp_version 1", "--fsdp_version 2"),  # the launcher's default
        ({"FSDP_AUTO_WRAP_POLICY": "SIZE_BASED_WRAP"}, "--fsdp_auto_wrap_policy SIZE_BASED_WRAP", "one by one"),
        ({"FSDP_TRANSFORMER_CLS_TO_WRAP": "Transformer"}, "--fsdp_transformer_layer_cls_to_wrap", "name Block"),
        ({"FSDP_IGNORED_MODULES": ".*norm"}, "--fsdp_ignored_modules", "leave it out"),
        ({"ACCELERATE_USE_PARALLELISM_CONFIG": "true"}, "--use_parallelism_config true", "leave it out"),
        ({"FSDP_OFFLOAD_PARAMS": "true"}, "--fsdp_offload_params true", "leave it out"),
        ({"FSDP_ACTIVATION_CHECKPOINTING": "true"}, "--fsdp_activation_checkpointing true", "recompute=true"),
    ],
)
def test_what_is_not_supported_is_named(
    variables: dict[str, str], named: str, fix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sharding.plugin() is None
    for name, value in {**FSDP, **variables}.items():
        monkeypatch.setenv(name, value)
    if not variables:
        monkeypatch.delenv("FSDP_VERSION")
    with pytest.raises(MetisError, match=named) as found:
        sharding.plugin()
    assert fix in str(found.value)


def test_statistics_beside_weights_cannot_be_in_parts() -> None:
    class Spectral(Objective):
        def __init__(self) -> None:
            super().__init__()
            self.distance = MelDistance(24_000)

    with pytest.raises(MetisError, match="Spectral cannot be sharded: it has buffers"):
        sharding.shard(Spectral(), torch.device("cpu"), True)


def test_what_is_in_one_piece_stays_as_it_is() -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    state = {"a": [weight, {"b": 1}], "c": "d"}
    assert json.dumps(str(sharding.whole(state))) == json.dumps(str(state))
    assert sharding.local(weight) is weight and sharding.parted(weight, weight) is weight


@pytest.mark.long
def test_the_shipped_configuration_launches_the_command(tmp_path: Path, data: Path) -> None:
    """`accelerate launch --config_file fsdp.yaml -m reference_models.training.cli`: trains, exports, and goes on."""
    shipped = Path(sharding.__file__).parent / "accelerate" / "fsdp.yaml"
    small = [part for change in (*SMALL, "log_every=1", "optimiser.warmup=2") for part in ("--set", change)]
    command = [
        *(sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(shipped), "--num_processes", "2"),
        *("-m", "reference_models.training.cli", "pretrain", "base", "--data", str(data), "--cpu"),
        *("--out", str(tmp_path / "run"), *small),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPO)}
    for steps in (2, 3):
        subprocess.run([*command, "--set", f"steps={steps}"], env=environment, check=True, cwd=tmp_path)
        (weights,) = (tmp_path / "run" / "weights").rglob("*.safetensors")
        (facts,) = (json.loads(path.read_text()) for path in (tmp_path / "run").rglob("*.training.json"))
        assert facts["steps"] == steps and facts["finished"]
    from safetensors.torch import load_file

    state = build(load("base", SMALL)).model.state_dict()
    assert {name: t.shape for name, t in load_file(weights).items()} == {name: t.shape for name, t in state.items()}
    assert not torch.equal(load_file(weights)["to_logit.weight"], state["to_logit.weight"])
    refused = [flag if flag != str(shipped) else str(tmp_path / "none.yaml") for flag in command]
    (tmp_path / "none.yaml").write_text(shipped.read_text().replace("fsdp_version: 2", "fsdp_version: 1"))
    ended = subprocess.run([*refused, "--set", "steps=4"], env=environment, capture_output=True, text=True)
    assert ended.returncode != 0 and "fix: give --fsdp_version 2" in ended.stderr
