"""From jobs to waveforms with random weights: shapes, determinism, independence of the batch, both modes."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from reference_models import pipeline
from reference_models.batching import grouped
from reference_models.checkpoints import Source, open_source
from reference_models.codecs.acoustic import encoder_frames
from reference_models.config import SAMPLE_RATE, SEMANTIC_RATE
from reference_models.errors import InputError, MetisError
from reference_models.features import frames
from reference_models.jobs import DEFAULTS, MAX_SECONDS, Job
from reference_models.noise import SeededNoise
from reference_models.pipeline import Metis
from reference_models.prepare import Prepared, prepare
from reference_models.speech import Speech

FAST: dict[str, Any] = {"steps": 3, "first_steps": 3, "fine_steps": (2, *[1] * 10)}


@pytest.fixture(scope="module")
def tiny() -> Source:
    return open_source("random-tiny")


def voice(seconds: float, seed: int, rate: int = 16_000) -> Speech:
    """A buzz with a moving pitch and some noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * rate)) / rate
    phase = 2 * np.pi * np.cumsum(120 + 40 * np.sin(2 * np.pi * (0.5 + rng.random()) * t)) / rate
    wave = sum(np.sin(k * phase) / k for k in range(1, 12)) + 0.1 * rng.standard_normal(len(t))
    return Speech((0.1 * wave).astype(np.float32), rate)


def jobs_of(task: str, n: int = 1) -> list[Job]:
    """Jobs of unequal lengths."""
    made = []
    for i in range(n):
        prompt, source = voice(0.6 + 0.13 * i, i), voice(0.5 + 0.21 * (i % 5), 100 + i, 24_000)
        video = torch.randn(9 + 4 * i, 24, generator=torch.Generator().manual_seed(i))
        made.append(
            {
                "tts": Job("tts", text="Hello." * (1 + i % 3), prompt=prompt, prompt_text="Good day.", seed=i),
                "vc": Job("vc", source=source, prompt=prompt, seed=i),
                "tse": Job("tse", source=source, prompt=prompt, seed=i),
                "se": Job("se", source=source, seed=i),
                "l2s": Job("l2s", video=video, prompt=prompt if i % 2 else None, seed=i),
            }[task]
        )
    return made


TASKS = ["tts", "vc", "tse", "se", "l2s"]


def needs_text(task: str) -> None:
    if task == "tts":
        pytest.importorskip("espeakng_loader")
        pytest.importorskip("inflect")


@pytest.mark.parametrize("official", [False, True])
@pytest.mark.parametrize("task", TASKS)
def test_every_task_speaks_at_24_khz_and_repeats_itself(tiny: Source, task: str, official: bool) -> None:
    needs_text(task)
    metis, job = Metis(tiny, task, official=official), jobs_of(task)[0]
    first, again = (metis.generate([job], **FAST)[0] for _ in range(2))
    other = metis.generate([replace(job, seed=99)], **FAST)[0]
    assert first.rate == SAMPLE_RATE and np.isfinite(first.samples).all()
    assert np.array_equal(first.samples, again.samples)
    assert not np.array_equal(first.samples[:400], other.samples[:400])


@pytest.mark.parametrize("task", TASKS)
def test_durations_follow_the_source(tiny: Source, task: str) -> None:
    needs_text(task)
    metis, job = Metis(tiny, task), jobs_of(task)[0]
    made = metis.generate([job], **FAST)[0]
    prompt = 0 if job.prompt is None else frames(len(job.prompt.at(16_000)))
    if task == "l2s":
        want = 2 * len(job.video)
    elif task == "tts":
        want = round(made.seconds * SEMANTIC_RATE)
        fixed = metis.generate([replace(job, seconds=0.5)], **FAST)[0]
        assert len(fixed.samples) == 0.5 * SAMPLE_RATE
    else:
        heard = len(job.source.at(16_000)) + (0 if job.prompt is None else len(job.prompt.at(16_000)))
        want = frames(heard) - prompt
    assert len(made.samples) == want * SAMPLE_RATE // SEMANTIC_RATE


