"""Makes a package per precision and target, and each compressed by coremltools in every way of cases.json:

    python make_compressed.py OUT_DIR      # OUT_DIR/half.mlpackage, OUT_DIR/theirs/half.int8_channel.mlpackage, ...
"""

import json
import logging
import os
import pathlib
import sys

import numpy as np

os.environ["OMP_NUM_THREADS"] = "1"  # scikit-learn's threads wait for each other in a loop: minutes where others compute too
logging.disable(logging.WARNING)  # coremltools warns about its missing macOS parts
import coremltools as ct
import coremltools.optimize.coreml as cto
from coremltools.converters.mil.mil import Builder as mb

random = np.random.default_rng(11)
HERE = pathlib.Path(__file__).resolve().parent


def weights(*shape):
    heavy = random.standard_t(4, shape) * 0.02 + 0.003
    return heavy.astype(np.float32)


def source(target, precision):
    levels = random.choice(np.linspace(-1, 1, 13), (32, 96)).astype(np.float16).astype(np.float32)
    table, dense, down, up = weights(160, 64), weights(96, 64), weights(96, 64), weights(64, 32)
    kernel, grouped, transposed = weights(32, 64, 3), weights(64, 32, 3), weights(64, 32, 4)

    @mb.program(input_specs=[mb.TensorSpec(shape=(8,), dtype=ct.converters.mil.mil.types.int32)], opset_version=target)
    def program(ids):
        x = mb.gather(x=table, indices=ids, axis=0, name="rows")
        x = mb.linear(x=x, weight=dense, bias=weights(96), name="dense")
        x = mb.matmul(x=x, y=down, name="down")
        x = mb.matmul(x=x, y=up, transpose_y=False, name="up")
        x = mb.matmul(x=x, y=weights(96, 32), transpose_y=True, name="across")
        x = mb.linear(x=x, weight=levels, name="levels")
        x = mb.matmul(x=x, y=weights(32, 64), name="wide")
        x = mb.expand_dims(x=mb.transpose(x=x, perm=[1, 0]), axes=[0])
        x = mb.conv(x=x, weight=grouped, groups=2, pad_type="same", name="grouped")
        x = mb.conv_transpose(x=x, weight=transposed, name="transposed")
        return mb.conv(x=mb.concat(values=[x, x], axis=1), weight=kernel, name="y")

    return ct.convert(program, minimum_deployment_target=target, compute_precision=precision, skip_model_load=True)


PRUNER = ("target_sparsity", "n_m_ratio", "dim", "threshold", "minimum_sparsity_percentile")


def step(model, scheme, options, joint):
    """One pass of coremltools; `joint` on top of what an earlier one made."""
    if scheme == "linear":
        config = cto.OptimizationConfig(global_config=cto.OpLinearQuantizerConfig(**options))
        return cto.linear_quantize_weights(model, config, joint_compression=joint)
    if scheme == "palettize":
        config = cto.OptimizationConfig(global_config=cto.OpPalettizerConfig(**options))
        return cto.palettize_weights(model, config, joint_compression=joint)
    pruner = cto.OpThresholdPrunerConfig if "threshold" in options else cto.OpMagnitudePrunerConfig
    return cto.prune_weights(model, cto.OptimizationConfig(global_config=pruner(**options)), joint_compression=joint)


def compressed(model, case):
    options = dict(case["options"])
    if options.pop("lut_dtype", None):
        model = step(model, "palettize", options, False)
        return step(model, "linear", {"granularity": "per_tensor", "weight_threshold": 1}, True)
    schemes = case["scheme"].split("+")
    for index, scheme in enumerate(schemes):
        mine = options
        if len(schemes) > 1:
            mine = {k: v for k, v in options.items() if (k in PRUNER) == (scheme == "prune")}
        model = step(model, scheme, mine, index > 0)
    return model


def flat(target, precision):
    """Linear weights only, all of rank 2."""

    @mb.program(input_specs=[mb.TensorSpec(shape=(8, 64))], opset_version=target)
    def program(x):
        for name, sizes in [("first", (96, 64)), ("second", (64, 96)), ("third", (160, 64))]:
            x = mb.linear(x=x, weight=weights(*sizes), name=name)
        return x

    return ct.convert(program, minimum_deployment_target=target, compute_precision=precision, skip_model_load=True)


def wanted(case, name):
    """Which packages a case is made of."""
    if "only" in case:
        return name == case["only"]
    if case.get("flat") or name == "flat":
        return bool(case.get("flat")) and name == "flat"
    return not ((name == "older" and not case.get("older")) or (name == "single" and case.get("half_only")))


def main(out):
    cases = json.loads((HERE / "cases.json").read_text())
    for name, make, target, precision in [
        ("half", source, ct.target.iOS18, ct.precision.FLOAT16),
        ("single", source, ct.target.iOS18, ct.precision.FLOAT32),
        ("older", source, ct.target.iOS17, ct.precision.FLOAT16),
        ("flat", flat, ct.target.iOS18, ct.precision.FLOAT16),
    ]:
        path = out / f"{name}.mlpackage"
        make(target, precision).save(str(path))
        for case in cases:
            if not wanted(case, name):
                continue
            model = ct.models.MLModel(str(path), skip_model_load=True)
            compressed(model, case).save(str(out / "theirs" / f"{name}.{case['name']}.mlpackage"))


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1])
    (folder / "theirs").mkdir(parents=True, exist_ok=True)
    main(folder)
