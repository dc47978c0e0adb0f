"""Conversion and what is done to packages: convert, compress, decompress, verify, bisect, inspect."""

from __future__ import annotations

import os
from typing import Any, Callable, Iterable, Mapping, Sequence, Union

import numpy

from . import _native
from ._errors import Error
from ._model import Model, TemporaryFolder
from .pattern import Rule

# A path, the bytes of a file, an onnx.ModelProto, a coremltools MLModel or a Model.
Sourced = Any
Progress = Union[Callable[[str, Union[float, None]], Any], bool, None]
Shape = Union[str, Sequence[Any]]


def _as_strings(value: Any) -> list[str]:
    """Options by name, as {"x": "1..8x3"} or {"x": [(1, 8), 3]}, spelled as the command line has them."""
    if value is None:
        return []
    if isinstance(value, str):
        return [value]
    if not isinstance(value, dict):
        return [str(each) for each in value]
    return [f"{name}={_shape_text(shape)}" for name, shape in value.items()]


def _shape_text(shape: Shape) -> str:
    if isinstance(shape, str):
        return shape
    if isinstance(shape, (tuple, list)) and all(isinstance(each, (tuple, list)) for each in shape) and shape:
        # Shapes, unless every one of them is a range.
        if any(len(each) != 2 for each in shape):
            return ",".join("x".join(str(size) for size in each) for each in shape)
    return "x".join(f"{size[0]}..{size[1]}" if isinstance(size, (tuple, list)) else "?" if size is None else str(size)
                    for size in shape)


class Source:
    """The path of what is to be converted; what is only in memory is written to a folder that lasts as long."""

    def __init__(self, source: Sourced):
        if isinstance(source, (str, os.PathLike)):
            self.path = os.fspath(source)
            return
        if isinstance(source, Model):
            self._keep: Any = source
            self.path = source.path
            if not self.path:  # built in memory
                self._keep, self.path = temporary_place("model.mlpackage")
                source.save(self.path)
            return
        if _is_of(source, "torch"):
            raise Error(f"a PyTorch {type(source).__name__} is not read yet",
                        hint="torch.onnx.export, and convert the ONNX model; of a transformers model, the folder of save_pretrained()")
        if _is_of(source, "coremltools") and hasattr(source, "get_spec"):
            self._keep, self.path = temporary_place("model.mlpackage")
            source.save(self.path)
            return
        contents = source
        if hasattr(source, "graph") and hasattr(source, "SerializeToString"):
            contents = source.SerializeToString()
        if not isinstance(contents, (bytes, bytearray, memoryview)):
            raise Error(f"a {type(source).__module__}.{type(source).__name__} is no model that can be converted",
                        hint="a path, the bytes of a file, an onnx.ModelProto, a coremltools MLModel or a pomona.Model")
        self._keep, self.path = temporary_place("model.onnx")
        with open(self.path, "wb") as file:
            file.write(contents)


def _is_of(source: Any, package: str) -> bool:
    """Whether the object, or what its class is made of, comes from a package; which need not be installed."""
    return any(each.__module__.partition(".")[0] == package for each in type(source).__mro__)


class Samples:
    """Where samples for calibration are: a path, or dicts of arrays, which are written to a folder that lasts as long."""

    def __init__(self, samples: str | os.PathLike[str] | Iterable[Mapping[str, Any]] | None):
        self.place: str | None = None
        if samples is None or isinstance(samples, (str, os.PathLike)):
            self.place = os.fspath(samples) if samples is not None else None
            return
        self._keep = TemporaryFolder()
        self.place = self._keep.path
        for i, sample in enumerate(samples):
            arrays: dict[str, Any] = {name: numpy.asarray(value) for name, value in sample.items()}
            numpy.savez(os.path.join(self.place, f"{i:08}.npz"), **arrays)


def temporary_place(name: str) -> tuple[TemporaryFolder, str]:
    keep = TemporaryFolder()
    return keep, os.path.join(keep.path, name)