@pytest.mark.parametrize("task", TASKS)
def test_results_do_not_depend_on_the_batch(tiny: Source, task: str) -> None:
    """Eight jobs one by one, and in batches of 3 and 8, shuffled."""
    needs_text(task)
    metis, jobs = Metis(tiny, task), jobs_of(task, 8)
    alone = metis.generate(jobs, batch_size=1, **FAST)
    for size in (3, 8):
        order = random.Random(size).sample(range(8), 8)
        together = metis.generate([jobs[i] for i in order], batch_size=size, **FAST)
        for i, made in zip(order, together, strict=True):
            assert np.array_equal(made.samples, alone[i].samples), (size, i)


def test_batches_hold_similar_lengths_and_are_really_used(tiny: Source) -> None:
    sizes: list[int] = []
    metis = Metis(tiny, "se")
    decode = metis.decode
    metis.decode = lambda batch: sizes.append(len(batch)) or decode(batch)  # type: ignore[method-assign]
    done: list[tuple[int, int]] = []
    metis.generate(jobs_of("se", 8), batch_size=3, progress=lambda i, n: done.append((i, n)), **FAST)
    assert sizes == [3, 3, 2] and done == [(3, 8), (6, 8), (8, 8)]


@pytest.mark.parametrize("task", ["tts", "se"])
def test_lengths_rounded_up_change_nothing(tiny: Source, task: str) -> None:
    """What compiled passes on a GPU do, so that few lengths differ."""
    needs_text(task)
    plain, rounded = Metis(tiny, task), Metis(tiny, task)
    for model in (rounded.parts.stage1, rounded.parts.first, rounded.parts.fine):
        model.diff_estimator.bucket = 16
    for one, other in zip(*(m.generate(jobs_of(task, 3), **FAST) for m in (plain, rounded)), strict=True):
        assert np.array_equal(one.samples, other.samples)


def test_a_pass_compiles_whole(tiny: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    """No graph breaks, and one graph for all lengths; the C++ compiler is not needed for that."""
    made: list[int] = []

    def backend(graph: torch.fx.GraphModule, _inputs: object) -> Any:
        made.append(len(graph.graph.nodes))
        return graph.forward

    compiled = torch.nn.Module.compile
    whole = {"backend": backend, "fullgraph": True}
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **how: compiled(self, **{**how, **whole}))
    plain, quick = Metis(tiny, "se"), Metis(tiny, "se", compiled=True)
    jobs = jobs_of("se", 3)
    for one, other in zip(*(m.generate(jobs, batch_size=1, **FAST) for m in (plain, quick)), strict=True):
        assert np.array_equal(one.samples, other.samples)
    assert 1 <= len(made) <= 3, "equal models share a graph, and all lengths do"
    with pytest.raises(InputError, match="not compiled"):
        Metis(tiny, "se", official=True, compiled=True)


def test_a_batch_that_does_not_fit_is_split(tiny: Source) -> None:
    metis, jobs = Metis(tiny, "se"), jobs_of("se", 5)
    expected = metis.generate(jobs, **FAST)
    decode, sizes = metis.decode, []

    def small(batch: Any) -> Any:
        sizes.append(len(batch))
        if len(batch) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return decode(batch)

    metis.decode = small  # type: ignore[method-assign]
    for one, other in zip(metis.generate(jobs, **FAST), expected, strict=True):
        assert np.array_equal(one.samples, other.samples)
    assert max(sizes) > 2 and sum(n for n in sizes if n <= 2) == 5
    metis.decode = lambda _batch: (_ for _ in ()).throw(torch.OutOfMemoryError("no"))  # type: ignore[method-assign]
    with pytest.raises(MetisError, match="not enough memory for"):
        metis.generate(jobs[:1], **FAST)
    metis.decode = lambda _batch: (_ for _ in ()).throw(RuntimeError("a bug"))  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="a bug"):
        metis.generate(jobs, **FAST)


