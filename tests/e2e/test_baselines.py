"""A model of one's own beside a baseline, by the first commands of docs/baselines.md."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from metis_bench.baselines.scaffold import next_commands
from tests.e2e.conftest import Command
from tests.e2e.test_cli import DOCS

PAGE = (DOCS / "baselines.md").read_text(encoding="utf-8")


def first_block() -> list[list[str]]:
    found = re.search(r"```\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return [shlex.split(line, comments=True)[1:] for line in found.group(1).splitlines()]


@pytest.mark.long
def test_new_doctor_run_as_the_docs_say(metis_bench: Command, tmp_path: Path) -> None:
    new, doctor, run = first_block()
    made = metis_bench(*new)
    assert made.code == 0, made.err
    printed = [line.strip() for line in made.out.splitlines() if line.startswith("  ")]
    assert printed == next_commands("my-model", "tts")
    assert [shlex.split(line)[1:] for line in printed[:2]] == [doctor, run], "the docs and the command say the same"
    checked = metis_bench(*doctor)
    assert checked.code == 0, checked.out
    done = metis_bench(*run, "--limit", "2", "--json")
    assert done.code == 0, done.err
    cells = {(c["system"], c["column"]): c for c in done.json["results"]["cells"]}
    assert {name for name, _ in cells} == {"espeak", "my-model"}
    sim = {name: cell for (name, column), cell in cells.items() if column.startswith("sim")}
    assert sim["my-model"]["value"] > 0.99, "it copies the prompt"
    assert sim["my-model"]["n"] == sim["my-model"]["N"]


def test_the_docs_name_every_command() -> None:
    for command in ("list", "show", "doctor", "env", "fetch", "import", "new"):
        assert f"metis-bench baselines {command}" in PAGE
