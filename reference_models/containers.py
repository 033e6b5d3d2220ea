"""What a container promises against what is there: libsndfile returns a cut-off file as a shorter one without a word.

A silently shorter recording is a wrong number, so `inspect` reads the structure before libsndfile decodes.
Known limits: an mp3 without a Xing/Info tag that is cut exactly between two frames, and a wav stream of unknown length
(size 0xFFFFFFFF), carry nothing that could tell. Damage inside mp3 frames or PCM is not detectable either; ogg and flac
have checksums. Layouts: RIFF/RF64 (EBU Tech 3306), ISO 11172-3 and the Xing tag, RFC 3533 (Ogg), NIST SPHERE.
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import NamedTuple

from reference_models.errors import InputError

_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # MPEG 1, 2, 2.5 in Hz
_KBPS_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBPS_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_SAME_STREAM = 0xFFFE0C00  # sync, version, layer and rate bits of an mp3 frame header
_MIRROR = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class Inspected(NamedTuple):
    """`data`: the bytes to decode; `frames`: how many samples a channel they must give, None where libsndfile knows."""

    data: bytes
    frames: int | None


def inspect(data: bytes) -> Inspected:
    """Checks wav, rf64, sphere, ogg and mp3 bytes; anything else passes unseen. Leading ID3v2 tags are dropped.

    Errors: InputError for a truncated, damaged or chained file.
    """
    while data[:3] == b"ID3" and len(data) > 10:
        data = data[10 + sum((byte & 127) << shift for byte, shift in zip(data[6:10], (21, 14, 7, 0), strict=True)) :]
    if data[:4] in (b"RIFF", b"RIFX", b"RF64") and data[8:12] == b"WAVE":
        _check_riff(data)
    elif data[:4] == b"OggS":
        _check_ogg(data)
    elif data[:7] == b"NIST_1A":
        count = re.search(rb"\nsample_count -i (\d{1,12})\s", data[:1024])
        return Inspected(data, int(count[1]) if count else None)
    elif len(data) > 1 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0:
        return _inspect_mp3(data)
    return Inspected(data, None)


def _check_riff(data: bytes) -> None:
    """The data chunk must be as long as its header says."""
    order, long_size, at = (">" if data[:4] == b"RIFX" else "<"), 0, 12
    while at + 8 <= len(data):
        name, size = data[at : at + 4], struct.unpack_from(f"{order}I", data, at + 4)[0]
        if name == b"ds64" and at + 24 <= len(data):
            long_size = struct.unpack_from("<Q", data, at + 16)[0]
        if name == b"data":
            present = len(data) - at - 8
            size = long_size if data[:4] == b"RF64" and size == 0xFFFFFFFF else size
            streamed = data[:4] != b"RF64" and size >= 0x7FFFF000  # written to a pipe: the length was not known
            if size > present and not streamed:
                raise InputError(f"truncated wav: header promises {size} bytes of audio, {present} are there")
            return
        at += 8 + size + (size & 1)


def _ogg_checksum(page: bytes) -> int:
    """CRC-32 of RFC 3533 (polynomial 0x04C11DB7, not reflected, no inversion) by way of zlib's reflected one."""
    mirrored = zlib.crc32((page[:22] + bytes(4) + page[26:]).translate(_MIRROR), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2)


def _check_ogg(data: bytes) -> None:
    """Every page whole, in sequence and with a right checksum, and an end-of-stream page as the last one."""
    at, following, ended = 0, dict[int, int](), set[int]()
    while data[at : at + 4] == b"OggS" and at + 27 <= len(data):
        flags, (serial, number, checksum), segments = (
            data[at + 5],
            struct.unpack_from("<III", data, at + 14),
            data[at + 26],
        )
        end = at + 27 + segments + sum(data[at + 27 : at + 27 + segments])
        if end > len(data):
            raise InputError(f"truncated ogg: its last page needs {end - len(data)} more bytes")
        if ended:
            fix = "decode it with another program and save it as flac or wav"
            raise InputError("chained ogg: several streams, only the first would be decoded", fix=fix)
        if _ogg_checksum(data[at:end]) != checksum:
            raise InputError(f"damaged ogg: wrong checksum of the page at byte {at}")
        if number != following.get(serial, number):
            raise InputError(f"damaged ogg: pages are missing before byte {at}")
        following[serial] = number + 1
        if flags & 4:
            ended.add(serial)
        at = end
    if ended != set(following):
        raise InputError("truncated ogg: it has no end-of-stream page", fix="if it is whole, re-encode it")


