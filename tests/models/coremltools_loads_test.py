"""What ONNX models become is loaded by coremltools, whose shape inference then agrees with ours op by op: masks made of numbers, data of six dims.
Known and open sizes, two operator sets.
"""
import logging
import os
import pathlib
import subprocess
import sys
import tempfile

from onnx import parser

logging.disable(logging.WARNING)
try:
    import coremltools
    from coremltools.converters.mil.frontend.milproto import load as milproto
except ImportError:
    print("no coremltools here")
    sys.exit(0)

LOWEST = "-3.4028235e38"
BODIES = {
    "mask of numbers": (17, "(float[{n},4,{m}] x, int64[{n},{m}] open) => (float[?,?,?] y) "
                            f"<int64 none = {{0}}, float no = {{{LOWEST}}}, float yes = {{0}}, int64[1] at = {{1}}> "
                            "{ u = Unsqueeze(open, at) c = Greater(u, none) w = Where(c, yes, no) a = Add(x, w) y = Softmax<axis=-1>(a) }"),
    "mask that is a row": (17, "(float[{n},4,{m}] x, float[{m}] r) => (float[?,?,?] y) <float zero = {0}, float one = {1}> "
                               "{ c = Greater(x, zero) y = Where(c, r, one) }"),
    "windows": (18, "(float[{n},{m},6,3] x) => (float[?,?,?] y) <int64[6] many = {0,-1,2,2,3,3}, int64[3] flat = {-1,4,3}> "
                    "{ a = Reshape(x, many) t = Transpose<perm=[0,1,4,2,3,5]>(a) s = Softmax<axis=3>(t) y = Reshape(s, flat) }"),
}


def refusal(body, opset, target, folder):
    source, package = folder / "model.onnx", folder / "model.mlpackage"
    source.write_bytes(parser.parse_model(f'<ir_version: 9, opset_import: ["": {opset}]> loads {body}').SerializeToString())
    done = subprocess.run([os.environ["POMONA_BINARY"], "convert", str(source), "-o", str(package), "--force", "--target", target], capture_output=True, text=True)
    if done.returncode:
        return done.stderr
    try:
        model = coremltools.models.MLModel(str(package), skip_model_load=True)
        milproto.load(model.get_spec(), model.get_spec().specificationVersion, file_weights_dir=model.weights_dir)
    except Exception as error:
        return repr(error)
    return None


def main():
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, (opset, body) in BODIES.items():
            for n, m in [(2, 6), ("n", 6), ("n", "m")]:
                for target in ["iOS15", "iOS18"]:
                    said = refusal(body.replace("{n}", str(n)).replace("{m}", str(m)), opset, target, pathlib.Path(folder))
                    failed += said is not None
                    if said:
                        print(f"{name}, {n}x{m}, {target}: {said}")
    print(f"{len(BODIES) * 6} packages, {failed} not loaded")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
