"""Holds two models against each other on the same inputs, and says which op is the first to differ.

    python compare_packages.py ONE.mlpackage OTHER.mlpackage
"""
import sys

import pomona

one, other = sys.argv[1:3]
report = pomona.verify(one, other, bisect=True)
for line in report["outputs"]:
    print(f"{line['name']}: cosine {line['metrics']['cosine']:.6f}, largest difference {line['metrics']['max_abs']:.3g} {line['problem']}")
found = report["divergence"]
if found and found["found"]:
    print(f"the first to differ: {found['value']}, made by {found['op']} from {found['source']}")
else:
    print("nothing on the way differs")
