"""An fp16 overflow, found and mended: which op leaves what fp16 can hold, and which precision does not.

    python fp16_overflow.py [OUTPUT.mlpackage]

The model divides vectors by their length. The squares of large elements are beyond 65504, fp16's largest number, though what is
divided by them is not.
"""
import sys

import numpy
import pomona

random = numpy.random.default_rng(0)
weight = (random.standard_normal((32, 32)) * 40).astype(numpy.float32)
with pomona.program({"x": (1, 32)}) as p:
    h = p.linear(x=p["x"], weight=weight, bias=numpy.zeros(32, numpy.float32), name="projected")
    squares = p.mul(x=h, y=h, name="squares")
    length = p.sqrt(x=p.reduce_sum(x=squares, axes=[1], keep_dims=True, name="sum_of_squares"), name="length")
    p.output("direction", h / length)
inputs = {"x": random.standard_normal((1, 32)).astype(numpy.float32) * 3}

# Verification would refuse it: keep=True writes it all the same.
half = pomona.convert(p.model, precision="fp16", keep=True)
report = pomona.verify(half, reference=p.model, inputs=inputs)
print(f"fp16: {'passed' if report['passed'] else 'failed'}, cosine {report['outputs'][0]['metrics']['cosine']:.4f}")

found = pomona.bisect(half, reference=p.model, inputs=inputs)
print(f"the first to go wrong: {found['value']}, made by {found['op']}: {found['got']:g} instead of {found['expected']:g}")

mixed = pomona.convert(p.model, *sys.argv[1:2], precision="mixed", force=True)
report = pomona.verify(mixed, reference=p.model, inputs=inputs)
for op in mixed.report["mixed"]["kept"]:
    print(f"kept in fp32: {op['op']} '{op['value']}', {op['reason']}")
print(f"mixed: {'passed' if report['passed'] else 'failed'}, cosine {report['outputs'][0]['metrics']['cosine']:.6f}")
