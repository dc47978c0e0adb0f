"""Pomona: models turned into Core ML programs, made small, run and verified on any machine.

    model = pomona.load("encoder.mlpackage")
    model.predict({"x": array})["y"]

    model = pomona.convert("encoder.onnx", "encoder.mlpackage", compress="int8")
    pomona.verify(model, reference="onnxruntime")["passed"]

`import pomona.coremltools_backend; pomona.coremltools_backend.install()` lets coremltools itself predict, on any machine.
"""

from ._convert import bisect, compress, convert, decompress, inspect, verify
from ._errors import Error
from ._model import Feature, Model, State, load
from ._native import __version__

__all__ = ["Error", "Feature", "Model", "State", "bisect", "compress", "convert", "decompress", "inspect", "load", "verify",
           "__version__"]

# What the command line has and this module does not yet.
_COMING = {"search", "plan", "generate", "chat", "Tokenizer", "program"}


def __getattr__(name):
    if name in _COMING:
        raise AttributeError(f"pomona.{name} is not there yet in version {__version__}")
    raise AttributeError(f"module 'pomona' has no attribute '{name}'")
