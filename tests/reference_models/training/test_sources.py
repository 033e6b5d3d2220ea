"""Layouts of data sets: what is found in them, and what is said about what cannot be used."""

import io
import json
import re
import tarfile

import numpy as np
import pytest
import soundfile

from reference_models.errors import InputError
from reference_models.training.sources import as_key, open_sources
from tests.reference_models.training.speech import talk


def write(path, seed=0, rate=16000, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    speech = talk(seed, 0.5, rate)
    soundfile.write(path, speech.samples, rate, **options)
    return speech


def reasons(utterances):
    found = {}
    for utterance in utterances:
        try:
            utterance.load()
        except InputError as error:
            found[utterance.key] = error.message
    return found


def test_folder_takes_every_format_and_speakers_from_its_folders(tmp_path):
    written = {}
    for number, suffix in enumerate(("wav", "flac", "mp3", "ogg")):
        written[f"ann/{suffix}-1"] = write(tmp_path / "ann" / f"{suffix}-1.{suffix}", number, 16000)
    write(tmp_path / "bob" / "deep" / "x.wav")
    (tmp_path / "ann" / "wav-1.txt").write_text("Hello there.\n")
    (tmp_path / "ann" / "notes.md").write_text("no audio")
    found = {u.key: u for u in open_sources([f"folder:{tmp_path}"], language="en")}
    assert len(found) == 5
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", key) for key in found)
    by_name = {name: found[as_key(name)] for name in written}
    for name, speech in written.items():
        heard = by_name[name].load()
        assert heard.rate == 16000
        assert abs(heard.seconds - 0.5) < 0.15  # mp3 pads
        assert by_name[name].speaker == "ann"
        assert by_name[name].language == "en"
        if name.endswith(("wav-1", "flac-1")):
            assert np.allclose(heard.samples, speech.samples, atol=1e-4)
    assert by_name["ann/wav-1"].text == "Hello there."
    assert by_name["ann/flac-1"].text is None
    assert found[as_key("bob/deep/x")].speaker == "deep"


def test_channels_are_averaged(tmp_path):
    left, right = talk(0, 0.3).samples, talk(1, 0.3).samples
    soundfile.write(tmp_path / "two.wav", np.stack([left, right], 1), 16000, subtype="FLOAT")
    (utterance,) = open_sources([f"folder:{tmp_path}"])
    assert np.allclose(utterance.load().samples, (left + right) / 2, atol=1e-6)
    assert utterance.speaker is None


def test_a_damaged_file_is_a_reason_and_the_others_are_read(tmp_path):
    write(tmp_path / "good.wav")
    (tmp_path / "bad.flac").write_bytes(b"fLaC" + bytes(100))
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 16000)
    samples = np.zeros(100, np.float32)
    samples[3] = np.nan
    soundfile.write(tmp_path / "nan.wav", samples, 16000, subtype="FLOAT")
    whole = (tmp_path / "good.wav").read_bytes()
    (tmp_path / "short.wav").write_bytes(whole[: len(whole) * 3 // 5])
    found = open_sources([f"folder:{tmp_path}"])
    assert [u.key for u in found] == ["bad", "empty", "good", "nan", "short"]
    said = reasons(found)
    assert set(said) == {"bad", "empty", "nan", "short"}
    assert all(f"{key}." in reason for key, reason in said.items())  # names its file
    assert "no audio" in said["empty"]
    assert "NaN" in said["nan"]
    assert "truncated wav" in said["short"], "its text would say more than it does"


def test_jsonl(tmp_path):
    write(tmp_path / "wavs" / "a.wav")
    write(tmp_path / "wavs" / "b.wav")
    lines = [
        {"audio": "wavs/a.wav", "id": 7, "text": "Ja.", "language": "de", "speaker": 12},
        {"audio": "wavs/b.wav", "video": "wavs/b.mp4", "text": None},
        {"audio": "../elsewhere.wav", "id": "up"},
        {"audio": "/etc/hosts", "id": "absolute"},
        {"text": "nothing to hear"},
        {"audio": ["a list"]},
        {"audio": "wavs/missing.wav", "id": "gone"},
    ]
    text = "\n".join(json.dumps(line) for line in lines) + "\n{broken\n\n[1]\n"
    (tmp_path / "list.jsonl").write_text(text)
    found = {u.key: u for u in open_sources([f"jsonl:{tmp_path / 'list.jsonl'}"], language="en")}
    assert len(found) == 9
    first, second = found["7"], found[as_key("wavs/b")]
    assert (first.text, first.language, first.speaker, first.video) == ("Ja.", "de", "12", None)
    assert (second.text, second.language, second.speaker) == (None, "en", None)
    with pytest.raises(InputError, match=r"b\.mp4: there is no such file"):
        second.video()
    said = reasons(found.values())
    assert len(said) == 7
    assert "gone" in said
    everything = " | ".join(said.values())
    assert "list.jsonl:3: '../elsewhere.wav' leads out" in everything
    assert "list.jsonl:4: '/etc/hosts' leads out" in everything
    assert "list.jsonl:5: a line needs 'audio'" in everything
    assert "list.jsonl:6: 'audio' is neither" in everything
    assert "list.jsonl:8: no JSON" in everything
    assert "list.jsonl:10: no JSON object" in everything


def test_libritts(tmp_path):
    stem = tmp_path / "train-clean-100" / "19" / "198" / "19_198_000000_000000"
    write(stem.with_suffix(".wav"))
    stem.with_suffix(".normalized.txt").write_text("Mister Brown came.")
    stem.with_suffix(".original.txt").write_text("Mr. Brown came.")
    write(stem.with_name("19_198_000000_000001.wav"))
    textless, utterance = sorted(open_sources([f"libritts:{tmp_path}"]), key=lambda u: u.text or "")
    assert (utterance.key, utterance.speaker) == ("19_198_000000_000000", "19")
    assert (utterance.text, utterance.language) == ("Mister Brown came.", "en")
    assert "normalized.txt" in reasons([textless])["19_198_000000_000001"]


def emilia(path, names, suffix="mp3"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for number, name in enumerate(names):
            audio = io.BytesIO()
            soundfile.write(audio, talk(number, 1.0, 24000).samples, 24000, format=suffix.upper())
            about = {"id": name, "text": f"Satz {number}.", "speaker": f"DE_{number}", "language": "DE", "dnsmos": 3.3}
            for end, data in ((suffix, audio.getvalue()), ("json", json.dumps(about).encode())):
                info = tarfile.TarInfo(f"{name}.{end}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))


def test_emilia(tmp_path):
    emilia(tmp_path / "DE" / "DE-B000000.tar", ["DE_B00000_S00000_W000000", "DE_B00000_S00000_W000001"])
    emilia(tmp_path / "DE" / "DE-B000001.tar", ["DE_B00001_S00000_W000000"])
    found = open_sources([f"emilia:{tmp_path}"])
    assert [u.key for u in found] == [f"DE_B0000{a}_S00000_W00000{b}" for a, b in ((0, 0), (0, 1), (1, 0))]
    assert [(u.text, u.language, u.speaker) for u in found[:2]] == [
        ("Satz 0.", "de", "DE_0"),
        ("Satz 1.", "de", "DE_1"),
    ]
    heard = found[1].load()
    expected = talk(1, 1.0, 24000).samples
    assert heard.rate == 24000
    shift = int(np.correlate(heard.samples, expected[2000:20000], "valid").argmax()) - 2000  # mp3 delays
    overlap = heard.samples[2000 + shift : 20000 + shift]
    assert np.corrcoef(overlap, expected[2000:20000])[0, 1] > 0.95  # the second sample, not the first
    assert len(open_sources([f"emilia:{tmp_path / 'DE' / 'DE-B000001.tar'}"])) == 1


def test_damaged_emilia(tmp_path):
    path = tmp_path / "x.tar"
    emilia(path, ["first", "second", "third"])
    with tarfile.open(path) as tar:
        cut = tar.getmember("third.mp3").offset_data + 700
        second = tar.getmember("second.json")
    data = bytearray(path.read_bytes()[:cut])
    data[second.offset_data : second.offset_data + 3] = b"???"
    path.write_bytes(data)
    found = open_sources([f"emilia:{path}"])
    said = reasons(found)
    assert "first" not in said
    assert "x.tar: second: no JSON" in said["second"]
    assert any("third" in key or "rest" in key for key in said)
    assert found[0].load().seconds > 0.9


def test_emilia_without_a_partner(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for name in ("only.json", "audio.mp3"):
            info = tarfile.TarInfo(name)
            info.size = 2
            tar.addfile(info, io.BytesIO(b"{}"))
    said = reasons(open_sources([f"emilia:{tmp_path}"]))
    assert "no JSON" in said["audio"]
    assert "no audio" in said["only"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("{0}", "one of folder, jsonl, libritts, emilia"),
        ("libritss:{0}", "did you mean 'libritts'"),
        ("folder:{0}/nowhere", "no such file or folder"),
        ("jsonl:{0}", "that is a folder"),
        ("libritts:{0}/a.txt", "that is a file"),
        ("folder:{0}", "no utterance"),
    ],
)
def test_what_is_wrong_with_a_source_is_said(tmp_path, spec, message):
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(InputError) as found:
        open_sources([spec.format(tmp_path)])
    assert message in str(found.value)


def test_one_key_twice_is_refused(tmp_path):
    for name in ("one", "two"):
        write(tmp_path / name / "a.wav")
    with pytest.raises(InputError, match="two utterances have the key 'a'"):
        open_sources([f"folder:{tmp_path / 'one'}", f"folder:{tmp_path / 'two'}"])


def test_keys_of_unlike_names_are_unlike():
    names = ["a/b", "a-b", "a b", "ä", "ö", "-a", "a", "東京", "x" * 200, "y" + "x" * 200]
    keys = [as_key(name) for name in names]
    assert len(set(keys)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", key) for key in keys)
    assert max(map(len, keys)) < 80
    assert as_key("a-b_C9") == "a-b_C9"