def test_jobs_share_a_batch_where_little_is_padded() -> None:
    def job(frames: int, text: bool = False) -> Prepared:
        none = torch.zeros(0, dtype=torch.int64)
        return Prepared(none, none, none if text else None, None, frames, 0, DEFAULTS["se"])

    jobs = [job(100), job(30), job(95), job(101, text=True), job(90), job(32)]
    assert sorted(grouped(jobs, 8, float("inf"))) == [[1, 5], [3], [4, 2, 0]], "short ones, one with a text, long ones"
    assert sorted(grouped(jobs, 2, float("inf"))) == [[0], [1, 5], [3], [4, 2]]
    assert sorted(grouped(jobs, 8, 200.0)) == [[0], [1, 5], [3], [4, 2]], "padded tokens"


def test_a_prompt_is_heard_once(tiny: Source) -> None:
    metis, prompt = Metis(tiny, "vc"), voice(0.7, 1)
    heard: list[int] = []
    encode = metis.parts.encoder.forward
    metis.parts.encoder.forward = lambda x: heard.append(x.shape[-1]) or encode(x)  # type: ignore[method-assign]
    jobs = [Job("vc", source=voice(0.5, 2), prompt=replace(prompt), seed=seed) for seed in range(3)]
    first = [prepare(job, metis.parts, DEFAULTS["vc"]) for job in jobs]
    assert len(heard) == 1 and all(torch.equal(p.codes, first[0].codes) for p in first)
    prepare(replace(jobs[0], prompt=voice(0.7, 3)), metis.parts, DEFAULTS["vc"])
    assert len(heard) == 2


def test_default_mode_makes_the_official_modes_tokens_from_the_same_noise(tiny: Source) -> None:
    """For each stage, where the two modes are given the same."""
    job = jobs_of("vc")[0]
    better, official = Metis(tiny, "vc"), Metis(tiny, "vc", official=True)
    batch = [prepare(job, better.parts, replace(DEFAULTS["vc"], steps=6, first_steps=6))]
    semantic = [m.semantic(batch, SeededNoise.of([3])) for m in (better, official)]
    assert torch.equal(semantic[0][0], semantic[1][0])
    codes = [m.acoustic(batch, semantic[0], SeededNoise.of([3])) for m in (better, official)]
    assert torch.equal(codes[0][0], codes[1][0])


def test_stage_1_can_do_without_the_prompt_of_a_tts(tiny: Source) -> None:
    """Its text and tokens are gone from stage 1; the rule for durations and S2A still have them."""
    metis, (job,) = Metis(tiny, "tts"), jobs_of("tts")[:1]
    full, bare = (prepare(job, metis.parts, metis.settings(job, stage1_prompt=given)) for given in (True, False))
    assert full.phones is not None and bare.phones is not None and 0 < len(bare.phones) < len(full.phones)
    assert torch.equal(full.phones[-len(bare.phones) :], bare.phones)
    assert full.frames == bare.frames and torch.equal(full.codes, bare.codes)
    seen: list[list[int]] = []
    generate = metis.parts.stage1.generate
    metis.parts.stage1.generate = lambda f, prompts, *a, **k: (  # type: ignore[method-assign]
        seen.append([len(p) for p in prompts]) or generate(f, prompts, *a, **k)
    )
    made = [metis.generate([job], **{**FAST, "stage1_prompt": given})[0] for given in (True, False)]
    assert seen == [[len(full.prompt)], [0]] and len(full.prompt) > 0
    assert len(made[0].samples) == len(made[1].samples) and not np.array_equal(made[0].samples, made[1].samples)


def test_a_condition_keeps_the_prompt_of_stage_1(tiny: Source) -> None:
    job = jobs_of("vc")[0]
    with_it, without = (Metis(tiny, "vc").generate([job], **{**FAST, "stage1_prompt": g})[0] for g in (True, False))
    assert np.array_equal(with_it.samples, without.samples)


def test_prompt_codes_are_cut_to_the_prompts_tokens_in_default_mode(tiny: Source) -> None:
    """The release hands over one code more than tokens, and so loses the target's first frame."""
    parts = Metis(tiny, "vc").parts
    for seconds in (0.5, 0.61, 0.777, 1.0):
        job = Job("vc", source=voice(0.7, 1), prompt=voice(seconds, 2))
        made = prepare(job, parts, DEFAULTS["vc"])
        assert len(made.codes) == len(made.prompt)
        assert made.condition is not None and len(made.condition) == len(made.prompt) + made.frames
    longer = [
        len(prepare(j, parts, DEFAULTS["vc"], official=True).codes)
        for j in [Job("vc", source=voice(0.7, 1), prompt=voice(1.0, 2))]
    ]
    assert longer == [50]


