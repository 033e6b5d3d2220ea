"""Which files there are, where they are found, and ready modules from them or from chance."""

from __future__ import annotations

import json
import math
from pathlib import Path

import huggingface_hub
import pytest
import torch
from huggingface_hub import constants
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from torch import nn

from reference_models import hub
from reference_models.checkpoints import Checkpoints, Source, open_source
from reference_models.codecs.weight_norm import WeightNormConv1d
from reference_models.errors import CheckpointError, MetisError, MissingCheckpoint
from reference_models.hub import fetch, find, status
from reference_models.noise import SeededNoise
from reference_models.random_weights import RandomWeights, write_random
from reference_models.registry import FILES, WRAPPED, expected
from reference_models.sizes import TINY_FEATURES, config_beside, config_path, sized
from reference_models.variants import VARIANTS, Stage1Files

MODULES = (
    "s2a_first",
    "s2a_full",
    "semantic_codec",
    "acoustic_encoder",
    "acoustic_decoder",
    "features",
    "visual",
)


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Hugging Face cache of the test's own."""
    cache = tmp_path / "cache"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    return cache


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every file, tiny."""
    folder = tmp_path_factory.mktemp("tiny")
    write_random(folder, "tiny")
    return folder


def test_registry_numbers_are_those_of_the_models() -> None:
    for name, file in {**FILES, WRAPPED.name: WRAPPED}.items():
        assert sum(map(math.prod, expected(name).values())) == file.numbers, name


def test_lora_files_hold_two_matrices_a_projection() -> None:
    shapes = expected("metis_se_lora_32")
    assert len(shapes) == 2 * 7 * 16
    prefix = "model.diff_estimator.layers.15.mlp.down_proj.lora"
    assert shapes[f"{prefix}_A.default.weight"] == (32, 6144)
    assert shapes[f"{prefix}_B.default.weight"] == (1536, 32)


def test_variants_name_files_of_the_registry() -> None:
    for variant in VARIANTS.values():
        parts = [variant.checkpoint, variant.adapter, variant.lora]
        assert all(part in FILES for part in parts if part is not None)
        assert variant.rank == (None if variant.lora is None else FILES[str(variant.lora)].rank)


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("metis_base", ["metis_base/model.safetensors", "metis/metis_base/model.safetensors"]),
        ("maskgct_t2s", ["t2s_model/model.safetensors", "MaskGCT/t2s_model/model.safetensors"]),
        ("w2v_bert_2.0", ["w2v-bert-2.0/model.safetensors"]),
        ("metis_vc", ["metis_vc/metis_vc.safetensors", "metis/metis_vc/metis_vc.safetensors", "metis_vc.safetensors"]),
        ("metis_l2s", ["metis_l2s/metis_l2s.safetensors", "metis_l2s/model.safetensors", "metis_l2s.safetensors"]),
        ("wav2vec2bert_stats", ["models/tts/maskgct/ckpt/wav2vec2bert_stats.pt", "wav2vec2bert_stats.pt"]),
        ("acoustic_codec_decoder", ["acoustic_codec/model_1.safetensors", "model_1.safetensors"]),
    ],
)
def test_places_in_their_order(tmp_path: Path, name: str, places: list[str]) -> None:
    """Put the last first: each earlier one wins over it."""
    folder = tmp_path / "checkpoints"
    for place in reversed(places):
        path = put(folder / place)
        assert find(name, folder) == path
        assert {file.name: found for file, found in status(folder)}[name] == path


def test_a_lone_model_file_could_be_anything(tmp_path: Path) -> None:
    put(tmp_path / "model.safetensors")
    assert {found for _, found in status(tmp_path)} == {None}


def test_the_cache_comes_after_the_folder(tmp_path: Path, empty_cache: Path) -> None:
    repository = empty_cache / "models--amphion--metis"
    put(repository / "refs" / "main").write_text("abc")
    cached = put(repository / "snapshots" / "abc" / "metis_base" / "model.safetensors")
    assert find("metis_base") == cached
    assert find("metis_base", tmp_path / "folder") == cached
    own = put(tmp_path / "folder" / "metis_base" / "model.safetensors")
    assert find("metis_base", tmp_path / "folder") == own


def test_missing_files_say_where_from_and_where_to(tmp_path: Path) -> None:
    with pytest.raises(MissingCheckpoint) as caught:
        find("metis_se_full", tmp_path)
    text = str(caught.value)
    assert "metis_se_full (3 GB in fp32, amphion/metis: metis_se/metis_se.safetensors or metis_se/model.saf" in text
    assert f"looked in {tmp_path} and the Hugging Face cache" in text
    assert "its name is a guess" in text
    assert "https://huggingface.co/amphion/metis/tree/main/metis_se" in text
    assert f"hf download amphion/metis metis_se/metis_se.safetensors --local-dir '{tmp_path}'" in text
    assert f"at {tmp_path}/metis_se/metis_se.safetensors" in text
    with pytest.raises(MissingCheckpoint, match="Amphion issue #465"):
        find("metis_vc", tmp_path)
    with pytest.raises(MissingCheckpoint, match=r"--local-dir '.*/w2v-bert-2.0'"):
        find("w2v_bert_2.0", tmp_path)
    with pytest.raises(MissingCheckpoint, match=r"raw.githubusercontent.com/open-mmlab/Amphion/d3de90f"):
        find("wav2vec2bert_stats")


def test_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(MissingCheckpoint, match="did you mean metis_base"):
        find("metis_bas", tmp_path)
    with pytest.raises(CheckpointError, match=r"no stage 1 named 'tts2'\n.*one of base, tts, vc"):
        RandomWeights("tiny").stage1("tts2")
    with pytest.raises(CheckpointError, match="is not a folder"):
        open_source(tmp_path / "none")


@pytest.mark.parametrize("device", ["cuda:99", "gpu"])
def test_devices_that_are_not_here(device: str) -> None:
    with pytest.raises(MetisError, match=rf"no device '{device}' on this machine \(.+\)\n  fix: device='cpu'"):
        open_source("random-tiny", device=device)


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """A hub that holds everything but first guesses, and records what is asked for."""
    asked: list[tuple[str, str]] = []

    def download(repo: str, name: str, *, local_dir: Path) -> str:
        asked.append((repo, name))
        if name == "metis_l2s/metis_l2s.safetensors":
            raise EntryNotFoundError("404")
        return str(put(local_dir / name))

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    return asked


def test_fetched_files_are_found(tmp_path: Path, online: list[tuple[str, str]]) -> None:
    for name, file in FILES.items():
        if not file.url:
            assert fetch(name, tmp_path) == find(name, tmp_path), name
    assert ("amphion/metis", "metis_l2s/model.safetensors") in online  # the second guess
    assert ("amphion/metis", "metis_l2s/vis_model.json") in online
    before = len(online)
    fetch("metis_base", tmp_path)
    assert len(online) == before


def test_a_hub_without_the_companion_still_has_the_file(
    tmp_path: Path, online: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    download = huggingface_hub.hf_hub_download

    def without(repo: str, name: str, *, local_dir: Path) -> str:
        if name.endswith(".json"):
            raise EntryNotFoundError("404")
        return download(repo, name, local_dir=local_dir)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", without)
    assert fetch("vis_model", tmp_path) == find("vis_model", tmp_path)


def test_offline_nothing_is_asked(
    tmp_path: Path, online: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for name in ("metis_base", "wav2vec2bert_stats"):
        with pytest.raises(MissingCheckpoint, match="HF_HUB_OFFLINE is set"):
            fetch(name, tmp_path)
    assert online == []


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (LocalEntryNotFoundError("no route"), "the hub cannot be reached"),
        (EntryNotFoundError("404"), "amphion/metis does not hold it"),
        (OSError("disk full"), "the download failed: disk full"),
    ],
)
def test_downloads_that_fail(
    tmp_path: Path, online: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    def fail(*_args: object, **_options: object) -> str:
        raise error

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    with pytest.raises(MissingCheckpoint, match=reason):
        fetch("metis_base", tmp_path)


def test_statistics_are_fetched_by_their_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another file than the known one is refused, and leaves nothing behind."""
    served = put(tmp_path / "served.pt")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    import pooch

    def retrieve(url: str, known_hash: str, fname: str, path: Path) -> str:
        assert url.startswith("https://") and url.endswith(fname)
        if pooch.file_hash(str(served)) != known_hash.removeprefix("sha256:"):
            raise ValueError("hash mismatch")
        return str(put(path / fname))

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    with pytest.raises(MissingCheckpoint, match="hash mismatch"):
        fetch("wav2vec2bert_stats", tmp_path)
    monkeypatch.setitem(
        hub.FILES,
        "wav2vec2bert_stats",
        type(FILES["wav2vec2bert_stats"])(
            **{**vars(FILES["wav2vec2bert_stats"]), "sha256": pooch.file_hash(str(served))}
        ),
    )
    assert fetch("wav2vec2bert_stats", tmp_path) == find("wav2vec2bert_stats", tmp_path)


