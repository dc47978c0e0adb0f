"""Elementwise unary and binary ops, comparisons, logical ops, select and cast."""

import math

import numpy as np

from harness import In, by_turns, class_versions, dtypes_of, narrow, random_array, seeded, wide

EDGES = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, -1.5, 2.5, -2.5, 3.7, -3.7, 0.001, 10.25, np.nan, np.inf, -np.inf]
INT_EDGES = [0, 1, -1, 2, 7, -8, 100, -100, 2147483647, -2147483647]
erf = np.vectorize(math.erf, otypes=[np.float64])

UNARY = {
    "acos": np.arccos,
    "asin": np.arcsin,
    "atan": np.arctan,
    "atanh": np.arctanh,
    "ceil": np.ceil,
    "cos": np.cos,
    "cosh": np.cosh,
    "erf": erf,
    "exp": np.exp,
    "floor": np.floor,
    "round": np.round,
    "sin": np.sin,
    "sinh": np.sinh,
    "sqrt": np.sqrt,
    "tan": np.tan,
    "tanh": np.tanh,
    "abs": np.abs,
    "exp2": np.exp2,
    "sign": np.sign,
    "square": np.square,
}
EXACT = {"ceil", "floor", "round", "abs", "sign"}


def apply(function, *arrays, dtype=None):
    with np.errstate(all="ignore"):
        return narrow(function(*[wide(a) for a in arrays]), dtype or arrays[0].dtype)


def unary(suite):
    for op, function in UNARY.items():
        rtol = 0 if op in EXACT else None
        for dtype in dtypes_of(op, 15, "x"):
            if dtype == "int32":
                values = (
                    [0, 1, 2, 5, 10, 30] if op == "exp2" else [0, 1, -1, 46340, -46340] if op == "square" else INT_EDGES
                )
                x = np.array(values, dtype)
                suite.op(op, 15, "int32", {"x": In(x)}, apply(function, x))
                continue
            edges = np.array(EDGES, dtype)
            suite.op(op, 15, f"{dtype}_edges", {"x": In(edges)}, apply(function, edges), rtol=rtol)
            shapes = [((2, 3), (None, 3)), ((), None), ((0, 3), None), ((1, 2, 1, 3, 2), None)]
            for shape, dims in shapes if dtype == "float32" else shapes[:2]:
                high = 0.95 if op in ("acos", "asin", "atanh") else 1.4
                low = 0.01 if op == "sqrt" else -high
                x = random_array(seeded(op, dtype, shape), shape, dtype, low, high)
                suite.op(op, 15, f"{dtype}_rank{len(shape)}", {"x": In(x, dims)}, apply(function, x), rtol=rtol)
    ties = np.array([0.5, 1.5, 2.5, 3.5, -0.5, -1.5, -2.5, 0.49999997, 8388609.0, 4194304.5], "float32")
    suite.op("round", 15, "ties", {"x": In(ties)}, np.round(ties), rtol=0, reading="round halves to even")
    large = np.array([88.0, -88.0, 88.8, 120.0, -104.0, 1e30, -1e30], "float32")
    suite.op("exp", 15, "overflow", {"x": In(large)}, apply(np.exp, large))
    suite.op("tanh", 15, "saturated", {"x": In(large)}, apply(np.tanh, large))
    half = np.array([11.0, 11.09, 11.2, -17.0, 65504.0], "float16")
    suite.op("exp", 15, "half_overflow", {"x": In(half)}, apply(np.exp, half))


