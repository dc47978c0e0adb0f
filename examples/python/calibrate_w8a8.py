"""Weights and activations in 8 bits with coremltools' own calibration, which predicts: no Mac is needed for that.

    python calibrate_w8a8.py OUTPUT.mlpackage
"""
import sys

import numpy
import pomona.coremltools_backend

pomona.coremltools_backend.install()

import coremltools as ct
import coremltools.optimize as cto
from coremltools.converters.mil import Builder as mb

random = numpy.random.default_rng(0)
first, second = (random.standard_normal((64, 64)).astype(numpy.float32) * 0.1 for _ in range(2))


@mb.program(input_specs=[mb.TensorSpec(shape=(1, 64))], opset_version=ct.target.iOS17)
def network(x):
    return mb.linear(x=mb.relu(x=mb.linear(x=x, weight=first)), weight=second, name="y")


model = ct.convert(network, convert_to="mlprogram", minimum_deployment_target=ct.target.iOS17)
samples = [{"x": random.standard_normal((1, 64)).astype(numpy.float32)} for _ in range(4)]
# coremltools 9.0 keeps the range of the last sample only: the widest comes last.
samples.sort(key=lambda sample: numpy.abs(sample["x"]).max())

activations = cto.coreml.OptimizationConfig(global_config=cto.coreml.experimental.OpActivationLinearQuantizerConfig())
weights = cto.coreml.OptimizationConfig(global_config=cto.coreml.OpLinearQuantizerConfig())
calibrated = cto.coreml.linear_quantize_weights(
    cto.coreml.experimental.linear_quantize_activations(model, activations, [dict(each) for each in samples]), weights)
calibrated.save(sys.argv[1])

want, got = model.predict(dict(samples[0]))["y"], calibrated.predict(dict(samples[0]))["y"]
print(f"largest difference {numpy.abs(want - got).max():.4f} of {numpy.abs(want).max():.4f}")
