"""Speech to tokens, once, before training: shards of semantic tokens, acoustic codes, phones and conditions.

What is made of an utterance depends on its key, the seed and the models only, so a run that was cut short goes on where
it was, and parts can be made by different machines.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from reference_models.checkpoints import Source, open_source
from reference_models.config import FEATURE_SAMPLE_RATE, SAMPLE_RATE, Task
from reference_models.errors import InputError
from reference_models.lips import lip_features
from reference_models.loading import fingerprint
from reference_models.mini.acoustics import generator
from reference_models.parts import Parts
from reference_models.seeds import derive_seed
from reference_models.speech import Speech
from reference_models.text.frontend import phonemize
from reference_models.text.tokenizer import Mode
from reference_models.training.conditions import Condition, heard, pcm, seen
from reference_models.training.shards import Example, Fact, ShardWriter, keys_of
from reference_models.training.simulate import World, make_world
from reference_models.training.sounds import SyntheticNoise, Voices, at_16k
from reference_models.training.sources import Utterance, open_sources

Content: TypeAlias = Literal["semantic", "codes", "phones"]
EVERYTHING: tuple[Content, ...] = get_args(Content)
SETTINGS, FAILURES = "tokenize.json", "failures.jsonl"  # beside the shards


@dataclass(frozen=True)
class Failure:
    """An utterance that could not be used."""

    key: str
    reason: str


@dataclass
class Report:
    """How far it is. total: utterances; done: so far; skipped: there before; seconds: of speech done now."""

    total: int
    skipped: int = 0
    examples: int = 0
    seconds: float = 0.0
    failures: list[Failure] = field(default_factory=list)
    done: int = 0


@dataclass(frozen=True)
class _Recipe:
    """What shall be made of each utterance; see `tokenize`."""

    want: tuple[Content, ...]
    audio: bool
    task: Task | None
    copies: int
    seed: int
    mode: Mode
    seconds: tuple[float, float]


def tokenize(
    utterances: Sequence[Utterance],
    out: Path,
    source: Source,
    *,
    want: Collection[Content] = EVERYTHING,
    audio: bool = False,
    task: Task | None = None,
    copies: int = 1,
    world: World | None = None,
    seed: int = 0,
    mode: Mode = "fixed",
    seconds: tuple[float, float] = (0.5, 40.0),
    part: tuple[int, int] = (0, 1),
    per_shard: int = 1000,
    progress: Callable[[Report], None] | None = None,
) -> Report:
    """Write shards of `utterances` into `out`; those that are there already are not made again.

    want:    phones only where there is a text; tts fails without one
    audio:   store the speech too (16 bits, 24 kHz), for simulation on the fly and to train codecs
    task:    add its condition, `copies` times with new draws: vc, tse, se simulated, l2s seen; tts: the tokens of
             another utterance of its speaker, the prompt, before its own. An example each, `KEY-N`
    world:   what simulation draws from; default: synthetic noises and rooms, voices out of `utterances`
    seconds: shorter and longer utterances fail
    part:    (n, of): only every `of`-th utterance from the n-th on, into a folder of its own inside `out`

    A damaged or unfit utterance is a line in `failures.jsonl` and counted. Errors: InputError where `out` holds other
    data, or nothing could be used; MissingPackage
    """
    recipe = _Recipe(tuple(c for c in EVERYTHING if c in want), audio, task, copies, seed, mode, seconds)
    if copies < 1 or not 0 <= part[0] < part[1]:
        raise InputError(f"{copies} copies of part {part[0]} of {part[1]}", fix="at least one copy; parts count from 0")
    if world is None:
        voices = Voices.of(utterances)
        world = World(noises=SyntheticNoise(voices), voices=voices)
    parts = Parts(source, "base")
    if part[1] > 1:
        out = out / f"part-{part[0]:03d}-of-{part[1]:03d}"
    _claim(out, recipe, world, parts)
    mine = sorted(utterances, key=lambda u: u.key)[part[0] :: part[1]]
    report = Report(total=len(mine))
    there = keys_of(out)
    speakers = _by_speaker(utterances) if task == "tts" else {}
    with ShardWriter(out, per_shard) as writer:
        for utterance in mine:
            missing = [n for n in range(copies) if _key(utterance, recipe, n) not in there]
            if not missing:
                report.skipped += 1
            else:
                _one(utterance, missing, recipe, world, speakers, parts, writer, report)
            report.done += 1
            if progress is not None:
                progress(report)
    _write(out / FAILURES, "".join(json.dumps(asdict(f), ensure_ascii=False) + "\n" for f in report.failures))
    if report.failures and not report.examples and not report.skipped:
        first = report.failures[0]
        raise InputError(f"none of {report.total} utterances can be used; {first.key}: {first.reason}")
    return report


def tokenize_sources(
    sources: Sequence[str],
    out: Path,
    weights: str | Path | None,
    *,
    language: str | None = None,
    noise: Path | None = None,
    rooms: Path | None = None,
    converter: str = "world",
    device: str = "cpu",
    **settings: Any,
) -> Report:
    """`tokenize` from names and paths.

    sources, language: see `open_sources`; weights, device: see `open_source`; noise, rooms, converter: see
    `make_world`; settings: the other arguments of `tokenize`
    """
    utterances = open_sources(sources, language=language)
    world = make_world(Voices.of(utterances), noise=noise, rooms=rooms, converter=converter)
    return tokenize(utterances, out, open_source(weights, device=device), world=world, **settings)


def _one(
    utterance: Utterance,
    missing: Sequence[int],
    recipe: _Recipe,
    world: World,
    voices: Mapping[str, Sequence[Utterance]],
    parts: Parts,
    writer: ShardWriter,
    report: Report,
) -> None:
    """All missing examples of an utterance, or none and its failure."""
    try:
        speech = utterance.load()
        examples = list(_examples(utterance, speech, missing, recipe, world, parts))
        if recipe.task == "tts":
            examples = [_prompted(utterance, example, recipe, voices, parts) for example in examples]
    except InputError as error:
        report.failures.append(Failure(utterance.key, error.message))
        return
    for example in examples:
        writer.write(example)
    report.examples += len(examples)
    report.seconds += speech.seconds


@torch.inference_mode()
def _examples(
    utterance: Utterance, speech: Speech, missing: Sequence[int], recipe: _Recipe, world: World, parts: Parts
) -> Iterator[Example]:
    _check(utterance, speech, recipe)
    arrays, frames = _tokens(utterance, speech, recipe, parts)
    if recipe.audio:
        arrays["audio"] = pcm(speech)
    facts: dict[str, Fact] = {name: getattr(utterance, name) for name in ("text", "language", "speaker")}
    facts |= {"seconds": round(speech.seconds, 4), "task": recipe.task}
    condition = _conditions(utterance, speech, frames, recipe, world, parts)
    for copy in missing:
        example = Example(_key(utterance, recipe, copy), frames, arrays, facts)
        yield example if condition is None else condition(copy).added_to(example)


def _tokens(utterance: Utterance, speech: Speech, recipe: _Recipe, parts: Parts) -> tuple[dict[str, NDArray[Any]], int]:
    """What is wanted of an utterance, and its frames."""
    arrays: dict[str, NDArray[Any]] = {}
    features = parts.features(speech.at(FEATURE_SAMPLE_RATE).to(parts.features.mean.device))  # (1, T, C)
    frames = features.shape[1]
    if "semantic" in recipe.want:
        arrays["semantic"] = _ints(parts.semantic_codec.encode(features)[0])  # (T,)
    if "codes" in recipe.want:
        codes = acoustic_codes(speech, parts)
        frames = min(frames, len(codes))
        arrays["codes"] = _ints(codes)  # (T, Q)
    if "phones" in recipe.want and utterance.text is not None:
        pronouncer = parts.pronouncer(utterance.text, recipe.mode)
        phones = phonemize(utterance.text, utterance.language, recipe.mode, mandarin=pronouncer)
        arrays["phones"] = np.array(phones.ids, np.int16)  # (P,)
    return {name: array if name == "phones" else array[:frames] for name, array in arrays.items()}, frames


def _by_speaker(utterances: Sequence[Utterance]) -> dict[str, list[Utterance]]:
    """Utterances with a text by who says them, in the order of their keys."""
    found: dict[str, list[Utterance]] = {}
    for utterance in sorted(utterances, key=lambda u: u.key):
        if utterance.speaker is not None and utterance.text is not None:
            found.setdefault(utterance.speaker, []).append(utterance)
    return found


@torch.inference_mode()
def _prompted(
    utterance: Utterance,
    example: Example,
    recipe: _Recipe,
    voices: Mapping[str, Sequence[Utterance]],
    parts: Parts,
) -> Example:
    """The example behind another utterance of its speaker: the prompt, and its phones before the example's.

    Errors: InputError where the speaker says nothing else
    """
    others = [u for u in voices.get(utterance.speaker or "", ()) if u.key != utterance.key]
    if not others:
        raise InputError("its speaker says nothing else that could be the prompt")
    draw = generator(derive_seed("prompt", recipe.seed, example.key))
    before = others[int(draw.randint(len(others)))]
    speech = before.load()
    arrays, frames = _tokens(before, speech, recipe, parts)
    joined = {name: np.concatenate([array, example.arrays[name]]) for name, array in arrays.items()}
    seconds = round(speech.seconds + float(example.facts["seconds"] or 0.0), 4)
    facts = {**example.facts, "text": f"{before.text} {utterance.text}", "seconds": seconds, "prompt": frames}
    return Example(example.key, frames + example.frames, joined, facts)


def acoustic_codes(speech: Speech, parts: Parts) -> Tensor:
    """(F, Q)."""
    wav = speech.at(SAMPLE_RATE).to(parts.features.mean.device)
    return parts.decoder.quantize(parts.encoder(wav[None, None]))[0][0]


def _conditions(
    utterance: Utterance, speech: Speech, frames: int, recipe: _Recipe, world: World, parts: Parts
) -> Callable[[int], Condition] | None:
    """What makes the condition of a copy; None for tasks without one."""

    def draws(copy: int) -> np.random.RandomState:
        return generator(derive_seed("tokenize", recipe.seed, copy, utterance.key))

    task = recipe.task
    if task is None or task == "tts":
        return None
    if task == "l2s":
        assert utterance.video is not None  # `_check` saw to it
        visual = lip_features(utterance.video(), parts.visual)  # (V, D)
        return lambda copy: seen(visual, frames, draws(copy), world.chances)
    clean = at_16k(speech)
    key, speaker = utterance.key, utterance.speaker
    return lambda copy: heard(task, clean, parts.features, draws(copy), world, key=key, speaker=speaker)


def _check(utterance: Utterance, speech: Speech, recipe: _Recipe) -> None:
    shortest, longest = recipe.seconds
    if not shortest <= speech.seconds <= longest:
        raise InputError(f"its {speech.seconds:.2f} s are not between {shortest} and {longest} s")
    if not speech.samples.any():
        raise InputError("it is silent")
    if recipe.task == "tts" and utterance.text is None:
        raise InputError("it has no text")
    if recipe.task == "l2s" and utterance.video is None:
        raise InputError("it has no video")


def _key(utterance: Utterance, recipe: _Recipe, copy: int) -> str:
    return utterance.key if recipe.copies == 1 else f"{utterance.key}-{copy}"


def _claim(out: Path, recipe: _Recipe, world: World, parts: Parts) -> None:
    """Note in `out` what is made there. Errors: InputError where something else was."""
    models: list[nn.Module] = [parts.features]
    models += [parts.semantic_codec] if "semantic" in recipe.want else []
    models += [parts.encoder, parts.decoder] if "codes" in recipe.want else []
    models += [parts.visual] if recipe.task == "l2s" else []
    settings = {**asdict(recipe), "models": [fingerprint(model.state_dict()) for model in models]}
    if recipe.task in ("vc", "tse", "se"):
        settings["simulation"] = world.described()
    elif recipe.task == "l2s":
        settings["simulation"] = asdict(world.chances)
    settings = json.loads(json.dumps(settings))  # tuples become lists
    path = out / SETTINGS
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
        changed = sorted(name for name in settings | before if settings.get(name) != before.get(name))
        if changed:
            raise InputError(
                f"{out} holds data made with another {', '.join(changed)}", fix="choose another folder, or remove it"
            )
    out.mkdir(parents=True, exist_ok=True)
    _write(path, json.dumps(settings, indent=1))


def _ints(tokens: Tensor) -> NDArray[np.int32]:
    return tokens.cpu().numpy().astype(np.int32)


def _write(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