def test_prompts_never_have_fewer_codes_than_tokens() -> None:
    """What `prepare` relies on when it cuts."""
    for samples in range(560, 16_000):  # at 16 kHz; at 24 kHz there may be one sample less than three halves
        assert encoder_frames(samples * 3 // 2 - 1) >= frames(samples), samples


def test_omni_may_be_told_the_text(tiny: Source) -> None:
    pytest.importorskip("espeakng_loader")
    pytest.importorskip("inflect")
    metis = Metis(tiny, "omni")
    for task in ("tse", "se"):
        job = jobs_of(task)[0]
        plain, told = (metis.generate([j], **FAST)[0] for j in (job, replace(job, text="Hello there.")))
        assert plain.samples.shape == told.samples.shape
        assert not np.array_equal(plain.samples, told.samples)


@pytest.mark.parametrize(
    ("job", "message"),
    [
        (Job("tts", text="Hi.", prompt=voice(0.5, 0)), "needs a prompt text"),
        (Job("vc", source=voice(0.5, 0)), "needs a prompt"),
        (Job("se"), "needs a source"),
        (Job("se", source=voice(0.5, 0), prompt=voice(0.5, 1)), "takes no prompt"),
        (Job("l2s"), "needs a video"),
        (Job("se", source=voice(MAX_SECONDS + 1, 0, 8_000)), "at most 60 s"),
        (Job("se", source=voice(0.03, 0)), "at least 560"),
        (Job("tts", text="Hi.", prompt=voice(0.5, 0), prompt_text="Ho.", seconds=-1.0), "a duration of -1.0 s"),
        (Job("se", source=voice(0.5, 0), text="Hi."), "cannot be told a text"),
        (Job("l2s", video=torch.zeros(int(25 * MAX_SECONDS) + 1, 24)), "60.0 s of prompt and target; at most 60 s"),
        (Job("l2s", video=torch.zeros(0, 24)), "finite floats"),
        (Job("l2s", video=torch.zeros(24)), "finite floats"),
        (Job("l2s", video=torch.zeros(5, 24, dtype=torch.int64)), "finite floats"),
        (Job("l2s", video=torch.full((5, 24), torch.nan)), "finite floats"),
        (Job("l2s", video=torch.zeros(5, 23)), r"shape \(10, 23\), prompt and target need \(10, 24\)"),
    ],
)
def test_jobs_that_cannot_be_done_say_why(tiny: Source, job: Job, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Metis(tiny, job.task).generate([job], **FAST)


def test_unknown_tasks_and_impossible_settings_are_refused(tiny: Source) -> None:
    with pytest.raises(InputError, match="there is no task 'sse'"):
        Job("sse")  # type: ignore[arg-type]
    for changes in ({"steps": 0}, {"steps": 2.5}, {"first_steps": -1}, {"fine_steps": (1, 0)}):
        with pytest.raises(InputError, match="at least one step"):
            Metis(tiny, "se").generate(jobs_of("se"), **{**FAST, **changes})
    with pytest.raises(InputError, match="12 codebooks"):
        Metis(tiny, "se").generate(jobs_of("se"), **{**FAST, "fine_steps": (1, 1)})


def test_no_jobs_make_no_speech(tiny: Source) -> None:
    assert Metis(tiny, "se").generate([]) == []


@pytest.mark.parametrize("official", [False, True])
def test_any_integer_is_a_seed(tiny: Source, official: bool) -> None:
    """The lowest 64 bits count."""
    metis, job = Metis(tiny, "se", official=official), jobs_of("se")[0]
    low, high, negative = (metis.generate([replace(job, seed=s)], **FAST)[0].samples for s in (5, 5 + 2**80, -5))
    assert np.array_equal(low, high) and not np.array_equal(low, negative)


def test_official_mode_speaks_where_no_text_has_phones(tiny: Source) -> None:
    pytest.importorskip("espeakng_loader")
    job = Job("tts", text="!!", prompt=voice(0.6, 0), prompt_text="?", language="fr")
    prepared = prepare(job, Metis(tiny, "tts").parts, replace(DEFAULTS["tts"], length_rule="bytes"), official=True)
    assert prepared.phones is not None and len(prepared.phones) == 0
    spoken = len(prepared.prompt) + prepared.frames - len(prepared.codes)  # the release's loss, see `prepare`
    assert len(Metis(tiny, "tts", official=True).generate([job], **FAST)[0].samples) == spoken * 480


@pytest.mark.parametrize("samples", [np.zeros(0), np.zeros((2, 5)), np.array([0.0, np.nan])])
def test_speech_is_a_finite_vector(samples: np.ndarray) -> None:
    with pytest.raises(InputError):
        Speech(samples.astype(np.float32), 16_000)


def test_speech_has_full_scale_1_and_a_rate() -> None:
    with pytest.raises(InputError, match="not int16"):
        Speech(np.ones(9, np.int16), 16_000)  # type: ignore[arg-type]
    for rate in (0, -16_000):
        with pytest.raises(InputError, match="a sample rate"):
            Speech(np.ones(9, np.float32), rate)


RATES = [(44_100, 16_000), (16_000, 24_000), (8_000, 24_000), (22_050, 24_000), (44_100, 24_000)]


@pytest.mark.parametrize("seconds", [0.4123, 1.0])  # a whole second at 44.1 kHz has one sample more, at 24 kHz
@pytest.mark.parametrize("rates", RATES)
def test_resampling_is_librosas(rates: tuple[int, int], seconds: float) -> None:
    librosa = pytest.importorskip("librosa")
    speech = voice(seconds, 5, rates[0])
    want = librosa.resample(speech.samples, orig_sr=rates[0], target_sr=rates[1])
    np.testing.assert_array_equal(speech.at(rates[1]).numpy(), want)


def test_half_precision_changes_little_but_runs(tiny: Source) -> None:
    job = jobs_of("se")[0]
    made = Metis(open_source("random-tiny", dtype=torch.bfloat16), "se").generate([job], **FAST)[0]
    assert len(made.samples) == len(Metis(tiny, "se").generate([job], **FAST)[0].samples)
    assert np.isfinite(made.samples).all()


@pytest.mark.parametrize("task", ["tts", "vc", "tse", "se"])
def test_real_recordings_go_through(tiny: Source, task: str, real) -> None:
    import soundfile

    def read(name: str) -> Speech:
        samples, rate = soundfile.read(real / "prompts" / f"metis_{name}.wav", dtype="float32", always_2d=True)
        return Speech(samples.mean(1), rate)

    needs_text(task)
    job = {
        "tts": lambda: Job("tts", text="A short test.", prompt=read("tts_prompt"), prompt_text="We do not break."),
        "vc": lambda: Job("vc", source=read("vc_source"), prompt=read("vc_prompt")),
        "tse": lambda: Job("tse", source=read("tse_mix"), prompt=read("tse_prompt")),
        "se": lambda: Job("se", source=read("se_noise")),
    }[task]()
    made = Metis(tiny, task).generate([job], steps=2, first_steps=2, fine_steps=(1,) * 11)[0]
    assert made.rate == SAMPLE_RATE and np.isfinite(made.samples).all() and made.samples.std() > 0
    if job.source is not None:
        assert abs(made.seconds - job.source.seconds) < 0.05
    assert pipeline.SAMPLE_RATE == 24_000


def test_a_model_refuses_tasks_it_was_not_trained_for(tiny: Source) -> None:
    """It would run, and give something: only its own files say what it is for."""
    with pytest.raises(InputError, match="trained for vc, not for se"):
        Metis(tiny, "vc").generate(jobs_of("se"), **FAST)
    with pytest.raises(InputError, match="trained for tts, vc, tse, se, not for l2s"):
        Metis(tiny, "omni").generate(jobs_of("l2s"), **FAST)
