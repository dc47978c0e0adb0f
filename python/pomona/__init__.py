"""Pomona: models turned into Core ML programs, made small, run and verified on any machine.

    model = pomona.load("encoder.mlpackage")
    model.predict({"x": array})["y"]

    model = pomona.convert("encoder.onnx", "encoder.mlpackage", compress="int8")
    pomona.verify(model, reference="onnxruntime")["passed"]

    for piece in pomona.generate("model.gguf", "Why is the sky blue?"):
        print(piece, end="")

`import pomona.coremltools_backend; pomona.coremltools_backend.install()` lets coremltools itself predict, on any machine.
"""

from . import pattern
from ._convert import bisect, compress, convert, decompress, inspect, verify
from ._errors import Error
from ._language import Chat, Generation, LanguageModel, Tokenizer, chat, generate
from ._model import Feature, Model, State, load
from ._native import version as _version
from ._plan import plan, search
from ._program import Program, Symbol, program
from .pattern import Rule

__version__ = _version()

__all__ = ["Chat", "Error", "Feature", "Generation", "LanguageModel", "Model", "Program", "Rule", "State", "Symbol", "Tokenizer",
           "bisect", "chat", "compress", "convert", "decompress", "generate", "inspect", "load", "pattern", "plan", "program",
           "search", "verify", "__version__"]
