"""Stage 1: semantic tokens, masked and predicted, from phones and/or frame-level conditions.

Source: paper §3.1-3.4, `Amphion:models/tts/metis/metis_model.py` (MetisStage1), `maskgct/maskgct_t2s.py`. One class is
all of it: the pre-trained base, TTS (which is MaskGCT's text-to-semantic model), VC, TSE, SE, lip to speech and Omni.
Letters: B batch, P phones, L prompt tokens, T target tokens, C hidden size, V codebook size.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from reference_models.conditioning import make_adapter
from reference_models.config import Stage1Config
from reference_models.errors import InputError
from reference_models.estimate import UNGUIDED, BetterEstimate, Guidance, OfficialEstimate
from reference_models.masking import Sampling, decode
from reference_models.noise import Noise
from reference_models.ragged import join, pad, unpad
from reference_models.transformer import Transformer, init_weights

HIDDEN_FLOOR = 0.2  # at least this share of the target is hidden in training
LONGEST_PROMPT = 0.4  # of the sequence, in training
SAMPLING = Sampling(temperature=0.9)


class Stage1(nn.Module):
    """Parameter names are the official ones."""

    def __init__(self, config: Stage1Config) -> None:
        super().__init__()
        self.config = config
        width = config.transformer.hidden_size
        self.mask_emb = nn.Embedding(1, width)
        self.to_logit = nn.Linear(width, config.codebook_size)
        self.cond_emb = nn.Embedding(config.codebook_size, width)  # the table of semantic tokens
        if config.phones:
            self.phone_emb = nn.Embedding(config.phone_vocab, width, padding_idx=config.phone_vocab - 1)
        self.diff_estimator = Transformer(config.transformer, conditioned=config.phones)
        if config.adapter != "none":
            self.cond_adapter = make_adapter(config)
        init_weights(self)

    def embed(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """tokens (B, T), mask (B, T) bool: True is hidden -> (B, T, C)."""
        return torch.where(mask[..., None], self.mask_emb.weight[0], self.cond_emb(tokens))

    def forward(
        self,
        tokens: Tensor,
        mask: Tensor,
        t: Tensor,
        valid: Tensor,
        phones: Tensor | None = None,
        phone_valid: Tensor | None = None,
        condition: Tensor | None = None,
        packed: bool = True,
    ) -> Tensor:
        """Training: logits (B, T, V) for all positions of partly hidden tokens (B, T).

        mask: True where hidden (`masking.corrupt`); t: (B,) mask times; valid, phone_valid: True at tokens, False at
        padding; phones: (B, P) ids; condition: (B, T, condition_dim); packed: see `Transformer.layout`.
        """
        x = self.embed(tokens, mask)
        if condition is not None:
            x = x + self.cond_adapter(condition)
        if phones is None:
            seen = valid
        else:
            seen = valid if phone_valid is None else torch.cat([phone_valid, valid], dim=1)
            x = torch.cat([self.diff_estimator.cond_mlp(self.phone_emb(phones)), x], dim=1)
        layout = self.diff_estimator.layout([seen], [x.shape[1]], packed)
        h = self.diff_estimator(x, self.diff_estimator.gains(t), layout)[:, -tokens.shape[1] :]
        return self.to_logit(h)  # type: ignore[no-any-return]

    @torch.inference_mode()
    def generate(
        self,
        lengths: Sequence[int],
        prompts: Sequence[Tensor],
        noise: Noise,
        *,
        steps: int,
        phones: Sequence[Tensor] | None = None,
        conditions: Sequence[Tensor] | None = None,
        guidance: Guidance = UNGUIDED,
        sampling: Sampling = SAMPLING,
        order: Sequence[int] | None = None,
        official: bool = False,
    ) -> list[Tensor]:
        """Semantic tokens, one (T_b,) a sample, for targets of `lengths` tokens.

        prompts: (L_b,) tokens, may be empty; phones: (P_b,) ids of prompt and target text; conditions: frames of prompt
        and target, (L_b + T_b, condition_dim). official: the release's estimate and sampling, equal lengths only.
        Raises InputError where a sequence contradicts `lengths`, or this model cannot use what it is given.
        """
        self._check(lengths, prompts, phones, conditions)
        target, prefix = self._conditions(prompts, conditions)
        if phones is not None:
            ids, phone_mask = pad(phones)
            prefix = join([(self.diff_estimator.cond_mlp(self.phone_emb(ids)), phone_mask), prefix])
        estimate = (OfficialEstimate if official else BetterEstimate)(
            self.diff_estimator, prefix, lengths, steps, guidance
        )

        def logits_at(tokens: Tensor, mask: Tensor, step: int) -> Tensor:
            h = estimate(self.embed(tokens, mask) + target, step)
            return self.to_logit(h.to(self.to_logit.weight.dtype))  # type: ignore[no-any-return]

        tokens = decode(logits_at, lengths, steps, sampling, noise, self.to_logit.weight.device, order)
        return unpad(tokens, lengths)

    def _conditions(
        self, prompts: Sequence[Tensor], conditions: Sequence[Tensor] | None
    ) -> tuple[Tensor | float, tuple[Tensor, Tensor | None]]:
        """What is added to the target (B, T, C), and the embedded prompt (B, L, C) with its mask."""
        codes, prompt_mask = pad(prompts)
        prompt = self.cond_emb(codes)
        if conditions is None:
            return 0.0, (prompt, prompt_mask)
        frames = [c.to(prompt.dtype) for c in conditions]
        before, _ = pad([c[: len(p)] for c, p in zip(frames, prompts, strict=True)])
        target, _ = pad([c[len(p) :] for c, p in zip(frames, prompts, strict=True)])
        return self.cond_adapter(target), (prompt + self.cond_adapter(before), prompt_mask)

    def _check(
        self,
        lengths: Sequence[int],
        prompts: Sequence[Tensor],
        phones: Sequence[Tensor] | None,
        conditions: Sequence[Tensor] | None,
    ) -> None:
        if not lengths or min(lengths) < 1:
            raise InputError(f"targets need at least one token each, not {list(lengths)}")
        if phones is not None and not self.config.phones:
            raise InputError("this model takes no phones")
        if conditions is None:
            return
        if self.config.adapter == "none":
            raise InputError("this model takes no frame-level condition (it has no adapter)")
        for n, prompt, frames in zip(lengths, prompts, conditions, strict=True):
            want = (len(prompt) + n, self.config.condition_dim)
            if tuple(frames.shape) != want:
                raise InputError(f"the condition has shape {tuple(frames.shape)}, prompt and target need {want}")
