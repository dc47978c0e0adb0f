"""What is said of a model before it is on a Mac: where it would run, and how small it may get."""

from __future__ import annotations

import os
from typing import Any, Callable, Dict, Mapping, Sequence

from . import _native
from ._convert import Samples, Source, Sourced, place_for, progress_of
from ._model import Model, load


def plan(model: Sourced, chip: str = "M4", *, memory: float | None = None, units: str = "all", sizes: Mapping[str, int] | None = None,
         ops: bool = False, page: str | None = None, force: bool = False, **options: Any) -> dict[str, Any]:
    """Where each op would run on a chip and why, how long it would take, in how much memory: a prediction, in the form of
    `pomona plan --json`.

    memory   GB of the machine
    units    "all", "cpu_ne", "cpu_gpu" or "cpu"
    sizes    {"batch": 4}: sizes that the model leaves open
    ops      every op with its verdicts, rules and time, too
    page     also write the plan as a page for a browser
    options  any other of `pomona plan`'s: chips="all", system="macOS26", function="..."
    """
    given = dict(options, chip=chip, units=units)
    if memory is not None:
        given["memory"] = float(memory)
    if sizes:
        given["size"] = [f"{name}={size}" for name, size in sizes.items()]
    from_ = Source(model)
    opened = model if isinstance(model, Model) else load(from_.path)
    return _native.plan(opened._native, given, ops, os.fspath(page) if page else "", force)


def search(model: Sourced, recipe: str | os.PathLike[str] | None = None, *, max_size: str | int | None = None,
           bits_per_weight: float | None = None, min_cosine: float | None = None, max_kl: float | None = None,
           calibrate: str | Sequence[Mapping[str, Any]] | None = None, engine: str = "", force: bool = False,
           progress: Callable[[str, float | None], Any] | bool | None = None, **options: Any) -> dict[str, Any]:
    """Which scheme for which weight, by measuring what each costs: writes a recipe for compress(config=...).

    recipe           where it goes; without it, a temporary place that the result keeps
    max_size, bits_per_weight, min_cosine, max_kl
                     the goal; one of them
    calibrate        npz, folder, picture or text file of samples, or a list of dicts of arrays; without it random inputs
    engine           "ane", "gpu" or "cpu": only schemes that it takes
    """
    given = dict(options, force=force, bits_per_weight=bits_per_weight, min_cosine=min_cosine, max_kl=max_kl)
    for name in ("bits_per_weight", "min_cosine", "max_kl"):
        if given[name] is not None:
            given[name] = float(given[name])
    if max_size is not None:
        given["max_size"] = str(max_size)
    samples = Samples(calibrate)
    if samples.place is not None:
        given["calibrate"] = samples.place
    keep, recipe = place_for(recipe, "recipe.yaml")
    from_ = Source(model)
    found = _native.search(from_.path, recipe, engine, given, progress_of(progress))
    return Found(found, keep)


class Found(Dict[str, Any]):
    """A dict that keeps the folder of what it names."""

    def __init__(self, values: Mapping[str, Any], keep: Any):
        super().__init__(values)
        self._keep = keep
