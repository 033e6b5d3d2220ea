"""What the mini family is trained on: sentences of the grammar's training split, said by voices of training."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from reference_models.config import SAMPLE_RATE
from reference_models.mini.alignment import Phone
from reference_models.mini.espeak import EspeakEngine
from reference_models.mini.grammar import Split, training_sentence
from reference_models.mini.mouth import render
from reference_models.mini.voices import Speaker, say_aligned, training_voices
from reference_models.speech import Speech
from reference_models.training.sources import Utterance

VOICES = 200  # speakers of training
PAIRS = 3  # of so many utterances one has two sentences, about as long as prompt and target of an evaluation together


class Recordings:
    """Utterances by number, said when they are asked for. split: whose sentences; voices of different splits differ."""

    def __init__(self, engine: EspeakEngine, split: Split = "training", voices: int = VOICES) -> None:
        self.engine, self.split = engine, split
        self.voices = training_voices(voices, split)

    def speaker(self, number: int) -> Speaker:
        """Who says utterance `number`."""
        return self.voices[number % len(self.voices)]

    def text(self, number: int) -> str:
        """One sentence, or two."""
        first = 2 * number
        return " ".join(training_sentence(n, self.split) for n in (first, first + 1)[: 1 + self.paired(number)])

    def paired(self, number: int) -> bool:
        """Whether utterance `number` has two sentences."""
        return number // len(self.voices) % PAIRS == PAIRS - 1

    def said(self, number: int) -> tuple[Speech, tuple[Phone, ...]]:
        """The sound at 24 kHz, and what is said when."""
        samples, phones = say_aligned(self.engine, self.speaker(number), self.text(number), SAMPLE_RATE)
        return Speech(samples.astype(np.float32), SAMPLE_RATE), phones

    def mouth(self, number: int, phones: tuple[Phone, ...], seconds: float) -> NDArray[np.uint8]:
        """The speaker's mouth while saying it: (T, 96, 96) grey at 25 a second."""
        return render(phones, seconds, self.speaker(number).name, self.text(number))

    def utterances(self, count: int, *, single: bool = False) -> list[Utterance]:
        """The first so many, for `tokenize`. single: of one sentence only"""
        numbers = (n for n in itertools.count() if not (single and self.paired(n)))
        return [self._utterance(number) for number in itertools.islice(numbers, count)]

    def _utterance(self, number: int) -> Utterance:
        def load() -> Speech:
            return self.said(number)[0]

        def video() -> NDArray[np.uint8]:
            speech, phones = self.said(number)
            return self.mouth(number, phones, speech.seconds)

        return Utterance(
            key=f"{self.split}-{number:06d}",
            load=load,
            text=self.text(number),
            language="en",
            speaker=self.speaker(number).name,
            video=video,
        )
