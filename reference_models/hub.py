"""Where the weight files are: in a folder of the user's, else in the Hugging Face cache. Only `fetch` uses the network.

A folder may hold a file in these places, looked at in this order, where `<file>` is its path in its repository:
    <folder>/<file>                e.g. metis_base/model.safetensors: what the release's scripts make
    <folder>/<repository>/<file>   e.g. MaskGCT/t2s_model/model.safetensors, w2v-bert-2.0/model.safetensors: clones
    <folder>/<name>                e.g. metis_vc.safetensors, where the name alone says what it is
The first holds only for files in a folder of their repository: a lone model.safetensors could be anything.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath

from reference_models.errors import MissingCheckpoint
from reference_models.registry import FILES, CheckpointFile, named

MINI = "mini"
SHIPPED = Path(__file__).parent / "mini" / "weights"  # what MINI means: weights that come with the package
_UNNAMED = Path("<your checkpoint folder>")


def folder_of(where: str | Path | None) -> Path | None:
    """The folder of checkpoints that a user names; MINI is the shipped one."""
    if where is None:
        return None
    return SHIPPED if str(where) == MINI else Path(where).expanduser()


def find(name: str, folder: Path | None = None) -> Path:
    """The file `name` of `registry.FILES` on this machine.

    Errors: MissingCheckpoint that says where it was looked for, where to get it and where to put it
    """
    file = _file(name)
    found = _local(file, folder)
    if found is None:
        raise _missing(file, folder)
    return found


def is_here(name: str, folder: Path | None = None) -> bool:
    """Whether `find` would find it. Opens nothing."""
    return _local(_file(name), folder) is not None


def status(folder: Path | None = None) -> list[tuple[CheckpointFile, Path | None]]:
    """Every file of the release, and where it is if it is here. Opens nothing."""
    return [(file, _local(file, folder)) for file in FILES.values()]


def download_commands(folder: Path | None = None) -> list[str]:
    """Shell commands that bring the whole release into `folder`."""
    to = folder or _UNNAMED
    repos = {file.repo: _root(file, to) for file in FILES.values() if not file.url}
    only = {repo: [f.file for f in FILES.values() if f.repo == repo and "/" not in f.file] for repo in repos}
    hub = [" ".join(["hf download", repo, *only[repo], "--local-dir", f"'{root}'"]) for repo, root in repos.items()]
    return hub + [f"curl --create-dirs -o '{place(f, to)}' {f.url}" for f in FILES.values() if f.url]


def fetch(name: str, folder: Path) -> Path:
    """As `find`, but a file that is not here is downloaded to its first place in `folder`.

    Errors: MissingCheckpoint when it cannot be had: offline, not on the hub, no access
    """
    file = _file(name)
    found = _local(file, folder)
    if found is not None:
        return found
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise _missing(file, folder, "HF_HUB_OFFLINE is set, so nothing is downloaded")
    return _fetch_url(file, folder) if file.url else _fetch_hub(file, folder)


def _file(name: str) -> CheckpointFile:
    file = named(name)
    if file is None:
        import difflib

        near = difflib.get_close_matches(name, FILES, 3) or sorted(FILES)
        raise MissingCheckpoint(f"there is no checkpoint named '{name}'", fix=f"did you mean {', '.join(near)}?")
    return file


def _places(file: CheckpointFile, folder: Path) -> list[Path]:
    repository = file.repo.rpartition("/")[2]
    nested = [folder / name for name in file.names if "/" in name]
    cloned = [folder / repository / name for name in file.names]
    flat = [folder / base for base in map(_base, file.names) if _OWNERS[base] == 1]
    return nested + cloned + flat


def _base(name: str) -> str:
    return PurePosixPath(name).name


_OWNERS = Counter(base for file in FILES.values() for base in {_base(name) for name in file.names})


def _local(file: CheckpointFile, folder: Path | None) -> Path | None:
    for path in _places(file, folder) if folder else []:
        if path.is_file():
            return path
    if file.url or folder == SHIPPED:
        return None
    from huggingface_hub import try_to_load_from_cache

    for name in file.names:
        cached = try_to_load_from_cache(file.repo, name)
        if isinstance(cached, str):  # neither unknown nor known to be absent
            return Path(cached)
    return None


def place(file: CheckpointFile, folder: Path) -> Path:
    """Where `fetch` puts a file: the first of its places."""
    return _root(file, folder) / file.file


def _root(file: CheckpointFile, folder: Path) -> Path:
    """The folder that stands for the repository's root."""
    return folder if "/" in file.file else folder / file.repo.rpartition("/")[2]


def _missing(file: CheckpointFile, folder: Path | None, why: str = "") -> MissingCheckpoint:
    if folder == SHIPPED:
        stage1 = sorted(p.stem for p in SHIPPED.glob("metis_*/*.safetensors") if not p.stem.endswith("_adapter"))
        return MissingCheckpoint(f"the mini family has no {file.name}", fix=f"it has {', '.join(stage1) or 'nothing'}")
    looked = [str(folder)] if folder else []
    looked += [] if file.url else ["the Hugging Face cache"]
    size = f"{4 * file.numbers / 1e9:.2g} GB in fp32, " if file.numbers > 1e6 else ""
    message = f"{file.name} ({size}{file.repo}: {' or '.join(file.names)}) is not on this machine"
    message += f"; looked in {' and '.join(looked)}" if looked else "; no folder was given"
    message += "".join(f"\n  note: {note}" for note in (why, file.note) if note)
    root = _root(file, folder or _UNNAMED)
    if file.name_status == "not shipped":
        return MissingCheckpoint(message, fix=f"metis-train finetune writes it; put it at {root / file.file}")
    get = f"download {file.url}" if file.url else f"hf download {file.repo} {file.file} --local-dir '{root}'"
    also = f" (see {file.home})" if file.name_status == "guess" else ""
    return MissingCheckpoint(message, fix=f"{get}{also}, so that it is at {root / file.file}")


def _fetch_hub(file: CheckpointFile, folder: Path) -> Path:
    found = next(filter(None, (_download(file, name, folder) for name in file.names)), None)
    if found is None:
        raise _missing(file, folder, f"{file.repo} does not hold it")
    if file.companion:
        _download(file, file.companion, folder)  # without it the official sizes hold
    return found


def _download(file: CheckpointFile, name: str, folder: Path) -> Path | None:
    """`name` of the file's repository; None where it is not in there."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(file.repo, name, local_dir=_root(file, folder)))
    except LocalEntryNotFoundError as error:  # is an EntryNotFoundError, but means: no connection
        raise _missing(file, folder, f"the hub cannot be reached ({error})") from error
    except EntryNotFoundError:
        return None
    except OSError as error:  # no access, no repository, no connection, no space: all of the hub's errors are
        raise _missing(file, folder, f"the download failed: {error}") from error


def _fetch_url(file: CheckpointFile, folder: Path) -> Path:
    import pooch

    target = place(file, folder)
    try:
        pooch.retrieve(file.url, f"sha256:{file.sha256}", fname=target.name, path=target.parent)
    except (OSError, ValueError) as error:  # not reached; another file than the one known
        raise _missing(file, folder, f"the download failed: {error}") from error
    return target
