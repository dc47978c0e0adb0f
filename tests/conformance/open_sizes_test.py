"""Operators on inputs whose sizes are open: resizing, pooling, padding, cropping, splitting; and sequences and optionals whose length is known all the same.
Models in ONNX's text form, converted in fp32, run, and compared with ONNX Runtime.
"""
import pathlib
import sys

import numpy
from onnx import parser

sys.path.insert(0, str(pathlib.Path(__file__).parent / "random_models"))
import trial  # noqa: E402

rng = numpy.random.default_rng(0)
CASES = []


def add(opset, body, **inputs):
    CASES.append((body, trial.Case(parser.parse_model(f'<ir_version: 10, opset_import: ["": {opset}]> open {body}'), inputs)))


def real(*shape):
    return rng.normal(size=shape).astype(numpy.float32)


def add_resizing():
    x, z = real(1, 2, 5, 7), real(1, 2, 9, 4)
    for mode in ["nearest", "linear", "cubic"]:
        for grid in ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric"]:
            attributes = f'mode="{mode}", coordinate_transformation_mode="{grid}"'
            # ONNX Runtime takes another length than the specification where align_corners meets a scale that leaves a rest.
            for scales in ["1,1,2,2"] + ["1,1,1.5,2.25", "1,1,0.6,2.3"] * (grid != "align_corners"):
                add(19, f'(float[1,2,h,w] x) => (float[?,?,?,?] y) <float[4] s = {{{scales}}}> {{ y = Resize<{attributes}>(x, "", s) }}', x=x)
            for sizes in ["1,2,10,14", "1,2,3,9", "1,2,1,1"]:
                add(19, f'(float[1,2,h,w] x) => (float[?,?,?,?] y) <int64[4] s = {{{sizes}}}> {{ y = Resize<{attributes}>(x, "", "", s) }}', x=x)
            add(19, f'(float[1,2,h,w] x, float[1,2,p,q] z) => (float[?,?,?,?] y) {{ s = Shape(z) y = Resize<{attributes}>(x, "", "", s) }}', x=x, z=z)
    for mode, more in [("linear", "antialias=1"), ("cubic", "antialias=1"), ("cubic", "exclude_outside=1"), ("cubic", "antialias=1, exclude_outside=1, cubic_coeff_a=-0.5")]:
        for grid in ["half_pixel", "align_corners", "asymmetric"]:
            for sizes in ["10,14", "3,9", "2,3", "5,2"]:
                add(19, f'(float[1,2,h,w] x) => (float[?,?,?,?] y) <int64[4] s = {{1,2,{sizes}}}> '
                        f'{{ y = Resize<mode="{mode}", coordinate_transformation_mode="{grid}", {more}>(x, "", "", s) }}', x=x)
            if grid != "align_corners":
                add(19, f'(float[1,2,h,w] x) => (float[?,?,?,?] y) <float[4] s = {{1,1,0.6,1.5}}> {{ y = Resize<mode="{mode}", coordinate_transformation_mode="{grid}", {more}>(x, "", s) }}', x=x)
    add(19, '(float[1,2,4,4] x, float[1,2,p,q] z) => (float[?,?,?,?] y) { s = Shape(z) y = Resize<mode="linear">(x, "", "", s) }', x=real(1, 2, 4, 4), z=z)
    add(19, '(int32[1,2,h,w] x) => (int32[?,?,?,?] y) <float[4] s = {1,1,2,1.5}> { y = Resize<mode="nearest">(x, "", s) }',
        x=rng.integers(-9, 9, (1, 2, 3, 4)).astype(numpy.int32))


def add_ties():
    """Nearest samples in the middle between two: as many digits decide as ONNX Runtime has."""
    pairs = [(7, 2), (3, 11), (11, 13), (6, 18), (7, 4), (12, 5), (9, 21), (10, 7), (1, 3), (2, 2)]
    for grid in ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric"]:
        for near in ["round_prefer_floor", "floor", "ceil", "round_prefer_ceil"]:
            attributes = f'mode="nearest", coordinate_transformation_mode="{grid}", nearest_mode="{near}"'
            is_open = [] if grid == "half_pixel_symmetric" and near in ("floor", "ceil") else ["h,w"]
            for (h, v), (w, u) in zip(pairs[::2], pairs[1::2]):
                x = numpy.arange(h * w, dtype=numpy.float32).reshape(1, 1, h, w)
                for dims in [f"{h},{w}"] + is_open:
                    add(19, f'(float[1,1,{dims}] x) => (float[?,?,?,?] y) <int64[4] s = {{1,1,{v},{u}}}> {{ y = Resize<{attributes}>(x, "", "", s) }}', x=x)
            for h, scale in [(2, 1.2), (6, 7), (6, 0.75), (14, 1.6), (10, 0.7), (8, 2.25)]:
                if grid == "align_corners" and h * scale != int(h * scale):
                    continue
                for dim in [f"{h}"] + ["h"] * len(is_open):
                    add(19, f'(float[1,1,{dim}] x) => (float[?,?,?] y) <float[3] s = {{1,1,{scale}}}> {{ y = Resize<{attributes}>(x, "", s) }}',
                        x=numpy.arange(h, dtype=numpy.float32).reshape(1, 1, h))


