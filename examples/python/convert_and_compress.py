"""Converts an ONNX model, makes its weights smaller, and says what that cost.

    python convert_and_compress.py MODEL.onnx OUTPUT.mlpackage [int8|int4|lut4]
"""
import sys

import pomona

source, output, scheme = sys.argv[1], sys.argv[2], (sys.argv[3:] or ["int8"])[0]

plain = pomona.convert(source)
small = pomona.compress(plain, output, scheme=scheme, force=True)
print(f"{small.report['bytes_before']} bytes became {small.report['bytes_after']}")

for line in pomona.verify(small, reference=plain, inputs=plain.random_inputs())["outputs"]:
    print(f"{line['name']}: cosine {line['metrics']['cosine']:.6f} {line['problem']}")
