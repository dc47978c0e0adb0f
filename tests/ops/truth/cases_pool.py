"""avg_pool, max_pool, l2_pool."""

import numpy as np

import second_opinion
import windows
from cases_conv import as_inputs
from harness import In, narrow, random_array, seeded, wide

POOL = [
    ("valid", (1, 2, 5, 4), [2, 3], {"pad_type": "valid"}),
    ("valid_1d", (2, 1, 7), [3], {"pad_type": "valid", "strides": [2]}),
    ("valid_3d", (1, 2, 3, 4, 3), [2, 2, 3], {"pad_type": "valid", "strides": [1, 2, 1]}),
    ("stride2", (1, 2, 6, 5), [2, 2], {"pad_type": "valid", "strides": [2, 2]}),
    ("same", (1, 2, 5, 4), [3, 3], {"pad_type": "same"}),
    ("same_even", (1, 1, 4, 3), [2, 4], {"pad_type": "same"}),
    ("same_stride2", (1, 2, 5, 6), [3, 2], {"pad_type": "same", "strides": [2, 2]}),
    ("same_lower", (1, 1, 5, 4), [2, 4], {"pad_type": "same_lower"}),
    ("same_lower_1d", (1, 2, 6), [3], {"pad_type": "same_lower", "strides": [2]}),
    ("same_3d", (1, 1, 3, 2, 3), [2, 2, 2], {"pad_type": "same", "strides": [2, 1, 1]}),
    ("custom", (1, 2, 4, 5), [3, 3], {"pad_type": "custom", "pad": [1, 0, 1, 2], "strides": [1, 2]}),
    ("custom_1d", (1, 1, 5), [3], {"pad_type": "custom", "pad": [2, 1]}),
    ("ceil_unpadded", (1, 2, 6, 5), [3, 2], {"pad_type": "valid", "strides": [2, 2], "ceil_mode": True}),
    (
        "ceil_padded",
        (1, 1, 6, 6),
        [3, 3],
        {"pad_type": "custom", "pad": [1, 1, 1, 1], "strides": [2, 2], "ceil_mode": True},
    ),
    ("ceil_last_dropped", (1, 1, 5), [2], {"pad_type": "custom", "pad": [1, 1], "strides": [3], "ceil_mode": True}),
    ("global", (2, 2, 3, 3), [3, 3], {"pad_type": "valid"}),
    ("empty_batch", (0, 2, 4, 4), [2, 2], {"pad_type": "valid"}),
    ("dynamic", (1, 2, 5, 4), [2, 2], {"pad_type": "same", "strides": [2, 2]}),
]


def one(suite, op, label, shape, kernel, options, dtype, exclude):
    rng = seeded("pool", label, dtype)
    x = (
        random_array(rng, shape, dtype, -5, -1)
        if op == "max_pool" and "same" in label
        else random_array(rng, shape, dtype)
    )
    strides = options.get("strides", [1] * len(kernel))
    pads = windows.paddings(options["pad_type"], options.get("pad"), shape[2:], kernel, strides, [1] * len(kernel))
    ceil_mode = options.get("ceil_mode", False)
    full = windows.pool(wide(x), op.split("_")[0], kernel, strides, pads, ceil_mode, bool(exclude))
    source = None
    if dtype == "float32" and x.size and op != "l2_pool":
        attributes = dict(
            kernel_shape=kernel,
            strides=strides,
            pads=[p[0] for p in pads] + [p[1] for p in pads],
            ceil_mode=int(ceil_mode),
        )
        if op == "avg_pool":
            attributes["count_include_pad"] = int(not exclude)
        got = second_opinion.run("AveragePool" if op == "avg_pool" else "MaxPool", [x], **attributes)
        source = second_opinion.confirm(suite, f"{op} {label} exclude={exclude}", full, got and got[0])
    dims = (None,) + shape[1:2] + (None,) * (len(shape) - 2) if label == "dynamic" else None
    flags = {k: v for k, v in options.items() if k == "ceil_mode"}
    inputs = {
        "x": In(x, dims),
        "kernel_sizes": np.array(kernel, "int32"),
        **as_inputs({k: v for k, v in options.items() if k not in flags}),
        **flags,
    }
    reading = {"max_pool": "padding never wins", "l2_pool": "square root of the sum of squares, no mean"}.get(op, "")
    if op == "avg_pool":
        reading = "padding counts in the divisor unless excluded; with ceil_mode only up to the end of the padding"
    if exclude is not None:
        inputs["exclude_padding_from_average"] = exclude
    at = 16 if options["pad_type"] == "same_lower" else 15
    suite.op(
        op,
        at,
        f"{dtype}_{label}",
        inputs,
        narrow(full, dtype),
        accumulate=True,
        source=source,
        reading=reading,
        fold=False,
        rtol=0 if op == "max_pool" else None,
    )


def add(suite):
    for label, shape, kernel, options in POOL:
        for dtype in ("float16", "float32"):
            for exclude in (None, True, False):
                one(suite, "avg_pool", label, shape, kernel, options, dtype, exclude)
            one(suite, "max_pool", label, shape, kernel, options, dtype, None)
            if len(kernel) < 3:
                one(suite, "l2_pool", label, shape, kernel, options, dtype, None)
    # vectors of coremltools' own unit tests
    row, square = np.array([[[1.0, 2.0]]], "float32"), np.arange(1, 5, dtype="float32").reshape(1, 1, 2, 2)
    for op, first, second in (("avg_pool", [0.5, 1.5], [0.25, 0.75, 1, 2.5]), ("l2_pool", [1, 5**0.5], None)):
        suite.op(
            op,
            16,
            "vector_1d",
            {"x": In(row), "kernel_sizes": np.array([2], "int32"), "pad_type": "same_lower"},
            np.array(first, "float32").reshape(1, 1, 2),
            source="fact sheet vector",
            fold=False,
        )
        if second:
            suite.op(
                op,
                16,
                "vector_2d",
                {"x": In(square), "kernel_sizes": np.array([2, 2], "int32"), "pad_type": "same_lower"},
                np.array(second, "float32").reshape(1, 1, 2, 2),
                source="fact sheet vector",
                fold=False,
            )
    nan = np.array([[[1.0, np.inf, -np.inf, -3.0]]], "float32")
    suite.op(
        "max_pool",
        15,
        "infinite",
        {"x": In(nan), "kernel_sizes": np.array([2], "int32"), "pad_type": "same"},
        np.array([[[np.inf, np.inf, -3.0, -3.0]]], "float32"),
        rtol=0,
        fold=False,
    )
    x = np.ones((1, 1, 4, 4), "float32")
    suite.error(
        "max_pool",
        15,
        "ceil_with_same",
        {"x": In(x), "kernel_sizes": np.array([2, 2], "int32"), "pad_type": "same", "ceil_mode": True},
        [((1, 1, 4, 4), "float32")],
        reading="ceil_mode does not go with same padding",
    )
