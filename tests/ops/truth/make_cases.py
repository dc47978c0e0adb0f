"""Writes the outside truth for every MIL op:  python make_cases.py OUT_DIR [--only op]

Prints how many cases each op got, where coremltools' folding and the NumPy formulas disagree, and every class version of
coremltools' registry that has no case (the list must be empty).  Needs coremltools 9 and NumPy; deterministic.
"""

import argparse
import collections
import importlib
import json
import os
import sys
import time

import harness
import registry

CHAPTERS = [
    "elementwise",
    "activation",
    "reduction",
    "linear",
    "conv",
    "pool",
    "normalization",
    "transformation",
    "tensor",
    "gather_scatter",
    "resize",
    "recurrent",
    "control",
    "quantization",
    "random_ops",
    "suppression",
    "errors",
]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out_dir")
    parser.add_argument("--only", help="one op name")
    arguments = parser.parse_args()
    if arguments.only and arguments.only not in {op for op, _ in harness.all_class_versions()} | {"write_state"}:
        parser.error(f"coremltools has no op called {arguments.only}")
    os.makedirs(arguments.out_dir, exist_ok=True)
    remove_earlier_cases(arguments.out_dir)
    suite = harness.Suite(arguments.out_dir, arguments.only)
    here = os.path.dirname(os.path.abspath(__file__))
    for chapter in CHAPTERS:
        if not os.path.exists(os.path.join(here, f"cases_{chapter}.py")):
            print(f"missing chapter {chapter}")
            continue
        start = time.time()
        before = len(suite.index)
        importlib.import_module(f"cases_{chapter}").add(suite)
        print(f"{chapter:16} {len(suite.index) - before:5} cases {time.time() - start:6.1f} s", flush=True)
    with open(os.path.join(arguments.out_dir, "index.json"), "w") as file:
        json.dump(suite.index, file, indent=0)
    registry.dump(os.path.join(arguments.out_dir, "registry.json"))
    return report(suite, arguments.only)


def remove_earlier_cases(folder):
    """So that a renamed case does not stay behind."""
    index = os.path.join(folder, "index.json")
    if not os.path.exists(index):
        return
    with open(index) as file:
        names = [entry["name"] for entry in json.load(file)]
    for name in names:
        for ending in (".mlmodel", ".npz", ".json"):
            path = os.path.join(folder, name + ending)
            if os.path.exists(path):
                os.remove(path)


def report(suite, only):
    counts = collections.Counter(entry["op"] for entry in suite.index)
    print("cases per op: " + " ".join(f"{op}={n}" for op, n in sorted(counts.items())))
    for line in suite.disagreements:
        print("disagreement: " + line)
    for line in suite.problems:
        print("problem: " + line)
    wanted = [pair for pair in harness.all_class_versions() if not only or pair[0] == only]
    missing = [f"{op} iOS{v}" for op, v in wanted if (op, v) not in suite.covered]
    print(
        f"{len(suite.index)} cases, {suite.bytes_written / 1e6:.1f} MB, {len(wanted) - len(missing)} of {len(wanted)} class versions"
    )
    print("class versions without a case: " + (", ".join(missing) or "none"))
    return 1 if missing or suite.problems or suite.disagreements else 0


if __name__ == "__main__":
    sys.exit(main())
