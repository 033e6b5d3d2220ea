"""The arithmetic of WER with given transcripts, then the whole metric on real recordings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from metis_bench.audio import load
from metis_bench.errors import ItemError, MissingPrerequisite, SuiteError
from metis_bench.hashing import JSON
from metis_bench.metrics.base import Clip, Extractor, MetricContext, Sample, Undefined, metrics
from metis_bench.metrics.wer import Wer, WerParams, edits
from metis_bench.text.profiles import profiles
from metis_bench.text.seed_tts_eval import SeedTTSEval
from tests.metrics.conftest import clip_of

COLUMNS = ("wer.pocketsphinx", "wer.pocketsphinx.corpus", "wer.pocketsphinx.le50")


def wer(language: str = "en", texts: tuple[str, ...] = ("unused",), **params: str) -> Wer:
    return Wer(WerParams(**params), MetricContext("tts", language, texts))


@pytest.fixture
def heard(make_sample: Callable[..., Sample]) -> Callable[[str | None, str], Sample]:
    """heard(text, transcript): a sample whose output was recognised as `transcript`."""

    def make(text: str | None, transcript: str) -> Sample:
        def feature(extractor: Extractor, clip: Clip) -> JSON:
            return {"text": transcript}

        return replace(make_sample(np.zeros(160), 16_000, text=text), feature=feature)

    return make


def distance(a: list[str], b: list[str]) -> int:
    """Levenshtein distance, the textbook way."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        last, row = row, [i]
        for j, y in enumerate(b, 1):
            row.append(min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (x != y)))
    return row[-1]


def test_counts_and_alignment(heard: Callable[[str | None, str], Sample]) -> None:
    score = wer().score(heard("The quick, brown fox jumps over it.", "the slow brown jumps over it very high"))
    assert set(score) == set(COLUMNS)
    for column in COLUMNS:
        assert score[column].value == pytest.approx(100 * 4 / 7)
    assert score[COLUMNS[0]].detail == {
        "reference": "the quick brown fox jumps over it",
        "hypothesis": "the slow brown jumps over it very high",
        "errors": 4,
        "words": 7,
        "substitutions": 1,
        "deletions": 1,
        "insertions": 2,
        "alignment": [
            ["equal", ["the"], ["the"]],
            ["substitute", ["quick"], ["slow"]],
            ["equal", ["brown"], ["brown"]],
            ["delete", ["fox"], []],
            ["equal", ["jumps", "over", "it"], ["jumps", "over", "it"]],
            ["insert", [], ["very", "high"]],
        ],
        "kept": 0,
        "kept_rate": 0.0,
    }
    assert score[COLUMNS[1]].detail == {}, "the columns of a metric share their details: kept once"


def test_random_texts(rng: np.random.Generator) -> None:
    for _ in range(200):
        ref = list(rng.choice(list("abcd"), size=rng.integers(1, 9)))
        hyp = list(rng.choice(list("abcd"), size=rng.integers(0, 9)))
        out = edits(" ".join(ref), " ".join(hyp))
        assert out["errors"] == distance(ref, hyp)
        assert out["errors"] == out["substitutions"] + out["deletions"] + out["insertions"]  # type: ignore[operator]
        rows = list(out["alignment"])  # type: ignore[arg-type]
        assert [w for _, words, _ in rows for w in words] == ref
        assert [w for _, _, words in rows for w in words] == hyp
        assert sum(max(len(r), len(h)) for op, r, h in rows if op != "equal") == out["errors"]
        assert all(r == h for op, r, h in rows if op == "equal")


def test_utterance_mean_and_corpus_rate_differ(heard: Callable[[str | None, str], Sample]) -> None:
    metric = wer()
    scores = [metric.score(heard("one", "won")), metric.score(heard("a b c d e f g h i", "a b c d e f g h i"))]
    utterance, corpus, _ = metric.columns
    assert (utterance.id, utterance.aggregate, utterance.headline, utterance.unit) == (COLUMNS[0], "mean", True, "%")
    assert (corpus.id, corpus.aggregate, corpus.ratio, corpus.unit) == (COLUMNS[1], "ratio", ("errors", "words"), "%")
    assert utterance.worst == corpus.worst == 100.0
    assert np.mean([s[utterance.id].value for s in scores]) == pytest.approx(50.0)
    terms = [[float(s[utterance.id].detail[k]) for k in corpus.ratio] for s in scores]  # type: ignore[arg-type]
    assert 100 * sum(n for n, _ in terms) / sum(d for _, d in terms) == pytest.approx(10.0)


