"""Exports: what comes out is what was measured, in every format; nothing hostile gets through, nothing is NaN."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from metis_bench.cli import cli, main
from metis_bench.cli_export import NAMES
from metis_bench.errors import UsageError
from metis_bench.exporting import FORMATS, Part, export
from metis_bench.report.data import load_run
from metis_bench.report.latex import escape
from tests.report.conftest import HOSTILE_SET, XSS, Fabricated, fabricate, with_protocols
from tests.report.test_published import make

FIRST = "dns2020/no_reverb"
HUB = {"dns2020/no_reverb": "owner/dns", "dns2020/real_recordings": "owner/dns-real", HOSTILE_SET: "owner/wild"}


@pytest.fixture
def run(fabricated: Fabricated) -> Path:
    fabricated.results["sets"][0]["official_count"] = None
    return fabricated.save().path


def files_of(run: Path, format_name: str, out: Path, part: Part | None = None) -> list[Path]:
    return list(export(run, format_name, out, part).files)


def texts(files: list[Path]) -> str:
    return "".join(f.read_text(encoding="utf-8") for f in files if f.suffix != ".parquet")


def test_the_command_knows_every_format() -> None:
    assert tuple(FORMATS) == NAMES


def test_csv_and_parquet_are_the_scores(run: Path, tmp_path: Path, fabricated: Fabricated) -> None:
    from pyarrow import parquet

    wanted = [json.loads(line) for line in (run / "scores.jsonl").read_text().splitlines()]
    for line in wanted:
        line.pop("detail"), line.setdefault("protocol", None)
    names = list(wanted[0])
    files_of(run, "parquet", tmp_path / "parquet")
    table = parquet.read_table(tmp_path / "parquet" / "scores.parquet")
    assert {f.name: str(f.type) for f in table.schema}["seed"] == "int64"
    rows = table.to_pylist()
    assert [{n: r[n] for n in names} for r in rows] == wanted
    aligned = next(r for r in rows if r["detail"])
    assert json.loads(aligned["detail"])["words"] == 7
    files_of(run, "csv", tmp_path / "csv")
    with (tmp_path / "csv" / "scores.csv").open(encoding="utf-8", newline="") as stream:
        read = list(csv.DictReader(stream))
    typed = [{**r, "seed": int(r["seed"]), "value": float(r["value"]) if r["value"] else None} for r in read]
    assert [{n: r[n] if r[n] != "" else None for n in names} for r in typed] == wanted
    cells = parquet.read_table(tmp_path / "parquet" / "results.parquet").to_pylist()
    assert [c["value"] for c in cells] == [c["value"] for c in fabricated.results["cells"]]
    assert [c["rank"] for c in cells] == [c["rank"] for c in fabricated.results["cells"]]


def test_the_same_run_gives_the_same_bytes_and_no_nan(run: Path, tmp_path: Path) -> None:
    for name in FORMATS:
        part = Part(datasets=HUB)
        files = [files_of(run, name, tmp_path / f"{name}{i}", part) for i in range(2)]
        assert [f.read_bytes() for f in files[0]] == [f.read_bytes() for f in files[1]], name
        assert not re.search(r"\b(nan|inf|None)\b", texts(files[0]), re.IGNORECASE), name


def balanced(text: str) -> bool:
    depth = 0
    for char in re.sub(r"\\.", "", text):
        depth += {"{": 1, "}": -1}.get(char, 0)
        if depth < 0:
            return False
    return depth == 0


def structure(text: str) -> None:
    """What would stop LaTeX: braces, environments, rows with another number of cells, characters with a meaning."""
    text = text.split("\n", 1)[1]  # the comment
    assert balanced(text)
    for kind in ("table", "tabular"):
        assert text.count(f"\\begin{{{kind}}}") == text.count(f"\\end{{{kind}}}") > 0
    for tabular in re.findall(r"\\begin\{tabular\}.*?\\end\{tabular\}", text, re.DOTALL):
        columns = re.match(r"\\begin\{tabular\}\{(l c*|lc*)\}", tabular)
        assert columns is not None
        for line in tabular.splitlines():
            if line.endswith(r"\\"):
                assert len(re.findall(r"(?<!\\)&", line)) == len(columns[1]) - 1
    plain = re.sub(r"\\label\{[a-z0-9:._-]+\}", "", text)
    assert not re.search(r"(?<!\\)[%#_^~<>\"]", plain), "an active character"
    assert not re.search(r"[\x00-\x08\x0b-\x1f\u202a-\u202e]", text)


def test_latex_holds_together(run: Path, tmp_path: Path) -> None:
    (file,) = files_of(run, "latex", tmp_path / "t" / "table.tex")
    text = file.read_text(encoding="utf-8")
    structure(text)
    assert text.count(r"\begin{table}") == 3 and r"\toprule" in text and r"$\uparrow$" in text
    assert r"their \textless{}i\textgreater{}model\textless{}/i\textgreater{} \textbar{} v2" in text
    assert r"\textsuperscript{3/5}" in text, "rnnoise failed twice"
    assert "SIG" not in text, "headline columns alone"
    document = "\\documentclass{article}\\usepackage[utf8]{inputenc}\\usepackage{booktabs}\\begin{document}\n"
    if shutil.which("pdflatex"):
        (tmp_path / "all.tex").write_text(f"{document}{text}\\end{{document}}\n", encoding="utf-8")
        subprocess.run(["pdflatex", "-halt-on-error", "all.tex"], cwd=tmp_path, check=True, capture_output=True)


def test_escape_leaves_no_command() -> None:
    hostile = "\\input{/etc/passwd} 100% $x_1^2$ #1 & ~ -- `` '' [x] \u202e\x00\n\\end{table}"
    assert escape(hostile) == (
        r"\textbackslash{}input\{/etc/passwd\} 100\% \$x\_1\textasciicircum{}2\$ \#1 \& \textasciitilde{} "
        r"-{}- `{}` '{}' {[}x{]} \textbackslash{}end\{table\}"
    )


def marked(text: str, command: str) -> set[str]:
    return {line.split(" & ")[0] for line in text.splitlines() if f"\\{command}{{" in line}


def test_marks_go_by_the_ranks(run: Path, tmp_path: Path) -> None:
    part = Part(sets=[FIRST], columns=["dnsmos.ovrl"])
    text = texts(files_of(run, "latex", tmp_path / "t.tex", part))
    ranks = {c.system: c.rank for c in load_run(run).results.cells if (c.set, c.column) == (FIRST, "dnsmos.ovrl")}
    first, second = (next(escape(s) for s, r in ranks.items() if r == place) for place in (1, 2))
    assert (marked(text, "textbf"), marked(text, "underline")) == ({first}, {second}), "no protocol: ranks by value"


def test_what_no_test_tells_apart_shares_a_mark(tmp_path: Path) -> None:
    def bold(made: Fabricated) -> set[str]:
        part = Part(sets=[FIRST], columns=["dnsmos.ovrl"])
        text = texts(files_of(made.save().path, "latex", tmp_path / "t.tex", part))
        assert not marked(text, "underline")
        return marked(text, "textbf")

    many = with_protocols(fabricate(tmp_path / "many", items=24))
    assert bold(many) == {"metis-mini-se", escape("their <i>model</i> | v2")}
    few = with_protocols(fabricate(tmp_path / "few", items=24), clusters=4)
    assert bold(few) == set(), "nobody is better than anybody"
    rows = texts(files_of(few.path, "markdown", tmp_path / "few.md", Part(columns=["dnsmos.ovrl"]))).splitlines()
    tied = [row for row in rows if "| 1-4 |" in row]
    assert tied and not any("**" in row for row in tied), "as in LaTeX"
    files_of(many.path, "csv", tmp_path / "csv")
    with (tmp_path / "csv" / "results.csv").open(encoding="utf-8", newline="") as stream:
        cells = [c for c in csv.DictReader(stream) if (c["set"], c["column"]) == (FIRST, "dnsmos.ovrl")]
    ranks = {c["system"]: (c["rank"], c["rank_to"]) for c in cells}
    assert ranks["metis-mini-se"] == ("1", "2") and ranks["rnnoise"] == ranks["clean"] == ("", "")
    markdown = texts(files_of(many.path, "markdown", tmp_path / "t.md"))
    assert "| 1-2 | metis-mini-se |" in markdown and "Ranks like 1-2" in markdown


def test_equal_bests_are_both_bold_and_nobody_is_second(fabricated: Fabricated, tmp_path: Path) -> None:
    for cell in fabricated.results["cells"]:
        cell["rank"] = 1 if cell["rank"] in (1, 2) else cell["rank"]
    out = files_of(fabricated.save().path, "latex", tmp_path / "t.tex", Part(sets=[FIRST], columns=["dnsmos.ovrl"]))
    text = out[0].read_text(encoding="utf-8")
    assert len(marked(text, "textbf")) == 2 and not marked(text, "underline")


def test_eval_results_load_with_the_hubs_own_classes(run: Path, tmp_path: Path, fabricated: Fabricated) -> None:
    hub = pytest.importorskip("huggingface_hub")
    files = files_of(run, "hf", tmp_path / "hf", Part(datasets=HUB, url="https://example.org/report"))
    ranked = [s["name"] for s in fabricated.results["systems"] if s["ranked"]]
    assert len(files) == len(ranked) - 1, "rnnoise failed somewhere in every set"
    assert all(f.parent == tmp_path / "hf" for f in files)
    file = next(f for f in files if f.name == "spectral-gating.yaml")
    entries = hub.parse_eval_result_entries(yaml.safe_load(file.read_text(encoding="utf-8")))
    cells = [c for c in fabricated.results["cells"] if c["system"] == "spectral-gating" and c["status"] == "complete"]
    assert [(e.task_id, e.value) for e in entries] == [(c["column"], c["value"]) for c in cells]
    assert {e.dataset_id for e in entries} == set(HUB.values())
    assert entries[0].source_url == "https://example.org/report" and "higher is better, n 5" in entries[0].notes
    assert entries[0].date == "2026-11-21T01:02:03+00:00"
    with pytest.raises(UsageError, match="which benchmark"):
        files_of(run, "hf", tmp_path / "x")
    fabricated.results["sets"][0]["official_count"] = 150
    with pytest.raises(UsageError, match="5 of its 150 official items"):
        files_of(fabricated.save().path, "hf", tmp_path / "x", Part(datasets=HUB))
    with pytest.raises(UsageError, match="no test set"):
        files_of(run, "hf", tmp_path / "x", Part(datasets={"typo": "a/b"}))


def test_what_is_left_out_of_model_cards_is_told(run: Path, tmp_path: Path, fabricated: Fabricated) -> None:
    rnnoise = export(run, "hf", tmp_path / "hf", Part(datasets=HUB, systems=["rnnoise", "noisy", "metis-mini-se"]))
    assert [f.name for f in rnnoise.files] == ["metis-mini-se.yaml"]
    first = next(line for line in rnnoise.left_out if FIRST in line)
    assert first.startswith(f"rnnoise on {FIRST}: DNSMOS OVRL, PESQ-WB, ") and "3 of 5 outputs are scored (" in first
    assert "crashed & burned" in first and rnnoise.left_out[-1] == "rnnoise: no file, none of its results is complete"
    assert all(line.startswith("rnnoise") for line in rnnoise.left_out), "bounds and oracles are no models"
    assert export(run, "csv", tmp_path / "csv").left_out == ()
    with pytest.raises(UsageError, match=r"no ranked system has a complete result\n  rnnoise on "):
        export(run, "model-index", tmp_path / "x", Part(systems=["rnnoise"]))
    arguments = ["export", str(run), "--format", "model-index", "--out", str(tmp_path / "cards"), "--json"]
    done = CliRunner().invoke(cli, arguments, standalone_mode=False)
    assert len(json.loads(done.stdout)) == 4 and f"left out: {first}\n" in done.stderr


def test_model_index_loads_with_the_hubs_own_classes(run: Path, tmp_path: Path, fabricated: Fabricated) -> None:
    hub = pytest.importorskip("huggingface_hub")
    files = files_of(run, "model-index", tmp_path / "cards", Part(systems=["metis-mini-se"]))
    assert [f.name for f in files] == ["metis-mini-se.md"]
    card = hub.ModelCard(files[0].read_text(encoding="utf-8"))
    found: list[Any] = card.data.eval_results
    cells = [c for c in fabricated.results["cells"] if c["system"] == "metis-mini-se" and c["status"] == "complete"]
    assert {(r.dataset_name, r.metric_config, r.metric_value) for r in found} == {
        (c["set"], c["column"], c["value"]) for c in cells
    }
    wer = next(r for r in found if r.metric_config == "wer.pocketsphinx")
    assert (wer.metric_type, wer.metric_name, wer.metric_args["unit"]) == ("wer", "WER", "%")


def test_a_part_of_a_run(run: Path, tmp_path: Path) -> None:
    part = Part(systems=["rnnoise", "noisy"], sets=["dns2020"], columns=["pesq.wb", "rtf"])
    text = texts(files_of(run, "csv", tmp_path / "csv", part))
    assert "metis" not in text and "dnsmos" not in text and "wild" not in text
    assert "pesq.wb" in text and "real_recordings" in text
    markdown = texts(files_of(run, "markdown", tmp_path / "t.md", part))
    assert "metis" not in markdown and "rnnoise" in markdown
    for bad in (Part(systems=["rnnois"]), Part(sets=["dns"]), Part(columns=["pesq"])):
        with pytest.raises(UsageError, match="the run has no"):
            files_of(run, "csv", tmp_path / "csv", bad)


def test_published_rows_never_leak(tmp_path: Path, run: Path) -> None:
    published = make(tmp_path / "p", "tts:paper")[0].save().path
    for name in FORMATS:
        out = tmp_path / name
        files = files_of(published, name, out, Part(datasets={"seedtts-en": "a/b"}))
        assert "VALL-E" not in texts(files) and "Published" not in texts(files), name
        assert not list(out.glob("published*"))
        if name in ("hf", "model-index"):
            with pytest.raises(UsageError, match="not a result of a model of yours"):
                files_of(published, name, out, Part(published=True))
            continue
        asked = files_of(published, name, out, Part(published=True))
        if name == "parquet":
            assert asked[-1].name == "published.parquet"
            continue
        assert "MaskGCT" in texts(asked), name
        if name == "latex":
            structure(texts(asked))
    with pytest.raises(UsageError, match="no published results"):
        files_of(run, "csv", tmp_path / "csv", Part(published=True))


def test_the_command(run: Path, tmp_path: Path) -> None:
    def invoke(*arguments: str) -> Any:
        return CliRunner().invoke(cli, ["export", str(run), *arguments], standalone_mode=False)

    done = invoke(
        "--format", "hf", "--out", str(tmp_path / "hf"), "--set", FIRST, "--dataset", f"{FIRST}=a/b", "--json"
    )
    assert done.return_value == 0, done.exception
    assert str(tmp_path / "hf" / "spectral-gating.yaml") in json.loads(done.stdout)
    assert "expected SET=OWNER/NAME" in str(invoke("--format", "hf", "--out", "x", "--dataset", "a").exception)
    (tmp_path / "file").write_text("")
    assert "written into a folder" in str(invoke("--format", "csv", "--out", str(tmp_path / "file")).exception)
    assert "begins with https://" in str(invoke("--format", "hf", "--out", "x", "--url", "javascript:x").exception)
    assert "written into a file" in str(invoke("--format", "latex", "--out", str(tmp_path)).exception)
    assert XSS not in done.output


def test_a_place_that_cannot_be_written_is_no_bug_of_ours(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    for name in FORMATS:
        if name != "hf":
            with pytest.raises(SystemExit) as done:
                main(["export", str(run), "--format", name, "--out", str(tmp_path / "file" / "a" / "b")])
            told = capsys.readouterr().err
            assert done.value.code == 2 and "cannot be read or written" in told and "internal error" not in told
