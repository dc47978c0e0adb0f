"""Conversion and what is done to packages: convert, compress, decompress, verify, bisect, inspect."""

import os

from . import _native
from ._errors import Error
from ._model import Model, TemporaryFolder, load


def _as_strings(value):
    """Options by name, as {"x": "1..8x3"} or {"x": [(1, 8), 3]}, spelled as the command line has them."""
    if value is None:
        return []
    if isinstance(value, str):
        return [value]
    if not isinstance(value, dict):
        return [str(each) for each in value]
    return [f"{name}={_shape_text(shape)}" for name, shape in value.items()]


def _shape_text(shape):
    if isinstance(shape, str):
        return shape
    if isinstance(shape, (tuple, list)) and all(isinstance(each, (tuple, list)) for each in shape) and shape:
        # Shapes, unless every one of them is a range.
        if any(len(each) != 2 for each in shape):
            return ",".join("x".join(str(size) for size in each) for each in shape)
    return "x".join(f"{size[0]}..{size[1]}" if isinstance(size, (tuple, list)) else "?" if size is None else str(size)
                    for size in shape)


class _Source:
    """The path of what is to be converted; what is only in memory is written to a folder that lasts as long."""

    def __init__(self, source):
        if isinstance(source, (str, os.PathLike)):
            self.path = os.fspath(source)
            return
        if isinstance(source, Model):
            self.path = source.path
            self._keep = source
            return
        contents = source
        kind = f"{type(source).__module__}.{type(source).__name__}"
        if hasattr(source, "graph") and hasattr(source, "SerializeToString"):
            contents = source.SerializeToString()
        if not isinstance(contents, (bytes, bytearray, memoryview)):
            if kind.startswith("torch."):
                raise Error("a PyTorch module or exported program is not read yet",
                            hint="torch.onnx.export, and convert the ONNX model")
            raise Error(f"a {kind} is no model that can be converted",
                        hint="a path, the bytes of a file, an onnx.ModelProto or a pomona.Model")
        self._keep = TemporaryFolder()
        self.path = os.path.join(self._keep.path, "model.onnx")
        with open(self.path, "wb") as file:
            file.write(contents)


def convert(source, output=None, *, target=None, precision=None, dynamic=None, compress=None, inputs=None,
            enumerated=None, constants=None, force=False, verify=True, progress=None, **options):
    """Converts a model to a Core ML package and gives it back as a Model, with the report in `.report`.

    source      a path, an onnx.ModelProto, or the bytes of a file
    output      where the package goes; without it, a temporary folder that lasts as long as the Model
    target      the oldest system it is to run on: "iOS15" ... "iOS26", "macOS12" ...; without it iOS18, or a package's own
    precision   "fp16", "fp32" or "mixed"; without it fp16, or a package's own
    dynamic     {"x": [(1, 8), 3, 224, 224]} or {"x": "1..8x3x224x224"}: sizes that stay open
    enumerated  {"x": [(1, 3, 224, 224), (1, 3, 448, 448)]}: the only shapes allowed
    inputs      {"x": (1, 3, 224, 224)}: the shapes of inputs
    constants   {"axis": "1,-1"}: inputs that become constants
    compress    a scheme for the weights: "int8", "int4", "lut4", ...
    verify      whether what was written is held against the source
    progress    called now and then with (stage, share)
    options     any other of `pomona convert`'s, with underscores: author="...", rename=["a=b"], ...
    """
    given = dict(options, force=force, no_verify=not verify)
    for name, value in (("target", target), ("precision", precision), ("compress", compress)):
        if value is not None:
            given[name] = value
    for name, value in (("dynamic", dynamic), ("enumerate", enumerated), ("input", inputs), ("constant", constants)):
        if value is not None:
            given[name] = _as_strings(value)
    from_ = _Source(source)
    keep = None
    if output is None:
        keep = TemporaryFolder()
        output = os.path.join(keep.path, "model.mlpackage")
    report = _native.convert(from_.path, os.fspath(output), given, progress)
    if given.get("dry_run"):
        return report
    if not report["written"]:
        problems = [f"output '{line['name']}': {line['problem']}" for line in report["verification"]["outputs"] if line["problem"]]
        raise Error("what was converted does not compute what its source does, and was not written", places=problems,
                    hint="keep=True writes it all the same; precision=\"fp32\"")
    return Model(_native.open_model(os.fspath(output)), keep=keep, report=report)


