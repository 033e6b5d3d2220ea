"""The command as a user runs it, in an empty folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

TOYS = Path(__file__).parent.parent / "toys.py"


@dataclass
class Done:
    """A finished command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Command = Callable[..., Done]


@pytest.fixture
def metis_bench(tmp_path: Path) -> Command:
    """Run `metis-bench ARGS` in tmp_path; it never touches the user's cache or config.

    With one worker: pytest runs several of us, and each worker that scores starts a torch of its own.
    """
    config = tmp_path / "config" / "metis-bench" / "metis-bench.yaml"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text("workers: 1\n")
    env = {
        **os.environ,
        "METIS_BENCH_HOME": str(tmp_path / "home"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "HF_HUB_OFFLINE": "1",
        "COLUMNS": "140",
    }
    env.pop("METIS_BENCH_CONFIG", None)

    def run(*args: str, timeout: float = 600, home: Path | None = None) -> Done:
        """home: where corpora and store are kept, to share them between tests."""
        command = [sys.executable, "-m", "metis_bench.cli", *args]
        here = env if home is None else {**env, "METIS_BENCH_HOME": str(home)}
        done = subprocess.run(
            command, cwd=tmp_path, env=here, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert "internal error" not in done.stderr, done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def toys(tmp_path: Path) -> Path:
    """A machine config that loads the toy plug-in, in tmp_path."""
    (tmp_path / "metis-bench.yaml").write_text(f"plugins: ['{TOYS}']\nworkers: 2\ntimeout_s: 20\n")
    return tmp_path
