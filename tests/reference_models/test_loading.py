"""Weight files in all states of repair: read exactly, or refused with the reason."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from reference_models.checkpoints import Checkpoints, load_stage1
from reference_models.errors import CheckpointError, MissingCheckpoint
from reference_models.hub import find
from reference_models.loading import check, load_into, load_tensors, unfilled
from reference_models.random_weights import write_random
from reference_models.registry import FILES, named, state
from reference_models.sizes import sized
from reference_models.variants import VARIANTS, Stage1Files, variant_files

NAMES = (
    "metis_base",
    "metis_vc",
    "metis_tse_lora_32",
    "metis_tse_lora_32_adapter",
    "metis_vc_lora_16",
    "maskgct_s2a_model_full",
    "vis_model",
    "semantic_codec",
)
VC = FILES["metis_vc"].file
JUNK = bytes(range(1, 256)) * 9
EXPLODED = Path(tempfile.gettempdir()) / "metis-bench-test-exploded"
LORA, ADAPTER = FILES["metis_tse_lora_32"].file, FILES["metis_tse_lora_32_adapter"].file


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of tiny checkpoints, all of them good."""
    folder = tmp_path_factory.mktemp("sound")
    write_random(folder, "tiny", names=NAMES)
    return folder


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    """The same, to be damaged: links, which `rewrite` and `replace` break."""
    for path in sound.rglob("*"):
        if path.is_file():
            copy = tmp_path / path.relative_to(sound)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.symlink_to(path)
    return tmp_path


def replace(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)


def rewrite(path: Path, change: Callable[[dict[str, Tensor]], None]) -> None:
    tensors = load_file(path)
    change(tensors)
    path.unlink()
    save_file(tensors, path)


def refused(run: Callable[[], object], *reasons: str) -> None:
    """With every reason in the message."""
    with pytest.raises(CheckpointError) as caught:
        run()
    for reason in reasons:
        assert reason in str(caught.value), str(caught.value)