def place_for(output: str | os.PathLike[str] | None, name: str) -> tuple[TemporaryFolder | None, str]:
    """Where an output goes: where the user says, or a folder that lasts as long as what is kept."""
    return temporary_place(name) if output is None else (None, os.fspath(output))


def progress_of(progress: Progress) -> Callable[[str, float | None], Any] | None:
    """True: tqdm's bar."""
    if progress is None or progress is False:
        return None
    if progress is not True:
        return progress
    from tqdm.auto import tqdm
    bar = tqdm(total=1.0, bar_format="{desc}: {percentage:3.0f}% {bar} {elapsed}")

    def show(stage: str, share: float | None) -> None:
        bar.set_description_str(stage)
        bar.n = share or 0.0
        bar.refresh()
    return show


def _written(report: dict[str, Any], what: str) -> None:
    if not report["written"] and report["verification"]:
        problems = [f"output '{line['name']}': {line['problem']}" for line in report["verification"]["outputs"] if line["problem"]]
        raise Error(f"what was {what} does not compute what its source does, and was not written", places=problems,
                    hint="keep=True writes it all the same" + ('; precision="fp32"' if what == "converted" else ""))


def convert(source: Sourced, output: str | os.PathLike[str] | None = None, *, target: str | None = None,
            precision: str | None = None, dynamic: Mapping[str, Shape] | None = None, compress: str | None = None,
            inputs: Mapping[str, Shape] | None = None, enumerated: Mapping[str, Shape] | None = None,
            constants: Mapping[str, str] | None = None,
            custom_ops: Mapping[str, Callable[..., Any] | str | os.PathLike[str]] | None = None, rules: Sequence[Rule] = (),
            force: bool = False, verify: bool = True, progress: Progress = None, **options: Any) -> Model:
    """Converts a model to a Core ML package and gives it back as a Model, with the report in `.report`.

    source      a path (a Hugging Face checkpoint's folder is one), an onnx.ModelProto, a coremltools
                MLModel, or the bytes of a file
    output      where the package goes; without it, a temporary folder that lasts as long as the Model
    target      the oldest system it is to run on: "iOS15" ... "iOS26", "macOS12" ...; without it iOS18, or a package's own
    precision   "fp16", "fp32" or "mixed"; without it fp16, or a package's own
    dynamic     {"x": [(1, 8), 3, 224, 224]} or {"x": "1..8x3x224x224"}: sizes that stay open
    enumerated  {"x": [(1, 3, 224, 224), (1, 3, 448, 448)]}: the only shapes allowed
    inputs      {"x": (1, 3, 224, 224)}: the shapes of inputs
    constants   {"axis": "1,-1"}: inputs that become constants
    compress    a scheme for the weights: "int8", "int4", "lut4", ...
    custom_ops  {"my.domain::Swish": lower}: what an ONNX operator stands for. lower(p, inputs, attributes) gives one value or a list of
                them: `p` has the ops, as in pomona.program; `inputs` is a list of values, None where one is left out; `attributes`
                a dict. Or a path of MIL text
    rules       rewrite rules of your own; see pomona.pattern
    verify      whether what was written is held against the source
    progress    called now and then with (stage, share); True draws a bar
    options     any other of `pomona convert`'s, with underscores: author="...", rename=["a=b"], ...; with dry_run=True nothing is
                written, and the report comes alone
    """
    given = dict(options, force=force, no_verify=not verify)
    for name, value in (("target", target), ("precision", precision), ("compress", compress)):
        if value is not None:
            given[name] = value
    for name, shapes in (("dynamic", dynamic), ("enumerate", enumerated), ("input", inputs), ("constant", constants)):
        if shapes is not None:
            given[name] = _as_strings(shapes)
    lowerings = {name: op for name, op in (custom_ops or {}).items() if callable(op)}
    texts = [f"{name}={os.fspath(op)}" for name, op in (custom_ops or {}).items() if not callable(op)]
    if texts:
        given["custom_op"] = texts + _as_strings(given.get("custom_op"))
    from_ = Source(source)
    keep, output = place_for(output, "model.mlpackage")
    report = _native.convert(from_.path, output, given, progress_of(progress), lowerings,
                             [rule._native() for rule in rules])
    if given.get("dry_run"):
        return report  # type: ignore[return-value]
    _written(report, "converted")
    return Model(_native.open_model(output), keep=(keep, from_), report=report, converted_from=from_.path)


