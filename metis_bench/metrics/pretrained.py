"""Models of the transformers library from a folder on this machine, complete or not at all, and never from the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from metis_bench.errors import MissingPrerequisite
from metis_bench.metrics.device import device

LISTED = 5  # keys that an error names


def open_pretrained(kind: Any, folder: Path, *, not_needed: tuple[str, ...] = ()) -> Any:
    """`kind.from_pretrained(folder)` for inference in float32, on a GPU if there is one.

    not_needed: how the names of parameters start that the file may lack

    transformers only warns of a parameter that the file lacks, and makes it up at random. Raises MissingPrerequisite
    for a file that is damaged, or that does not fill every needed parameter in its shape.
    """
    from safetensors import SafetensorError
    from transformers import utils

    its_logging: Any = utils.logging
    its_logging.disable_progress_bar()  # the run has one of its own, on the same terminal
    try:
        model, found = kind.from_pretrained(
            folder,
            local_files_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported below with the others
        )
    except (OSError, ValueError, RuntimeError, EOFError, KeyError, SafetensorError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise MissingPrerequisite(f"the model cannot be read: {reason}", where=folder, fix="get it again") from None
    names = {str(name) for name in found["missing_keys"]} | {str(entry[0]) for entry in found["mismatched_keys"]}
    absent = sorted(name for name in names if not name.startswith(not_needed))
    if absent:
        more = f" and {len(absent) - LISTED} more" if len(absent) > LISTED else ""
        raise MissingPrerequisite(
            f"the model's file lacks, or has in another shape: {', '.join(absent[:LISTED])}{more}",
            where=folder,
            fix="get it again: this is another model, or a part of one",
        )
    return model.float().eval().requires_grad_(False).to(device())


def open_processor(kind: Any, folder: Path) -> Any:
    """`kind.from_pretrained(folder)` of what prepares samples. Raises MissingPrerequisite for damaged files."""
    try:
        return kind.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise MissingPrerequisite(f"cannot be read: {reason}", where=folder, fix="get it again") from None