def modules(source: Source) -> dict[str, nn.Module]:
    return {**{name: source.stage1(name) for name in VARIANTS}, **{name: getattr(source, name)() for name in MODULES}}


def states(source: Source) -> dict[str, torch.Tensor]:
    return {f"{m}.{k}": t for m, module in modules(source).items() for k, t in module.state_dict().items()}


def test_both_sources_give_the_same_kinds_of_modules(tiny: Path) -> None:
    ours, theirs = modules(open_source(tiny)), modules(open_source("random-tiny"))
    for name, module in ours.items():
        assert type(module) is type(theirs[name])
        assert {k: t.shape for k, t in module.state_dict().items()} == {
            k: t.shape for k, t in theirs[name].state_dict().items()
        }
        assert not module.training
        assert not any(t.is_meta for t in module.state_dict().values())
        assert not any(isinstance(child, WeightNormConv1d) for child in module.modules())


def test_every_tensor_comes_from_its_file(tiny: Path) -> None:
    from safetensors.torch import load_file

    source = Checkpoints(tiny)
    features = source.features()
    stored = load_file(tiny / "w2v-bert-2.0" / "model.safetensors")
    assert TINY_FEATURES.layer < TINY_FEATURES.num_layers
    for name, tensor in features.model.state_dict().items():
        assert torch.equal(tensor, stored[name]), name
    assert torch.equal(features.var, torch.ones(TINY_FEATURES.hidden_size))
    for model, file in ((source.s2a_full(), "s2a_model_full"), (source.s2a_first(), "s2a_model_1layer")):
        stored = load_file(tiny / "s2a_model" / file / "model.safetensors")
        assert all(torch.equal(tensor, stored[name]) for name, tensor in model.state_dict().items())


