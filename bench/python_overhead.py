"""What a call from Python costs beyond the same call in C++, on a model so small that little else is measured.

  bench/python_overhead.py build/release/pomona        with the module pomona importable

Answers first: both sides' are compared with NumPy's. Then rounds of calls in turns; medians of their least times. Exit status 1 beyond 20
microseconds.
"""
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import numpy
import pomona

LIMIT = 20e-6
CALLS, ROUNDS = 2000, 7


def in_python(model, given):
    times = []
    for _ in range(CALLS):
        began = time.perf_counter()
        model.predict(given)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def in_c(program, path):
    said = subprocess.run([program, "bench", path, "--iterations", str(CALLS), "--warmup", "50", "--json"], check=True, capture_output=True)
    return json.loads(said.stdout)["runs"][0]["median_seconds"]


def main():
    program = sys.argv[1]
    weight = numpy.random.default_rng(0).standard_normal((64, 64)).astype(numpy.float32)
    with pomona.program({"x": (1, 64)}) as p:
        p.output("y", p.relu(x=p.linear(x=p["x"], weight=weight, bias=numpy.zeros(64, numpy.float32))))
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "small.mlpackage")
        p.model.save(path)
        model = pomona.load(path)
        for name, dtype in (("the model's dtype", numpy.float32), ("another dtype", numpy.float64)):
            given = {"x": numpy.linspace(-1, 1, 64, dtype=dtype).reshape(1, 64)}
            numpy.testing.assert_allclose(model.predict(given)["y"], numpy.maximum(given["x"] @ weight.T, 0), rtol=1e-4, atol=1e-5)
            rounds = [(in_python(model, given), in_c(program, path)) for _ in range(ROUNDS)]
            python, c = (statistics.median(side) for side in zip(*rounds))
            print(f"inputs of {name}: {python * 1e6:.1f} us from Python, {c * 1e6:.1f} us in C++, {(python - c) * 1e6:.1f} us more")
            if dtype == numpy.float32 and python - c > LIMIT:
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
