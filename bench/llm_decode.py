"""Speed of checkpoints here against llama.cpp on the same files: answers first, then interleaved pairs.

  bench/llm_decode.py build/release/bench/bench_llm_decode llama-bench a.gguf b.gguf [--threads 2] [--pairs 5]

Answers: logits against those of the same weights decoded to float (which tests hold to transformers). Prints medians of
prompt and decode tokens per second, and for a file of mostly matrices what share of a plain read loop's bytes per second
decoding reaches.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys


def llama(program, path, arguments):
    text = subprocess.run([program, "-m", path, "-t", str(arguments.threads), "-p", str(arguments.prompt), "-n",
                           str(arguments.decode), "-r", "1", "-o", "json"], capture_output=True, text=True, check=True)
    rows = json.loads(text.stdout)
    return {"prompt" if row["n_prompt"] else "decode": row["avg_ts"] for row in rows}


def measure(path, arguments):
    ours = subprocess.Popen([arguments.program, path, str(arguments.threads), str(arguments.prompt),
                             str(arguments.decode)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    first = json.loads(ours.stdout.readline())
    if not first["cosine"] >= 0.9999:
        sys.exit(f"{path}: the answers differ, cosine {first['cosine']}")
    results = {"ours": [], "theirs": []}

    def run_ours():
        ours.stdin.write("\n")
        ours.stdin.flush()
        results["ours"].append(json.loads(ours.stdout.readline()))

    def run_theirs():
        results["theirs"].append(llama(arguments.llama_bench, path, arguments))

    for i in range(arguments.pairs):
        for run in (run_ours, run_theirs) if i % 2 else (run_theirs, run_ours):
            run()
    ours.stdin.close()
    ours.wait()
    median = {who: {what: statistics.median(r[what] for r in rows) for what in ("prompt", "decode")}
              for who, rows in results.items()}
    share = statistics.median(r["decode"] * os.path.getsize(path) / r["read"] for r in results["ours"])
    print(f"{os.path.basename(path):28} prompt {median['ours']['prompt']:8.1f} / {median['theirs']['prompt']:8.1f} = "
          f"{median['ours']['prompt'] / median['theirs']['prompt']:5.2f}   decode {median['ours']['decode']:7.1f} / "
          f"{median['theirs']['decode']:7.1f} = {median['ours']['decode'] / median['theirs']['decode']:5.2f}   "
          f"read {share:.2f}   first {first['first_token']:.2f} s   cosine {first['cosine']:.7f}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("llama_bench")
    parser.add_argument("files", nargs="+")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--decode", type=int, default=64)
    arguments = parser.parse_args()
    for path in arguments.files:
        measure(path, arguments)


if __name__ == "__main__":
    main()