def add_pooling():
    for h, w in [(7, 9), (8, 6), (11, 10)]:
        x = real(2, 3, h, w)
        for ceil in [0, 1]:
            for kernel, strides, pads, dilations in [((3, 3), (2, 2), (0, 0, 0, 0), (1, 1)), ((3, 2), (2, 3), (1, 0, 1, 1), (1, 1)), ((2, 2), (3, 3), (0, 1, 1, 0), (1, 1)),
                                                     ((3, 2), (2, 1), (1, 1, 1, 1), (2, 2)), ((2, 3), (1, 3), (0, 1, 1, 1), (1, 2))]:
                attributes = f"kernel_shape={list(kernel)}, strides={list(strides)}, pads={list(pads)}, dilations={list(dilations)}, ceil_mode={ceil}"
                for dims in ["n,3,h,w", f"n,3,{h},w", f"2,3,{h},{w}"]:
                    add(22, f"(float[{dims}] x) => (float[?,?,?,?] y) {{ y = MaxPool<{attributes}>(x) }}", x=x)
                    add(22, f"(float[{dims}] x) => (float[?,?,?,?] y, int64[?,?,?,?] i) {{ y, i = MaxPool<{attributes}>(x) }}", x=x)
                    add(22, f"(float[{dims}] x) => (float[?,?,?,?] y) {{ y = LpPool<{attributes}, p=3>(x) }}", x=x)
                    for counted in [0, 1]:
                        add(22, f"(float[{dims}] x) => (float[?,?,?,?] y) {{ y = AveragePool<{attributes}, count_include_pad={counted}>(x) }}", x=x)
    add(22, "(float[n,c,h,w] x) => (float[?,?,?,?] y, int64[?,?,?,?] i) { y, i = MaxPool<kernel_shape=[2,2], storage_order=1>(x) }", x=real(2, 3, 5, 4))


def add_moves():
    for mode in ["edge", "reflect", "wrap", "constant"]:
        add(19, f'(float[a,b,c,d] x) => (float[?,?,?,?] y) <int64[8] s = {{0,1,2,3,0,1,0,2}}> {{ y = Pad<mode="{mode}">(x, s) }}', x=real(1, 2, 5, 7))
        add(19, f'(int64[a,b] x) => (int64[?,?] y) <int64[4] s = {{1,2,2,1}}> {{ y = Pad<mode="{mode}">(x, s) }}', x=numpy.arange(12).reshape(3, 4))
    for kind, x in [("float", real(2, 5)), ("int64", rng.integers(-2**31, 2**31, (2, 5))), ("bool", rng.integers(0, 2, (2, 5)).astype(bool))]:
        for mode in ["constant"] + ["reflect", "edge"] * (kind != "bool"):
            add(18, f'({kind}[a,b] x, int64[4] s) => ({kind}[?,?] y) {{ y = Pad<mode="{mode}">(x, s) }}', x=x, s=numpy.array([1, 0, 0, 2]))
        add(18, f"({kind}[a,b] x, int64[2] s) => ({kind}[?,?] y) <int64[1] last = {{-1}}> {{ y = Pad(x, s, \"\", last) }}", x=x, s=numpy.array([1, 2]))
    add(18, "(int64[a,b] x, int64[4] s) => (int64[?,?] y) <int64 v = {-70001}> { y = Pad(x, s, v) }", x=rng.integers(0, 99, (2, 5)), s=numpy.array([1, 0, 0, 2]))
    for width in [3, 4, 5, 6, 8]:
        add(19, f"(float[a,b] x) => (float[?,?] y) <int64[1] s = {{{width}}}> {{ y = CenterCropPad<axes=[1]>(x, s) }}", x=real(2, 5))
    add(18, "(float[a,b] x) => (float[?,?] y, float[?,?] z) { y, z = Split<axis=1, num_outputs=2>(x) }", x=real(2, 5))
    add(13, "(float[a,b] x) => (float[?,?] y, float[?,?] z) { y, z = Split<axis=1>(x) }", x=real(2, 6))