def with_parameters(suite):
    for opset in class_versions("clip"):
        for dtype in ("float16", "float32"):
            t = np.dtype(dtype).type
            x = np.array(EDGES, dtype)
            for alpha, beta in ((-1.0, 1.0), (0.0, 6.0), (-np.inf, 2.0)):
                want = apply(lambda v: np.minimum(np.maximum(v, alpha), beta), x)
                suite.op("clip", opset, f"{dtype}", {"x": In(x), "alpha": t(alpha), "beta": t(beta)}, want, rtol=0)
            y = random_array(seeded("clip", dtype), (2, 0, 3), dtype)
            suite.op("clip", opset, f"{dtype}_empty", {"x": In(y), "alpha": t(0), "beta": t(1)}, y, rtol=0)
            z = np.array(0.75, dtype)
            suite.op(
                "clip",
                opset,
                f"{dtype}_rank0",
                {"x": In(z), "alpha": t(0), "beta": t(0.5)},
                np.array(0.5, dtype),
                rtol=0,
            )
    x = np.array([-1.0, 0.5, 3.0], "float32")
    for alpha, beta in ((2.0, 1.0), (1.0, 1.0)):
        suite.error(
            "clip",
            17,
            "alpha_not_below_beta",
            {"x": In(x), "alpha": np.float32(alpha), "beta": np.float32(beta)},
            [((3,), "float32")],
            reading="from iOS17 alpha >= beta is an error",
        )
        suite.raw(
            "clip",
            15,
            "alpha_not_below_beta",
            {"x": In(x), "alpha": np.float32(alpha), "beta": np.float32(beta)},
            np.minimum(np.maximum(x, np.float32(alpha)), np.float32(beta)),
            source="fact sheet",
            rtol=0,
            reading="before iOS17 min(max(x, alpha), beta) even when alpha >= beta",
        )
    formulas = {
        "inverse": (lambda x, e: 1 / (x + e), 1e-4),
        "log": (lambda x, e: np.log(x + e), 1e-45),
        "rsqrt": (lambda x, e: 1 / np.sqrt(x + e), 1e-12),
    }
    for op, (function, default) in formulas.items():
        for opset in class_versions(op):
            for dtype in ("float16", "float32"):
                t = np.dtype(dtype).type
                x = np.array([0.25, 1.0, 2.0, 3.5, 100.0, 1e-3], dtype)
                used = float(np.float32(default) if opset >= 17 or dtype == "float32" else t(default))
                suite.op(op, opset, f"{dtype}_default", {"x": In(x)}, apply(lambda v: function(v, used), x))
                for epsilon in (t(0), t(0.5), t(1e-3)):
                    want = apply(lambda v: function(v, float(epsilon)), x)
                    suite.op(op, opset, f"{dtype}", {"x": In(x), "epsilon": epsilon}, want)
                special = np.array([0.0, np.inf, np.nan, 4.0], dtype)
                want = apply(lambda v: function(v, 0.0), special)
                suite.op(op, opset, f"{dtype}_special", {"x": In(special), "epsilon": t(0)}, want)
                for shape, dims in (((), None), ((0,), None), ((2, 1, 3), (None, None, 3))):
                    y = random_array(seeded(op, dtype, shape), shape, dtype, 0.1, 4)
                    want = apply(lambda v: function(v, 0.25), y)
                    suite.op(op, opset, f"{dtype}_rank{len(shape)}", {"x": In(y, dims), "epsilon": t(0.25)}, want)
            if opset >= 17:
                x = np.array([0.25, 1.0, 2.0, 3.5], "float16")
                e = np.float32(0.015625)
                suite.op(
                    op,
                    opset,
                    "half_x_float_epsilon",
                    {"x": In(x), "epsilon": e},
                    apply(lambda v: function(v, float(e)), x),
                )
    zero = np.array([0.0, 1e-40], "float32")
    suite.op(
        "log",
        15,
        "of_zero",
        {"x": In(zero)},
        apply(lambda v: np.log(v + float(np.float32(1e-45))), zero),
        rtol=1e-4,
        reading="the default epsilon 1e-45 is a subnormal: log(0) is about -103.28",
    )
    for dtype in dtypes_of("threshold", 15, "x"):
        t = np.dtype(dtype).type
        x = np.array([-3, -1, 0, 1, 2, 50], dtype)
        for alpha in (t(1), t(-2), t(0)):
            suite.op("threshold", 15, dtype, {"x": In(x), "alpha": alpha}, np.maximum(x, alpha), rtol=0)
    x = np.array(EDGES[:14], "float32").reshape(2, 7)
    suite.op(
        "threshold", 15, "dynamic", {"x": In(x, (None, 7)), "alpha": np.float32(0.25)}, np.maximum(x, 0.25), rtol=0
    )
    for shape, dims in (((), None), ((4,), None), ((0, 2), None), ((2, 3), (None, None))):
        b = random_array(seeded("not", shape), shape, "bool")
        suite.op("logical_not", 15, f"rank{len(shape)}", {"x": In(b, dims)}, ~b)


CAST_NAMES = {
    "float16": "fp16",
    "float32": "fp32",
    "bool": "bool",
    "int8": "int8",
    "uint8": "uint8",
    "int16": "int16",
    "uint16": "uint16",
    "int32": "int32",
}


