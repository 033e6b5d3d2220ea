"""The reference models as systems: what they need, what identifies them, and what happens without good weights."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from metis_bench.audio import Audio
from metis_bench.config import CHECKPOINTS, load_config
from metis_bench.errors import ItemError, MissingPrerequisite, SuiteError
from metis_bench.sources import source_files
from metis_bench.suite.load import load_suite, presets, system_names
from metis_bench.systems.base import Request, System, fingerprint, systems
from metis_bench.systems.metis import MetisOmni, MetisParams, MetisSE, MetisTTS, MetisVC, ReferenceSystem
from metis_bench.systems.metis_codec import CodecParams, MetisCodec
from reference_models import registry
from reference_models.random_weights import write_random

SE_FILES = [
    "metis_se_full",
    "maskgct_s2a_model_1layer",
    "maskgct_s2a_model_full",
    "acoustic_codec_decoder",
    "w2v_bert_2.0",
    "wav2vec2bert_stats",
]


@pytest.fixture(autouse=True)
def no_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CHECKPOINTS, raising=False)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that speech enhancement reads, tiny, in the release's layout."""
    folder = tmp_path_factory.mktemp("weights")
    write_random(folder, "tiny", names=SE_FILES)
    return folder


def request(seed: int = 0, **fields: object) -> Request:
    source = Audio(np.random.default_rng(1).normal(0, 0.05, 16_000).astype(np.float32), 16_000)
    return Request(id="a", task="se", language="en", seed=seed, source=fields.get("source", source))  # type: ignore[arg-type]


def test_every_task_has_a_reference_system_and_the_releases_variants_are_presets() -> None:
    reference = {n for n in systems.names() if issubclass(systems.get(n), ReferenceSystem)}
    assert reference == {"metis-tts", "metis-vc", "metis-tse", "metis-se", "metis-l2s", "metis-omni"}
    assert {"metis-vc-lora16", "metis-tse-lora32", "metis-se-lora32"} <= set(presets())
    for name in presets():
        type_name, params = system_names()[name]
        cls = systems.get(type_name)
        system = cls(cls.params_type.model_validate(params))
        assert type_name == "metis-codec" or system.parts()


def test_a_preset_is_a_system_of_any_suite() -> None:
    suite = load_suite("se", "paper", only_systems=["metis-se-lora32", "noisy"])
    spec = suite.systems[0]
    assert (spec.name, spec.type, spec.params.variant) == ("metis-se-lora32", "metis-se", "se-lora-32")  # type: ignore[attr-defined]
    changed = load_suite("se", "paper", overrides=["systems.metis-se-lora32.dtype=bfloat16"])
    (spec,) = [s for s in changed.systems if s.name == "metis-se-lora32"]
    assert spec.params.model_dump(include={"variant", "dtype"}) == {"variant": "se-lora-32", "dtype": "bfloat16"}


def test_a_prompt_is_cut_where_it_has_no_text() -> None:
    voice = Audio(np.arange(16_000, dtype=np.float32) / 16_000, 16_000)
    asked = {"prompt": voice, "source": voice, "text": "ten", "prompt_text": "ten", "seed": 0, "language": "en"}
    lengths = {}
    for task in ("vc", "tts"):
        job = MetisOmni(MetisParams(prompt_s=0.25))._job(Request(id="a", task=task, **asked))  # type: ignore[arg-type]
        assert job.prompt is not None
        lengths[task] = len(job.prompt.samples)
    assert lengths == {"vc": 4000, "tts": 16_000}
    with pytest.raises(SuiteError, match="'prompt_s' has no effect here"):
        MetisTTS(MetisParams(checkpoint="random-tiny", prompt_s=1.0)).check()


def test_items_are_generated_together_and_fail_alone(weights: Path) -> None:
    system = MetisSE(MetisParams(checkpoint=str(weights), steps=2))
    assert [MetisSE(MetisParams(batch=b)).batch_on(gpu) for b in (None, 4) for gpu in (False, True)] == [1, 32, 4, 4]
    assert MetisSE(MetisParams(mode="official")).batch_on(gpu=True) == 1
    system.setup()
    requests = [request(0), request(1), request(2)]
    alone = [system.generate(one) for one in requests]
    together = list(system.generate_all(requests))
    short = request(3, source=Audio(np.zeros(10, np.float32), 16_000))
    with_short = list(system.generate_all([requests[0], short, requests[2]]))
    for made in (together, [with_short[0], alone[1], with_short[2]]):
        assert all(
            isinstance(a, Audio) and np.array_equal(a.samples, b.samples) for a, b in zip(made, alone, strict=True)
        )
    assert isinstance(with_short[1], ItemError)


