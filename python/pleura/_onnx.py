"""ONNX files of dense layers, written without the package `onnx` (github.com/onnx/onnx/blob/main/onnx/onnx.proto)."""

from __future__ import annotations

from typing import Union

import numpy
from numpy.typing import NDArray


def dense(weights: NDArray[numpy.float64], bias: NDArray[numpy.float64], end: str = "", name: str = "linear") -> bytes:
    """`x @ weights.T + bias` for `x` of shape `[batch, weights.shape[1]]`, and an operator such as `Softmax` at its end."""
    outputs, inputs = weights.shape
    nodes = [_node("Gemm", ["x", "w", "b"], "scores" if end else "y", _attribute("transB", 1))]
    if end:
        nodes.append(_node(end, ["scores"], "y"))
    graph = b"".join(_field(1, node) for node in nodes)
    graph += _field(2, name) + _field(5, _tensor("w", weights)) + _field(5, _tensor("b", bias))
    graph += _field(11, _value("x", inputs)) + _field(12, _value("y", outputs))
    operators = _field(1, "") + _number(2, 17)
    return _number(1, 8) + _field(2, "pleura") + _field(7, graph) + _field(8, operators)


def _node(kind: str, inputs: list[str], output: str, attributes: bytes = b"") -> bytes:
    return b"".join(_field(1, name) for name in inputs) + _field(2, output) + _field(3, kind) + _field(4, kind) + attributes


def _attribute(name: str, value: int) -> bytes:
    integer = 2
    return _field(5, _field(1, name) + _number(3, value) + _number(20, integer))


def _tensor(name: str, values: NDArray[numpy.float64]) -> bytes:
    float64 = 11
    shape = b"".join(_number(1, n) for n in values.shape)
    return shape + _number(2, float64) + _field(8, name) + _field(9, values.astype("<f8").tobytes())


def _value(name: str, extent: int) -> bytes:
    float64 = 11
    axes = _field(1, _field(2, "batch")) + _field(1, _number(1, extent))
    return _field(1, name) + _field(2, _field(1, _number(1, float64) + _field(2, axes)))


def _field(number: int, value: Union[bytes, str]) -> bytes:
    content = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
