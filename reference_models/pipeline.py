"""From a job to a waveform: prepare (tokens and features of what is given), stage 1, S2A, vocoder.

Source: paper §3, `Amphion:models/tts/metis/metis.py`. Two modes. `official` is the release's behaviour: one sample at
a time, prompts as they come. The default mode batches, and differs where the release is wrong: prompt codes are cut to
the prompt's semantic tokens (the release loses the target's first frame when there is one more), noise depends on
a job's seed only, and so on (see `estimate`, `text`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from reference_models.batching import grouped, most_tokens, splitting
from reference_models.checkpoints import Source
from reference_models.config import ON_CPU, ON_GPU, SAMPLE_RATE
from reference_models.errors import InputError
from reference_models.estimate import Guidance
from reference_models.jobs import DEFAULTS, Job, Settings
from reference_models.masking import Sampling
from reference_models.noise import Noise, SeededNoise, TorchNoise
from reference_models.parts import Parts
from reference_models.prepare import Prepared, prepare
from reference_models.speech import Speech
from reference_models.transformer import quicken
from reference_models.variants import Stage1Files, variant_files

STAGE1, FIRST, FINE = 0, 1, 2  # forks of a job's noise


class Metis:
    """`generate` for all tasks that its stage 1 was trained for."""

    def __init__(
        self, source: Source, variant: str | Stage1Files, *, official: bool = False, compiled: bool = False
    ) -> None:
        """source: where weights come from; variant: which stage 1.

        official: the release's behaviour to the token, as after `torch.manual_seed(seed)` before its stage 1.
        compiled: see `transformer.quicken`; loads the three masked models at once
        """
        if official and compiled:
            raise InputError("the official mode computes as the release does, so it is not compiled")
        self.parts = Parts(source, variant)
        self.official = official
        for model in (self.parts.stage1, self.parts.first, self.parts.fine) if compiled else ():
            quicken(model.diff_estimator, model.cond_emb.weight.device)

    def settings(self, job: Job, **changes: Any) -> Settings:
        """The task's defaults with `changes`; the official mode's length rule is by bytes."""
        rule = {"length_rule": "bytes"} if self.official else {}
        return replace(DEFAULTS[job.task], **{**rule, **changes})

    def generate(
        self,
        jobs: Sequence[Job],
        *,
        batch_size: int | None = None,
        progress: Callable[[int, int], None] = lambda _done, _all: None,
        **changes: Any,
    ) -> list[Speech]:
        """One waveform at 24 kHz a job, in their order; in default mode independent of what is generated together.

        (But for rounding, which depends on the shape of a batch: it hardly ever shows in fp32, and does in bf16.)
        batch_size: at most so many at once, similar lengths together; None: as many as fit. One that does not fit
        into the memory is split; progress: called with jobs done and in all; changes: fields of `Settings`.
        Raises InputError for the first job that cannot be processed.
        """
        tasks = variant_files(self.parts.variant).tasks
        for job in jobs:
            if tasks and job.task not in tasks:
                raise InputError(f"this stage 1 was trained for {', '.join(tasks)}, not for {job.task}")
        prepared = [prepare(job, self.parts, self.settings(job, **changes), self.official) for job in jobs]
        gpu = self.parts.stage1.cond_emb.weight.device.type == "cuda"
        size = 1 if self.official else batch_size or (ON_GPU if gpu else ON_CPU)
        done: dict[int, Speech] = {}
        for batch in grouped(prepared, size, most_tokens(self.parts.stage1)):
            done |= dict(zip(batch, splitting(self.decode, [prepared[i] for i in batch]), strict=True))
            progress(len(done), len(jobs))
        return [done[i] for i in range(len(jobs))]

    @torch.inference_mode()
    def decode(self, batch: Sequence[Prepared]) -> list[Speech]:
        """Prepared jobs that fit one batch (see `batching`) to waveforms."""
        noise = self._noise([p.seed for p in batch])
        codes = self.acoustic(batch, self.semantic(batch, noise), noise)
        waves = [self.parts.decoder.decode(c[None])[0, 0] for c in codes]
        return [Speech(w.float().cpu().numpy(), SAMPLE_RATE) for w in waves]

    def semantic(self, batch: Sequence[Prepared], noise: Noise) -> list[Tensor]:
        """Semantic tokens of each target: (frames,)."""
        s = batch[0].settings
        return self.parts.stage1.generate(
            [p.frames for p in batch],
            [_before(p) for p in batch],
            noise.fork(STAGE1),
            steps=s.steps,
            phones=_all([p.phones for p in batch]),
            conditions=_all([p.condition for p in batch]),
            guidance=Guidance(s.guidance, s.rescale),
            sampling=Sampling(s.temperature, s.keep, whole=self.official),
            official=self.official,
        )

    def acoustic(self, batch: Sequence[Prepared], semantic: Sequence[Tensor], noise: Noise) -> list[Tensor]:
        """Acoustic codes of each target: (frames, Q)."""
        s = batch[0].settings
        tokens = [torch.cat([p.prompt, target]) for p, target in zip(batch, semantic, strict=True)]
        prompts = [p.codes for p in batch]
        sampling = Sampling(s.acoustic_temperature, s.keep, whole=self.official)
        first = self.parts.first.generate(
            tokens,
            prompts,
            noise.fork(FIRST),
            steps=[s.first_steps],
            guidance=Guidance(s.first_guidance, s.rescale),
            sampling=sampling,
            official=self.official,
        )
        return self.parts.fine.generate(
            tokens,
            prompts,
            noise.fork(FINE),
            steps=[s.first_steps, *s.fine_steps],
            known=first,
            guidance=Guidance(s.fine_guidance, s.rescale),
            sampling=sampling,
            official=self.official,
        )

    def _noise(self, seeds: Sequence[int]) -> Noise:
        device = self.parts.stage1.cond_emb.weight.device
        if self.official:
            return TorchNoise(torch.Generator(device).manual_seed(seeds[0] % 2**64))
        return SeededNoise.of(seeds, device)


def _before(p: Prepared) -> Tensor:
    """The tokens (L,) that stage 1 goes on from; a condition has frames of the prompt in any case."""
    return p.prompt if p.settings.stage1_prompt or p.condition is not None else p.prompt[:0]


def _all(values: Sequence[Tensor | None]) -> list[Tensor] | None:
    """The tensors of a batch, None when its jobs have none."""
    return [v for v in values if v is not None] or None
