"""Latency of a package here against ONNX Runtime on the model it came from: answers first, then interleaved pairs.

  bench/latency.py build/release/bench/bench_runtime_model model.onnx model.mlpackage --shape x=1x3x640x640

Prints the medians and their ratio (ours over theirs), by the clock and in time of the processor. Pairs alternate within the same minutes, so that a noisy machine
disturbs both alike; their order is turned round every time.
"""
import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnxruntime as ort


def make_inputs(session, shapes):
    random = np.random.default_rng(0)
    inputs = {}
    for value in session.get_inputs():
        shape = shapes.get(value.name) or [d if isinstance(d, int) else 1 for d in value.shape]
        if "int" in value.type:
            inputs[value.name] = random.integers(0, 1000, shape).astype(np.int64 if "64" in value.type else np.int32)
            if "mask" in value.name or "type" in value.name:
                inputs[value.name][:] = "mask" in value.name
        else:
            inputs[value.name] = random.standard_normal(shape).astype(np.float32)
    return inputs


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("onnx")
    parser.add_argument("package")
    parser.add_argument("--shape", action="append", default=[], help="name=1x3x640x640")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--pairs", type=int, default=30)
    arguments = parser.parse_args()
    shapes = {}
    for text in arguments.shape:
        name, sizes = text.split("=")
        shapes[name] = [int(size) for size in sizes.split("x")]

    options = ort.SessionOptions()
    options.intra_op_num_threads = arguments.threads
    options.inter_op_num_threads = 1
    session = ort.InferenceSession(arguments.onnx, options, providers=["CPUExecutionProvider"])
    inputs = make_inputs(session, shapes)
    expected = session.run(None, inputs)

    with tempfile.TemporaryDirectory() as folder:
        np.savez(os.path.join(folder, "in.npz"), **inputs)
        ours = subprocess.Popen(
            [arguments.program, arguments.package, os.path.join(folder, "in.npz"), os.path.join(folder, "out.npz"),
             str(arguments.threads)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        first = ours.stdout.readline()
        if not first:
            sys.exit("the program failed")
        got = np.load(os.path.join(folder, "out.npz"))
        for value, right in zip(session.get_outputs(), expected):
            answer = got[value.name] if value.name in got else got[got.files[0]]
            error = float(np.max(np.abs(answer.reshape(right.shape) - right)))
            reach = float(np.max(right) - np.min(right))
            print(f"{value.name}: largest difference {error:.3g}, {error / reach:.3g} of the range")
            if not error <= 1e-3 * reach:
                sys.exit("the answers differ")

        times = {"ours": [], "theirs": []}

        def run_ours():
            ours.stdin.write("\n")
            ours.stdin.flush()
            times["ours"].append([float(number) for number in ours.stdout.readline().split()])

        def run_theirs():
            begin, ticks = time.perf_counter(), time.process_time()
            session.run(None, inputs)
            times["theirs"].append([time.perf_counter() - begin, time.process_time() - ticks])

        for i in range(arguments.pairs + 3):
            for run in (run_ours, run_theirs) if i % 2 else (run_theirs, run_ours):
                run()
        ours.stdin.close()
        ours.wait()
    print(f"first run with planning {float(first.split()[0]) * 1e3:.1f} ms")
    for i, what in enumerate(["by the clock", "of the processor"]):
        medians = {who: statistics.median(t[i] for t in pairs[3:]) for who, pairs in times.items()}
        least = {who: min(t[i] for t in pairs[3:]) for who, pairs in times.items()}
        print(f"{what}: ours {medians['ours'] * 1e3:.2f} ms, theirs {medians['theirs'] * 1e3:.2f} ms, ratio of medians "
              f"{medians['ours'] / medians['theirs']:.3f}, of least {least['ours'] / least['theirs']:.3f}")


if __name__ == "__main__":
    main()
