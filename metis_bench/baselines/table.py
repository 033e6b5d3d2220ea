"""The table of docs/baselines.md from the manifests:  python -m metis_bench.baselines.table docs/baselines.md"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from metis_bench.baselines.manifest import MANIFEST, Manifest, read
from metis_bench.resources import data_dir

HEAD = ("| name | tasks | what | code, weights | GPU |", "|---|---|---|---|---|")
BEGIN, END = "<!-- table: from the manifests -->", "<!-- end of the table -->"


def shipped() -> dict[str, Path]:
    """Folder of every baseline that ships with the package, by name."""
    return {file.parent.name: file.parent for file in sorted(data_dir("baselines").glob(f"*/{MANIFEST}"))}


def line(manifest: Manifest) -> str:
    """The row of one."""
    what = {"runnable": "", "manual": " (bring its outputs)", "published": " (published numbers only)"}[manifest.status]
    gpu = manifest.device.gpu if manifest.status == "runnable" else "–"
    licences = f"{manifest.licence.code}, {manifest.licence.weights}"
    title = f"[{manifest.title}]({manifest.upstream.url}){what}"
    return f"| `{manifest.name}` | {' '.join(manifest.tasks)} | {title} | {licences} | {gpu} |"


def table(folders: Mapping[str, Path]) -> str:
    """All of them, by task and name."""
    manifests = sorted((read(folder).manifest for folder in folders.values()), key=lambda m: (m.tasks[0], m.name))
    return "\n".join([*HEAD, *map(line, manifests)])


def rewrite(page: str, folders: Mapping[str, Path]) -> str:
    """The page with the table between its marks made anew."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table(folders)}\n{END}{after}"


if __name__ == "__main__":
    docs = Path(sys.argv[1])
    docs.write_text(rewrite(docs.read_text(encoding="utf-8"), shipped()), encoding="utf-8")