def cast(suite):
    for opset in class_versions("cast"):
        kinds = ["float16", "float32", "int32", "bool"] + (["int8", "uint8", "int16", "uint16"] if opset >= 17 else [])
        for source in kinds:
            for target in kinds:
                kind = np.dtype(source).kind
                values = {
                    "f": [0.0, -0.0, 0.25, 0.999, 1.0, 1.5, 2.75, 100.9],
                    "b": [True, False, True],
                    "i": [0, 1, 2, 100, 127],
                    "u": [0, 1, 2, 100, 127],
                }[kind]
                if kind in "fi" and np.dtype(target).kind in "fib":
                    values = values + [-1, -2.75 if kind == "f" else -3, -100]
                x = np.array(values, source)
                suite.op(
                    "cast",
                    opset,
                    f"{source}_to_{target}",
                    {"x": In(x), "dtype": CAST_NAMES[target]},
                    x.astype(target),
                    rtol=0,
                )
        wide_values = np.array([np.nan, np.inf, -np.inf, 1e6, 65504, 65520, 1e-8, 6e-8], "float32")
        suite.op(
            "cast",
            opset,
            "float32_to_half_limits",
            {"x": In(wide_values), "dtype": "fp16"},
            narrow(wide_values, "float16"),
            rtol=0,
        )
        suite.op(
            "cast",
            opset,
            "nan_to_bool",
            {"x": In(np.array([np.nan, np.inf, 1e-40, 0.0], "float32")), "dtype": "bool"},
            np.array([True, True, True, False]),
        )
        suite.op("cast", opset, "rank0", {"x": In(np.array(-2.75, "float32")), "dtype": "int32"}, np.array(-2, "int32"))
        suite.op(
            "cast", opset, "empty", {"x": In(np.zeros((2, 0), "float32")), "dtype": "int32"}, np.zeros((2, 0), "int32")
        )
        suite.op(
            "cast",
            opset,
            "dynamic",
            {"x": In(np.arange(6, dtype="int32").reshape(2, 3), (None, 3)), "dtype": "fp32"},
            np.arange(6, dtype="float32").reshape(2, 3),
        )
    big = np.array([300, -1, 70000, -129, 2147483647, -2147483648], "int32")
    for target in ("int8", "uint8", "int16", "uint16"):
        suite.op(
            "cast",
            17,
            f"wraps_{target}",
            {"x": In(big), "dtype": target},
            big.astype(target),
            reading="int to narrower int keeps the low bits (PyMIL folding; Core ML leaves it open)",
        )


BINARY_SHAPES = [
    ((2, 3), (2, 3)),
    ((2, 3), (3,)),
    ((2, 1), (1, 3)),
    ((), (2, 2)),
    ((), ()),
    ((2, 1, 3), (4, 1)),
    ((0, 3), (1, 3)),
    ((1, 2, 1, 2, 1), (2, 1, 2, 1, 3)),
    ((0,), (1,)),
]
BINARY = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "real_div": np.divide,
    "floor_div": np.floor_divide,
    "mod": np.mod,
    "pow": np.power,
    "maximum": np.maximum,
    "minimum": np.minimum,
}
COMPARE = {
    "equal": np.equal,
    "not_equal": np.not_equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
}


def quarters(rng, shape, dtype, avoid_zero):
    """Multiples of 1/4 (of 1 for ints), so that division, floor and mod have no rounding to argue about."""
    steps = rng.integers(-12, 13, shape)
    steps = np.where((steps == 0) & avoid_zero, 4, steps)
    return (steps / (1 if dtype == "int32" else 4)).astype(dtype)


