"""Where a baseline lives here: `baselines` in metis-bench.yaml, else where `metis-bench baselines` puts things.

baseline_folders: [my_baselines]         # folders of own adapters
baselines:
  seed-vc:
    python: /envs/seedvc/bin/python      # or launcher: [docker, run, -i, --gpus, all, -v, ..., image, python]
    repo: ~/src/seed-vc                  # a checkout of the repository
    weights: /data/seed-vc               # its weight files, by the names that `baselines show` tells
    accept: [cc-by-nc-4.0]               # licences that you have read and agreed to
    device: cpu                          # default: the GPU that the executor gives it
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from metis_bench.baselines.manifest import Baseline, Manifest, WeightFile, find
from metis_bench.config import BASELINES, cuda_visible, home
from metis_bench.errors import MissingPrerequisite


class Here(BaseModel):
    """What metis-bench.yaml may say of one baseline. vars: environment variables; item_s: instead of the manifest's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    python: str | None = None
    launcher: list[str] = Field(default=[])
    repo: str | None = None
    weights: str | None = None
    accept: list[str] = []
    device: str | None = Field(None, pattern=r"^(cpu|cuda(:\d+)?|mps)$")
    vars: dict[str, str] = {}
    item_s: float | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _one_way(self) -> Here:
        if self.python is not None and self.launcher:
            raise ValueError("give either python or launcher")
        return self


def facts() -> Mapping[str, Any]:
    """What the config of this process said, in its workers too: {"folders": [...], "baselines": {name: entry}}."""
    return json.loads(os.environ.get(BASELINES) or "{}")  # type: ignore[no-any-return]


def own_folders() -> list[Path]:
    """`baseline_folders` of the config."""
    return [Path(folder) for folder in facts().get("folders", [])]


def known(name: str) -> Baseline:
    """The baseline of that name, user's folders first. Raises SuiteError."""
    return find(name, own_folders())


def here(name: str) -> Here:
    """What the config says of it."""
    return Here.model_validate(facts().get("baselines", {}).get(name, {}))


def path_of(text: str) -> Path:
    """A path of the config, which has made it absolute but for `~`."""
    return Path(text).expanduser()


def env_folder(name: str) -> Path:
    """Where `baselines env` makes its environment."""
    return home() / "baselines" / name / "env"


def repo_folder(manifest: Manifest) -> Path:
    """Where its checkout is looked for without `repo` in the config: shared by baselines of one commit."""
    stem = manifest.upstream.url.rstrip("/").removesuffix(".git").rpartition("/")[2]
    return home() / "baselines" / "repos" / f"{stem}-{(manifest.upstream.commit or 'head')[:8]}"


def weights_folder(name: str) -> Path:
    """Where its weights go: the config's folder, else ours."""
    given = here(name).weights
    return path_of(given) if given else home() / "baselines" / name / "weights"


def require_folder(folder: Path) -> None:
    """Make it. Raises MissingPrerequisite where nothing can be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MissingPrerequisite(
            f"cannot write ({error.strerror})", where=folder, fix="set METIS_BENCH_HOME to a folder of yours"
        ) from None


def outputs_folder(name: str) -> Path:
    """Where `baselines import` puts outputs that somebody else has made."""
    return home() / "baselines" / name / "outputs"


def needs_own_environment(manifest: Manifest) -> bool:
    """Whether it depends on anything that our interpreter may lack."""
    return bool(manifest.env.requires or manifest.env.steps or manifest.upstream.package)


def command(manifest: Manifest) -> list[str]:
    """What starts its interpreter. Raises MissingPrerequisite."""
    said = here(manifest.name)
    if said.launcher:
        return list(said.launcher)
    if said.python:
        python = path_of(shutil.which(said.python) or said.python)
    elif needs_own_environment(manifest):
        python = env_folder(manifest.name) / "bin" / "python"
    else:
        python = Path(sys.executable)
    if not python.is_file():
        raise MissingPrerequisite(
            f"baseline '{manifest.name}' has no interpreter at {python}",
            fix=f"metis-bench baselines env {manifest.name}   (or name yours in metis-bench.yaml: "
            f"baselines: {{{manifest.name}: {{python: /path/to/python}}}})",
        )
    return [str(python)]


def checkout(manifest: Manifest) -> Path | None:
    """Its repository, if it needs one. Raises MissingPrerequisite."""
    if not manifest.upstream.clone:
        return None
    repo = repo_place(manifest)
    if not repo.is_dir():
        raise MissingPrerequisite(
            f"baseline '{manifest.name}' needs a checkout of {manifest.upstream.url}, which is not at {repo}",
            fix=clone_command(manifest, repo),
        )
    return repo


def repo_place(manifest: Manifest) -> Path:
    """Where its checkout is, or is to be: the config's folder, else ours."""
    said = here(manifest.name).repo
    return path_of(said) if said else repo_folder(manifest)


