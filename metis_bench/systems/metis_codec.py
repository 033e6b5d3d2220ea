"""Resynthesis by Metis' acoustic codec: what no system that speaks through this codec can surpass."""

from __future__ import annotations

from metis_bench.audio import Audio
from metis_bench.corpora.base import ALL_TASKS, Params
from metis_bench.hashing import JSON
from metis_bench.systems._signal import required
from metis_bench.systems.base import Request, System, systems
from metis_bench.systems.told import told
from metis_bench.systems.weights import RANDOM, caveat_of, checkpoints_of, content, small, weight_files

PARTS = ("acoustic_codec_encoder", "acoustic_codec_decoder")


class CodecParams(Params):
    """checkpoint: as of metis-tts."""

    checkpoint: str | None = None


@systems.register("metis-codec")
class MetisCodec(System):
    """The reference, encoded to acoustic codes and decoded again: the ceiling of every Metis system."""

    kind = "bound"
    tasks = ALL_TASKS
    needs = frozenset({"reference"})
    extra = "text"
    uses_gpu = True
    place_params = ("checkpoint",)
    params_type = CodecParams
    params: CodecParams

    def check(self) -> None:
        """Raise MissingPrerequisite when the codec's weights are not here."""
        super().check()
        self.identity()

    def identity(self) -> JSON:
        """The content of the codec's files."""
        where = checkpoints_of(self.params.checkpoint)
        if where in RANDOM:
            return where
        files = weight_files({name: name for name in PARTS}, where)
        return {name: content(path) for name, path in files.items()}

    def caveat(self) -> str | None:
        """As of every system with these weights."""
        return caveat_of(checkpoints_of(self.params.checkpoint))

    def alone(self) -> bool:
        """As of every system with these weights."""
        return not small(checkpoints_of(self.params.checkpoint))

    def setup(self) -> None:
        """Load encoder and decoder."""
        import torch

        from reference_models.checkpoints import open_source

        device = "cuda" if torch.cuda.is_available() else "cpu"
        with told():
            source = open_source(checkpoints_of(self.params.checkpoint), device=device)
            self._encoder, self._decoder = source.acoustic_encoder(), source.acoustic_decoder()
        self._device = device

    def generate(self, request: Request) -> Audio:
        """24 kHz, as many whole codec frames as the reference has."""
        import torch

        from reference_models.config import SAMPLE_RATE
        from reference_models.speech import Speech

        reference = required(request.reference, "reference", request.id)
        with told(), torch.inference_mode():
            wave = Speech(reference.samples, reference.rate).at(SAMPLE_RATE).to(self._device)
            codes = self._decoder.quantize(self._encoder(wave[None, None]))[0]  # (1, F, Q)
            out = self._decoder.decode(codes)[0, 0]  # (S,)
        return Audio(out.float().cpu().numpy(), SAMPLE_RATE)
