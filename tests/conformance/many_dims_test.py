"""Operators on data of more than five dims, which Core ML cannot hold: between a reshape to six or seven dims and one back, with the first size known
and open. Models in ONNX's text form, converted in fp32, run, and compared with ONNX Runtime.
"""
import pathlib
import sys

import numpy
from onnx import parser

sys.path.insert(0, str(pathlib.Path(__file__).parent / "random_models"))
import trial  # noqa: E402

rng = numpy.random.default_rng(0)
SIZES = [2, 3, 2, 4, 3, 2]


def real(*shape):
    return rng.normal(size=shape).astype(numpy.float32)


def constant(name, array):
    array = numpy.asarray(array)
    kind = {"float32": "float", "int64": "int64"}[str(array.dtype)]
    sizes = f"[{','.join(map(str, array.shape))}]" if array.ndim else ""
    return f"{kind}{sizes} {name} = {{{', '.join(str(v) for v in array.ravel())}}}"


def case(nodes, opened, **constants):
    """From `a`, of SIZES, to `b`, of any shape."""
    constants |= {"many": [0 if opened else SIZES[0]] + SIZES[1:], "flat": [-1]}
    held = ", ".join(constant(name, array) for name, array in constants.items())
    text = f"(float[{'n' if opened else 2},144] x) => (float[?] y) <{held}> {{ a = Reshape(x, many) {nodes} y = Reshape(b, flat) }}"
    return f"{nodes} {'open' if opened else 'known'}", trial.Case(parser.parse_model(f'<ir_version: 10, opset_import: ["": 18]> many {text}'), {"x": real(2, 144)})


def forms():
    for axis in (0, 1, 3, 5):
        at = {"at": [axis]}
        yield f"b = Gather<axis={axis}>(a, one)", {"one": numpy.int64(1)}
        yield f"b = Softmax<axis={axis}>(a)", {}
        yield f"c = ArgMax<axis={axis}, keepdims={axis % 2}>(a) b = Cast<to=1>(c)", {}
        yield f"c = Neg(a) b = Concat<axis={axis}>(a, c)", {}
        yield f"c = Unsqueeze(a, at) b = Concat<axis={axis}>(c, c)", at
        yield "b = Slice(a, first, last, at)", at | {"first": [0], "last": [1]}
        yield "b = Slice(a, first, last, at, step)", at | {"first": [-1], "last": [-100], "step": [-1]}
    yield "c, d = Split<axis=3>(a, parts) b = Concat<axis=3>(d, c)", {"parts": [1, 3]}
    yield "b = CumSum(a, at)", {"at": numpy.int64(3)}
    yield "b, i = TopK<axis=3>(a, k)", {"k": [2]}
    yield "b = Gather<axis=3>(a, some)", {"some": [[1, 0], [-1, 2]]}
    yield "b = Slice(a, first, last, at)", {"first": [0, 1, 1], "last": [2, 2, 3], "at": [1, 2, 3]}
    yield "b = Pad(a, around)", {"around": [0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0]}
    yield "b = LayerNormalization<axis=-2>(a, gamma, beta)", {"gamma": real(3, 2), "beta": real(3, 2)}
    yield "c = Transpose<perm=[0,1,2,3,5,4]>(a) b = MatMul(a, c)", {}
    yield "b = MatMul(a, w)", {"w": real(2, 5)}
    yield "b = MatMul(a, w)", {"w": real(3, 1, 1, 2, 5)}
    yield "b = Add(a, w)", {"w": real(3, 1, 4, 1, 2)}
    yield "c = Greater(a, zero) b = Where(c, a, w)", {"zero": numpy.float32(0), "w": real(3, 1, 4, 1, 2)}
    yield "c = ReduceSum(a, at) b = Div(a, c)", {"at": [0, 2, 4]}
    yield "b = GatherND(a, places)", {"places": [[0, 1], [1, 2]]}
    yield "b = ScatterND(a, places, w)", {"places": [[0, 1], [1, 2]], "w": real(2, 2, 4, 3, 2)}


def windows(opened):
    """Windows of an image, as of torch.nn.Unfold: two gathers by tables make six dims, of which up to three are open."""
    sizes = "b,2,h,w" if opened else "1,2,5,7"
    rows = [[r + o for o in range(3)] for r in range(3)]
    text = f"(float[{sizes}] x) => (float[?,?,?] y) <{constant('rows', rows)}, {constant('shape', [0, 18, -1])}> {{ " \
        "a = Gather<axis=2>(x, rows) c = Gather<axis=4>(a, rows) d = Transpose<perm=[0,1,2,4,3,5]>(c) y = Reshape(d, shape) }"
    return f"windows by gathers, {sizes}", trial.Case(parser.parse_model(f'<ir_version: 10, opset_import: ["": 18]> many {text}'), {"x": real(1, 2, 5, 7)})


def partition():
    """Windows as of Swin, of an image whose sizes are all open, and back."""
    text = "(float[b,h,w,3] x) => (float[?,?,?] y, float[?,?,?,?] z) <int64[1] two = {2}, int64[1] c = {3}, int64[1] rest = {-1}, int64[1] four = {4}> { " \
        "s = Shape(x) b1, h1, w1, c1 = Split<axis=0, num_outputs=4>(s) h2 = Div(h1, two) w2 = Div(w1, two) " \
        "many = Concat<axis=0>(b1, h2, two, w2, two, c) a = Reshape(x, many) t = Transpose<perm=[0,1,3,2,4,5]>(a) " \
        "flat = Concat<axis=0>(rest, four, c) y = Reshape(t, flat) " \
        "many2 = Concat<axis=0>(b1, h2, w2, two, two, c) d = Reshape(y, many2) u = Transpose<perm=[0,1,3,2,4,5]>(d) z = Reshape(u, s) }"
    return "windows of open sizes", trial.Case(parser.parse_model(f'<ir_version: 10, opset_import: ["": 18]> many {text}'), {"x": real(2, 4, 6, 3)})


def main():
    cases = [case(nodes, opened, **constants) for nodes, constants in forms() for opened in (False, True)]
    return trial.exit_code(cases + [windows(False), windows(True), partition()])


if __name__ == "__main__":
    sys.exit(main())