def add_products():
    for equation, a, b in [("ij,jk->ik", "m,n", "p,q"), ("bij,bkj->bik", "b,m,n", "c,p,q"), ("bhid,bhjd->bhij", "b,2,m,4", "c,2,n,4"), ("ij,ij->", "m,n", "p,q"), ("i,i->i", "m", "p"),
                           ("...ij,...jk->...ik", "b,m,n", "c,p,q"), ("ij,jk->ik", "m,1", "p,q"), ("bi,bj->ij", "1,m", "p,q"), ("ij,kl->ik", "m,n", "p,q")]:
        sizes = {"b": 2, "c": 2, "m": 3, "n": 4, "p": 4, "q": 5}
        terms, values = equation.split("->")[0].replace("...", "").split(","), {}
        size_of = {}
        for term, dims, name in zip(terms, (a, b), "xy"):
            dims = dims.split(",")
            letters = ["..."] * (len(dims) - len(term)) + list(term)
            shape = []
            for letter, dim in zip(letters, dims):
                shape.append(int(dim) if dim.isdigit() else size_of.setdefault(letter, sizes[dim]))
            values[name] = real(*shape)
        add(17, f"(float[{a}] x, float[{b}] y) => (float[{','.join('?' * len(equation.split('->')[1].replace('...', '.')))}] z) {{ z = Einsum<equation=\"{equation}\">(x, y) }}", **values)
    for axis in [0, 1, -1]:
        add(17, f"(float[a,b,c] x, int64[d,e,f] i) => (float[?,?,?] y) {{ y = GatherElements<axis={axis}>(x, i) }}", x=real(3, 3, 3), i=rng.integers(-3, 3, (2, 3, 1)))
        add(17, f"(float[a,b,c] x, int64[a,b,c] i) => (float[?,?,?] y) {{ y = GatherElements<axis={axis}>(x, i) }}", x=real(3, 3, 3), i=rng.integers(-3, 3, (3, 3, 3)))
    add(17, "(float[a,b] x) => (float[?,?] y) <int64[0] s = {}> { y = Expand(x, s) }", x=real(2, 3))
    add(17, "(float x) => (float y) <int64[0] s = {}> { y = Expand(x, s) }", x=numpy.array(1.5, numpy.float32))
    add(17, "(float[1,b] x, float[a,b] z) => (float[?,?] y) { s = Shape(z) y = Expand(x, s) }", x=real(1, 3), z=real(2, 3))


def add_choices():
    """As torchvision's detectors have them: how many are chosen is computed, and so is which rows are written."""
    x = real(2, 9, 3)
    for largest in [0, 1]:
        for axis, size in [(0, 2), (1, 9), (-1, 3)]:
            add(17, f"(float[a,b,c] x, int64[1] k) => (float[?,?,?] y, int64[?,?,?] i) {{ y, i = TopK<axis={axis}, largest={largest}>(x, k) }}", x=x, k=numpy.array([size - 1]))
    add(17, "(float[b] x) => (float[?] y, int64[?] i) <int64[1] most = {5}> { s = Shape(x) k = Min(s, most) y, i = TopK(x, k) }", x=real(4))
    add(17, "(float[b] x) => (float[?] y, int64[?] i) <int64[1] most = {5}> { s = Shape(x) k = Min(s, most) y, i = TopK(x, k) }", x=rng.integers(0, 3, 9).astype(numpy.float32))
    add(17, "(float[n,2,3] x, int64[m] i, float[m,2,3] u, int64[3] s) => (float[?,?,?] y) <int64[3] p = {-1,1,1}> "
            "{ a = Reshape(i, p) e = Expand(a, s) y = ScatterElements<axis=0>(x, e, u) }", x=real(5, 2, 3), i=numpy.array([3, 0]), u=real(2, 2, 3), s=numpy.array([1, 2, 3]))
    for axis, k in [(0, 2), (1, 1)]:
        add(17, f"(float[a,b] x, float[k,c] u, int64[k] i, int64[2] s, int64[2] p) => (float[?,?] y) "
                f"{{ r = Reshape(i, p) e = Expand(r, s) y = ScatterElements<axis={axis}, reduction=\"add\">(x, e, u) }}",
            x=real(4, 5), u=real(2, 3), i=numpy.array([2, 0]), s=numpy.array([2, 3]), p=numpy.array([2, 1]))
    for upper in [0, 1]:
        add(17, f"(float[a,b] x, int64 k) => (float[?,?] y) {{ y = Trilu<upper={upper}>(x, k) }}", x=real(4, 6), k=numpy.array(-1))
    add(17, "(float[b,n] x) => (float[?,?,?,?] y) <int64 s = {3}, float[6] w = {0.1,0.4,1,0.9,0.5,0.2}> { y = STFT(x, s, w) }", x=real(2, 17))
    add(17, "(float[b,6,n,2] x) => (int64[?] y, float[?,?] z) <int64[6] many = {0,2,3,-1,2,1}> "
            "{ a = Reshape(x, many) y = Shape(a) z = Flatten<axis=3>(a) }", x=real(2, 6, 5, 2))
    add(19, "(float[a,b] x, int64[3] s) => (float[?,?,?] y) { y = Reshape<allowzero=1>(x, s) }", x=real(4, 6), s=numpy.array([3, -1, 2]))
    for axis in [0, 1]:
        add(17, f"(float[a,b] x, int64[c,d] i, float[c,d] u) => (float[?,?] y) {{ y = ScatterElements<axis={axis}>(x, i, u) }}",
            x=real(4, 5), i=numpy.array([[0, 1, 2], [1, 2, 3]]), u=real(2, 3))


