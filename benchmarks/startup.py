"""CPU seconds until a worker can begin, beside the same with the packages imported that what it does was taken from.

    python benchmarks/startup.py [--rounds 5]

Each time is that of a fresh process, the two sides taking turns; the smallest of all rounds counts. A reference model
is the mini TTS with all parts of a voice prompt; beside it, the same after importing transformers' w2v-BERT and its
feature extractor, as which ours compute. Whisper's text normaliser is read without the package around it; beside it,
with.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys

from _rows import Row, add_option, whole_number, write

MODEL = """
from reference_models.checkpoints import open_source
from reference_models.hub import SHIPPED
from reference_models.pipeline import Metis
Metis(open_source(SHIPPED), "tts").parts.load(prompts=True, speech=True, lips=False)
"""
NORMALISER = """
from metis_bench.text.profiles import profiles
assert profiles.get("whisper_en")().reference("twenty one", "en") == "21"
"""
SIDES = {  # what -> what it runs, what the other side imports before
    "a reference model": (MODEL, "from transformers import SeamlessM4TFeatureExtractor, Wav2Vec2BertModel"),
    "Whisper's normaliser": (NORMALISER, "import whisper.normalizers"),
}


def seconds(code: str) -> float:
    """CPU seconds of a process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print both times and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=whole_number, default=5)
    add_option(parser)
    given = parser.parse_args()
    rows = []
    for what, (code, imports) in SIDES.items():
        pairs = [(seconds(code), seconds(imports + "\n" + code)) for _ in range(given.rounds)]
        ours, other = (min(times) for times in zip(*pairs, strict=True))
        rows.append(Row(f"start of {what}, beside importing what it is from", "CPU s", ours, other))
        print(f"{what}: {ours:.2f} s, with the packages {other:.2f} s, ratio {other / ours:.1f}")
    write(given.rows, rows)


if __name__ == "__main__":
    main()
