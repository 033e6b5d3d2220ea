"""WER of 300 pairs of texts against the official procedure, written out as it stands in run_wer.py."""

from __future__ import annotations

import string

import numpy as np
import pytest

from metis_bench.metrics.base import MetricContext
from metis_bench.metrics.wer import Wer, WerParams

zhon = pytest.importorskip("zhon.hanzi")

ENGLISH = [
    "We asked over twenty different people, and they all said it was his.",
    "Get the trust fund to the bank early.",
    "I don\N{RIGHT SINGLE QUOTATION MARK}t know - it's well-known; isn't it?",
    "\N{LEFT DOUBLE QUOTATION MARK}The year 1984,\N{RIGHT DOUBLE QUOTATION MARK} he wrote, \N{EM DASH} 3.5 %...",
    "Mr. O'Brien's  cat   sat on  the mat!",
    "NASA/ESA launched 2 rockets (again) @ dawn & dusk.",
]
MANDARIN = [
    "我们去年夏天在北京见过面，对吗？",
    "他说：“明天GPT-4会下雨吗？”",
    "二零二四年，3月5日。",
    "“你好”——她笑了笑，没有说话……",
]


def official(hypothesis: str, truth: str, lang: str) -> float:
    """`process_one` of run_wer.py, with jiwer 4's name for `compute_measures`."""
    from jiwer import process_words

    for x in zhon.punctuation + string.punctuation:
        if x == "'":
            continue
        truth = truth.replace(x, "")
        hypothesis = hypothesis.replace(x, "")
    truth = truth.replace("  ", " ")
    hypothesis = hypothesis.replace("  ", " ")
    if lang == "zh":
        truth = " ".join(list(truth))
        hypothesis = " ".join(list(hypothesis))
    elif lang == "en":
        truth = truth.lower()
        hypothesis = hypothesis.lower()
    return float(process_words(truth, hypothesis).wer)


def misheard(text: str, rng: np.random.Generator, lang: str) -> str:
    """As a recogniser might write it: words or characters lost, doubled, changed; other quotes, case, spaces."""
    pieces = list(text) if lang == "zh" else text.split(" ")
    out: list[str] = []
    for piece in pieces:
        draw = rng.random()
        if draw < 0.08:
            continue
        out.append(piece if draw < 0.8 else str(rng.choice(pieces)) if draw < 0.9 else f"{piece}{piece}")
    said = ("" if lang == "zh" else " ").join(out)
    curly = "\N{RIGHT SINGLE QUOTATION MARK}"
    swaps = [(curly, "'"), ("'", curly), ("-", " "), (" ", "  ")]
    for old, new in (swaps[i] for i in rng.integers(len(swaps), size=2)):
        said = said.replace(old, new)
    return said.upper() if rng.random() < 0.2 else said


def pairs(lang: str, texts: list[str], count: int) -> list[tuple[str, str]]:
    rng = np.random.default_rng(len(texts))
    return [(text, misheard(text, rng, lang)) for text in (texts[i % len(texts)] for i in range(count))]


@pytest.mark.parametrize(("lang", "texts", "count"), [("en", ENGLISH, 200), ("zh", MANDARIN, 100)])
def test_every_pair_and_the_mean(lang: str, texts: list[str], count: int) -> None:
    from dataclasses import replace

    from tests.metrics.conftest import build_sample

    metric = Wer(WerParams(asr="pocketsphinx"), MetricContext("tts", lang, ("unused",)))
    sample = build_sample(np.zeros(160), 16_000, language=lang, task="tts")
    ours, theirs = [], []
    for text, said in pairs(lang, texts, count):
        heard = replace(sample, text=text, feature=lambda *_, said=said: {"text": said})
        ours.append(metric.score(heard)["wer.pocketsphinx"].value)
        theirs.append(100 * official(said, text, lang))
    assert ours == pytest.approx(theirs, abs=1e-9)
    assert np.mean(ours) == pytest.approx(np.mean(theirs))
    assert 5 < np.mean(ours) < 80, "the pairs differ, and not altogether"
    assert len(set(theirs)) > 10
