"""`metis-bench baselines new`: a folder with an adapter that already runs, and where in it a model goes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from metis_bench.baselines import machine
from metis_bench.baselines.manifest import ADAPTER, MANIFEST, find_all, read
from metis_bench.config import FILE_NAME
from metis_bench.corpora.base import Task
from metis_bench.errors import UsageError
from metis_bench.files import write_atomic
from metis_bench.suite.load import system_names
from metis_bench.suite.schema import NAME

INPUTS: dict[Task, str] = {  # what an adapter is told of an item, and what it copies until there is a model
    "tts": 'item["text"], item["language"], item["prompt"] (wav) and, with prompt_text: true, item["prompt_text"]',
    "vc": 'item["source"] (wav: what is said) and item["prompt"] (wav: in whose voice)',
    "tse": 'item["source"] (wav: the mixture) and item["prompt"] (wav: a recording of the talker to extract)',
    "se": 'item["source"] (wav: noisy speech)',
    "l2s": 'item["video"] (a file) and item["prompt"] (wav: in whose voice)',
}
BESIDE: dict[Task, str] = {"tts": "espeak", "vc": "world-vc", "tse": "nmf-tse", "se": "rnnoise", "l2s": "prompt-copy"}

SYSTEM_YAML = """\
# What the benchmark has to know of {name}. Data only; adapter.py beside it runs the model.
schema: 1
name: {name} # also its name as a system: metis-bench run ... --system {name}
title: {name}
tasks: [{tasks}]
status: runnable
upstream:
  url: https://example.org/{name} # where it comes from
  # commit: 0123abc # of the checkout that the adapter was written for
  # clone: true     # the adapter needs the checkout itself (`repo` in {config})
  # package: my-model==1.0
licence: {{code: unverified, weights: unverified}} # accept: [some-id] if users have to agree to something first

env:
  python: ">=3.8"
  # An empty list is metis-bench's own Python. With requirements it gets an environment of its own:
  # `metis-bench baselines env {name}` makes it; or name yours, see docs/baselines.md.
  requires: [] # [torch==2.6.0, my-model==1.0]
  # cwd: repo          # run in the checkout, for code that opens files beside itself
  # pythonpath: ["."]  # folders of the checkout to import from
  # system: [ffmpeg]   # programs it calls
  # vars: {{}}           # environment variables

weights: []
# - {{id: model, manual: copy it from the training run, dest: model.pt}} # then ctx.weights["model"] is its path
# - {{id: other, hf: owner/repository, file: model.safetensors}}          # `metis-bench baselines fetch {name}`

io:
  # rate: 24000       # of its output; other rates are refused then
  # languages: [en]   # it does not speak others: their items fail with that reason
  # prompt_text: true # tts: it uses the prompt's transcript
  length: {length} # same: as long as the source (the host pads or cuts what a network's hop leaves over)
device: {{gpu: recommended}} # required, recommended or none
limits: {{load_s: 600, item_s: 300}} # seconds before it counts as hanging

# Options of the adapter; the first preset is the default. Whatever is here decides outputs, so it is part of their key.
presets:
  recommended: {{gain: 1.0}}
determinism: seeded # exact (the seed does not matter), seeded, or none
"""

ADAPTER_PY = '''\
"""{name}: copies its input until you put your model in.

Runs in your model's own interpreter (Python >= 3.8), without metis-bench: standard library and your packages only.
What it prints goes to the log; its outputs are checked: mono, floats in [-1, 1], not silent.
"""

import array
import wave


def load(ctx):
    """Called once. ctx: options (the preset's), device ("cuda:0" or "cpu"), repo, weights {{id: path}}, work (dir)."""
    # from my_model import Model
    # return Adapter(Model(ctx.weights["model"]).to(ctx.device).eval(), ctx.options)
    return Adapter(None, ctx.options)


class Adapter:
    def __init__(self, model, options):
        self.model = model
        self.options = options

    def run(self, item):
        """One item: (samples, rate), samples a list, a numpy array or a torch tensor; or the path of a wav file.

{inputs}
        Always: item["id"], item["task"], item["seed"], item["out"] (a path without suffix that you may write to).
        """
        # return self.model.generate(...), 24000
        samples, rate = read(item.get("source") or item["prompt"])
        return [self.options["gain"] * sample for sample in samples], rate


def read(path):
    """Mono floats and rate of an input: 16-bit wav files. (Yours may read them with soundfile, torchaudio, ...)"""
    with wave.open(path) as file:
        return [value / 32768.0 for value in array.array("h", file.readframes(file.getnframes()))], file.getframerate()
'''


@dataclass(frozen=True)
class Scaffold:
    """What was written. config: what metis-bench.yaml has to say for it to be found; next: commands to try."""

    name: str
    folder: Path
    config: str | None
    next: list[str]


def scaffold(name: str, tasks: Sequence[Task], folder: Path | None = None) -> Scaffold:
    """Write `<folder>/<name>/`, by default in ./baselines. Raises UsageError for a name that is taken or none."""
    if not re.fullmatch(NAME, name):
        raise UsageError(f"'{name}' is no name", fix="letters, digits, dots, dashes and underscores, e.g. my-model")
    parent = folder or Path("baselines")
    place = parent / name
    known = find_all(machine.own_folders())
    if place.exists() or name in known:
        raise UsageError(f"there is a baseline '{name}' at {known.get(name, place)}", fix="take another name")
    if name in system_names():
        raise UsageError(f"there is a system '{name}' (metis-bench ls systems)", fix="take another name")
    task = tasks[0]
    same = all(t in ("se", "tse") for t in tasks)
    inputs = "\n".join(f"        {t}: {INPUTS[t]}" for t in tasks)
    length = "same" if same else "free"
    text = SYSTEM_YAML.format(name=name, tasks=", ".join(tasks), config=FILE_NAME, length=length)
    try:
        write_atomic(place / MANIFEST, text.encode())
        write_atomic(place / ADAPTER, ADAPTER_PY.format(name=name, inputs=inputs).encode())
    except OSError as error:
        raise UsageError(f"cannot write to {place}: {error.strerror}") from None
    read(place)  # what is written is valid
    found = find_all(machine.own_folders()).get(name)
    config = None if found is not None else f"baseline_folders: [{parent.resolve()}]"
    return Scaffold(name, place, config, next_commands(name, task))


def next_commands(name: str, task: Task) -> list[str]:
    """Does it work, how does it do on the small corpus, and is the difference more than noise."""
    return [
        f"metis-bench baselines doctor {name}",
        f"metis-bench run suites/{task}.yaml --profile mini --system {BESIDE[task]},{name}",
        f"metis-bench compare latest --system {name}",
    ]
