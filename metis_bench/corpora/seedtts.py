"""SeedTTS test sets: BytedanceSpeech/seed-tts-eval `{en,zh}/{meta,hardcase,non_para_reconstruct_meta}.lst`.

One item a line, `|` separated, no header (seed-tts-eval: get_wav_res_ref_text.py):
`utt|prompt_text|prompt_wav|text|reference_wav`, the same without reference_wav, or `utt|text|prompt_wav`.
Paths are relative to the list's folder. Where the folder `wavs/` is there, the reference is `wavs/<utt>.wav`.

`non_para_reconstruct_meta` is for voice conversion: the fifth field is the source, another talker who says `text`, and
prompt_wav is the voice to convert it to. Nobody recorded that voice with these words: there is no reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import model_validator

from metis_bench.corpora.base import Corpus, Field, Item, LoadedCorpus, Params, Subset, corpora
from metis_bench.corpora.lists import count_warning, inside, locate, missing_warning, read_lines
from metis_bench.errors import CorpusError

CONVERSION = "non_para_reconstruct_meta"
# Sizes of the released lists (the paper's 1000 and 2000 are rounded). hardcase and conversion: as users of the lists
# report them (README of the sglang_omni TTS benchmark), not counted by us
OFFICIAL: Mapping[tuple[str, str], int] = {
    ("en", "meta"): 1088,
    ("zh", "meta"): 2020,
    ("zh", "hardcase"): 400,
    ("en", CONVERSION): 1086,
    ("zh", CONVERSION): 2018,
}


class SeedTtsParams(Params):
    """Which list: language en or zh; meta or hardcase (zh only: repetitions, tongue twisters) for TTS, the other VC."""

    lang: Literal["en", "zh"] = "en"
    list: Literal["meta", "hardcase", "non_para_reconstruct_meta"] = "meta"

    @model_validator(mode="after")
    def _known(self) -> SeedTtsParams:
        if (self.lang, self.list) not in OFFICIAL:
            raise ValueError(f"there is no '{self.list}' list for lang '{self.lang}'; it exists for lang 'zh'")
        return self


@corpora.register("seedtts")
class SeedTts(Corpus):
    """Text and prompt of each line; cluster = the prompt (each is used for about two items)."""

    params_type = SeedTtsParams
    params: SeedTtsParams
    default_folder = "seedtts"
    how_to_get = (
        "get seedtts_testset from the link in https://github.com/BytedanceSpeech/seed-tts-eval\n"
        "       (en: Common Voice, CC0; zh: DiDiSpeech-2, research only; the lists state no licence) and unpack it"
    )

    def load(self) -> LoadedCorpus:
        """The items of the list. Raises MissingPrerequisite (list absent) and CorpusError (file:line)."""
        listed = f"{self.params.lang}/{self.params.list}.lst"
        tree = locate("seedtts", self.root, (".", "seedtts_testset"), (listed,), self.how_to_get)
        items = _read(tree, tree / listed, self.params.lang, "vc" if self.params.list == CONVERSION else "tts")
        fields: tuple[Field, ...] = ("text", "prompt", "prompt_text", "source", "reference")
        provides = frozenset(name for name in fields if any(getattr(item, name) for item in items))
        official = OFFICIAL[self.params.lang, self.params.list]
        warnings = [
            *count_warning(listed, len(items), official),
            *missing_warning([i.prompt for i in items if i.prompt], f"prompt files of {listed}"),
            *missing_warning([i.source for i in items if i.source], f"source files of {listed}"),
            *missing_warning([i.reference for i in items if i.reference], f"reference files of {listed}"),
        ]
        copies = sum(item.text == item.prompt_text for item in items)
        if copies and self.params.list != CONVERSION:
            warnings.append(f"{listed}: {copies} items ask for the very words of their prompt")
        subsets = {"": Subset(provides, official)}
        licence = "Common Voice: CC0" if self.params.lang == "en" else "DiDiSpeech-2: research only"
        return LoadedCorpus(tuple(items), subsets, f"{licence}; list: no licence stated", tuple(warnings))


def _read(tree: Path, path: Path, language: str, task: Literal["tts", "vc"]) -> list[Item]:
    """The items of one list. The last field is the reference of a TTS item, and the source of a conversion."""
    has_references = task == "tts" and (path.parent / "wavs").is_dir()
    items: dict[str, Item] = {}
    lines: dict[str, int] = {}
    for number, line in read_lines(path):
        utt, prompt_text, prompt, text, last = _fields(line, path, number)
        if task == "vc" and not last:
            raise CorpusError("no source: voice conversion needs a fifth field, source_wav", where=path, line=number)
        if utt in items:
            raise CorpusError(f"'{utt}' is already on line {lines[utt]}", where=path, line=number)
        prompt_path = inside(tree, path.parent, prompt, path, number)
        last_path = inside(tree, path.parent, last or f"wavs/{utt}.wav", path, number)
        lines[utt] = number
        items[utt] = Item(
            id=utt,
            task=task,
            language=language,
            text=text,
            prompt=prompt_path,
            prompt_text=prompt_text or None,
            source=last_path if task == "vc" else None,
            reference=last_path if task == "tts" and (last or has_references) else None,
            cluster=prompt_path.stem,  # not "utt up to its first '-'": prompt ids may hold one
        )
    return list(items.values())


def _fields(line: str, path: Path, number: int) -> tuple[str, str, str, str, str]:
    """utt, prompt_text, prompt_wav, text and reference_wav or source_wav; '' for what the line's form lacks."""
    fields = [field.strip() for field in line.split("|")]
    if len(fields) == 2:
        fix = "use a list of the form utt|prompt_text|prompt_wav|text"
        raise CorpusError("no prompt: zero-shot TTS needs one for every item", where=path, line=number, fix=fix)
    if len(fields) not in (3, 4, 5):
        form = "utt|prompt_text|prompt_wav|text[|reference_wav] or utt|text|prompt_wav"
        raise CorpusError(f"{len(fields)} fields where {form} is expected", where=path, line=number)
    if len(fields) == 3:
        utt, text, prompt = fields
        fields = [utt.removesuffix(".wav"), "", prompt, text]
    utt, prompt_text, prompt, text, last = (*fields, "")[:5]
    for value, name in ((utt, "utt"), (prompt, "prompt_wav"), (text, "text")):
        if not value:
            raise CorpusError(f"{name} is empty", where=path, line=number)
    if set(utt) & {"/", "\\", "\0"}:
        raise CorpusError(f"utt {utt!r} names a file, so it cannot hold a slash", where=path, line=number)
    return utt, prompt_text, prompt, text, last