def clone_steps(manifest: Manifest, repo: Path) -> list[list[str]]:
    """How to get the checkout, at the commit the adapter was written for, as commands."""
    upstream, git = manifest.upstream, ["git", "-C", str(repo)]
    steps = [["git", "clone", upstream.url, str(repo)]]
    if upstream.commit:
        steps.append([*git, "checkout", "--quiet", upstream.commit])
    if upstream.submodules:
        steps.append(submodule_step(repo, upstream.submodules))
    return steps


def submodule_step(repo: Path, submodules: list[str]) -> list[str]:
    """What fills them."""
    return ["git", "-C", str(repo), "submodule", "update", "--init", "--recursive", *submodules]


def clone_command(manifest: Manifest, repo: Path) -> str:
    """The same as one line of a shell."""
    return " && ".join(shlex.join(step) for step in clone_steps(manifest, repo))


def weight_path(name: str, file: WeightFile) -> Path:
    """Where one of its weights is expected."""
    return weights_folder(name) / file.place


def weight_paths(manifest: Manifest) -> dict[str, Path]:
    """Every weight by its id, those optional ones that are not here left out. Raises MissingPrerequisite."""
    found = {}
    for file in manifest.weights:
        path = weight_path(manifest.name, file)
        if path.exists():
            found[file.id] = path
        elif not file.optional:
            raise MissingPrerequisite(
                f"baseline '{manifest.name}' needs its weights '{file.id}' ({manifest.licence.weights}) at {path}",
                fix=how_to_get(manifest.name, file),
            )
    return found


def how_to_get(name: str, file: WeightFile) -> str:
    """In one line."""
    path = weight_path(name, file)
    if file.manual:
        return f"{file.manual}; put it at {path}"
    which = f" {file.id}" if file.optional else ""
    return f"metis-bench baselines fetch {name}{which}   (from {file.hf or file.url}, to {path})"


def require_licences(manifest: Manifest) -> None:
    """Raise MissingPrerequisite for a licence that the user has not said to have accepted."""
    lacking = sorted(set(manifest.licence.accept) - set(here(manifest.name).accept))
    if lacking:
        raise MissingPrerequisite(
            f"baseline '{manifest.name}' is under {', '.join(lacking)} (code: {manifest.licence.code}, weights: "
            f"{manifest.licence.weights}), which you have to read and accept yourself",
            fix=f"see {manifest.upstream.url}, then in metis-bench.yaml:  baselines: "
            f"{{{manifest.name}: {{accept: [{', '.join(lacking)}]}}}}",
        )


def on_cpu(manifest: Manifest) -> str | None:
    """Why it would run without a GPU; None if it would not."""
    said = here(manifest.name).device
    if said == "cpu":
        return "metis-bench.yaml says device: cpu"
    return None if said or cuda_visible() else "no GPU is visible (nvidia-smi, CUDA_VISIBLE_DEVICES)"


def require_gpu(manifest: Manifest) -> None:
    """Raise MissingPrerequisite where it cannot do without one and there is none."""
    why = on_cpu(manifest) if manifest.device.gpu == "required" else None
    if why is not None:
        told = here(manifest.name).device == "cpu"
        raise MissingPrerequisite(
            f"{why}, and '{manifest.name}' has no CPU path",
            fix="take 'device: cpu' out of metis-bench.yaml" if told else "run it where there is one: nvidia-smi -L",
        )


def first_missing(manifest: Manifest) -> tuple[str, MissingPrerequisite] | None:
    """What a run would stop at here, and why; None where all is there. Cheap: looks at files only."""
    return next(missing(manifest), None)


def missing(manifest: Manifest) -> Iterator[tuple[str, MissingPrerequisite]]:
    """Everything of the kind: (licence | interpreter | checkout | weights | GPU, the error)."""
    checks: dict[str, Callable[[Manifest], object]] = {
        "licence": require_licences,
        "interpreter": command,
        "checkout": checkout,
        "weights": weight_paths,
        "GPU": require_gpu,
    }
    for what, check in checks.items():
        try:
            check(manifest)
        except MissingPrerequisite as error:
            yield what, error
