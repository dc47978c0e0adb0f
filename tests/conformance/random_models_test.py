"""Random ONNX graphs of 5 to 40 nodes: converted in fp32, run, and compared with ONNX Runtime. A disagreement is shrunk to the smallest model that
still shows it, and printed.

    random_models_test.py [--count 100] [--seed 0] [--keep FOLDER] [--refused]

--keep leaves the small models there, in the form that `pomona conformance` reads; --refused shrinks what was refused, too.
"""
import argparse
import collections
import pathlib
import sys
import warnings

sys.path.insert(0, str(pathlib.Path(__file__).parent / "random_models"))
import graph  # noqa: E402
import trial  # noqa: E402

BATCH = 100


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=pathlib.Path)
    parser.add_argument("--refused", action="store_true")
    return parser.parse_args()


def grown(seeds):
    for seed in seeds:
        try:
            yield seed, trial.Case(*graph.grow(seed))
        except graph.Skip:
            continue


def main():
    warnings.filterwarnings("ignore")
    asked = arguments()
    kinds, seen = collections.Counter(), collections.Counter()
    for start in range(asked.seed, asked.seed + asked.count, BATCH):
        cases = dict(grown(range(start, min(start + BATCH, asked.seed + asked.count))))
        for (seed, case), verdict in zip(cases.items(), trial.try_all(list(cases.values()))):
            kinds[verdict[0] if verdict else "right"] += 1
            if not verdict or verdict[0] == "no answer":
                continue
            mark = trial.signature(verdict)
            seen[mark] += 1
            if verdict[0] != "wrong" and seen[mark] > 1 or verdict[0] == "refused" and not asked.refused:
                continue
            small, words = trial.shrink(case, verdict)
            print(f"--- seed {seed}, {words[0]}: {words[1]}\n{trial.describe(small)}", flush=True)
            if asked.keep:
                trial.keep(small, asked.keep / f"seed_{seed}")
    print(", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items())))
    for mark, number in seen.most_common():
        if not mark.startswith("wrong"):
            print(f"  {number} {mark}")
    return 1 if kinds["wrong"] or kinds["broken"] else 0


if __name__ == "__main__":
    sys.exit(main())