def test_random_weights_depend_on_the_seed_alone() -> None:
    state = torch.get_rng_state()
    first = states(RandomWeights("tiny", 3))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(99)
    again = RandomWeights("tiny", 3)
    assert all(torch.equal(t, first[f"visual.{k}"]) for k, t in again.visual().state_dict().items())
    assert all(torch.equal(t, first[f"se.{k}"]) for k, t in again.stage1("se").state_dict().items())
    other = RandomWeights("tiny", 4).stage1("se").state_dict()
    assert not torch.equal(other["to_logit.weight"], first["se.to_logit.weight"])


def test_random_models_see_what_they_are_given() -> None:
    """Their tokens follow from the condition, not from noise alone: what else would a test on them prove?"""
    model = RandomWeights("tiny").stage1("se")
    torch.manual_seed(0)
    one, other = torch.randn(40, 32), torch.randn(40, 32)
    prompt = torch.zeros(0, dtype=torch.int64)
    tokens = [
        model.generate([40], [prompt], SeededNoise.of([1]), steps=4, conditions=[condition])[0]
        for condition in (one, one, other)
    ]
    assert torch.equal(tokens[0], tokens[1])
    assert (tokens[0] != tokens[2]).float().mean() > 0.5


@pytest.mark.parametrize("where", ["random-tiny", "files"])
def test_dtype_holds_for_masked_models_only(tiny: Path, where: str) -> None:
    source = open_source(tiny if where == "files" else where, dtype=torch.bfloat16, attention="eager")
    for name, module in modules(source).items():
        floats = {tensor.dtype for tensor in module.state_dict().values() if tensor.is_floating_point()}
        masked = name in VARIANTS or name.startswith("s2a")
        assert floats == {torch.bfloat16 if masked else torch.float32}, name
        if masked:
            assert module.config.transformer.attention == "eager"


def test_files_of_the_users_own(tiny: Path, tmp_path: Path) -> None:
    own = tmp_path / "mine.safetensors"
    own.write_bytes((tiny / FILES["metis_vc"].file).read_bytes())
    files = Stage1Files(sized(VARIANTS["vc"].config, "tiny"), own)
    assert torch.equal(open_source(tiny).stage1(files).cond_emb.weight, open_source(tiny).stage1("vc").cond_emb.weight)


def test_configuration_beside_the_weights(tmp_path: Path) -> None:
    weights, official = tmp_path / "model.safetensors", VARIANTS["vc"].config
    assert config_path(weights) == tmp_path / "model.config.json"
    assert config_beside(weights, official) == official
    config_path(weights).write_text('{"transformer": {"hidden_size": 96, "rope_theta": 500}, "phones": true}')
    changed = config_beside(weights, official)
    assert (changed.transformer.hidden_size, changed.transformer.rope_theta, changed.phones) == (96, 500, True)
    assert (changed.transformer.num_layers, changed.adapter) == (16, "gated")
    codec = FILES["acoustic_codec_encoder"].config
    config_path(weights).write_text('{"strides": [2, 3]}')
    assert config_beside(weights, codec).hop == 6  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "Expecting property name"),
        ("[]", "must be an object"),
        ('{"hidden_size": 3}', "has no field 'hidden_size'"),
        ('{"transformer": 3}', "transformer must be an object"),
        ('{"transformer": {"hidden_size": 100}}', "not an even multiple"),
        ('{"transformer": {"num_heads": 2.5}}', "transformer: num_heads cannot be 2.5"),
        ('{"transformer": {"num_layers": true}}', "num_layers cannot be True"),
        ('{"codebook_size": -1}', "codebook_size cannot be -1"),
        ('{"adapter": "gatd"}', "adapter cannot be 'gatd'"),
        ('{"transformer": {"rope_theta": NaN}}', "rope_theta cannot be nan"),
    ],
)
def test_impossible_configurations(tmp_path: Path, text: str, reason: str) -> None:
    config_path(tmp_path / "model.safetensors").write_text(text)
    with pytest.raises(CheckpointError, match=reason):
        config_beside(tmp_path / "model.safetensors", VARIANTS["vc"].config)


def test_written_configurations_are_short_and_lead_back(tiny: Path) -> None:
    for name, file in FILES.items():
        path = find(name, tiny)
        assert config_beside(path, file.config) == (file.config if file.kind == "lora" else sized(file.config, "tiny"))
    base = json.loads(config_path(find("metis_base", tiny)).read_text())
    assert base == {"transformer": {"hidden_size": 64, "num_layers": 2, "num_heads": 4}}