class _Frame(NamedTuple):
    size: int  # bytes, header included
    samples: int
    header: int


def _mp3_frame(data: bytes, at: int) -> _Frame | None:
    """The MPEG layer III frame whose header is at byte `at`, or None."""
    if at + 4 > len(data):
        return None
    header = struct.unpack_from(">I", data, at)[0]
    version, layer, bits, rate = header >> 19 & 3, header >> 17 & 3, header >> 12 & 15, header >> 10 & 3
    if header >> 21 != 0x7FF or version == 1 or layer != 1 or bits in (0, 15) or rate == 3:
        return None
    samples, kbps = (1152, _KBPS_1) if version == 3 else (576, _KBPS_2)
    return _Frame(samples // 8 * 1000 * kbps[bits] // _RATES[version][rate] + (header >> 9 & 1), samples, header)


def _xing(data: bytes, first: _Frame) -> tuple[bool, int | None]:
    """(the first frame is a Xing/Info tag, how many frames it says follow). A VBRI tag is decoded like any frame."""
    mono, mpeg1 = first.header >> 6 & 3 == 3, first.header >> 19 & 3 == 3
    at = 4 + (17 if mpeg1 == mono else 32 if mpeg1 else 9)
    for start in (at, at + 2):  # + 2: a checksum after the header
        if data[start : start + 4] in (b"Xing", b"Info") and len(data) >= start + 12:
            flags, count = struct.unpack_from(">II", data, start + 4)
            return True, count if flags & 1 else None
    return False, None


def _inspect_mp3(data: bytes) -> Inspected:
    """Counts the frames, drops what follows the last one, and makes libsndfile decode all of them.

    Without a Xing/Info tag libsndfile guesses the length from the first frame and stops there: a variable-rate file
    that begins loud and ends quiet lost 56 % of its samples. A trailing ID3v2 tag raises the guess and is not decoded.
    """
    first = _mp3_frame(data, 0)
    if first is None:
        raise InputError("not a decodable audio file (MPEG audio, but not layer III)")
    at, count, largest, frame = 0, 0, 0, _mp3_frame(data, 0)
    while frame and (frame.header ^ first.header) & _SAME_STREAM == 0:
        at, count, largest, frame = (
            at + frame.size,
            count + 1,
            max(largest, frame.size),
            _mp3_frame(data, at + frame.size),
        )
    if at > len(data) or (len(data) - at < 4 and data[at : at + 1] == b"\xff"):
        raise InputError("truncated mp3: its last frame is cut off")
    if _more_frames(data, at, first):
        raise InputError(f"damaged mp3: no frame at byte {at}, but more of them later")
    tagged, promised = _xing(data, first)
    if promised is not None:
        if promised != count - 1:
            raise InputError(f"damaged mp3: its tag promises {promised} frames, {count - 1} are there")
        return Inspected(data[:at], None)
    filler = min((count + 2) * largest, (1 << 28) - 1)
    size = bytes(filler >> shift & 127 for shift in (21, 14, 7, 0))
    return Inspected(data[:at] + b"ID3\4\0\0" + size + bytes(filler), (count - tagged) * first.samples)


def _more_frames(data: bytes, at: int, first: _Frame) -> bool:
    """Two consecutive frames of the same stream anywhere after byte `at`."""
    while (at := data.find(b"\xff", at)) >= 0:
        frame = _mp3_frame(data, at)
        if frame and (frame.header ^ first.header) & _SAME_STREAM == 0:
            second = _mp3_frame(data, at + frame.size)
            if second and (second.header ^ first.header) & _SAME_STREAM == 0:
                return True
        at += 1
    return False
