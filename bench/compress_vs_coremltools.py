"""Core-seconds (user + system) per million fp16 weights, package to package, of `pomona compress` and of coremltools:

    python bench/compress_vs_coremltools.py build/release/pomona [--layers 8] [--repeat 3]

The package is made here: linear layers between 384 and 1536 channels. Ours is the whole process; coremltools is timed from loading the
package to having saved it, without the seconds that importing it takes. The least of the repeats counts. Ends with status 1 when a bar is
missed.
"""

import argparse
import json
import logging
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

NARROW, WIDE = 384, 1536
# name, flags of ours, coremltools' function and configuration, the bar in core-seconds per million
BLOCKS = {"dtype": "int4", "granularity": "per_block", "block_size": 32}
CASES = [
    ("lut4 per tensor", ["lut4-per-tensor"], ("palettize", {"nbits": 4}), 0.01),
    ("lut4 groups of 16", ["lut4"], ("palettize", {"nbits": 4, "granularity": "per_grouped_channel", "group_size": 16}), 0.12),
    # Small groups take minutes in coremltools; 34 was measured once.
    ("lut4 per channel", ["palettize", "--nbits", "4", "--granularity", "per_channel"], None, 0.17),
    ("lut8 per tensor", ["lut8"], ("palettize", {"nbits": 8}), 0.03),
    ("4-bit indices of pairs", ["palettize", "--nbits", "4", "--cluster-dim", "2"], ("palettize", {"nbits": 4, "cluster_dim": 2}), 0.2),
    ("int8 per channel", ["linear"], ("linear", {}), 0.003),
    ("int4 blocks of 32", ["linear", "--dtype", "int4", "--granularity", "per_block"], ("linear", BLOCKS), 0.003),
    ("int4 blocks of 32, search", ["int4"], None, 0.012),
    ("magnitude pruning, 50 %", ["sparse50"], ("prune", {"target_sparsity": 0.5}), 0.02),
]


def quiet_coremltools():
    logging.disable(logging.WARNING)
    import coremltools

    return coremltools


def make_package(path, layers):
    import numpy as np

    ct = quiet_coremltools()
    from coremltools.converters.mil.mil import Builder as mb

    random = np.random.default_rng(3)

    @mb.program(input_specs=[mb.TensorSpec(shape=(1, NARROW))], opset_version=ct.target.iOS18)
    def program(x):
        for layer in range(layers):
            sizes = (WIDE, NARROW) if layer % 2 == 0 else (NARROW, WIDE)
            x = mb.linear(x=x, weight=(random.standard_normal(sizes) * 0.02).astype(np.float32), name=f"layer{layer}")
        return x

    ct.convert(program, minimum_deployment_target=ct.target.iOS18, skip_model_load=True).save(path)


def run_coremltools(kind, options, source, output):
    """In a process of its own: prints the core-seconds from package to package."""
    ct = quiet_coremltools()
    import coremltools.optimize.coreml as cto

    begin = time.process_time()
    model = ct.models.MLModel(source, skip_model_load=True)
    function, record = {
        "linear": (cto.linear_quantize_weights, cto.OpLinearQuantizerConfig),
        "palettize": (cto.palettize_weights, cto.OpPalettizerConfig),
        "prune": (cto.prune_weights, cto.OpMagnitudePrunerConfig),
    }[kind]
    model = function(model, cto.OptimizationConfig(global_config=record(**options)))
    model.save(output)
    print("core-seconds", time.process_time() - begin)


def core_seconds_of(command):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, done.stdout


def measure(binary, folder, case, repeat):
    name, flags, theirs, bar = case
    source, output = str(folder / "source.mlpackage"), str(folder / "output.mlpackage")
    ours = min(
        core_seconds_of([binary, "compress", source, "-o", output, "--force", "--json", "--scheme", *flags])[0]
        for _ in range(repeat)
    )
    peer = None
    if theirs:
        request = json.dumps([*theirs, source, str(folder / "theirs.mlpackage")])
        output = core_seconds_of([sys.executable, "-B", __file__, "--coremltools", request])[1]
        peer = float(output.split("core-seconds")[1])
    return ours, peer


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary", nargs="?")
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--coremltools", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.coremltools:
        run_coremltools(*json.loads(arguments.coremltools))
        return 0
    missed = 0
    with tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place)
        make_package(str(folder / "source.mlpackage"), arguments.layers)
        million = arguments.layers * NARROW * WIDE / 1e6
        print(f"core-seconds per million weights, {million:.1f} million in tensors of {NARROW} x {WIDE}")
        print(f"{'':28}{'pomona':>10}{'coremltools':>14}{'bar':>8}")
        for case in CASES:
            ours, peer = measure(arguments.binary, folder, case, arguments.repeat)
            bar = case[3]
            missed += bar is not None and ours / million > bar
            peer_text = f"{peer / million:.4f}" if peer is not None else "-"
            print(f"{case[0]:28}{ours / million:>10.4f}{peer_text:>14}{bar if bar is not None else '-':>8}")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