def test_parameters_decide_what_is_read() -> None:
    assert MetisTTS(MetisParams()).needs_for("tts") == {"text", "prompt", "prompt_text"}
    assert "duration" in MetisTTS(MetisParams(duration="ground-truth")).needs_for("tts")
    assert MetisOmni(MetisParams()).needs_for("se") == {"source"}
    assert MetisOmni(MetisParams(guided_by_text=True)).needs_for("se") == {"source", "text"}
    assert "semantic_codec" in MetisVC(MetisParams()).parts() and "semantic_codec" not in MetisSE(MetisParams()).parts()


def test_a_lora_of_ones_own_is_for_the_base() -> None:
    mine = MetisSE(MetisParams(lora="mine.safetensors", adapter="adapter.safetensors")).parts()
    assert (mine["stage1"], mine["lora"]) == ("metis_base", Path("mine.safetensors"))
    other = MetisSE(MetisParams(lora="mine.safetensors", stage1="full.safetensors")).parts()
    assert other["stage1"] == Path("full.safetensors")


def test_missing_weights_are_a_prerequisite_with_file_and_place(tmp_path: Path) -> None:
    with pytest.raises(MissingPrerequisite, match="metis_se_full") as caught:
        MetisSE(MetisParams(checkpoint=str(tmp_path))).check()
    assert f"{tmp_path}/metis_se/metis_se.safetensors" in str(caught.value)
    with pytest.raises(MissingPrerequisite, match="checkpoint not found"):
        MetisSE(MetisParams(checkpoint=str(tmp_path), stage1="mine.safetensors")).check()
    with pytest.raises(SuiteError, match="no stage 1 named 'so'"):
        MetisSE(MetisParams(variant="so")).check()


def test_the_configs_folder_is_found(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHECKPOINTS, "")  # restored afterwards
    (tmp_path / "c.yaml").write_text(f"checkpoints: '{weights}'\n")
    load_config(str(tmp_path / "c.yaml"))
    MetisSE(MetisParams()).check()