def test_the_mean_of_those_at_no_more_than_half(heard: Callable[[str | None, str], Sample]) -> None:
    metric = wer()
    column = metric.columns[2]
    assert (column.aggregate, column.worst, column.ranked) == ("ratio", None, False)
    scores = [metric.score(heard("a b c d", said)) for said in ("a b c d", "a b", "a", "")]  # 0, 50, 75, 100 %
    terms = [[float(s[COLUMNS[0]].detail[k]) for k in column.ratio] for s in scores]  # type: ignore[arg-type]
    assert terms == [[0.0, 1.0], [0.5, 1.0], [0.0, 0.0], [0.0, 0.0]]
    assert [s[COLUMNS[2]].value for s in scores] == [0.0, 50.0, 75.0, 100.0], "the items' own rates are not hidden"


def test_another_profile_is_another_column(heard: Callable[[str | None, str], Sample]) -> None:
    assert [c.id for c in wer(profile="f5").columns] == [
        "wer.pocketsphinx.f5",
        "wer.pocketsphinx.f5.corpus",
        "wer.pocketsphinx.f5.le50",
    ]
    assert wer(profile="f5").score(heard("I don't", "i dont"))["wer.pocketsphinx.f5"].value == 0.0


def test_against_what_is_heard_in_the_clean_recording(make_sample: Callable[..., Sample]) -> None:
    """EmiliaMix has no text: its ground truth is a transcript, and scores 0 by definition."""
    metric = wer(against="transcript")
    assert metric.needs == {"reference"}
    assert [role for _, role in metric.extracts] == ["output", "reference"]
    assert metric.columns[0].id == "wer.pocketsphinx.pseudo"
    assert metric.signature() != wer().signature()
    clean, other = np.zeros(160), np.ones(160)
    said = {clip_of(clean, 16_000).sha256: "one two three four", clip_of(other, 16_000).sha256: "one two"}
    for output, rate in ((clean, 0.0), (other, 50.0)):
        sample = replace(make_sample(output, 16_000, clean), feature=lambda _, clip: {"text": said[clip.sha256]})
        assert metric.score(sample)["wer.pocketsphinx.pseudo"].value == rate
    with pytest.raises(ItemError, match="no reference"):
        metric.score(make_sample(clean, 16_000))


def test_a_closed_vocabulary_needs_words() -> None:
    pytest.importorskip("pocketsphinx")
    with pytest.raises(MissingPrerequisite, match="this one has none"):
        wer(texts=(), against="transcript").check()


def test_what_a_recogniser_did_not_hear_is_told(make_sample: Callable[..., Sample]) -> None:
    sample = make_sample(np.zeros(160), 16_000, text="one")
    sample = replace(sample, feature=lambda *_: {"text": "one", "unheard_s": 2.5})
    assert wer().score(sample)[COLUMNS[0]].detail["unheard_s"] == 2.5


@pytest.mark.parametrize(
    ("text", "transcript", "value"),
    [
        ("Hello, world!", "hello world", 0.0),
        ("hello world", "", 100.0),  # heard nothing
        ("hi", "hi there you all", 300.0),  # never capped
        ("I don\N{RIGHT SINGLE QUOTATION MARK}t", "i don't", 50.0),  # the protocol's own quirk
        ("well-known", "well known", 200.0),
        ("twenty five", "25", 100.0),  # no number normalisation
        ("a --- b", "a   b", 0.0),
    ],
)
def test_values(heard: Callable[[str | None, str], Sample], text: str, transcript: str, value: float) -> None:
    assert wer().score(heard(text, transcript))[COLUMNS[0]].value == pytest.approx(value)


@pytest.mark.parametrize("text", ["", " ", "...", "\N{EM DASH}?!"])
@pytest.mark.parametrize("transcript", ["", "one", "one two"])
def test_an_empty_reference_has_no_rate(heard: Callable[[str | None, str], Sample], text: str, transcript: str) -> None:
    with pytest.raises(Undefined, match="empty reference text"):
        wer().score(heard(text, transcript))


@pytest.mark.parametrize(
    ("language", "text", "words"),
    [
        ("en", "The well-known fox, it's HERE.", 5.0),
        ("en", "one", 1.0),
        ("en", "a --- b  c", 3.0),
        ("en", "a b\tc", 2.0),  # as jiwer counts in score(): only spaces separate
        ("zh", "你好，世界。", 4.0),
        ("en", None, None),
        ("en", "", None),
        ("en", "...", None),
    ],
)
def test_the_size_of_an_item_that_was_never_scored(
    heard: Callable[[str | None, str], Sample], language: str, text: str | None, words: float | None
) -> None:
    metric = wer(language)
    assert metric.size(text, language) == words
    if words is not None:
        assert metric.score(heard(text, "anything"))[COLUMNS[0]].detail["words"] == words