def add_transforms():
    for n in [2, 4, 7]:
        add(22, f"(float[b,3,{n},{n}] x) => (float[?,?] y) {{ y = Det(x) }}", x=real(2, 3, n, n))
    add(22, "(float[b,4,4] x) => (float[?] y) { y = Det(x) }", x=numpy.ones((2, 4, 4), numpy.float32))
    add(18, "(float[b,8,6] x) => (float[?,?,?,?] y) <int64[2] i = {3,4}, int64[2] k = {2,2}> { y = Col2Im(x, i, k) }", x=real(2, 8, 6))
    add(22, "(float[b,n,3] x) => (float[?] y) { y = Det(x) }", x=real(2, 3, 3))
    add(22, "(float[b,n,5] x) => (float[?] y) { y = Det(x) }", x=real(2, 5, 5))
    boxes = numpy.sort(rng.random((2, 9, 4)).astype(numpy.float32), axis=-1)
    for classes in ["c", "3"]:
        add(17, f"(float[n,b,4] x, float[n,{classes},b] s) => (int64[?,?] y) <int64 m = {{4}}, float i = {{0.4}}> {{ y = NonMaxSuppression(x, s, m, i) }}",
            x=boxes, s=rng.random((2, 3, 9)).astype(numpy.float32))
    add(17, "(float[1,b,4] x, float[1,1,b] s) => (int64[?,?] y) <int64 m = {9223372036854775807}, float i = {0.4}> { y = NonMaxSuppression(x, s, m, i) }",
        x=boxes[:1], s=rng.random((1, 1, 9)).astype(numpy.float32))
    for length in [13, 16]:
        for step in [1, 3, 5]:
            add(17, f"(float[b,n,1] x) => (float[?,?,?,?] y) <int64 s = {{{step}}}, float[6] w = {{0.1,0.4,1,0.9,0.5,0.2}}> {{ y = STFT(x, s, w) }}", x=real(2, length, 1))
            add(17, f"(float[b,n,1] x) => (float[?,?,?,?] y) <int64 s = {{{step}}}, int64 l = {{5}}> {{ y = STFT<onesided=0>(x, s, \"\", l) }}",
                x=real(2, length, 1))


def add_sequences():
    add(17, "(float[a,3] x, float[a,3] y) => (float[?,?] z, int64 n) { s = SequenceConstruct(x, y, x) z = ConcatFromSequence<axis=-1>(s) n = SequenceLength(s) }",
        x=real(2, 3), y=real(2, 3))
    add(17, "(float[a,3] x, int64 i) => (float[?,?] z) { e = SequenceEmpty() p = Neg(x) s = SequenceInsert(e, x) t = SequenceInsert(s, p) z = SequenceAt(t, i) }",
        x=real(2, 3), i=numpy.array(-1))
    add(17, "(float[6,a] x) => (float[?,?] z, float[?,?,?] w) <int64 two = {2}, int64 one = {1}> { s = SplitToSequence<axis=0>(x, two) t = SequenceErase(s, one) "
            "z = ConcatFromSequence<axis=0>(t) w = ConcatFromSequence<axis=1, new_axis=1>(s) }", x=real(6, 4))
    add(17, "(float[3,a] x) => (float[?] z) <int64 one = {1}> { s = SplitToSequence<axis=0, keepdims=0>(x) z = SequenceAt(s, one) }", x=real(3, 4))
    add(18, "(float[a] x) => (bool p, bool q, float[?] z) { o = Optional(x) p = OptionalHasElement(o) q = OptionalHasElement() z = OptionalGetElement(o) }", x=real(4))
    add(17, "(float[a,3] x) => (float[?,?] z) { s = SequenceConstruct(x, x) m = SequenceMap<body = b (float[a,3] i) => (float[a,3] o) { o = Exp(i) }>(s) "
            "z = ConcatFromSequence<axis=0>(m) }", x=real(2, 3))


def main():
    add_resizing()
    add_ties()
    add_pooling()
    add_moves()
    add_products()
    add_choices()
    add_transforms()
    add_sequences()
    return trial.exit_code(CASES)


if __name__ == "__main__":
    sys.exit(main())
