from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from metis_bench.audio import Audio, load
from metis_bench.corpora.base import Item
from metis_bench.corpora.mini import Mini, MiniParams
from metis_bench.errors import ItemError, MissingPrerequisite
from metis_bench.systems import world_vocoder as world
from metis_bench.systems.base import Request, System, systems


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> tuple[Item, ...]:
    pytest.importorskip("espeakng_loader")
    pytest.importorskip("pyworld")
    return Mini(MiniParams(task="vc", items=6), None, tmp_path_factory.mktemp("cache")).load().items


def request(item: Item) -> Request:
    assert item.prompt and item.source and item.reference
    audio = {"prompt": load(item.prompt), "source": load(item.source), "reference": load(item.reference)}
    return Request(item.id, "vc", "en", 0, text=item.text, prompt_text=item.prompt_text, **audio)


def made(name: str) -> System:
    cls = systems.get(name)
    system = cls(cls.params_type())
    system.check()
    system.setup()
    return system


def embed(audio: Audio) -> np.ndarray:
    from metis_bench.metrics.speakers import ge2e

    return ge2e.embed(ge2e.raise_volume(audio.resampled(ge2e.RATE).samples))


def pitch_hz(audio: Audio) -> float:
    f0 = world.analyse(audio).f0
    return float(np.exp(np.log(f0[f0 > 0]).mean()))


def test_warping_moves_a_peak_by_the_ratio() -> None:
    peak = np.exp(-(((np.arange(512) - 100) / 5.0) ** 2))[None]
    assert np.argmax(world.warp_axis(peak, 1.2)) == 120
    assert np.argmax(world.warp_axis(peak, 0.8)) == 80
    np.testing.assert_allclose(world.warp_axis(peak, 1.0), peak)


def test_matched_pitch_has_the_targets_mean_and_spread() -> None:
    rng = np.random.default_rng(0)
    f0 = np.exp(rng.normal(np.log(100), 0.10, 4000)) * (rng.random(4000) > 0.3)
    target = np.exp(rng.normal(np.log(200), 0.15, 4000))
    out = world.match_pitch(f0, target)
    assert ((out > 0) == (f0 > 0)).all()
    assert np.log(out[out > 0]).mean() == pytest.approx(np.log(target).mean(), abs=1e-6)
    assert np.log(out[out > 0]).std() == pytest.approx(np.log(target).std(), rel=1e-3)


def test_a_flat_pitch_is_not_blown_up() -> None:
    out = world.match_pitch(np.full(100, 120.0), np.array([100.0, 300.0] * 50))
    np.testing.assert_allclose(out, np.sqrt(100 * 300))


def test_smoothing_keeps_constants_and_length() -> None:
    np.testing.assert_allclose(world.smooth(np.full(513, 3.0), 22050), 3.0)


def test_the_warp_between_a_voice_and_its_own_stretched_copy_is_found() -> None:
    rng = np.random.default_rng(1)
    bins, frames = 513, 300
    at, centres = np.arange(bins), rng.uniform(20, 200, (frames, 3))
    log_env = -10 + sum(6 * np.exp(-(((at - centres[:, k : k + 1]) / 8) ** 2)) for k in range(3))
    voice = world.Voiceprint(np.full(frames, 120.0), np.exp(log_env), np.zeros((0, 0)), 22050)
    for warp in (0.85, 1.0, 1.15):
        stretched = world.Voiceprint(voice.f0, np.exp(world.warp_axis(log_env, warp)), voice.aperiodicity, 22050)
        assert world.choose_warp(voice, stretched) == pytest.approx(warp, abs=0.026)


def test_copy_synthesis_keeps_voice_pitch_rate_and_length(items: tuple[Item, ...]) -> None:
    system, asked = made("world-copy"), request(items[0])
    assert asked.reference is not None
    out = system.generate(asked)
    assert (out.rate, len(out.samples)) == (asked.reference.rate, len(asked.reference.samples))
    assert pitch_hz(out) == pytest.approx(pitch_hz(asked.reference), rel=0.03)
    np.testing.assert_array_equal(out.samples, system.generate(asked).samples)


def test_conversion_keeps_the_length_and_takes_the_prompts_pitch(items: tuple[Item, ...]) -> None:
    system = made("world-vc")
    for item in items[:2]:
        asked = request(item)
        assert asked.prompt is not None and asked.source is not None
        out = system.generate(asked)
        assert out.seconds == pytest.approx(asked.source.seconds, abs=1e-3)
        assert np.isfinite(out.samples).all() and np.abs(out.samples).max() <= 1.0
        assert pitch_hz(out) == pytest.approx(pitch_hz(asked.prompt), rel=0.08)


@pytest.mark.long
def test_conversion_moves_the_voice_to_the_prompt(items: tuple[Item, ...]) -> None:
    pytest.importorskip("resemblyzer")
    system, gains = made("world-vc"), []
    for item in items:  # every talker once as target and once as source
        asked = request(item)
        assert asked.prompt is not None and asked.source is not None
        voice = embed(asked.prompt)
        gains.append(float(embed(system.generate(asked)) @ voice - embed(asked.source) @ voice))
    assert np.mean(gains) > 0.08


def test_cloning_is_closer_to_the_prompt_than_plain_espeak(items: tuple[Item, ...]) -> None:
    pytest.importorskip("resemblyzer")
    plain, cloning, gains = made("espeak"), made("espeak-world"), []
    try:
        for item in items[3:6]:
            asked = request(item)
            assert asked.prompt is not None
            voice, out = embed(asked.prompt), cloning.generate(asked)
            gains.append(float((embed(out) - embed(plain.generate(asked))) @ voice))
    finally:
        plain.close()
        cloning.close()
    assert np.mean(gains) > 0.05


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_any_rate_is_accepted(items: tuple[Item, ...], rate: int) -> None:
    asked = request(items[0])
    assert asked.source is not None and asked.prompt is not None
    out = world.transfer(asked.source.resampled(rate), asked.prompt.resampled(8_000))
    assert out.rate == max(rate, 16_000)
    assert out.samples.any()


@pytest.mark.parametrize("what", ["silence", "noise", "two samples"])
def test_a_prompt_without_voice_is_an_item_error(items: tuple[Item, ...], what: str) -> None:
    samples = {
        "silence": np.zeros(16_000, np.float32),
        "noise": np.random.default_rng(0).standard_normal(16_000).astype(np.float32) * 0.1,
        "two samples": np.full(2, 0.1, np.float32),
    }[what]
    source = request(items[0]).source
    assert source is not None
    with pytest.raises(ItemError, match="prompt holds no voiced speech"):
        world.transfer(source, Audio(samples, 16_000))


def test_missing_packages_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyworld", None)
    with pytest.raises(MissingPrerequisite, match=r"pip install .*\[embedded\]"):
        world.load_pyworld()


def test_pyworld_without_pkg_resources_names_the_pin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "pyworld.py").write_text("import pkg_resources_gone\n".replace("_gone", ""))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "pyworld", raising=False)
    monkeypatch.setitem(sys.modules, "pkg_resources", None)
    with pytest.raises(MissingPrerequisite, match="setuptools<81"):
        world.load_pyworld()
