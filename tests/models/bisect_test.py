"""An overflow planted in the middle of a real fp16 model: `verify --bisect` names the tensor, its op, its ONNX node and the two values, and
`convert --precision mixed` keeps the few ops in fp32 that are needed, says which and why, and gets the answers right.
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

MODEL = pathlib.Path(os.environ["POMONA_MODELS"]) / "rapidocr-onnxruntime" / "ch_ppocr_mobile_v2.0_cls_infer.onnx"
POMONA = os.environ["POMONA_BINARY"]


def planted(path):
    """The model with a scale of 1e6 and its inverse around a tensor in the middle; the name of what overflows in fp16."""
    model = onnx.load(MODEL)
    convolutions = [i for i, node in enumerate(model.graph.node) if node.op_type == "Conv"]
    place = convolutions[len(convolutions) // 2]
    node = model.graph.node[place]
    tensor, large = node.output[0], "planted_large"
    for after in list(model.graph.node)[place + 1:]:
        for i, name in enumerate(after.input):
            if name == tensor:
                after.input[i] = "planted_back"
    model.graph.initializer.extend([numpy_helper.from_array(numpy.float32(1e4), "planted_up"), numpy_helper.from_array(numpy.float32(1e-4), "planted_down")])
    # A square root of squares between the two, so that nothing folds the scales into the convolution or into each other.
    made = [helper.make_node("Mul", [tensor, "planted_up"], [large], name="planted_mul"),
            helper.make_node("Pow", [large, "planted_two"], ["planted_square"], name="planted_pow"),
            helper.make_node("Sqrt", ["planted_square"], ["planted_root"], name="planted_sqrt"),
            helper.make_node("Mul", ["planted_root", "planted_down"], ["planted_back"], name="planted_back_mul")]
    model.graph.initializer.append(numpy_helper.from_array(numpy.float32(2), "planted_two"))
    for i, new in enumerate(made):
        model.graph.node.insert(place + 1 + i, new)
    onnx.save(model, path)


def pomona(*words, status=0):
    done = subprocess.run([POMONA, *map(str, words), "--json"], capture_output=True, text=True)
    if done.returncode != status:
        raise AssertionError(f"pomona {' '.join(map(str, words))} ended with {done.returncode}\n{done.stderr.strip()}")
    return json.loads(done.stdout)


def expect(truth, words):
    if not truth:
        raise AssertionError(words)


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        source = folder / "planted.onnx"
        planted(source)
        shape = ["--input", "x=1x3x48x192"]
        pomona("convert", source, "-o", folder / "half.mlpackage", "--precision", "fp16", "--keep", *shape, status=1)
        report = pomona("verify", folder / "half.mlpackage", "--against", source, "--bisect", status=1)
        found = report["bisect"]
        print(json.dumps(found))
        expect(found["found"] and found["tensor"].startswith("planted_"), f"it names the tensor {found}")
        expect("planted_" in found["source"] and found["op"], f"it names the op and the node {found}")
        expect(found["value"] == "inf" and isinstance(found["expected"], float), f"it gives the two values {found}")
        mixed = pomona("convert", source, "-o", folder / "mixed.mlpackage", "--precision", "mixed", *shape)
        print(json.dumps(mixed["mixed"]))
        kept = mixed["mixed"]["kept"]
        expect(1 <= len(kept) <= 6, f"{len(kept)} ops are kept")
        expect(any("65504" in op["reason"] for op in kept) and "Neural Engine" in mixed["mixed"]["note"], "the reasons are given")
        report = pomona("verify", folder / "mixed.mlpackage", "--against", source)
        expect(report["passed"], "the mixed package computes what its source does")
    return 0


if __name__ == "__main__":
    sys.exit(main())