class Bomb:
    """A pickle that would run code."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch '{EXPLODED}'",)


def pickled(thing: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(thing, buffer)
    return buffer.getvalue()


def archive(kind: str) -> bytes:
    buffer = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w") as zipped:
            zipped.writestr("model.safetensors", "weights")
    else:
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            tar.addfile(tarfile.TarInfo("model.safetensors"))
    return buffer.getvalue()


def test_sound_files_load(folder: Path) -> None:
    """What the damaged files below are measured against."""
    source = Checkpoints(folder)
    stored = load_file(folder / VC)
    state = source.stage1("vc").state_dict()
    assert state.keys() == stored.keys()
    assert all(torch.equal(state[name], stored[name]) for name in stored)
    source.stage1("tse-lora-32"), source.s2a_full(), source.visual(), source.semantic_codec()


KEY = "diff_estimator.layers.1.self_attn.q_proj.weight"


def test_keys_missing_unexpected_and_misshapen_are_listed_at_once(folder: Path) -> None:
    def damage(tensors: dict[str, Tensor]) -> None:
        del tensors[KEY]
        tensors["diff_estimator.layers.2.mlp.up_proj.weight"] = torch.zeros(3)
        tensors["to_logit.bias"] = torch.zeros(7)

    rewrite(folder / VC, damage)
    refused(
        lambda: Checkpoints(folder).stage1("vc"),
        str(folder / VC),
        f"1 missing: \n    {KEY}",
        "1 unexpected: \n    diff_estimator.layers.2.mlp.up_proj.weight",
        "1 of another shape: \n    to_logit.bias [7] instead of [8192]",
    )


def test_long_lists_are_cut() -> None:
    model = nn.Sequential(*(nn.Linear(2, 2) for _ in range(4)))
    refused(lambda: check({}, model.state_dict(), "x"), "8 missing", "2.weight", "... and 3 more")


def test_a_refused_model_is_unchanged() -> None:
    model = nn.Linear(2, 2)
    before = model.weight.detach().clone()
    refused(lambda: load_into(model, {"weight": torch.zeros(2, 2)}, "x"), "1 missing: \n    bias")
    assert torch.equal(model.weight, before)


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        (VC, lambda _good: b"", "is empty (0 bytes)"),
        (VC, lambda good: good[:-100], "damaged, incomplete"),
        (VC, lambda good: good[: len(good) // 2], "damaged, incomplete"),
        (VC, lambda good: good[:5], "damaged, incomplete"),
        (VC, lambda _good: JUNK, "damaged, incomplete"),
        (VC, lambda _good: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", "Git LFS pointer"),
        (VC, lambda _good: b"\n<!DOCTYPE html><html>404</html>", "web page"),
        (VC, lambda _good: b"<html>login</html>", "web page"),
        (VC, lambda _good: pickled({"a": torch.zeros(2)}), "a PyTorch pickle or another archive under a safetensors"),
        (VC, lambda _good: archive("zip"), "a PyTorch pickle or another archive"),
        (VC, lambda _good: archive("tar"), "damaged, incomplete or no safetensors"),
    ],
)
def test_damaged_safetensors(folder: Path, file: str, content: Callable[[bytes], bytes], reason: str) -> None:
    path = folder / file
    replace(path, content(path.read_bytes()))
    refused(lambda: Checkpoints(folder).stage1("vc"), str(path), reason)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (lambda _good: pickled({"frontend": Bomb()}), "holds code, not only tensors, and was not run"),
        (lambda _good: pickle.dumps({"frontend": Bomb()}, 2), "holds code, not only tensors, and was not run"),
        (lambda _good: pickled(nn.Linear(2, 2)), "holds code, not only tensors, and was not run"),
        (lambda good: good[: len(good) // 2], "damaged, incomplete or no PyTorch file"),
        (lambda _good: archive("zip"), "damaged, incomplete or no PyTorch file"),
        (lambda _good: archive("tar"), "damaged, incomplete or no PyTorch file"),
        (lambda _good: JUNK, "damaged, incomplete or no PyTorch file"),
        (lambda _good: b"", "is empty"),
        (lambda _good: pickled([torch.zeros(2)]), "holds a list instead of tensors by name"),
        (lambda _good: pickled({"epoch": 3}), "entry 'epoch' is a int, not a tensor"),
        (lambda _good: pickled({"a": {"b": torch.zeros(2)}}), "entry 'a' is a dict, not a tensor"),
        (lambda _good: pickled({"proj_encoder.weight": torch.zeros(2)}), "missing"),
    ],
)
def test_damaged_pickles(folder: Path, content: Callable[[bytes], bytes], reason: str) -> None:
    path = folder / FILES["vis_model"].file
    replace(path, content(path.read_bytes()))
    refused(Checkpoints(folder).visual, str(path), reason)
    assert not EXPLODED.exists()


def test_numbers_that_are_not_finite(folder: Path) -> None:
    for value in (float("nan"), float("inf"), float("-inf")):
        rewrite(folder / VC, lambda tensors, value=value: tensors[KEY].view(-1)[5].fill_(value))
        refused(lambda: Checkpoints(folder).stage1("vc"), f"{KEY} holds numbers that are not finite in float32")


def test_overflow_of_the_dtype_asked_for(folder: Path) -> None:
    rewrite(folder / VC, lambda tensors: tensors[KEY].view(-1)[5].fill_(1e6))
    Checkpoints(folder, dtype=torch.bfloat16).stage1("vc")
    refused(lambda: Checkpoints(folder, dtype=torch.float16).stage1("vc"), f"{KEY} holds", "not finite in float16")


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.bool, torch.complex64])
def test_numbers_of_another_kind(folder: Path, dtype: torch.dtype) -> None:
    rewrite(folder / VC, lambda tensors: tensors.update({KEY: tensors[KEY].to(dtype)}))
    refused(lambda: Checkpoints(folder).stage1("vc"), f"1 of another kind: \n    {KEY} {dtype}")


def test_float64_is_refused(folder: Path) -> None:
    path = folder / VC
    rewrite(path, lambda tensors: tensors.update({KEY: tensors[KEY].double()}))
    stored = load_tensors(path)
    refused(lambda: check(stored, load_file(folder / VC) | {KEY: stored[KEY].float()}, path), "torch.float64")


def test_the_file_of_another_model(folder: Path) -> None:
    other = folder / FILES["maskgct_s2a_model_full"].file
    config = sized(VARIANTS["vc"].config, "tiny")
    refused(lambda: load_stage1(config, other), str(other), "to_logit.weight", "diff_estimator.embed_tokens.weight")


def test_another_size_without_its_configuration(folder: Path) -> None:
    (folder / VC).with_suffix(".config.json").unlink()
    refused(
        lambda: Checkpoints(folder).stage1("vc"), "of another shape", "[1, 64] instead of [1, 1536]", ".config.json"
    )


def test_lora_of_another_rank(folder: Path) -> None:
    files = VARIANTS["tse-lora-32"]
    other = Stage1Files(files.config, files.checkpoint, files.adapter, "metis_vc_lora_16", rank=32)
    refused(lambda: Checkpoints(folder).stage1(other), "is a LoRA of rank 16, not 32")


@pytest.mark.parametrize(
    ("change", "reasons"),
    [
        (
            lambda t: t.pop("model.diff_estimator.layers.0.mlp.up_proj.lora_B.default.weight"),
            ("1 missing", "mlp.up_proj"),
        ),
        (lambda t: t.update(extra=torch.zeros(1)), ("1 unexpected", "extra")),
    ],
)
def test_lora_files_are_strict_too(folder: Path, change: Callable, reasons: tuple[str, ...]) -> None:
    """The official code loads them with strict=False."""
    rewrite(folder / LORA, change)
    refused(lambda: Checkpoints(folder).stage1("tse-lora-32"), LORA, *reasons)


def renamed(old: str, new: str) -> Callable[[dict[str, Tensor]], None]:
    def change(tensors: dict[str, Tensor]) -> None:
        for name in list(tensors):
            tensors[name.replace(old, new, 1)] = tensors.pop(name)

    return change


def test_lora_under_another_prefix(folder: Path) -> None:
    rewrite(folder / LORA, renamed("model.", "base_model.model."))
    refused(lambda: Checkpoints(folder).stage1("tse-lora-32"), "28 missing", "28 unexpected", "base_model.model.")


def test_lora_of_mixed_ranks(folder: Path) -> None:
    key = "model.diff_estimator.layers.0.mlp.up_proj.lora_A.default.weight"
    rewrite(folder / LORA, lambda tensors: tensors.update({key: tensors[key][:8].clone()}))
    refused(lambda: Checkpoints(folder).stage1("tse-lora-32"), "mixes LoRA ranks [8, 32]")


def test_adapter_in_place_of_the_lora(folder: Path) -> None:
    files = VARIANTS["tse-lora-32"]
    swapped = Stage1Files(files.config, files.checkpoint, files.adapter, files.adapter)
    refused(lambda: Checkpoints(folder).stage1(swapped), "holds no LoRA", "model.cond_adapter.")


def test_plain_adapter_for_a_gated_model(folder: Path) -> None:
    path = folder / ADAPTER
    rewrite(path, renamed("in_linear", "0"))
    rewrite(path, renamed("out_linear", "2"))
    rewrite(path, lambda tensors: tensors.pop("model.cond_adapter.gate_scale"))
    refused(
        lambda: Checkpoints(folder).stage1("tse-lora-32"),
        ADAPTER,
        "model.cond_adapter.gate_scale",
        "model.cond_adapter.0",
    )


def test_full_checkpoint_in_place_of_the_base(folder: Path) -> None:
    files = VARIANTS["tse-lora-32"]
    wrong = Stage1Files(files.config, "metis_vc", files.adapter, files.lora)
    refused(lambda: Checkpoints(folder).stage1(wrong), VC, "5 unexpected", "cond_adapter.gate_scale")


def test_names_that_hold_no_weights(tmp_path: Path) -> None:
    refused(lambda: load_tensors(tmp_path / "no.safetensors"), "is not a file")
    refused(lambda: load_tensors(tmp_path), "is not a file")
    (tmp_path / "model.onnx").write_bytes(b"weights")
    refused(lambda: load_tensors(tmp_path / "model.onnx"), ".safetensors, .pt, .pth, .bin, .ckpt files only")


def test_tensors_are_copies(tmp_path: Path) -> None:
    """A file that is overwritten in place changes no model that was loaded from it."""
    path = tmp_path / "a.safetensors"
    save_file({"a": torch.ones(1000), "n": torch.ones(1000, dtype=torch.int64)}, path)
    loaded = load_tensors(path)
    with path.open("r+b") as file:
        file.truncate(200)
    assert loaded["a"].sum() == 1000
    assert loaded["n"].sum() == 1000


def test_dtypes(tmp_path: Path) -> None:
    for stored in (torch.float32, torch.float16, torch.bfloat16):
        values = torch.randn(5, 3)
        save_file({"a": values.to(stored), "n": torch.tensor(3)}, tmp_path / "a.safetensors")
        assert load_tensors(tmp_path / "a.safetensors")["a"].dtype == stored
        for dtype in (torch.float32, torch.float16, torch.bfloat16):
            loaded = load_tensors(tmp_path / "a.safetensors", dtype=dtype)
            assert torch.equal(loaded["a"], values.to(stored).to(dtype))
            assert loaded["n"].dtype == torch.int64


def test_skipped_names_are_not_read(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2), "b": torch.full((2,), float("nan"))}, tmp_path / "a.safetensors")
    torch.save({"a": torch.ones(2), "b": torch.full((2,), float("nan"))}, tmp_path / "a.pt")
    for name in ("a.safetensors", "a.pt"):
        assert list(load_tensors(tmp_path / name, skip=lambda key: key == "b")) == ["a"]
        refused(lambda name=name: load_tensors(tmp_path / name), "b holds numbers that are not finite")


@pytest.mark.parametrize("task", ["tts", "vc", "tse", "se", "l2s", "omni"])
def test_loras_of_any_task_and_rank_have_names(task: str, tmp_path: Path) -> None:
    """Those that users train are found as the release's are; what is missing is not looked for on the hub."""
    files = variant_files(f"{task}-lora-8")
    assert files.rank == 8 and files.checkpoint == "metis_base" and files.tasks == VARIANTS[task].tasks
    for name in (files.lora, files.adapter):
        file = named(str(name))
        assert file is not None and file.config == VARIANTS[task].config
        with torch.device("meta"):
            assert sum(t.numel() for t in state(file).values()) == file.numbers
        with pytest.raises(MissingCheckpoint, match="metis-train finetune writes it"):
            find(file.name, tmp_path)
    assert named("metis_xyz_lora_8") is None and named("metis_se_lora_0") is None
    with pytest.raises(CheckpointError, match="TASK-lora-RANK"):
        variant_files("xyz-lora-8")


