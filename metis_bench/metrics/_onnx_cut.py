"""Cut an ONNX model in two at a tensor, with nothing but the protobuf wire format (the `onnx` package is not needed).

An ONNX file is a protobuf message; each field is kept as its raw bytes, so weights and nodes are never re-encoded.
Field numbers: github.com/onnx/onnx onnx/onnx.proto (ModelProto, GraphProto, NodeProto, TensorProto, ValueInfoProto).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

Dims: TypeAlias = "Sequence[int | str]"  # a name is a dynamic dimension

_MODEL_GRAPH = 7
_GRAPH_NODE, _GRAPH_NAME, _GRAPH_INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT = 1, 2, 5, 11, 12
_NODE_INPUT, _NODE_OUTPUT, _TENSOR_NAME = 1, 2, 8
_FIXED_BYTES = {1: 8, 5: 4}  # wire type -> size
_FLOAT = 1  # TensorProto.DataType.FLOAT


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _fields(message: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """(field number, payload, raw bytes with the tag) of each field of a message, in order."""
    at = 0
    while at < len(message):
        start = at
        tag, at = _read_varint(message, at)
        if tag & 7 == 2:  # length-delimited
            size, at = _read_varint(message, at)
        elif tag & 7 == 0:
            size = _read_varint(message, at)[1] - at
        else:
            size = _FIXED_BYTES[tag & 7]
        yield tag >> 3, message[at : at + size], message[start : at + size]
        at += size


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _message(number: int, payload: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _integer(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _value_info(name: str, dims: Dims) -> bytes:
    """ValueInfoProto of a float tensor."""
    shape = b"".join(_message(1, _message(2, d.encode()) if isinstance(d, str) else _integer(1, d)) for d in dims)
    tensor = _integer(1, _FLOAT) + _message(2, shape)
    return _message(1, name.encode()) + _message(2, _message(1, tensor))


def cut(model: bytes, source: tuple[str, Dims], target: tuple[str, Dims]) -> bytes:
    """The sub-model that computes the tensor `target` from the tensor `source` (name, dims).

    Raises ValueError when `target` is not computed in the model, or not from `source` alone.
    """
    fields = list(_fields(model))
    graph = list(_fields(next(payload for number, payload, _ in fields if number == _MODEL_GRAPH)))
    needed, found, nodes = {target[0]}, False, list[bytes]()
    for number, payload, raw in reversed(graph):  # nodes are in topological order
        if number != _GRAPH_NODE:
            continue
        parts = [(n, p.decode()) for n, p, _ in _fields(payload) if n in (_NODE_INPUT, _NODE_OUTPUT)]
        if needed.isdisjoint(name for n, name in parts if n == _NODE_OUTPUT):
            continue
        inputs = {name for n, name in parts if n == _NODE_INPUT}
        found = found or source[0] in inputs
        needed |= inputs - {source[0]}
        nodes.append(raw)
    model_inputs = {p.decode() for n, v, _ in graph if n == _GRAPH_INPUT for m, p, _ in _fields(v) if m == 1}
    if not found or needed & model_inputs - {source[0]}:
        raise ValueError(f"the model does not compute '{target[0]}' from '{source[0]}' alone")
    kept = [raw for number, _, raw in graph if number == _GRAPH_NAME] + nodes[::-1]
    for number, payload, raw in graph:
        if number == _GRAPH_INITIALIZER and any(
            n == _TENSOR_NAME and p.decode() in needed for n, p, _ in _fields(payload)
        ):
            kept.append(raw)
    kept += [_message(_GRAPH_INPUT, _value_info(*source)), _message(_GRAPH_OUTPUT, _value_info(*target))]
    new_graph = _message(_MODEL_GRAPH, b"".join(kept))
    return b"".join(new_graph if number == _MODEL_GRAPH else raw for number, _, raw in fields)
