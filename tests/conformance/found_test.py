"""What random models found (random_models_test.py), each disagreement at its smallest: models in ONNX's text form, inputs by name as data or as what they
are drawn from. Converted in fp32, run, and compared with ONNX Runtime.
"""
import pathlib
import sys

import numpy
from onnx import parser

sys.path.insert(0, str(pathlib.Path(__file__).parent / "random_models"))
import trial  # noqa: E402

rng = numpy.random.default_rng(0)


def real(*shape):
    return rng.normal(size=shape).astype(numpy.float32)


def literal(array):
    return "{" + ", ".join(str(v) for v in array.ravel()) + "}"


def resize(shape, scales, mode, nearest="round_prefer_floor", grid="half_pixel", opset=19):
    dims = ",".join(map(str, shape))
    return opset, f"(float[{dims}] x) => (float[{','.join('?' * len(shape))}] y) <float[{len(shape)}] s = {{{scales}}}> {{ y = Resize<mode=\"{mode}\", " \
        f"nearest_mode=\"{nearest}\", coordinate_transformation_mode=\"{grid}\">(x, \"\", s) }}", {"x": real(*(3 if isinstance(d, str) else d for d in shape))}


def by_sizes(before, after, nearest, grid):
    return 19, f"(float[1,1,{before}] x) => (float[?,?,?] y) <int64[3] s = {{1,1,{after}}}> {{ y = Resize<mode=\"nearest\", nearest_mode=\"{nearest}\", " \
        f"coordinate_transformation_mode=\"{grid}\">(x, \"\", \"\", s) }}", {"x": real(1, 1, before)}


CASES = {
    # Nearest neighbours that are not repeated evenly, and ties that single precision decides.
    "floor of half pixels": resize((2, 3, 6), "1,1,3", "nearest", "floor"),
    "floor of half pixels as pytorch has them": resize((1, 4, 2, 3), "1,1,2,1", "nearest", "floor", "pytorch_half_pixel"),
    "ties of asymmetric places": by_sizes(7, 2, "round_prefer_ceil", "asymmetric"),
    "ties of symmetric places": by_sizes(3, 1, "floor", "half_pixel_symmetric"),
    # A size that fp32 makes a whole number, and a resizing to the size that is there.
    "ten times 0.7": resize((1, 1, 10), "1,1,0.7", "nearest"),
    "nothing to resize": resize((1, 1, 4, 2), "1,1,1.2,1.2", "linear"),
    # The reciprocal of 7, times 7, is less than 1.
    "whole numbers out of a division": (19, "(float[n] x) => (float[?] y) { c = Constant<value_float=7.0>() d = Div(x, c) y = Floor(d) }",
                                        {"x": numpy.arange(100, dtype=numpy.float32)}),
    "a dim that stays and is not known": resize((1, "n", 1), "1,1,3", "linear", grid="align_corners", opset=13),
    "cubic sampling beyond the border": (20, "(float[2,1,4,5] x, float[2,3,2,2] g) => (float[?,?,?,?] y) { y = GridSample<mode=\"cubic\", padding_mode=\"border\", "
                                         "align_corners=1>(x, g) }", {"x": real(2, 1, 4, 5), "g": real(2, 3, 2, 2)}),
    # The second bias of a GRU that resets after the product.
    "two biases": (17, f"(float[4,2,2] x) => (float[?,?,?,?] y, float[?,?,?] h) <float[1,9,2] w = {literal(real(18))}, float[1,9,3] r = {literal(real(27))}, "
                       f"float[1,18] b = {literal(real(18))}> {{ y, h = GRU<hidden_size=3, linear_before_reset=1, direction=\"reverse\">(x, w, r, b) }}",
                   {"x": real(4, 2, 2)}),
    # Reductions of what lies channels last in memory.
    "sums over what is pooled": (9, "(float[3,4,5] x) => (float[?,?] y) { a = LpPool<kernel_shape=[3], p=2>(x) y = ReduceSumSquare<axes=[0], keepdims=0>(a) }",
                                 {"x": real(3, 4, 5)}),
    "extremes of a convolution": (11, f"(float[3,2,4,4] x) => (float[?,?] y) <float[3,2,1,1] w = {literal(real(6))}> {{ a = Conv(x, w) "
                                      "y = ReduceMax<axes=[0,3], keepdims=0>(a) }", {"x": real(3, 2, 4, 4)}),
    # Two names of one memory, of sizes that depend on data.
    "places of what is not 0, twice": (22, "(int32[4] x) => (int64[n,1] a, int64[1,n] b) { c = NonZero(x) a = Transpose(c) b = Transpose<perm=[0,1]>(c) }",
                                       {"x": numpy.array([1, 0, 2, 3], numpy.int32)}),
    "places, reshaped": (13, "(int64[2] s, int64[15] x) => (int64[?,?] b, int64[?,?] c) { c = NonZero(x) a = Transpose(c) b = Reshape(a, s) }",
                         {"s": numpy.array([3, 5]), "x": numpy.arange(1, 16)}),
    # The side of a Where that is never taken may be the larger one.
    "the side that is not taken": (20, "(float[5,n,1] x) => (float[?,?,?] y) <bool c = {0}> { a, b = Split<axis=1, num_outputs=2>(x) f = Flatten<axis=2>(b) y = Where(c, f, a) }",
                                   {"x": real(5, 2, 1)}),
    "an input that is an output, too": (17, "(float[3] x) => (float[3] x, float[3] y) { y = Relu(x) }", {"x": real(3)}),
    # Bits are a sixth dim.
    "bits of five dims": (18, "(int32[3,5,2,5,n] x, int32[5,1] z) => (int32[?,?,?,?,?] y) { y = BitwiseXor(x, z) }",
                          {"x": rng.integers(-99, 99, (3, 5, 2, 5, 1)).astype(numpy.int32), "z": rng.integers(-99, 99, (5, 1)).astype(numpy.int32)}),
}


def main():
    cases = []
    for name, (opset, body, inputs) in CASES.items():
        model = parser.parse_model(f'<ir_version: 10, opset_import: ["": {opset}]> found {body}')
        cases.append((name, trial.Case(model, inputs)))
    return trial.exit_code(cases)


if __name__ == "__main__":
    sys.exit(main())
