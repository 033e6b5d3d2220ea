"""Word error rate of a recogniser's transcript against the text that should have been said.

Protocol: BytedanceSpeech/seed-tts-eval@752f429 run_wer.py, average_wer.py: unweighted mean of the utterances' rates.
Beside it always stand the corpus rate (all errors over all words) and the mean over the utterances at no more than
50 %, which leaves out what failed altogether. Chinese is scored by character, under the same names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, TypeAlias, cast

from metis_bench.corpora.base import ALL_TASKS, Field, Params
from metis_bench.errors import ItemError
from metis_bench.hashing import JSON
from metis_bench.metrics.asr.base import Recogniser, recognisers
from metis_bench.metrics.base import Column, Metric, MetricContext, Sample, Score, Undefined, metrics
from metis_bench.metrics.names import registered
from metis_bench.text.profiles import Profile, profiles

VERSION = "2"
USUAL = "seed_tts_eval"  # the profile that a column does not name
SUFFIX = {"text": "", "transcript": "pseudo"}  # of the column, by what it is compared with
KEPT = 50.0  # %, of `le50`


RecogniserName: TypeAlias = Annotated[str, registered(recognisers)]


class WerParams(Params):
    """asr: the recogniser, or one by language of the corpus; profile: how both texts are normalised.

    headline: the number that a leaderboard shows first; all are always there
    against: the item's text, or what the recogniser hears in its clean reference (where nobody wrote down what is said)
    """

    asr: RecogniserName | dict[str, RecogniserName] = "pocketsphinx"
    profile: Annotated[str, registered(profiles)] = USUAL
    headline: Literal["utterances", "corpus"] = "utterances"
    against: Literal["text", "transcript"] = "text"


def edits(reference: str, hypothesis: str) -> dict[str, JSON]:
    """Edit counts, word count and alignment of two normalised texts; words are what spaces separate.

    Raises Undefined when the reference has no word: no rate exists then (jiwer would return the number of insertions).
    """
    import jiwer

    out = jiwer.process_words(reference, hypothesis)
    ref, hyp = out.references[0], out.hypotheses[0]
    if not ref:
        raise Undefined("empty reference text")
    alignment: list[JSON] = [
        [c.type, ref[c.ref_start_idx : c.ref_end_idx], hyp[c.hyp_start_idx : c.hyp_end_idx]] for c in out.alignments[0]
    ]
    return {
        "reference": " ".join(ref),
        "hypothesis": " ".join(hyp),
        "errors": out.substitutions + out.deletions + out.insertions,
        "words": len(ref),
        "substitutions": out.substitutions,
        "deletions": out.deletions,
        "insertions": out.insertions,
        "alignment": alignment,
    }


def words(text: str) -> list[str]:
    """Words of a normalised text, as jiwer splits it."""
    return [word for word in re.sub(r"\s\s+", " ", text).strip().split(" ") if word]


def errors(reference: Sequence[str], hypothesis: Sequence[str]) -> int:
    """As `edits` counts them, without an alignment: several times as fast."""
    from rapidfuzz.distance import Levenshtein

    return int(Levenshtein.distance(reference, hypothesis))


@metrics.register("wer")
class Wer(Metric):
    """In percent; above 100 when there are more errors than words. A failed item counts as 100 when penalised."""

    tasks = ALL_TASKS
    params_type = WerParams
    params: WerParams

    def __init__(self, params: Params, context: MetricContext) -> None:
        super().__init__(params, context)
        self.profile: Profile = profiles.get(self.params.profile)()
        asr = self.params.asr
        self.asr = asr if isinstance(asr, str) else asr.get(context.language) or next(iter(asr.values()))
        self.recogniser: Recogniser = recognisers.get(self.asr)(context.texts, context.language)

    @property
    def _compared(self) -> Literal["text", "reference"]:
        return "text" if self.params.against == "text" else "reference"

    @property
    def needs(self) -> frozenset[Field]:
        """The text, or the recording that is transcribed in its place."""
        return frozenset({self._compared})

    @property
    def columns(self) -> tuple[Column, ...]:
        """Mean over utterances (the headline), corpus rate, and the mean of those at no more than 50 %."""
        named = (self.asr, "" if self.params.profile == USUAL else self.params.profile, SUFFIX[self.params.against])
        how = ".".join(filter(None, named))
        column, label = f"wer.{how}", f"WER ({how})"
        first = self.params.headline
        return (
            Column(
                column,
                label,
                "lower",
                100.0,
                unit="%",
                headline=first == "utterances",
                family="wer",
                help="mean of the utterances' error rates",
            ),
            Column(
                f"{column}.corpus",
                f"corpus {label}",
                "lower",
                100.0,
                unit="%",
                aggregate="ratio",
                ratio=("errors", "words"),
                headline=first == "corpus",
                help="all word errors over all reference words",
            ),
            Column(
                f"{column}.le50",
                f"{label} of utterances <= {KEPT:g} %",
                "lower",
                None,
                unit="%",
                aggregate="ratio",
                ratio=("kept_rate", "kept"),
                ranked=False,
                help=f"mean over the utterances at no more than {KEPT:g} %: leaves out failures, ranks nothing",
            ),
        )

    @property
    def extracts(self) -> tuple[tuple[Recogniser, Literal["output"] | Field], ...]:
        """The transcript of the output, and of what it is compared with if that is a recording."""
        other: tuple[tuple[Recogniser, Field], ...] = ((self.recogniser, "reference"),)
        return ((self.recogniser, "output"), *(other if self.params.against == "transcript" else ()))

    def check(self) -> None:
        """Raise MissingPrerequisite (recogniser) or SuiteError (profile) when the corpus' language is not covered."""
        super().check()
        self.recogniser.check()
        self.profile.check(self.context.language)

    def signature(self) -> Mapping[str, JSON]:
        """Recogniser and normalisation profile, each with its own signature."""
        return {
            "name": "wer",
            "version": VERSION,
            "recogniser": self.recogniser.signature(),
            "profile": self.profile.signature(),
            "against": self.params.against,
            "language": self.context.language,
        }

    def score(self, sample: Sample) -> dict[str, Score]:
        """All columns hold the utterance's own rate; they differ in how they are aggregated.

        The counts and the alignment stand in the first column only: the columns of a metric share their details.
        """
        language = self.context.language
        text = self._reference(sample)
        feature = cast(Mapping[str, str], sample.feature(self.recogniser, sample.output))
        detail = edits(self.profile.reference(text, language), self.profile.hypothesis(feature["text"], language))
        share = cast(int, detail["errors"]) / cast(int, detail["words"])
        kept = 100.0 * share <= KEPT
        detail |= {"kept": int(kept), "kept_rate": share if kept else 0.0}
        if "unheard_s" in feature:  # the recogniser hears the beginning of long clips alone
            detail["unheard_s"] = feature["unheard_s"]
        first, *others = self.columns
        return {first.id: Score("ok", 100.0 * share, detail=detail)} | {
            c.id: Score("ok", 100.0 * share) for c in others
        }

    def _reference(self, sample: Sample) -> str:
        """What should have been said."""
        if self.params.against == "transcript":
            if sample.reference is None:
                raise ItemError("the item has no reference")
            return cast(Mapping[str, str], sample.feature(self.recogniser, sample.reference))["text"]
        if sample.text is None:
            raise ItemError("the item has no text")
        return sample.text

    def size(self, text: str | None, language: str) -> float | None:
        """Words of the normalised reference; None where there are none."""
        if text is None or self.params.against == "transcript":
            return None
        reference = self.profile.reference(text, language)
        try:
            return float(cast(int, edits(reference, reference)["words"]))
        except Undefined:
            return None
