"""The nine light models of the onnx package: whole networks whose weights ConstantOfShape makes. Converted in fp32, run on seeded inputs, and compared
with ONNX Runtime.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy
import onnx
import onnxruntime

POMONA = os.environ["POMONA_BINARY"]
LIGHT = pathlib.Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
MODELS = 9
SMALLEST_COSINE = 0.99999


def inputs_of(model):
    rng = numpy.random.default_rng(0)
    initial = {t.name for t in model.graph.initializer}
    given = {}
    for value in model.graph.input:
        if value.name not in initial:
            shape = [d.dim_value for d in value.type.tensor_type.shape.dim]
            given[value.name] = rng.normal(size=shape).astype(numpy.float32)
    return given


def cosine(a, b):
    a, b = a.ravel().astype(numpy.float64), b.ravel().astype(numpy.float64)
    norms = numpy.linalg.norm(a) * numpy.linalg.norm(b)
    return float(a @ b / norms) if norms else float(numpy.array_equal(a, b))


def check(path, folder):
    model = onnx.load(path)
    given = inputs_of(model)
    package, stored, got = folder / "light.mlpackage", folder / "in.npz", folder / "out.npz"
    numpy.savez(stored, **given)
    for words in (["convert", path, "-o", package, "--precision", "fp32", "--no-verify", "--force"], ["run", package, "--inputs", stored, "--outputs", got, "--force"]):
        done = subprocess.run([POMONA, *map(str, words), "--json"], capture_output=True, text=True)
        if done.returncode:
            return f"{words[0]} ended with {done.returncode}: {done.stderr.strip()}"
        json.loads(done.stdout)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    answers = numpy.load(got)
    for output, want in zip(session.get_outputs(), session.run(None, given)):
        near = cosine(answers[output.name], want)
        largest = float(numpy.abs(answers[output.name] - want).max() / max(float(numpy.abs(want).max()), 1e-30))
        print(f"{path.name} {output.name}: cosine {near:.7f}, largest error {largest:.2e} of the largest value")
        if near < SMALLEST_COSINE or largest > 1e-3:
            return f"output {output.name} is off"
    return None


def main():
    paths = sorted(LIGHT.glob("light_*.onnx"))
    failed = 0 if len(paths) == MODELS else 1
    with tempfile.TemporaryDirectory() as name:
        for path in paths:
            problem = check(path, pathlib.Path(name))
            if problem:
                failed += 1
                print(f"{path.name}: {problem}")
    print(f"{len(paths)} models, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
