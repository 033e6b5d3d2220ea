"""Stage 2: acoustic tokens from semantic tokens, one codebook after the other (S2A of MaskGCT).

Source: paper §3.1, `Amphion:models/tts/maskgct/maskgct_s2a.py`. Two models share the class: one predicts codebook 0,
the other the remaining ones.
Letters: B batch, L prompt frames, T target frames, Q codebooks, C hidden size, V codebook size.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from reference_models.config import S2AConfig
from reference_models.errors import InputError
from reference_models.estimate import UNGUIDED, BetterEstimate, Guidance, OfficialEstimate
from reference_models.masking import Sampling, decode
from reference_models.noise import Noise
from reference_models.ragged import pad, unpad
from reference_models.transformer import Transformer, init_weights

HIDDEN_FLOOR = 0.0
LONGEST_PROMPT = 0.5
SAMPLING = Sampling(temperature=1.5)


class S2A(nn.Module):
    """Parameter names are the official ones, including an empty table that DiffLlama inherits."""

    def __init__(self, config: S2AConfig) -> None:
        super().__init__()
        self.config = config
        width = config.transformer.hidden_size
        self.layer_emb = nn.Embedding(config.num_quantizers, width)
        self.mask_emb = nn.Embedding(1, width)
        self.token_emb = nn.ModuleList(nn.Embedding(config.codebook_size, width) for _ in range(config.num_quantizers))
        self.to_logits = nn.ModuleList(nn.Linear(width, config.codebook_size) for _ in range(config.num_quantizers))
        self.cond_emb = nn.Embedding(config.semantic_size, width)  # the table of semantic tokens
        self.diff_estimator = Transformer(config.transformer, conditioned=True)
        init_weights(self)
        self.diff_estimator.embed_tokens = nn.Embedding(0, 256, _weight=torch.empty(0, 256))

    def layer_weights(self) -> Tensor:
        """How often training visits each codebook: (Q,), linearly falling; codebook 0 only if `first_layer`."""
        q = self.config.num_quantizers
        weights = [q] + [q - i + (0 if self.config.first_layer else 1) for i in range(1, q)]
        return torch.tensor([w if i or self.config.first_layer else 0 for i, w in enumerate(weights)]).float()

    def forward(
        self,
        codes: Tensor,
        semantic: Tensor,
        layer: int,
        mask: Tensor,
        prompt: Tensor,
        t: Tensor,
        valid: Tensor,
        packed: bool = True,
    ) -> Tensor:
        """Training: logits (B, T, V) of codebook `layer` for codes (B, T, Q) and semantic tokens (B, T).

        mask: (B, T) True where `layer` is hidden; prompt: (B,) frames whose finer codebooks stay visible; t: (B,) mask
        times; valid: (B, T) True at tokens; packed: see `Transformer.layout`.
        """
        hidden = self.mask_emb.weight[0]
        in_prompt = torch.arange(codes.shape[1], device=codes.device) < prompt[:, None]  # (B, T)
        x = torch.zeros_like(self.cond_emb(semantic))
        for q, table in enumerate(self.token_emb):
            known = table(codes[..., q])  # (B, T, C)
            if q == layer:
                known = torch.where(mask[..., None], hidden, known)
            elif q > layer:
                known = torch.where(in_prompt[..., None], known, hidden)
            x = x + known
        x = x + self.diff_estimator.cond_mlp(self.cond_emb(semantic) + self.layer_emb.weight[layer])
        layout = self.diff_estimator.layout([valid], [x.shape[1]], packed)
        return self.to_logits[layer](self.diff_estimator(x, self.diff_estimator.gains(t), layout))  # type: ignore[no-any-return]

    @torch.inference_mode()
    def generate(
        self,
        semantic: Sequence[Tensor],
        prompts: Sequence[Tensor],
        noise: Noise,
        *,
        steps: Sequence[int],
        known: Sequence[Tensor] | None = None,
        guidance: Guidance = UNGUIDED,
        sampling: Sampling = SAMPLING,
        max_layer: int | None = None,
        official: bool = False,
    ) -> list[Tensor]:
        """Acoustic codes, one (T_b, layers) a sample.

        semantic: (L_b + T_b,) tokens of prompt and target; prompts: (L_b, at least Q) codes, L_b may be 0; known:
        (T_b, G) codes of the first G codebooks, which are not decoded again; steps: one number a codebook; max_layer:
        stop there. Raises InputError where shapes contradict each other.
        """
        layers = self.config.num_quantizers if max_layer is None else max_layer
        lengths = self._check(semantic, prompts, known, steps, layers)
        first = 0 if known is None else known[0].shape[1]
        codes, prompt_mask = pad(prompts)  # (B, L, Q)
        prompt = torch.stack([e(codes[..., q]) for q, e in enumerate(self.token_emb)]).sum(0)  # (B, L, C)
        before, _ = pad([s[: len(p)] for s, p in zip(semantic, prompts, strict=True)])
        after, _ = pad([s[len(p) :] for s, p in zip(semantic, prompts, strict=True)])
        done = [] if known is None else list(pad(known)[0].unbind(-1))
        for layer in range(first, layers):
            shift = self.layer_emb.weight[layer]
            prefix = prompt + self.diff_estimator.cond_mlp(self.cond_emb(before) + shift)
            target = self.diff_estimator.cond_mlp(self.cond_emb(after) + shift)
            for q, tokens in enumerate(done):
                target = target + self.token_emb[q](tokens)
            target = target + self.mask_emb.weight[0] * (layers - 1 - layer)
            done.append(
                self._decode_layer(
                    layer,
                    target,
                    (prefix, prompt_mask),
                    lengths,
                    steps[layer],
                    guidance,
                    sampling,
                    noise.fork(layer),
                    official,
                )
            )
        return unpad(torch.stack(done, dim=-1), lengths)

    def _decode_layer(
        self,
        layer: int,
        target: Tensor,
        prefix: tuple[Tensor, Tensor | None],
        lengths: Sequence[int],
        steps: int,
        guidance: Guidance,
        sampling: Sampling,
        noise: Noise,
        official: bool,
    ) -> Tensor:
        """Codes (B, T) of one codebook. target: (B, T, C), all that is known of it but this codebook."""
        estimate = (OfficialEstimate if official else BetterEstimate)(
            self.diff_estimator, prefix, lengths, steps, guidance
        )
        table, head = self.token_emb[layer], self.to_logits[layer]

        def logits_at(tokens: Tensor, mask: Tensor, step: int) -> Tensor:
            current = torch.where(mask[..., None], self.mask_emb.weight[0], table(tokens))
            return head(estimate(current + target, step).to(target.dtype))  # type: ignore[no-any-return]

        return decode(logits_at, lengths, steps, sampling, noise, target.device)

    def _check(
        self,
        semantic: Sequence[Tensor],
        prompts: Sequence[Tensor],
        known: Sequence[Tensor] | None,
        steps: Sequence[int],
        layers: int,
    ) -> list[int]:
        """Target lengths."""
        if len(steps) < layers:
            raise InputError(f"{layers} codebooks need as many numbers of steps, not {len(steps)}")
        lengths = [len(s) - len(p) for s, p in zip(semantic, prompts, strict=True)]
        if min(lengths) < 1:
            raise InputError("semantic tokens must cover the prompt and at least one frame of target")
        if known is not None and [len(k) for k in known] != lengths:
            raise InputError("the known codebooks are not as long as the target")
        return lengths
