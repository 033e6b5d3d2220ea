"""A tiny ONNX graph in the form of the release's polyphone model, as protobuf bytes (no `onnx` package needed)."""

from __future__ import annotations

import struct

FLOAT, INT32, INT64 = 1, 6, 7  # TensorProto.DataType


def _varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def _int(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _tensor(name: str, kind: int, shape: list[int], data: bytes) -> bytes:
    return b"".join(_int(1, size) for size in shape) + _int(2, kind) + _bytes(8, name) + _bytes(9, data)


def _value(name: str, kind: int, shape: list[str]) -> bytes:
    dims = b"".join(_bytes(1, _bytes(2, size)) for size in shape)
    return _bytes(1, name) + _bytes(2, _bytes(1, _int(1, kind) + _bytes(2, dims)))


def _node(kind: str, inputs: list[str], output: str) -> bytes:
    return b"".join(_bytes(1, name) for name in inputs) + _bytes(2, output) + _bytes(4, kind)


def lookup_model(table: list[list[float]], *, output: str = "outputs", skip: int = 1) -> bytes:
    """`input_ids` int32 (1, n) -> rows of `table` (1, n - skip, classes), the first `skip` tokens ([CLS]) left out."""
    flat = [score for row in table for score in row]
    initializers = [
        _tensor("table", FLOAT, [len(table), len(table[0])], struct.pack(f"<{len(flat)}f", *flat)),
        _tensor("starts", INT64, [1], struct.pack("<q", skip)),
        _tensor("ends", INT64, [1], struct.pack("<q", 2**31 - 1)),
        _tensor("axes", INT64, [1], struct.pack("<q", 1)),
    ]
    nodes = [
        _node("Gather", ["table", "input_ids"], "rows"),
        _node("Slice", ["rows", "starts", "ends", "axes"], output),
    ]
    graph = (
        b"".join(_bytes(1, node) for node in nodes)
        + _bytes(2, "lookup")
        + b"".join(_bytes(5, tensor) for tensor in initializers)
        + _bytes(11, _value("input_ids", INT32, ["batch", "length"]))
        + _bytes(12, _value(output, FLOAT, ["batch", "characters", "classes"]))
    )
    return _int(1, 8) + _bytes(7, graph) + _bytes(8, _bytes(1, "") + _int(2, 13))
