"""Commands, exit codes and what goes to which stream."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click import Group

from metis_bench.cli import cli, main
from tests.e2e.conftest import Command
from tests.e2e.test_malformed import TONE

DOCS = Path(__file__).resolve().parents[2] / "docs"

SUITE = """\
name: toy
task: se
corpora: {toy: {corpus: toy}}
systems: [toy-noise, {moody: {system: toy-moody, mood: {item2: raise}}}]
metrics: [toy-level, rtf]
stats: {resamples: 200}
"""


def test_help_needs_no_heavy_import() -> None:
    code = (
        "import sys\ntry:\n  from metis_bench.cli import main; main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'scipy', 'pandas', 'pydantic', 'yaml', 'rich'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Exit codes" in done.stdout


def test_the_command_leaves_the_signals_of_its_caller() -> None:
    former = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit):
        main(["ls", "suites"])
    assert signal.getsignal(signal.SIGTERM) is former


def test_every_command_and_flag_is_documented() -> None:
    text = (DOCS / "commands.md").read_text()
    commands = dict(cli.commands)
    for name, group in cli.commands.items():
        commands.update({f"{name} {n}": c for n, c in group.commands.items()} if isinstance(group, Group) else {})
    assert "listen build" in commands
    for name, command in commands.items():
        assert f"metis-bench {name}" in text, f"docs/commands.md does not tell of '{name}'"
        assert command.help
        assert "Example:" in command.help, f"'{name}' has no example"
        for parameter in command.params:
            for flag in parameter.opts:
                if flag.startswith("--"):
                    assert flag in text, f"docs/commands.md does not tell of {flag}"
    assert len([p for p in cli.commands["run"].params if p.param_type_name == "option"]) <= 12


def test_run_show_report_ls(toys: Path, metis_bench: Command) -> None:
    (toys / "s.yaml").write_text(SUITE)
    plan = metis_bench("plan", "s.yaml", "--json").json
    assert [(c["system"], c["to_run"], c["cached"]) for c in plan["cells"]] == [("toy-noise", 6, 0), ("moody", 6, 0)]

    run = metis_bench("run", "s.yaml", "--json")
    assert run.code == 6
    data = run.json
    assert data["exit_code"] == 6
    assert Path(toys / data["report"]).is_file()
    for name in ("results.md", "results.csv", "scores.csv"):
        assert (Path(data["report"]).parent / name).is_file()

    human = metis_bench("run", "s.yaml")
    assert human.code == 6
    assert "moody" in human.out
    assert "5/6" in human.out
    assert "out of tune" in human.out
    assert re.search(r"report: .*index\.html", human.out)

    again = metis_bench("plan", "s.yaml", "--json").json
    assert [(c["to_run"], c["cached"]) for c in again["cells"]] == [(0, 6), (1, 5)]
    assert again["cells"][1]["estimate_s"] is not None, "a past real-time factor is known now"

    shown = metis_bench("show", "latest", "item2", "--json").json
    assert {o["system"]: o["status"] for o in shown["outputs"]} == {"toy-noise": "ok", "moody": "failed"}
    assert "out of tune" in metis_bench("show", "latest", "item2").out
    assert metis_bench("show", "latest", "item77").code == 2
    assert metis_bench("show", "nothing", "item2").code == 2

    report = Path(data["report"])
    report.unlink()
    assert metis_bench("report", "latest").code == 0
    assert report.is_file()
    (row,) = metis_bench("ls", "runs", "--json").json
    assert row["state"] == "complete"


def test_blocked_systems_stop_the_run_before_it_starts(toys: Path, metis_bench: Command) -> None:
    (toys / "s.yaml").write_text(SUITE.replace("[toy-noise,", "[toy-noise, {toy-gain: {checkpoint: no.ckpt}},"))
    run = metis_bench("run", "s.yaml")
    assert run.code == 5
    assert "no.ckpt" in run.err
    assert "--system toy-noise,moody" in run.err
    plan = metis_bench("plan", "s.yaml")
    assert plan.code == 5
    assert "blocked" in plan.out


def test_a_missing_corpus_says_what_to_get_and_where_to_put_it(metis_bench: Command) -> None:
    run = metis_bench("run", "suites/se.yaml", "--profile", "paper", "--system", "noisy")
    assert run.code == 5
    assert "metis-bench.yaml" in run.err
    assert "DNS" in run.err


def test_out_holding_another_run_is_refused(toys: Path, metis_bench: Command) -> None:
    (toys / "s.yaml").write_text(SUITE)
    assert metis_bench("run", "s.yaml", "--system", "toy-noise", "--out", "here").code == 0
    assert metis_bench("run", "s.yaml", "--system", "toy-noise", "--out", "here").code == 0
    other = metis_bench("run", "s.yaml", "--system", "moody", "--out", "here")
    assert other.code == 2
    assert "not this run's" in other.err


@pytest.mark.parametrize("what", ["suites", "systems", "metrics", "corpora", "runs"])
def test_ls(metis_bench: Command, what: str) -> None:
    assert metis_bench("ls", what).code == 0
    rows = metis_bench("ls", what, "--json").json
    assert rows or what == "runs"


def test_doctor(metis_bench: Command) -> None:
    done = metis_bench("doctor", "--json")
    checks = {r["check"]: r for r in done.json}
    assert checks["python"]["status"] == "ok"
    assert checks["corpus: dns2020"]["status"] == "optional"
    assert checks["corpus: dns2020"]["fix"]
    assert {r["status"] for name, r in checks.items() if name.startswith("weights: metis-mini-")} == {"ok"}


@pytest.mark.parametrize(
    "args",
    [
        ("run",),
        ("run", "suites/se.yaml", "--limit", "0"),
        ("run", "suites/se.yaml", "--wrong"),
        ("walk",),
        ("run", "suites/se.yaml", "--config", "no.yaml"),
        ("run", "suites/se.yaml", "--profile", "papier"),
        ("run", "suites/se.yaml", "--executor", "local:2"),
        ("run", "suites/se.yaml", "--store", "memory://gone-when-the-process-is"),
        ("show", "latest", "x"),
    ],
)
def test_usage_errors_are_2(metis_bench: Command, args: tuple[str, ...]) -> None:
    done = metis_bench(*args)
    assert done.code == 2
    assert done.err
    assert not done.out


FOLDER = "name: s\ntask: se\ncorpora: {mine: {corpus: folder, task: se, path: data}}\n"


def test_markup_in_names_is_text(tmp_path: Path, metis_bench: Command) -> None:
    """Whatever a manifest says is shown, not interpreted."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.wav").write_bytes(TONE)
    line = {"id": "[/red]", "source": "a.wav", "subset": "[/x]", "text": "[bold]"}
    (tmp_path / "data" / "manifest.jsonl").write_text(json.dumps(line))
    (tmp_path / "s.yaml").write_text(FOLDER + "systems: [noisy]\nmetrics: [dnsmos]\n")
    for command in ("plan", "prepare", "run"):
        done = metis_bench(command, "s.yaml")
        assert done.code == 0, done.err
        assert "[/x]" in done.out
    assert "[bold]" in metis_bench("show", "latest", "[/red]").out