def test_tensors_within_an_entry(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save({"model": {"a": torch.ones(2)}, "epoch": 3, "best": 0.5}, path)
    assert list(load_tensors(path, entry="model")) == ["a"]
    with pytest.raises(CheckpointError, match="no entry 'ema', only model, epoch, best"):
        load_tensors(path, entry="ema")
    with pytest.raises(CheckpointError, match="holds a int instead of tensors by name"):
        load_tensors(path, entry="epoch")


def test_what_is_built_to_be_filled_is_not_drawn() -> None:
    state = torch.random.get_rng_state()
    with unfilled():
        big = nn.Sequential(nn.Embedding(1 << 12, 1 << 8), nn.Linear(9, 9), nn.Conv1d(3, 3, 3), nn.LayerNorm(3))
        nn.init.trunc_normal_(big[1].weight)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert next(p.shape for p in big.parameters()) == (1 << 12, 1 << 8)
    with pytest.raises(ZeroDivisionError), unfilled():
        raise ZeroDivisionError
    assert nn.Linear(200, 200).weight.std() > 0 and nn.LayerNorm(3).weight.tolist() == [1.0] * 3


@pytest.mark.parametrize("variant", ["tts", "vc-lora-16"])
def test_a_reference_model_starts_without_what_takes_seconds_to_import(variant: str) -> None:
    code = (
        "import sys\nfrom reference_models.checkpoints import open_source\n"
        "from reference_models.pipeline import Metis\n"
        "from reference_models.hub import SHIPPED\n"
        f"Metis(open_source(SHIPPED), '{variant}').parts.load(prompts=True, speech=True, lips=False)\n"
        "print([m for m in ('peft', 'transformers', 'torch._dynamo', 'sympy', 'scipy.signal') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "[]"
