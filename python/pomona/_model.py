"""Models: loaded, asked what they take and give, run, shown, saved."""

from __future__ import annotations

import html
import os
import shutil
import tempfile
import weakref
from typing import Any, Iterable, Mapping, Union

from . import _native
from ._errors import Error

Path = Union[str, "os.PathLike[str]"]


class Feature:
    """An input, output or state: its name and type as the model's source had them where that is known."""

    __slots__ = ("name", "program_name", "kind", "dtype", "shape", "ranges", "enumerated", "optional", "default",
                 "description", "text")

    def __init__(self, facts: Mapping[str, Any]):
        self.name: str = facts["source_name"]
        self.program_name: str = facts["name"]
        self.kind: str = facts["kind"]
        self.dtype: str | None = facts["dtype"] if facts["kind"] == "array" else None
        self.shape: tuple[int | str, ...] | None = tuple(facts["dims"]) if facts["kind"] == "array" else facts["shape"] and tuple(facts["shape"])
        self.ranges: list[tuple[int, int]] = facts["ranges"]
        self.enumerated: list[tuple[int, ...]] = [tuple(shape) for shape in facts["enumerated"]]
        self.optional: bool = facts["optional"]
        self.default: float | None = facts["default"]
        self.description: str = facts["description"]
        self.text: str = facts["text"]

    def __repr__(self) -> str:
        return f"{self.name}: {self.text}"


class State:
    """What a stateful model keeps between calls. Made by Model.make_state(), given to predict()."""

    def __init__(self, native: _native.State):
        self._native = native

    @property
    def names(self) -> list[str]:
        return self._native.names

    def read(self, name: str) -> Any:
        """A copy of a state's array."""
        return self._native.read(name)

    def write(self, name: str, value: Any) -> None:
        """Puts an array in a state's place."""
        self._native.write(name, value)

    def __repr__(self) -> str:
        return f"State({', '.join(self.names)})"


class Model:
    """A model in memory. `function` is the one that inputs, outputs and predict() speak of."""

    def __init__(self, native: _native.Model, function: str | None = None, keep: Any = None, report: dict[str, Any] | None = None,
                 converted_from: str | None = None):
        self._native = native
        self._keep = keep  # a folder that goes when nobody has the model any more
        self.report = report
        self.converted_from = converted_from  # the path of the model that convert() was given
        self._functions = {each["name"]: each for each in native.functions()}
        self.function = function or native.default_function
        if self.function not in self._functions:
            raise Error(f"there is no function '{self.function}'; there is {', '.join(self._functions)}")
        self._runner: _native.Runner | None = None

    @property
    def path(self) -> str:
        return self._native.path

    @property
    def format(self) -> str:
        return self._native.format

    @property
    def functions(self) -> list[str]:
        """The names of the model's functions."""
        return list(self._functions)

    def select(self, function: str) -> Model:
        """The same model, speaking of another of its functions."""
        return Model(self._native, function, self._keep, self.report, self.converted_from)

    @property
    def metadata(self) -> dict[str, Any]:
        return self._native.metadata()

    def _features(self, which: str) -> dict[str, Feature]:
        return {each["source_name"]: Feature(each) for each in self._functions[self.function][which]}

    @property
    def inputs(self) -> dict[str, Feature]:
        return self._features("inputs")

    @property
    def outputs(self) -> dict[str, Feature]:
        return self._features("outputs")

    @property
    def states(self) -> dict[str, Feature]:
        return self._features("states")

    @property
    def ops(self) -> dict[str, int]:
        """How often each op occurs in the function."""
        return dict(self._functions[self.function]["ops"])

    @property
    def opset(self) -> str:
        return str(self._functions[self.function]["opset"])

    def _run(self) -> _native.Runner:
        if self._runner is None:
            self._runner = _native.Runner(self._native, self.function)
        return self._runner

    def predict(self, inputs: Mapping[str, Any], state: State | None = None) -> dict[str, Any]:
        """Runs the function: a dict of arrays in, a dict of arrays out, named and typed as in the model's source.

        A model with states wants one from make_state(); it is read and updated.
        """
        if state is None:
            if self._functions[self.function]["states"]:
                raise Error("the model has states", hint="predict(inputs, state=model.make_state())")
            return self._run().run(dict(inputs))
        return self._run().run(dict(inputs), state._native)

    __call__ = predict

    def predict_batch(self, batch: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """predict() of each of a list of inputs."""
        return [self.predict(inputs) for inputs in batch]

    def make_state(self) -> State:
        """States, filled with zeros."""
        return State(self._run().make_state())

    def random_inputs(self, seed: int = 0) -> dict[str, Any]:
        """Seeded inputs that the function accepts."""
        return _native.random_inputs(self._native, self.function, seed)

    def save(self, path: Path, force: bool = False) -> Path:
        """Writes a Core ML package; `force` replaces what is there."""
        _native.save(self._native, os.fspath(path), force)
        return path

    def show(self, function: str | None = None, full: bool = False) -> str:
        """The program as MIL text. Large constants are left out unless `full`."""
        return self._native.text(function or "", full)

    def __repr__(self) -> str:
        lines = [f"Model('{self.path}', {self.format}, {self.opset}, function '{self.function}')"]
        for which in ("inputs", "outputs", "states"):
            for feature in self._features(which).values():
                lines.append(f"  {which[:-1]:6} {feature!r}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = []
        for which in ("inputs", "outputs", "states"):
            for feature in self._features(which).values():
                cells = (which[:-1], feature.name, feature.text, feature.description)
                rows.append("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>")
        ops = ", ".join(f"{count} {op}" for op, count in sorted(self.ops.items(), key=lambda item: -item[1])[:8])
        title = f"{html.escape(os.path.basename(self.path))} ({html.escape(self.format)}, {html.escape(self.opset)})"
        return (f"<b>{title}</b><table><tr><th></th><th>name</th><th>type</th><th>description</th></tr>"
                + "".join(rows) + f"</table><small>{html.escape(ops)}</small>")


class TemporaryFolder:
    """A folder that lasts as long as the object."""

    def __init__(self) -> None:
        self.path = tempfile.mkdtemp(prefix="pomona-")
        self._end = weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


def load(source: Path | bytes | bytearray | memoryview, function: str | None = None, target: str = "iOS18") -> Model:
    """A model from a file or folder of any format that is read, or from a file's bytes."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        # A mapping of the file lasts as long as the model needs it, whether the file has a name or not.
        folder = TemporaryFolder()
        path = os.path.join(folder.path, "bytes")
        with open(path, "wb") as file:
            file.write(source)
        return Model(_native.open_model(path, target), function, folder)
    return Model(_native.open_model(os.fspath(source), target), function)