def compress(source, output=None, scheme="int8", *, force=False, progress=None, **scheme_options):
    """Makes the weights of a Core ML package smaller; a Model with the report in `.report`.

    scheme          "linear" or "palettize", or a short name: "int8", "int4", "lut4", ...
    scheme_options  of the scheme: nbits=4, granularity="per_block", block_size=32, ...
    """
    keep = None
    if output is None:
        keep = TemporaryFolder()
        output = os.path.join(keep.path, "model.mlpackage")
    from_ = _Source(source)
    report = _native.compress(from_.path, os.fspath(output), {"scheme": scheme, "force": force}, scheme_options, progress)
    return Model(_native.open_model(os.fspath(output)), keep=keep, report=report)


def decompress(source, output=None, *, force=False, progress=None):
    """The same package with plain weights."""
    keep = None
    if output is None:
        keep = TemporaryFolder()
        output = os.path.join(keep.path, "model.mlpackage")
    report = _native.decompress(_Source(source).path, os.fspath(output), force, progress)
    return Model(_native.open_model(os.fspath(output)), keep=keep, report=report)


def inspect(source):
    """What a model is: format, functions, ops, weights and their sizes, and what stands in the way of a conversion."""
    return _native.inspect(_Source(source).path)


def verify(model, reference=None, *, inputs=None, seed=0, min_cosine=None, max_abs=None, **options):
    """Holds a model's answers against those of a reference, on `inputs` or on seeded random ones.

    reference  a path, "onnxruntime", a Model, or any callable that takes and returns dicts of arrays; without one, the
               file the model was converted from
    """
    if callable(reference) or inputs is not None:
        return _verify_here(model, reference, inputs, seed, 0.999 if min_cosine is None else min_cosine, max_abs or 0)
    given = dict(options, seed=seed)
    for name, value in (("min_cosine", min_cosine), ("max_abs", max_abs)):
        if value is not None:
            given[name] = float(value)
    if reference is not None:
        given["against"] = os.fspath(reference)
    return _native.verify(_Source(model).path, given)


def _verify_here(model, reference, inputs, seed, min_cosine, max_abs):
    candidate = model if isinstance(model, Model) else load(model)
    if reference is None:
        reference = load(candidate._native.source_path())
    elif not callable(reference):
        if reference == "onnxruntime":
            raise Error("inputs of your own go with a model or a callable as reference",
                        hint="reference=lambda inputs: dict(zip(names, session.run(names, inputs)))")
        reference = load(reference)
    given = inputs if inputs is not None else candidate.random_inputs(seed)
    got, expected = candidate.predict(dict(given)), reference(dict(given))
    lines = []
    for name, value in expected.items():
        if name not in got:
            lines.append({"name": name, "problem": "the model has no such output", "metrics": None})
            continue
        metrics = _native.compare(got[name], value)
        problem = ""
        if metrics["cosine"] < min_cosine:
            problem = f"cosine {metrics['cosine']:.6f} is below {min_cosine}"
        elif max_abs and metrics["max_abs"] > max_abs:
            problem = f"largest difference {metrics['max_abs']:.3g} is above {max_abs}"
        elif metrics["non_finite"]:
            problem = f"{metrics['non_finite']} elements are NaN or infinite on one side only"
        lines.append({"name": name, "problem": problem, "metrics": metrics})
    return {"passed": bool(lines) and not any(line["problem"] for line in lines), "reference": str(reference), "note": "",
            "outputs": lines, "divergence": None}


def bisect(model, reference=None, **options):
    """The first op of a model whose result leaves the tolerance; None when none does."""
    found = verify(model, reference, bisect=True, **options)["divergence"]
    return found if found and found["found"] else None