def compress(source: Sourced, output: str | os.PathLike[str] | None = None, scheme: str | None = None, *,
             config: str | os.PathLike[str] | None = None, calibrate: str | Iterable[Mapping[str, Any]] | None = None,
             force: bool = False, progress: Progress = None, **options: Any) -> Model:
    """Makes the weights of a Core ML package smaller; a Model with the report in `.report`.

    scheme     "linear", "palettize", "prune" or "activations", or a short name: "int8" (the usual), "int4", "lut4",
               "sparse50", "w8a8", ...
    config     a YAML or JSON file that says which weight gets which scheme, such as search() writes
    calibrate  npz, folder, picture or text file of samples, or dicts of arrays
    options    of the scheme: nbits=4, granularity="per_block", block_size=32, ...; and any other of `pomona compress`'s
    """
    given = dict(options, force=force)
    if config is not None:
        given["config"] = os.fspath(config)
    if scheme is not None or config is None:
        given["scheme"] = scheme or "int8"
    samples = Samples(calibrate)
    if samples.place is not None:
        given["calibrate"] = samples.place
    keep, output = place_for(output, "model.mlpackage")
    from_ = Source(source)
    report = _native.compress(from_.path, output, given, progress_of(progress))
    _written(report, "compressed")
    return Model(_native.open_model(output), keep=keep, report=report)


def decompress(source: Sourced, output: str | os.PathLike[str] | None = None, *, force: bool = False,
               progress: Progress = None) -> Model:
    """The same package with plain weights."""
    keep, output = place_for(output, "model.mlpackage")
    from_ = Source(source)
    report = _native.decompress(from_.path, output, force, progress_of(progress))
    return Model(_native.open_model(output), keep=keep, report=report)


def inspect(source: Sourced) -> dict[str, Any]:
    """What a model is: format, functions, ops, weights and their sizes, and what stands in the way of a conversion."""
    from_ = Source(source)
    return _native.inspect(from_.path)


def verify(model: Sourced, reference: Any = None, *, inputs: Mapping[str, Any] | str | os.PathLike[str] | None = None,
           random: int = 1, seed: int = 0, min_cosine: float | None = None, max_abs: float | None = None,
           **options: Any) -> dict[str, Any]:
    """Holds a model's answers against those of a reference, on `inputs` or on seeded random ones.

    reference  a path, "onnxruntime", a Model, or any callable that takes and returns dicts of arrays; without one, the
               file the model was converted from
    inputs     arrays by name, or a file of them
    random     how many sets of random inputs
    """
    given = dict(options, random=random, seed=seed)
    for name, value in (("min_cosine", min_cosine), ("max_abs", max_abs)):
        if value is not None:
            given[name] = float(value)
    arrays = None
    if isinstance(inputs, (str, os.PathLike)):
        given["inputs"] = [os.fspath(inputs)]
    elif inputs is not None:
        arrays = dict(inputs)
    from_ = Source(model)
    answer = None
    source = model.converted_from if isinstance(model, Model) else None
    if source is not None:
        given["source"] = source
    if reference is None:
        given["against"] = source or model._native.source_path() if isinstance(model, Model) else _native.open_model(from_.path).source_path()
    elif isinstance(reference, Model) or not callable(reference):
        against = reference if reference == "onnxruntime" else Source(reference)
        given["against"] = against if isinstance(against, str) else against.path
    else:
        answer = reference
    return _native.verify(from_.path, given, answer, arrays)


def bisect(model: Sourced, reference: Any = None, **options: Any) -> dict[str, Any] | None:
    """The first op of a model whose result leaves the tolerance; None when none does. `reference` is a model."""
    found = verify(model, reference, bisect=True, **options)["divergence"]
    return found if found and found["found"] else None
