"""The lexicon and the polyphone model of the release, in its file formats."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reference_models.errors import CheckpointError, InputError, MissingCheckpoint
from reference_models.text.mandarin import Mandarin
from reference_models.text.mandarin_resources import LEXICON_FILE, MODEL_FOLDER, PolyphoneModel, load_lexicon
from tests.reference_models.text.onnx_bytes import lookup_model

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "好", "长", "人"]
CLASSES = ["好{hao3}", "好{hao4}", "长{chang2}", "长{zhang3}"]
# One row a token. 好: another character's reading is the best of all, hao4 the best of its own.
SCORES = [[0.0] * 4, [0, 0, 0, 1], [9, 9, 9, 9], [0, 2, 3, 0], [0, 0, 1, 5], [1, 0, 0, 0]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_model(tmp_path)


def write_model(tmp_path: Path) -> Path:
    pytest.importorskip("onnxruntime")
    (tmp_path / "poly_bert_model.onnx").write_bytes(lookup_model(SCORES))
    (tmp_path / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    (tmp_path / "polychar.txt").write_text("好\n长\n", encoding="utf-8")
    entries = {str(number): entry for number, entry in enumerate(CLASSES, start=1)}
    (tmp_path / "polydict.json").write_text(json.dumps(entries), encoding="utf-8")
    (tmp_path / "config.json").write_text('{"max_position_embeddings": 8}', encoding="utf-8")
    return tmp_path


def test_readings(folder: Path) -> None:
    model = PolyphoneModel(folder)
    assert model("人长好", 1) == "zhang3"
    assert model("人长好", 2) == "hao4"
    assert model("人长好", 0) is None  # not polyphonic


def test_official_takes_the_best_of_all_classes(folder: Path) -> None:
    assert PolyphoneModel(folder, "official")("人长好", 2) == "chang2"
    assert PolyphoneModel(folder, "fixed")("人长好", 2) == "hao4"


def test_official_answers_for_any_place(folder: Path) -> None:
    model = PolyphoneModel(folder, "official")
    assert model.predict("人长", 0) == "hao3"
    assert model.predict("龘长", 0) == "zhang3"  # [UNK]


def test_a_sentence_that_is_too_long(folder: Path) -> None:
    model = PolyphoneModel(folder)
    assert model("好" * 7, 0) == "hao4"
    with pytest.raises(InputError, match="8 characters"):
        model("好" * 8, 0)


@pytest.mark.parametrize("name", ["poly_bert_model.onnx", "vocab.txt", "polychar.txt", "polydict.json", "config.json"])
def test_a_missing_file_is_named_with_its_place(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(MissingCheckpoint) as caught:
        PolyphoneModel(folder)
    assert str(folder / name) in str(caught.value)
    assert caught.value.fix is not None
    assert f"g2p_chinese_model/{name}" in caught.value.fix


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("poly_bert_model.onnx", b"version https://git-lfs.github.com/spec/v1\n", "Git-LFS pointer"),
        ("poly_bert_model.onnx", b"not a model", "not a readable ONNX model"),
        ("poly_bert_model.onnx", lookup_model(SCORES)[:90], "not a readable ONNX model"),
        ("poly_bert_model.onnx", lookup_model(SCORES, output="logits"), "output named outputs"),
        ("vocab.txt", b"a\nb\n", r"lacks \[CLS\]"),
        ("polydict.json", b"{", "not JSON"),
        ("polydict.json", b"[]", "not a JSON object"),
        ("polydict.json", b'{"1": "hao3"}', "entry 1 is 'hao3'"),
        ("polydict.json", '{"0": "好{hao3}"}'.encode(), "entry 1 is 'None'"),
    ],
)
def test_a_damaged_file_is_refused(folder: Path, name: str, content: bytes, reason: str) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=reason):
        PolyphoneModel(folder)


@pytest.mark.parametrize("content", [lookup_model(SCORES, skip=0), lookup_model([row[:3] for row in SCORES])])
def test_a_graph_of_another_shape_is_refused(folder: Path, content: bytes) -> None:
    (folder / "poly_bert_model.onnx").write_bytes(content)
    with pytest.raises(CheckpointError, match="expected"):
        PolyphoneModel(folder)("好", 0)


def test_lexicon(tmp_path: Path) -> None:
    path = tmp_path / "chinese_lexicon.txt"
    path.write_text("你好\tni3 hao3\n的\tde5\n的\tdi4\n", encoding="utf-8")
    assert load_lexicon(path) == {"你好": "ni3 hao3", "的": "di4"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("你好\tni3 hao3\n世界 shi4 jie4\n".encode(), "chinese_lexicon.txt:2"),
        ("你好\tni3\thao3\n".encode(), "chinese_lexicon.txt:1"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git-LFS pointer"),
        ("你好\tni3 hao3\n".encode("gb18030"), "not UTF-8"),
    ],
)
def test_a_damaged_lexicon_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "chinese_lexicon.txt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=reason):
        load_lexicon(path)


def test_a_missing_lexicon_is_named_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(MissingCheckpoint) as caught:
        load_lexicon(tmp_path / "chinese_lexicon.txt")
    assert str(tmp_path) in str(caught.value)
    assert caught.value.fix is not None
    assert "models/tts/maskgct/g2p/sources/chinese_lexicon.txt" in caught.value.fix


def test_the_checkpoint_folder_supplies_both(tmp_path: Path) -> None:
    """In the layout of the Amphion repository; asked for Chinese text only."""
    from reference_models.checkpoints import Checkpoints
    from reference_models.parts import Parts

    pytest.importorskip("jieba")
    model = tmp_path / MODEL_FOLDER
    model.mkdir(parents=True)
    write_model(model)
    (tmp_path / LEXICON_FILE).write_text("人好\tren2 hao2\n", encoding="utf-8")
    here, elsewhere = (Parts(Checkpoints(folder), "tts") for folder in (tmp_path, tmp_path / "none"))
    assert elsewhere.pronouncer("人好", "fixed") is None and here.pronouncer("Hello.", "fixed") is None
    mine = here.pronouncer("人好", "fixed")
    assert mine is not None and mine is here.pronouncer("好", "fixed")
    assert mine.to_phones("人好") != Mandarin().to_phones("人好")  # the lexicon's own tone
