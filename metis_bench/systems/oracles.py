"""Rows that bound the others: ground truth above; copies, silence and a blunt filter below. Never ranked."""

from __future__ import annotations

from pydantic import PositiveFloat

from metis_bench.audio import Audio
from metis_bench.corpora.base import ALL_TASKS, Field, Params, Task
from metis_bench.errors import ItemError
from metis_bench.systems._signal import fit, required
from metis_bench.systems.base import Request, System, systems


@systems.register("ground-truth")
class GroundTruth(System):
    """The reference recording itself, at its own rate: the best a system can be asked for."""

    kind = "bound"
    tasks = ALL_TASKS
    needs = frozenset({"reference"})
    timed = False

    def generate(self, request: Request) -> Audio:
        """The reference, unchanged."""
        return required(request.reference, "reference", request.id)


@systems.register("prompt-copy")
class PromptCopy(System):
    """The voice prompt instead of new speech: the ceiling of speaker similarity and the floor of WER."""

    kind = "bound"
    tasks = frozenset({"tts", "vc", "tse", "l2s"})
    needs = frozenset({"prompt"})
    timed = False

    def generate(self, request: Request) -> Audio:
        """The prompt, unchanged."""
        return required(request.prompt, "prompt", request.id)


@systems.register("source-copy")
class SourceCopy(System):
    """The unprocessed input, whatever the task calls it: a system that scores below it does harm."""

    kind = "bound"
    tasks = frozenset({"vc", "tse", "se"})
    needs = frozenset({"source"})
    timed = False

    def generate(self, request: Request) -> Audio:
        """The source, unchanged."""
        return required(request.source, "source", request.id)


@systems.register("noisy")
class Noisy(SourceCopy):
    """The noisy input of speech enhancement."""

    tasks = frozenset({"se"})


@systems.register("mixture")
class Mixture(SourceCopy):
    """The mixture of target speaker extraction."""

    tasks = frozenset({"tse"})


@systems.register("silence")
class Silence(System):
    """Digital zeros as long as the source, or as the reference where the input is no audio: no metric may reward it."""

    kind = "bound"
    tasks = ALL_TASKS
    needs = frozenset({"source", "reference"})
    timed = False

    def needs_for(self, task: Task) -> frozenset[Field]:
        """The source, or the reference for text and video input."""
        return frozenset({"source"} if task in SourceCopy.tasks else {"reference"})

    def generate(self, request: Request) -> Audio:
        """(T,) zeros at the rate of the source or reference."""
        (field,) = self.needs_for(request.task)
        like = required(request.source if field == "source" else request.reference, field, request.id)
        return Audio(fit(like.samples[:0], len(like.samples)), like.rate)


class LowPassParams(Params):
    """cutoff_hz: where the zero-phase response is -6 dB."""

    cutoff_hz: PositiveFloat = 1000.0


@systems.register("low-pass")
class LowPass(System):
    """The source without its highs: removes much noise and the speech with it.

    Butterworth of order 8 run forwards and backwards (scipy.signal.sosfiltfilt), so without any delay.
    """

    kind = "bound"
    tasks = frozenset({"se"})
    needs = frozenset({"source"})
    params_type = LowPassParams
    params: LowPassParams

    ORDER = 8

    def generate(self, request: Request) -> Audio:
        """(T,) at the source's rate. Raises ItemError when the cutoff is not below half of that rate."""
        from scipy.signal import butter, sosfiltfilt

        source = required(request.source, "source", request.id)
        if self.params.cutoff_hz >= source.rate / 2:
            raise ItemError(
                f"cutoff_hz {self.params.cutoff_hz:g} is not below half of the source's rate ({source.rate} Hz)",
                fix=f"set cutoff_hz below {source.rate / 2:g}",
            )
        sos = butter(self.ORDER, self.params.cutoff_hz, fs=source.rate, output="sos")
        padding = min(3 * (self.ORDER + 1), len(source.samples) - 1)  # scipy's own choice, less for tiny inputs
        return Audio(fit(sosfiltfilt(sos, source.samples, padlen=padding), len(source.samples)), source.rate)
