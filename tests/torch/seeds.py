"""Trials drawn by chance, a seed each: what the programs beside this one have in common.

    PROGRAM               some
    PROGRAM 100 400       those of seeds 100 to 399
"""
import pathlib
import sys
import tempfile

SEEDS = 40


def exit_code(what, *trials):
    """Each trial takes a seed and a folder, and gives what went wrong or None. Prints that; 0 if nothing did, else 1."""
    first, end = map(int, sys.argv[1:3]) if len(sys.argv) > 2 else (0, SEEDS)
    failed = 0
    for seed in range(first, end):
        for trial in trials:
            with tempfile.TemporaryDirectory() as folder:
                problem = trial(seed, pathlib.Path(folder))
            if problem:
                failed += 1
                print(f"seed {seed}: {problem}")
    print(f"{len(trials) * (end - first)} {what}, {failed} failed")
    return 1 if failed else 0
