"""Writes the types of pomona's Ops: every MIL op as a method, from the op table of the module just built.

    ops_stub.py FOLDER_OF_THE_MODULE OUTPUT.pyi
"""
import keyword
import sys

sys.path.insert(0, sys.argv[1])
import _native

HEAD = '''"""The ops of MIL as methods. Written from the op table when the package is built."""

from typing import Any, Callable, Sequence, Union

from numpy.typing import ArrayLike

from ._native import Graph, Symbol

Operand = Union[Symbol, ArrayLike]

def describe(op: str) -> str: ...

class Ops:
    def __init__(self, graph: Graph) -> None: ...
    def __dir__(self) -> list[str]: ...
    def const(self, value: ArrayLike, name: str = "") -> Symbol:
        """A constant tensor. float64 becomes float32, int64 int32."""
'''
TYPES = {"input": "Operand", "inputs": "Sequence[Operand]", "parameter": "Operand", "function": "Callable[..., Any]"}


def parameter(field):
    kind = TYPES[field["kind"]]
    return f"{field['name']}: {kind}" if field["required"] else f"{field['name']}: Union[{kind}, None] = None"


with open(sys.argv[2], "w") as file:
    file.write(HEAD)
    for op in _native.op_table():
        if keyword.iskeyword(op["name"]) or any(keyword.iskeyword(field["name"]) for field in op["fields"]):
            sys.exit(f"ops_stub: '{op['name']}' or one of its fields is a word of Python's")
        fields = "".join(parameter(field) + ", " for field in op["fields"])
        doc = op["doc"].replace("\\", "\\\\").replace('"""', "'''")
        file.write(f'    def {op["name"]}(self, *, {fields}name: str = "") -> Any:\n        """{doc}"""\n')
