"""The ops of MIL as methods, for whatever is built in Python."""

from __future__ import annotations

from typing import Any, Callable

from . import _native


class Ops:
    """Every MIL op as a method that takes its inputs and parameters by name: values, NumPy arrays, numbers, texts."""

    def __init__(self, graph: _native.Graph):
        self._graph = graph

    def __getattr__(self, op: str) -> Callable[..., Any]:
        if op.startswith("_"):
            raise AttributeError(op)

        def call(*, name: str = "", **fields: Any) -> Any:
            return self._graph.call(op, fields, name)
        call.__name__ = op
        call.__doc__ = describe(op)
        return call

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *(op["name"] for op in _native.op_table())})

    def const(self, value: Any, name: str = "") -> _native.Symbol:
        """A constant tensor. float64 becomes float32, int64 int32."""
        return self._graph.constant(value, name)


def describe(op: str) -> str:
    """What an op does and takes."""
    for row in _native.op_table():
        if row["name"] == op:
            lines = [row["doc"], ""]
            for field in row["fields"]:
                default = "" if field["required"] else f", {field['default']}" if field["default"] else ", may be left out"
                lines.append(f"    {field['name']}: {field['kind']}{default}")
            return "\n".join(lines)
    return ""
