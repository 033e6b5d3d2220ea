"""Reading weight files strictly: no code in pickles, no damaged file, no key too few or too many.

The official code is lenient where it matters (`Amphion:models/tts/metis/metis.py`: LoRA and base are loaded with
`strict=False`, so that wrong keys silently give the base model). Here every difference is listed and refused.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from reference_models.errors import CheckpointError

Tensors: TypeAlias = dict[str, Tensor]

PICKLED = (".pt", ".pth", ".bin", ".ckpt")
FLOATS = (torch.float32, torch.float16, torch.bfloat16)
INITIALISERS = {n: f for n, f in vars(nn.init).items() if n.endswith("_") and not n.startswith("_")}
LISTED = 5  # keys of each kind that an error names


def load_tensors(
    path: Path,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    skip: Callable[[str], bool] = lambda _name: False,
    entry: str | None = None,
) -> Tensors:
    """Every tensor of a `.safetensors`, `.pt`, `.pth`, `.bin` or `.ckpt` file by name, as copies in memory.

    dtype:  what floating point tensors become; None keeps what is on disk. Safetensors are converted one by one, so
            that no second copy of the file is ever in memory.
    skip:   names that are not read
    entry:  where a pickle keeps its tensors, among other things that are not looked at ("model", "state_dict")

    Errors: CheckpointError for a file that is missing, empty, damaged, no weight file at all, or a pickle with code;
    for numbers that are not finite (in `dtype`)
    """
    _look(path)
    pickled = path.suffix in PICKLED
    tensors: Tensors = {}
    for name, tensor in _read_pickled(path, skip, entry) if pickled else _read_safetensors(path, skip):
        if tensor.is_floating_point():
            tensor = tensor.to(device, dtype, copy=True)
            _require_finite(tensor, name, path)
        tensors[name] = tensor.to(device)
    return tensors


def _leave(tensor: Tensor, *_: Any, **__: Any) -> Tensor:
    return tensor


@contextmanager
def unfilled() -> Iterator[None]:
    """What is built in here is for `load_into` to fill: its memory is reserved, but nothing is drawn or written there.

    So it takes no memory either, as on the meta device, where torch would import its decompositions for a second.
    """
    vars(nn.init).update(dict.fromkeys(INITIALISERS, _leave))
    try:
        yield
    finally:
        vars(nn.init).update(INITIALISERS)


def load_into(model: nn.Module, tensors: Tensors, where: str | Path) -> None:
    """Make `tensors` the weights of `model`, which may be `unfilled` or on the meta device. They are not copied.

    Errors: CheckpointError listing what `check` finds; the model is unchanged then
    """
    check(tensors, model.state_dict(), where)
    model.load_state_dict(tensors, strict=True, assign=True)


def check(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], where: str | Path) -> None:
    """Refuse tensors whose names, shapes or kinds of numbers differ from `expected` (any device, e.g. meta).

    Errors: CheckpointError listing everything missing, unexpected and misshapen at once, the first 5 of each
    """
    common = [name for name in expected if name in tensors]
    findings = [
        _listed("missing", [name for name in expected if name not in tensors]),
        _listed("unexpected", [name for name in tensors if name not in expected]),
        _listed(
            "of another shape",
            [
                f"{name} {list(tensors[name].shape)} instead of {list(expected[name].shape)}"
                for name in common
                if tensors[name].shape != expected[name].shape
            ],
        ),
        _listed(
            "of another kind",
            [f"{name} {tensors[name].dtype}" for name in common if not _same_kind(tensors[name], expected[name])],
        ),
    ]
    if any(findings):
        raise CheckpointError(
            f"{where} does not fit the model:\n" + "\n".join(f for f in findings if f),
            fix="give the file of this very model; one of another size needs its .config.json beside it",
        )


def _listed(what: str, found: list[str]) -> str:
    if not found:
        return ""
    more = [f"... and {len(found) - LISTED} more"] if len(found) > LISTED else []
    return f"  {len(found)} {what}: " + "\n    ".join(["", *found[:LISTED], *more])


def _same_kind(tensor: Tensor, expected: Tensor) -> bool:
    if expected.is_floating_point():
        return tensor.dtype in FLOATS
    return tensor.dtype == expected.dtype


def _require_finite(tensor: Tensor, name: str, path: Path) -> None:
    if tensor.numel() and tensor.dtype in FLOATS:
        low, high = tensor.aminmax()  # one pass, and NaN comes through
        if not bool(torch.isfinite(low) & torch.isfinite(high)):
            raise CheckpointError(
                f"{path}: {name} holds numbers that are not finite in {str(tensor.dtype).removeprefix('torch.')}",
                fix="get the file again; if it is your own, training diverged; float16 holds no more than 65504",
            )


def _look(path: Path) -> None:
    """Recognise by name and first bytes what cannot hold weights, whatever its suffix says."""
    if not path.is_file():
        raise CheckpointError(f"{path} is not a file")
    if path.suffix not in (".safetensors", *PICKLED):
        raise CheckpointError(f"{path}: weights are read from .safetensors, {', '.join(PICKLED)} files only")
    with path.open("rb") as file:
        head = file.read(256)
    again = "download the file again"
    if not head:
        raise CheckpointError(f"{path} is empty (0 bytes)", fix=again)
    if head.startswith(b"version https://git-lfs"):
        raise CheckpointError(
            f"{path} is a Git LFS pointer, not the weights", fix="run `git lfs pull` in its repository"
        )
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise CheckpointError(f"{path} is a web page (an error page or a login?), not weights", fix=again)
    if path.suffix == ".safetensors" and head.startswith((b"PK\x03\x04", b"\x80\x02")):
        raise CheckpointError(
            f"{path} is a PyTorch pickle or another archive under a safetensors name", fix="name it .pth"
        )


def _read_safetensors(path: Path, skip: Callable[[str], bool]) -> Iterable[tuple[str, Tensor]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            names = [name for name in file.keys() if not skip(name)]  # noqa: SIM118 (not a dict)
        for name in names:
            # opened anew each time: pages that were read stay mapped, and counted, until the file is closed
            with safe_open(path, framework="pt") as file:
                tensor = file.get_tensor(name)
                # an integer tensor would not be copied by its reader, and the file may change under a mapping
                yield name, tensor if tensor.is_floating_point() else tensor.clone()
    except (SafetensorError, OSError, KeyError) as error:
        raise CheckpointError(
            f"{path} is damaged, incomplete or no safetensors file ({error})", fix="download the file again"
        ) from error


def _read_pickled(path: Path, skip: Callable[[str], bool], entry: str | None) -> Iterable[tuple[str, Tensor]]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "GLOBAL" in _reason(error):  # the pickle instruction that names a class or function
            raise CheckpointError(
                f"{path} holds code, not only tensors, and was not run ({_reason(error)})",
                fix="save it again as safetensors, or as torch.save(model.state_dict(), ...), where you trust it",
            ) from error
        raise _damaged_pickle(path, error) from error
    except (RuntimeError, EOFError, ValueError, KeyError, IndexError, AttributeError, OSError) as error:
        raise _damaged_pickle(path, error) from error
    if entry is not None and isinstance(content, dict):
        if entry not in content:
            raise CheckpointError(f"{path} has no entry {entry!r}, only {', '.join(map(str, list(content)[:LISTED]))}")
        content = content[entry]
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__} instead of tensors by name")
    for name, tensor in content.items():
        if not isinstance(tensor, Tensor):
            raise CheckpointError(
                f"{path}: entry {name!r} is a {type(tensor).__name__}, not a tensor",
                fix="save the state dict alone: torch.save(model.state_dict(), ...)",
            )
        if not skip(str(name)):
            yield str(name), tensor


def _damaged_pickle(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{path} is damaged, incomplete or no PyTorch file ({_reason(error)})", fix="download the file again"
    )


def _reason(error: BaseException) -> str:
    """The first sentence of what was found; torch wraps it in paragraphs of advice."""
    found = str(error.__context__ or error).strip() or type(error).__name__
    return found.splitlines()[0].split(". ")[0]


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """What tells weights from others, whatever file they are in: 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]
