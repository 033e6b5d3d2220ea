"""The metric of docs/extend.md, exactly as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

from tests.e2e.conftest import Command
from tests.e2e.test_cli import DOCS, SUITE

SECTION = re.compile(r"## A metric.*?```python\n(.*?)```", re.DOTALL)


def test_the_metric_of_the_docs_works(toys: Path, metis_bench: Command) -> None:
    found = SECTION.search((DOCS / "extend.md").read_text(encoding="utf-8"))
    assert found is not None
    code = found.group(1)
    assert len(code.splitlines()) < 80
    (toys / "my_metric.py").write_text(code)
    config = toys / "metis-bench.yaml"
    config.write_text(re.sub(r"plugins: \[", "plugins: [my_metric.py, ", config.read_text()))
    (toys / "s.yaml").write_text(re.sub(r"metrics: .*", "metrics: [loudness]", SUITE))
    run = metis_bench("run", "s.yaml", "--system", "toy-noise", "--json")
    assert run.code == 0, run.err
    (cell,) = run.json["results"]["cells"]
    assert cell["status"] == "complete"
    assert -60 < cell["value"] < 0
    assert "loudness" in metis_bench("ls", "metrics").out