def binary(suite):
    for op, function in BINARY.items():
        divides = op in ("real_div", "floor_div", "mod")
        for dtype in ("float16", "float32", "int32"):
            for k, (left, right) in enumerate(BINARY_SHAPES):
                if dtype not in by_turns(["float32", "float16", "int32"], k) and dtype != "float32":
                    continue
                rng = seeded(op, dtype, k)
                x, y = quarters(rng, left, dtype, False), quarters(rng, right, dtype, divides)
                if op == "pow":
                    x, y = np.abs(x) + np.dtype(dtype).type(1), np.abs(y) % np.dtype(dtype).type(4)
                dims = tuple(None if n == 2 else n for n in left) if k % 3 == 1 else None
                want = apply(function, x, y)
                reading = "int32 quotient truncated toward zero" if op == "real_div" and dtype == "int32" else ""
                second = y if k % 4 == 3 else In(y)
                if k % 4 == 3 and y.ndim == 0:
                    second = y[()]
                suite.op(
                    op,
                    15,
                    f"{dtype}_{'x'.join(map(str, left)) or 'scalar'}",
                    {"x": In(x, dims), "y": second},
                    want,
                    rtol=0 if op in ("floor_div", "maximum", "minimum") else None,
                    reading=reading,
                )
        if op not in ("floor_div", "mod"):
            for dtype in ("float16", "float32"):
                edges = np.array([0.0, -0.0, 1.0, -1.0, 2.0, -2.5, np.inf, -np.inf, np.nan], dtype)
                x, y = [a.ravel() for a in np.meshgrid(edges, edges)]
                reading = "NaN wins in maximum and minimum (NumPy)" if op in ("maximum", "minimum") else ""
                suite.op(op, 15, f"{dtype}_edges", {"x": In(x), "y": In(y)}, apply(function, x, y), reading=reading)
    limits = np.array([2147483647, -2147483648, 0, -1], "int32")
    for op in ("maximum", "minimum"):
        x, y = [a.ravel() for a in np.meshgrid(limits, limits)]
        suite.op(op, 15, "int_limits", {"x": In(x), "y": In(y)}, BINARY[op](x, y))
    x, y = np.array([7, -7, 7, -7, 6, 0], "int32"), np.array([3, 3, -3, -3, 3, 5], "int32")
    suite.op("floor_div", 15, "signs", {"x": In(x), "y": In(y)}, x // y, reading="rounds toward minus infinity")
    suite.op("mod", 15, "signs", {"x": In(x), "y": In(y)}, x % y, reading="takes the divisor's sign")
    suite.op(
        "mod",
        15,
        "signs_float",
        {"x": In(x.astype("float32")), "y": In(y.astype("float32"))},
        (x % y).astype("float32"),
        reading="takes the divisor's sign",
    )
    suite.op(
        "floor_div",
        15,
        "signs_float",
        {"x": In(x.astype("float32")), "y": In(y.astype("float32"))},
        (x // y).astype("float32"),
        rtol=0,
    )
    for op, function in COMPARE.items():
        for dtype in ("float16", "float32", "int32"):
            for k, (left, right) in enumerate(BINARY_SHAPES):
                if dtype not in by_turns(["float32", "float16", "int32"], k):
                    continue
                rng = seeded(op, dtype, k)
                x, y = quarters(rng, left, dtype, False), quarters(rng, right, dtype, False)
                suite.op(op, 15, f"{dtype}_rank{len(left)}", {"x": In(x), "y": In(y)}, function(x, y))
        edges = np.array([0.0, -0.0, 1.0, np.inf, -np.inf, np.nan], "float32")
        x, y = [a.ravel() for a in np.meshgrid(edges, edges)]
        suite.op(op, 15, "edges", {"x": In(x), "y": In(y)}, function(x, y))
        x, y = [a.ravel() for a in np.meshgrid(limits, limits)]
        suite.op(op, 15, "int_limits", {"x": In(x), "y": In(y)}, function(x, y))
    for op, function in (
        ("logical_and", np.logical_and),
        ("logical_or", np.logical_or),
        ("logical_xor", np.logical_xor),
    ):
        for k, (left, right) in enumerate(BINARY_SHAPES):
            rng = seeded(op, k)
            x, y = random_array(rng, left, "bool"), random_array(rng, right, "bool")
            suite.op(op, 15, f"rank{len(left)}", {"x": In(x), "y": In(y)}, function(x, y))


def select(suite):
    # coremltools infers the shape from a and b only, so a broadcast condition is written directly
    shapes = [
        ((2, 3), (2, 3), (2, 3)),
        ((2, 1), (2, 3), (2, 3)),
        ((1, 3), (2, 3), (1, 1)),
        ((), (2, 2), (2, 2)),
        ((), (), ()),
        ((0, 2), (0, 2), (0, 2)),
        ((3,), (2, 3), ()),
    ]
    for dtype in dtypes_of("select", 15, "a"):
        for k, (c, a, b) in enumerate(shapes):
            rng = seeded("select", dtype, k)
            cond, left, right = random_array(rng, c, "bool"), random_array(rng, a, dtype), random_array(rng, b, dtype)
            inputs = {"cond": In(cond), "a": In(left), "b": In(right)}
            suite.raw("select", 15, f"{dtype}_{k}", inputs, np.where(cond, left, right), rtol=0)
    cond = np.array([[True], [False]])
    a, b = np.arange(3, dtype="float32"), -np.arange(3, dtype="float32")
    suite.raw(
        "select",
        15,
        "condition_widens",
        {"cond": In(cond), "a": In(a), "b": In(b)},
        np.where(cond, a, b),
        rtol=0,
        reading="cond takes part in broadcasting (coremltools' inference looks at a and b only)",
    )
    cond = np.array([True, False, True])
    suite.op(
        "select",
        15,
        "not_picked_nan",
        {
            "cond": In(cond),
            "a": In(np.array([1, np.nan, 3], "float32")),
            "b": In(np.array([np.nan, 5, np.inf], "float32")),
        },
        np.array([1, 5, 3], "float32"),
        rtol=0,
        fold=False,
    )


def add(suite):
    unary(suite)
    with_parameters(suite)
    cast(suite)
    binary(suite)
    select(suite)
