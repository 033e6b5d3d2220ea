"""Stage 1 and the models that surround it, each built from its weights when first used."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import cached_property
from pathlib import Path

from torch import Tensor

from reference_models.acoustic import S2A
from reference_models.checkpoints import Source
from reference_models.codecs.acoustic import AcousticDecoder, AcousticEncoder
from reference_models.codecs.semantic import SemanticCodec
from reference_models.features import SemanticFeatures
from reference_models.lips.visual import VisualEncoder
from reference_models.stage1 import Stage1
from reference_models.text.mandarin import Mandarin
from reference_models.text.mandarin_resources import LEXICON_FILE, MODEL_FOLDER, PolyphoneModel, load_lexicon
from reference_models.text.tokenizer import Mode
from reference_models.variants import Stage1Files

KEPT = 256  # prompts whose tokens and codes are remembered


class Prompts:
    """What was made of the last voice prompts: an item has the same one for every seed, and lists share them."""

    def __init__(self) -> None:
        self._made: OrderedDict[Hashable, tuple[Tensor, Tensor]] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """What was made for `key`; made now where it was not, or is forgotten."""
        if key not in self._made:
            self._made[key] = make()
            if len(self._made) > KEPT:
                self._made.popitem(last=False)
        self._made.move_to_end(key)
        return self._made[key]


class Parts:
    """Everything that one variant of Metis needs. source: where weights come from; variant: which stage 1."""

    def __init__(self, source: Source, variant: str | Stage1Files) -> None:
        self.source, self.variant = source, variant
        self._sources = source.mandarin()
        self._mandarin: dict[Mode, Mandarin] = {}
        self.prompts = Prompts()

    def load(self, *, prompts: bool, speech: bool, lips: bool) -> None:
        """Build now what would be built when first used, for voice prompts, for any speech that goes in, for lips."""
        needed = {"features": speech, "semantic_codec": prompts, "encoder": prompts, "visual": lips}
        for name in ("stage1", "first", "fine", "decoder", *(n for n, wanted in needed.items() if wanted)):
            getattr(self, name)

    @cached_property
    def stage1(self) -> Stage1:
        """The variant's own model."""
        return self.source.stage1(self.variant)

    @cached_property
    def first(self) -> S2A:
        """S2A for codebook 0."""
        return self.source.s2a_first()

    @cached_property
    def fine(self) -> S2A:
        """S2A for the other codebooks."""
        return self.source.s2a_full()

    @cached_property
    def features(self) -> SemanticFeatures:
        """w2v-BERT."""
        return self.source.features()

    @cached_property
    def semantic_codec(self) -> SemanticCodec:
        """Features to semantic tokens."""
        return self.source.semantic_codec()

    @cached_property
    def encoder(self) -> AcousticEncoder:
        """Waveform to acoustic latents."""
        return self.source.acoustic_encoder()

    @cached_property
    def decoder(self) -> AcousticDecoder:
        """Quantiser and vocoder."""
        return self.source.acoustic_decoder()

    def pronouncer(self, text: str, mode: Mode) -> Mandarin | None:
        """For Chinese text, where the release's resources are here: what reads it; None: the text front end's own."""
        if self._sources is None or not any("\u4e00" <= character <= "\u9fa5" for character in text):
            return None
        if mode not in self._mandarin:
            model = PolyphoneModel(self._sources / Path(MODEL_FOLDER).name, mode)
            self._mandarin[mode] = Mandarin(load_lexicon(self._sources / Path(LEXICON_FILE).name), model, mode)
        return self._mandarin[mode]

    @cached_property
    def visual(self) -> VisualEncoder:
        """Lips to features."""
        return self.source.visual()