def test_content_identifies_a_system_and_paths_do_not(weights: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(weights, moved)
    here, there = (fingerprint(MetisSE(MetisParams(checkpoint=str(f)))) for f in (weights, moved))
    assert here == there
    write_random(moved, "tiny", names=["maskgct_s2a_model_full"], seed=5)
    assert fingerprint(MetisSE(MetisParams(checkpoint=str(moved)))) != here
    assert fingerprint(MetisSE(MetisParams(checkpoint="random-tiny"))) != here


def test_what_stands_beside_weights_identifies_as_well(weights: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(weights, moved)
    (config,) = (moved / "metis_se").glob("*.config.json")
    before = fingerprint(MetisSE(MetisParams(checkpoint=str(moved))))
    config.write_text(config.read_text().replace('"num_layers": 2', '"num_layers": 2, "rope_theta": 5000.0'))
    assert "rope_theta" in config.read_text(), "which no tensor shows"
    assert fingerprint(MetisSE(MetisParams(checkpoint=str(moved)))) != before


def test_another_espeak_identifies_what_reads_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    speaks, hears = MetisTTS(MetisParams(checkpoint="random-tiny")), MetisSE(MetisParams(checkpoint="random-tiny"))
    before = speaks.identity(), hears.identity()
    library = tmp_path / "libespeak-ng.so"
    library.write_bytes(b"1.51")
    monkeypatch.setenv("METIS_ESPEAK_LIBRARY", str(library))
    other = speaks.identity()
    assert other != before[0] and hears.identity() == before[1]
    library.write_bytes(b"1.50")
    assert speaks.identity() not in (other, before[0])


def test_the_source_of_what_runs_in_another_process_or_is_imported_late_identifies_a_system() -> None:
    package = Path(registry.__file__).parent
    late = {"_espeak_server.py", "text/japanese_kana.py", "lips/faces.py", "random_weights.py", "codecs/vocos.py"}
    assert {package / name for name in late} <= set(source_files(MetisTTS, System))


@pytest.mark.parametrize(
    ("system", "params", "message"),
    [
        (MetisSE, {"variant": "so"}, "no stage 1 named 'so'"),
        (MetisSE, {"variant": "tts"}, "the stage 1 'tts' cannot do se"),
        (MetisSE, {"variant": "l2s"}, "cannot do se"),
        (MetisTTS, {"variant": "vc"}, "cannot do tts with a text"),
        (MetisOmni, {"variant": "tts"}, "cannot do se"),
        (MetisSE, {"guided_by_text": True}, "the stage 1 'se' cannot do se with a text"),
        (MetisVC, {"guided_by_text": True}, "'guided_by_text' has no effect"),
        (MetisVC, {"stage1_prompt": False}, "'stage1_prompt' has no effect"),
        (MetisSE, {"duration": "ground-truth"}, "'duration' has no effect"),
        (MetisSE, {"stage1": "mine.safetensors"}, "'stage1' has no effect"),
        (MetisSE, {"lora_alpha": 4}, "'lora_alpha' has no effect"),
    ],
)
def test_parameters_in_conflict_are_refused_before_anything_runs(
    system: type[ReferenceSystem], params: dict[str, object], message: str
) -> None:
    with pytest.raises(SuiteError, match=message):
        system(MetisParams.model_validate({"checkpoint": "random-tiny", **params})).check()


def test_setting_up_loads_all_that_is_used(weights: Path) -> None:
    system = MetisSE(MetisParams(checkpoint=str(weights)))
    system.setup()
    loaded = {name for name, value in vars(system._metis.parts).items() if isinstance(value, torch.nn.Module)}
    assert loaded == {"stage1", "first", "fine", "decoder", "features"}


def test_weights_from_files_speak_and_seeds_matter(weights: Path) -> None:
    system = MetisSE(MetisParams(checkpoint=str(weights), steps=2))
    system.setup()
    first, again, other = (system.generate(request(seed)) for seed in (1, 1, 2))
    assert first.rate == 24_000 and abs(first.seconds - 1.0) < 0.05
    assert np.array_equal(first.samples, again.samples) and not np.array_equal(first.samples, other.samples)


def test_damaged_weights_and_unusable_inputs_are_told(weights: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    shutil.copytree(weights, bad)
    (bad / "metis_se" / "metis_se.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(SuiteError, match=r"metis_se\.safetensors"):
        MetisSE(MetisParams(checkpoint=str(bad))).setup()
    with pytest.raises(MissingPrerequisite, match=r"metis_se\.safetensors is damaged"):
        MetisSE(MetisParams(checkpoint=str(bad))).sizes()
    system = MetisSE(MetisParams(checkpoint="random-tiny"))
    system.setup()
    with pytest.raises(ItemError, match="at least 560"):
        system.generate(request(source=Audio(np.zeros(200, np.float32), 16_000)))


def test_the_codec_alone(tmp_path: Path) -> None:
    """It speaks what its decoder makes of the reference; without files it says which are missing."""
    codec = MetisCodec(CodecParams(checkpoint="random-tiny"))
    codec.setup()
    reference = Audio(np.random.default_rng(1).normal(0, 0.05, 16_000).astype(np.float32), 16_000)
    made = [codec.generate(Request(id="a", task="tts", language="en", seed=s, reference=reference)) for s in (0, 1)]
    assert made[0].rate == 24_000 and abs(len(made[0].samples) - 24_000) < 480
    assert np.array_equal(made[0].samples, made[1].samples) and np.abs(made[0].samples).max() > 0
    assert "untrained" in str(codec.caveat())
    with pytest.raises(MissingPrerequisite, match="acoustic_codec_encoder"):
        MetisCodec(CodecParams(checkpoint=str(tmp_path))).check()
    write_random(tmp_path, "tiny", names=["acoustic_codec_encoder", "acoustic_codec_decoder"])
    here = MetisCodec(CodecParams(checkpoint=str(tmp_path)))
    here.check()
    assert fingerprint(here) != fingerprint(codec)


def test_the_mini_family_is_a_checkpoint_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`mini` is the shipped folder and nothing else: not the hub's cache, not a folder of that name."""
    monkeypatch.setattr("reference_models.hub.SHIPPED", tmp_path / "shipped")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mini").mkdir()
    mini = MetisSE(MetisParams(checkpoint="mini"))
    with pytest.raises(MissingPrerequisite, match="the mini family has no metis_se_full"):
        mini.check()
    write_random(tmp_path / "shipped", "mini", names=SE_FILES)
    mini.check()
    assert "synthetic speech alone" in str(mini.caveat())
    sizes = mini.sizes()
    assert 0 < sizes["trained"] < sizes["parameters"]
    assert MetisSE(MetisParams(checkpoint="random-tiny")).sizes() == {}
    with pytest.raises(MissingPrerequisite, match="the mini family has no metis_vc") as caught:
        MetisVC(MetisParams(checkpoint="mini")).check()
    assert "metis_se" in str(caught.value.fix)
