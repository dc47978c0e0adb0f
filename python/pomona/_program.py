"""ML Programs written in Python, op by op.

    with pomona.program({"x": (1, 3, 224, 224)}) as p:
        h = p.relu(x=p["x"])
        p.output("y", h * 2 + 1)
    p.model.predict({"x": array})
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Mapping, Sequence, Tuple, Union, cast

import numpy

from . import _native
from ._errors import Error
from ._model import Model
from ._ops import Ops

Symbol = _native.Symbol
Size = Union[int, Tuple[int, Union[int, None]]]
Typed = Union[Sequence[Size], Tuple[Sequence[Size], Any]]

_DTYPES = {"float16": "fp16", "float32": "fp32", "float64": "fp64"}


class Program(Ops):
    """A program being written; `model` when it is complete."""

    def __init__(self, inputs: Mapping[str, Typed], states: Mapping[str, Typed] | None, target: str, name: str):
        self._built = _native.BuiltProgram(name, target)
        super().__init__(self._built.graph)
        self._outputs: dict[str, Symbol] = {}
        self._model: Model | None = None
        self.inputs: dict[str, Symbol] = {each: self._built.add_input(each, *_typed(typed, "fp32")) for each, typed in inputs.items()}
        self.states: dict[str, Symbol] = {each: self._built.add_state(each, *_typed(typed, "fp16"))
                                          for each, typed in (states or {}).items()}

    def __getitem__(self, name: str) -> Symbol:
        """An input or state."""
        if name not in self.inputs and name not in self.states:
            raise Error(f"the program has no input '{name}'; it has {', '.join([*self.inputs, *self.states])}")
        return self.inputs[name] if name in self.inputs else self.states[name]

    def output(self, name: str, value: Symbol) -> None:
        """Makes a value an output."""
        if name in self._outputs:
            raise Error(f"there are two outputs '{name}'")
        self._outputs[name] = value

    @property
    def model(self) -> Model:
        if self._model is None:
            raise Error("the program is not complete", hint="leave the with block first")
        return self._model

    def __enter__(self) -> Program:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self._model = Model(self._built.finish(self._outputs))


def _typed(typed: Typed, dtype: str) -> tuple[Sequence[Size], str]:
    if len(typed) == 2 and isinstance(typed[0], (tuple, list)) and not (isinstance(typed[1], (tuple, list, int)) or typed[1] is None):
        typed, dtype = cast("tuple[Sequence[Size], str]", typed)
    if not isinstance(dtype, str):
        dtype = numpy.dtype(dtype).name
    return cast("Sequence[Size]", typed), _DTYPES.get(dtype, dtype)


def program(inputs: Mapping[str, Typed], *, states: Mapping[str, Typed] | None = None, target: str = "iOS18",
            name: str = "main") -> Program:
    """Begins a program with one function: `with pomona.program({...}) as p:`.

    inputs  {"x": (1, 3, (32, 512), 224)} or {"ids": ((1, 16), "int32")}: a size is a number, or two bounds of which the upper
            may be None; the dtype, a name or one of NumPy's, is float32 where it is not given
    states  the same, of what is kept between calls (float16)
    target  the operator set: "iOS15" ... "iOS26"

    Every MIL op is a method of `p` with its inputs and parameters by name, and `name` for the result: p.conv(x=x, weight=w,
    strides=[2, 2]); help(p.conv) says which. NumPy arrays, numbers and texts become constants. Values have Python's operators,
    shape, dtype, and `value` (a constant's array, else None). p.cond(pred=, true=f, false=g) takes functions f(p), and
    p.while_loop(loop_vars=[...], condition=f, body=g) functions f(p, *variables).
    """
    return Program(inputs, states, target, name)
