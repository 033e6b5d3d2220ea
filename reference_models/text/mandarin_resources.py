"""What the release reads Mandarin with and git does not hold: a lexicon of words and a model of polyphonic characters.

Both come with the Git-LFS files of Amphion, below models/tts/maskgct/g2p/sources: `chinese_lexicon.txt` (14.8 MB) and
the folder `g2p_chinese_model`. They are read from the user's own copy.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from reference_models.errors import CheckpointError, InputError, MissingCheckpoint
from reference_models.text.optional import optional
from reference_models.text.tokenizer import Mode

# word -> its syllables ("ni3 hao3", or the list of them); None or absent: not in the lexicon
Lexicon: TypeAlias = Mapping[str, "str | Sequence[str]"] | Callable[[str], "str | Sequence[str] | None"]
# (sentence, index of the character) -> its syllable here ("hao3"); None: not a polyphonic character
Polyphone: TypeAlias = Callable[[str, int], "str | None"]

SOURCES = "models/tts/maskgct/g2p/sources"
LEXICON_FILE = f"{SOURCES}/chinese_lexicon.txt"
MODEL_FOLDER = f"{SOURCES}/g2p_chinese_model"
_LFS = b"version https://git-lfs"


def _find(path: Path, origin: str) -> Path:
    fix = f"take {origin} of github.com/open-mmlab/Amphion (`git lfs pull`) and put it at {path}"
    if not path.is_file():
        raise MissingCheckpoint(f"Mandarin text: {path.name} is not at {path}", fix=fix)
    with path.open("rb") as file:
        if file.read(len(_LFS)) == _LFS:
            raise CheckpointError(f"{path} is the Git-LFS pointer of the file, not the file", fix=fix)
    return path


def load_lexicon(path: Path | str) -> dict[str, str]:
    """The release's `chinese_lexicon.txt`: word -> "ni3 hao3"; of equal words the last counts.

    Raises MissingCheckpoint (no such file), CheckpointError (a line is not `word<TAB>syllables`; a Git-LFS pointer).
    """
    path = _find(Path(path), LEXICON_FILE)
    lexicon: dict[str, str] = {}
    try:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            word, tab, syllables = line.strip().partition("\t")
            if not tab or "\t" in syllables:
                raise CheckpointError(f"{path}:{number}: expected word<TAB>syllables, found {line[:60]!r}")
            lexicon[word] = syllables
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from error
    return lexicon


class PolyphoneModel:
    """The release's classifier of polyphonic characters (BERT, ONNX), on the CPU (Amphion: g2p/chinese_model_g2p.py).

    `folder` holds poly_bert_model.onnx, vocab.txt, polychar.txt, polydict.json and config.json.
    The graph: `input_ids` int32 (1, 1 + n) = [CLS] and n characters -> `outputs` float (1, n, classes); class k is
    entry k + 1 of polydict.json, `"好{hao3}"`.
    mode: `official` takes the best of all classes, even another character's reading; `fixed` the best of its own.

    Raises MissingCheckpoint, CheckpointError, MissingPackage; a call raises InputError for a sentence that is too long.
    """

    def __init__(self, folder: Path | str, mode: Mode = "fixed") -> None:
        folder = Path(folder)
        names = ("vocab.txt", "polychar.txt", "polydict.json", "config.json", "poly_bert_model.onnx")
        files = {name: _find(folder / name, f"{MODEL_FOLDER}/{name}") for name in names}
        vocabulary = files["vocab.txt"].read_text(encoding="utf-8").splitlines()
        self.mode = mode
        self.characters = frozenset(files["polychar.txt"].read_text(encoding="utf-8").split())
        self._ids = {token.rstrip("\n"): i for i, token in enumerate(vocabulary)}
        if not {"[CLS]", "[UNK]"} <= self._ids.keys():
            raise CheckpointError(f"{files['vocab.txt']} lacks [CLS] or [UNK]")
        self._longest = _read_json(files["config.json"]).get("max_position_embeddings", 512)
        self._classes = _read_classes(files["polydict.json"])
        self._session = _open_session(files["poly_bert_model.onnx"])
        self._last: tuple[str, npt.NDArray[np.float32]] | None = None

    def __call__(self, sentence: str, index: int) -> str | None:
        """Pinyin with tone digit of `sentence[index]`, or None if that is not one of the polyphonic characters."""
        return self.predict(sentence, index) if sentence[index] in self.characters else None

    def predict(self, sentence: str, index: int) -> str:
        """Pinyin with tone digit that the model gives for `sentence[index]`, whatever stands there."""
        scores = self._scores(sentence)[index]  # (classes,)
        own = [i for i, (char, _) in enumerate(self._classes) if char == sentence[index]]
        if self.mode == "fixed" and own:
            return self._classes[max(own, key=lambda i: float(scores[i]))][1]
        return self._classes[int(np.argmax(scores))][1]

    def _scores(self, sentence: str) -> npt.NDArray[np.float32]:
        """(n, classes). A sentence is run once for all its characters."""
        if self._last is None or self._last[0] != sentence:
            if len(sentence) + 1 > self._longest:
                raise InputError(
                    f"Mandarin text of {len(sentence)} characters; the polyphone model reads {self._longest - 1}",
                    fix="split the text at a full stop",
                )
            unknown = self._ids["[UNK]"]
            ids = [self._ids["[CLS]"], *(self._ids.get(char, unknown) for char in sentence)]
            (scores,) = self._session.run(["outputs"], {"input_ids": np.array([ids], dtype=np.int32)})
            if scores.shape != (1, len(sentence), len(self._classes)):
                raise CheckpointError(
                    f"the polyphone model gives {scores.shape}, expected {(1, len(sentence), len(self._classes))}"
                )
            self._last = sentence, scores[0]
        return self._last[1]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON: {error}") from error
    if not isinstance(data, dict):
        raise CheckpointError(f"{path} is not a JSON object")
    return data


def _read_classes(path: Path) -> list[tuple[str, str]]:
    """Class -> (character, pinyin). The file counts from 1."""
    data = _read_json(path)
    classes = []
    for number in range(1, len(data) + 1):
        entry = str(data.get(str(number)))
        match = re.fullmatch(r"(.)\{(\w+)\}", entry)
        if match is None:
            raise CheckpointError(f"{path}: entry {number} is {entry!r}, expected the form '好{{hao3}}'")
        classes.append((match[1], match[2]))
    return classes


def _open_session(path: Path) -> Any:
    onnxruntime = optional("onnxruntime", "the Mandarin polyphone model")
    ort_errors = optional("onnxruntime.capi.onnxruntime_pybind11_state", "the Mandarin polyphone model")
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except (ort_errors.InvalidProtobuf, ort_errors.Fail, ort_errors.InvalidGraph, ort_errors.InvalidArgument) as error:
        raise CheckpointError(f"{path} is not a readable ONNX model: {error}") from error
    inputs = {node.name: node.type for node in session.get_inputs()}
    if inputs != {"input_ids": "tensor(int32)"} or "outputs" not in {node.name for node in session.get_outputs()}:
        raise CheckpointError(f"{path} has inputs {inputs}, expected input_ids (int32) and an output named outputs")
    return session
