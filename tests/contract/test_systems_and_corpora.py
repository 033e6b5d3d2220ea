"""What every registered system and corpus must keep."""

from __future__ import annotations

import typing

import pytest

from metis_bench.corpora.base import Need, Task, corpora
from metis_bench.systems.base import RANKED, Kind, systems

SYSTEMS = [n for n in systems.names() if not n.startswith("toy")]
CORPORA = [n for n in corpora.names() if not n.startswith("toy")]


@pytest.mark.parametrize("name", SYSTEMS)
def test_system(name: str) -> None:
    cls = systems.get(name)
    assert cls.kind in typing.get_args(Kind)
    assert cls.tasks
    assert cls.tasks <= set(typing.get_args(Task))
    assert cls.needs <= set(typing.get_args(Need))
    assert cls.__doc__
    if cls.kind in RANKED:
        assert "reference" not in cls.needs, "what is ranked never sees the reference"
    if not any(f.is_required() for f in cls.params_type.model_fields.values()):
        system = cls(cls.params_type())
        for task in cls.tasks:
            assert system.needs_for(task) <= cls.needs, "what it reads for a task is among what it declares"
    for parameter in cls.file_params:
        assert parameter in cls.params_type.model_fields
    assert cls.params_type.model_config["extra"] == "forbid"


@pytest.mark.parametrize("name", CORPORA)
def test_corpus(name: str) -> None:
    cls = corpora.get(name)
    assert cls.__doc__
    assert cls.params_type.model_config["extra"] == "forbid"
    if cls.default_folder is not None:
        assert cls.how_to_get, "who lacks it must be told where to get it"


def test_registries_import_nothing_heavy() -> None:
    import subprocess
    import sys

    code = (
        "import sys\nfrom metis_bench.systems.base import systems\nfrom metis_bench.metrics.base import metrics\n"
        "from metis_bench.corpora.base import corpora\nfor r in (systems, metrics, corpora): r.names()\n"
        "heavy = {'torch', 'scipy', 'onnxruntime', 'soundfile', 'pyworld', 'pandas', 'jiwer'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