def test_a_damaged_run_does_not_hide_the_others(toys: Path, metis_bench: Command) -> None:
    (toys / "s.yaml").write_text(SUITE)
    assert metis_bench("run", "s.yaml", "--system", "toy-noise").code == 0
    (toys / "runs" / "bad").mkdir()
    (toys / "runs" / "bad" / "run.json").write_text("{")
    states = {r["run"]: r["state"] for r in metis_bench("ls", "runs", "--json").json}
    assert states.pop("bad").startswith("damaged")
    assert list(states.values()) == ["complete"]
    assert metis_bench("report", "bad").code == 2


def test_two_runs_at_once_share_store_and_folder(toys: Path, metis_bench: Command) -> None:
    (toys / "s.yaml").write_text(SUITE)
    with ThreadPoolExecutor(4) as pool:
        codes = [f.result().code for f in [pool.submit(metis_bench, "run", "s.yaml") for _ in range(4)]]
    assert codes == [6] * 4
    with ThreadPoolExecutor(4) as pool:
        codes = [f.result().code for f in [pool.submit(metis_bench, "report", "latest") for _ in range(4)]]
    assert codes == [0] * 4
    (run,) = (toys / "runs").iterdir()
    assert not [p for p in run.iterdir() if p.name.startswith(".")]


def test_a_report_can_be_written_again_from_anywhere(tmp_path: Path, metis_bench: Command) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.wav").write_bytes(TONE)
    (tmp_path / "s.yaml").write_text(FOLDER + "systems: [noisy]\nmetrics: [dnsmos]\n")
    run = Path(metis_bench("run", "s.yaml", "--json").json["run"])
    before = sorted(p.name for p in (tmp_path / run / "report" / "audio").iterdir())
    assert before
    command = [sys.executable, "-m", "metis_bench.cli", "report", str(tmp_path / run)]
    subprocess.run(command, cwd="/", check=True, capture_output=True)
    assert sorted(p.name for p in (tmp_path / run / "report" / "audio").iterdir()) == before


def test_two_sets_with_equal_ids_need_two_imported_files(tmp_path: Path, metis_bench: Command) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x.wav").write_bytes(TONE)
    lines = [{"id": "one", "source": "x.wav", "subset": s} for s in ("a", "b")]
    (tmp_path / "data" / "manifest.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    (tmp_path / "outputs" / "a").mkdir(parents=True)
    (tmp_path / "outputs" / "a" / "one.wav").write_bytes(TONE)
    (tmp_path / "outputs" / "one.wav").write_bytes(TONE)
    (tmp_path / "s.yaml").write_text(
        FOLDER + "systems: [{my-model: {system: imported, path: outputs}}]\nmetrics: [dnsmos]\n"
    )
    done = metis_bench("run", "s.yaml", "--json")
    assert done.code == 6
    got = {c["set"]: (c["n"], c["N"]) for c in done.json["results"]["cells"] if c["column"] == "dnsmos.ovrl"}
    assert got == {"mine/a": (1, 1), "mine/b": (0, 1)}
