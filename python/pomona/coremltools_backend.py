"""coremltools predicts on any machine, with Pomona's runtime in the place of Apple's.

    import pomona.coremltools_backend
    pomona.coremltools_backend.install()

    model = coremltools.models.MLModel("encoder.mlpackage")
    model.predict({"x": array})

Afterwards MLModel, CompiledMLModel, MLState and coremltools' tools that predict work as they do on a Mac, for ML Programs and
pipelines of them. uninstall() puts everything back.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any

from ._coreml import models, plans

_NATIVE = "coremltools.libcoremlpython"
# The system that coremltools is told it runs on: the one whose features the runtime has.
_SYSTEM = (26, 0)
_CLASSES = {"_MLModelProxy": models.Model, "_MLModelAssetProxy": models.Asset, "_MLComputePlanProxy": plans.ComputePlan,
            "_MLCPUComputeDeviceProxy": plans.CPUDevice, "_MLGPUComputeDeviceProxy": plans.GPUDevice,
            "_MLNeuralEngineComputeDeviceProxy": plans.NeuralEngineDevice}
_MODULES = ("coremltools.models.utils", "coremltools.models.model", "coremltools.models._compiled_model")
_ABSENT = object()
_before: list[tuple[Any, str, Any]] = []


def _is_macos() -> bool:
    """Whether the framework is there, as far as a module that predicts is concerned."""
    return True


def _macos_version() -> tuple[int, int]:
    return _SYSTEM


def _set(owner: Any, name: str, value: Any) -> None:
    _before.append((owner, name, getattr(owner, name, _ABSENT)))
    setattr(owner, name, value)


def is_installed() -> bool:
    return bool(_before)


def install() -> None:
    """Puts Pomona's runtime in. Does nothing when it is there already."""
    if is_installed():
        return
    native = types.ModuleType(_NATIVE)
    native.__dict__.update(_CLASSES)
    _before.append((sys.modules, _NATIVE, sys.modules.get(_NATIVE, _ABSENT)))
    sys.modules[_NATIVE] = native
    try:
        coremltools = importlib.import_module("coremltools")
        for name in _MODULES:
            importlib.import_module(name)
    except ImportError:
        uninstall()
        raise
    _set(coremltools, "libcoremlpython", native)
    # Its modules copied the names when they were imported, before or just now.
    for module in [each for name, each in sys.modules.items() if name.startswith("coremltools.") and each is not native]:
        for name, value in _CLASSES.items():
            if name in getattr(module, "__dict__", {}):
                # Where the name came from ours just now, there would have been none.
                if getattr(module, name) is value:
                    setattr(module, name, None)
                _set(module, name, value)
    utilities = sys.modules["coremltools.models.utils"]
    for gate in (_is_macos, _macos_version):
        original = getattr(utilities, gate.__name__)
        for module in [each for name, each in sys.modules.items() if name.startswith("coremltools.")]:
            if getattr(module, "__dict__", {}).get(gate.__name__) is original:
                _set(module, gate.__name__, gate)


def uninstall() -> None:
    """Puts everything back as it was."""
    while _before:
        owner, name, value = _before.pop()
        if owner is sys.modules:
            if value is _ABSENT:
                owner.pop(name, None)
            else:
                owner[name] = value
        elif value is _ABSENT:
            delattr(owner, name)
        else:
            setattr(owner, name, value)