def test_an_item_without_text_fails(heard: Callable[[str | None, str], Sample]) -> None:
    with pytest.raises(ItemError, match="no text"):
        wer().score(heard(None, "one"))


def test_chinese_is_scored_by_character(heard: Callable[[str | None, str], Sample]) -> None:
    detail = wer("zh").score(heard("你好，世界。", "你号世界"))[COLUMNS[0]].detail
    assert (detail["errors"], detail["words"]) == (1, 4)


def test_the_recogniser_must_know_the_language() -> None:
    with pytest.raises(MissingPrerequisite, match=r"knows only en, not 'zh'[\s\S]*paraformer-zh"):
        wer("zh").check()
    with pytest.raises(MissingPrerequisite, match="whisper-large-v3"):
        wer("de").check()


def test_unknown_names_tell_the_nearest() -> None:
    with pytest.raises(ValidationError, match="did you mean 'pocketsphinx'"):
        WerParams(asr="pocketsphynx")
    with pytest.raises(ValidationError, match="did you mean 'seed_tts_eval'"):
        WerParams(profile="seedtts_eval")
    with pytest.raises(ValidationError, match="whisper"):
        WerParams(whisper="large")  # type: ignore[call-arg]


def test_registered() -> None:
    assert metrics.get("wer") is Wer
    assert wer().needs == {"text"}


class Shout(SeedTTSEval):
    """Another profile."""

    name = "shout"

    def hypothesis(self, text: str, language: str) -> str:
        return super().hypothesis(text, language) + " hey"


def test_a_changed_profile_scores_anew_without_recognising_anew(
    make_sample: Callable[..., Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pocketsphinx")
    profiles.names()  # loads the registry
    monkeypatch.setitem(profiles._classes, "shout", Shout)
    seen: list[object] = []

    def feature(extractor: Extractor, clip: Clip) -> JSON:
        seen.append((extractor.signature(), clip.sha256))
        return {"text": "one two"}

    sample = replace(make_sample(np.zeros(160), 16_000, text="one two"), feature=feature)
    plain, shout = wer(texts=("one two",)), wer(texts=("one two",), profile="shout")
    assert plain.score(sample)[COLUMNS[0]].value == 0.0
    assert shout.score(sample)["wer.pocketsphinx.shout"].value == 50.0
    assert seen[0] == seen[1]
    assert plain.signature() != shout.signature()
    assert plain.signature()["profile"] == SeedTTSEval().signature()
    assert plain.signature()["recogniser"] == seen[0][0]  # type: ignore[index]


def test_an_unsupported_profile_language_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pocketsphinx")
    metric = wer()
    monkeypatch.setattr(Shout, "languages", frozenset({"fr"}))
    metric.profile = Shout()
    with pytest.raises(SuiteError, match="no rules for language 'en'"):
        metric.check()


def test_real_recordings(real: Path, make_sample: Callable[..., Sample]) -> None:
    """Read speech is understood, another sentence in the same voice is all wrong, noise costs words."""
    pytest.importorskip("pocketsphinx")
    folder = real / "seedtts" / "en"
    lines = [line.split("|") for line in (folder / "meta.lst").read_text(encoding="utf-8").splitlines()]
    metric = wer(texts=tuple(line[3] for line in lines))
    metric.check()

    def mean(audio: Callable[[list[str]], Path], noise: float = 0.0) -> float:
        values = []
        for line in lines[5:]:
            clip = load(audio(line), 16_000)
            hiss = np.random.default_rng(0).standard_normal(len(clip.samples)) * noise * np.std(clip.samples)
            score = metric.score(make_sample(clip.samples + hiss, 16_000, text=line[3]))
            values.append(score[COLUMNS[0]].value)
        return float(np.mean(values))  # type: ignore[arg-type]

    clean = mean(lambda line: folder / "wavs" / f"{line[0]}.wav")
    noisy = mean(lambda line: folder / "wavs" / f"{line[0]}.wav", noise=1.0)
    prompt_copy = mean(lambda line: folder / line[2])
    assert clean < 5.0
    assert clean < noisy < prompt_copy
    assert prompt_copy > 80.0
