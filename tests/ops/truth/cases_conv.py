"""conv, conv_transpose, conv_quantized."""

import numpy as np

import second_opinion
import windows
from harness import In, class_versions, narrow, random_array, seeded, wide

# label, x shape, weight shape, options, biased
CONV = [
    ("valid", (1, 2, 5, 4), (3, 2, 3, 2), {}, True),
    ("valid_1d", (2, 3, 7), (2, 3, 3), {}, False),
    ("valid_3d", (1, 2, 3, 4, 3), (2, 2, 2, 3, 1), {}, True),
    ("pointwise", (2, 3, 2, 2), (4, 3, 1, 1), {}, False),
    ("same_odd_kernel", (1, 2, 5, 4), (2, 2, 3, 3), {"pad_type": "same"}, True),
    ("same_even_kernel", (1, 1, 5, 4), (2, 1, 2, 4), {"pad_type": "same"}, False),
    ("same_stride2", (1, 2, 5, 6), (2, 2, 3, 3), {"pad_type": "same", "strides": [2, 2]}, False),
    ("same_stride3_1d", (1, 2, 8), (1, 2, 4), {"pad_type": "same", "strides": [3]}, True),
    ("same_dilated", (1, 1, 7, 7), (1, 1, 3, 2), {"pad_type": "same", "dilations": [2, 3]}, False),
    (
        "same_stride2_dilated",
        (1, 1, 7, 8),
        (1, 1, 3, 2),
        {"pad_type": "same", "strides": [2, 2], "dilations": [2, 3]},
        True,
    ),
    ("same_3d", (1, 1, 3, 2, 4), (1, 1, 2, 2, 3), {"pad_type": "same", "strides": [1, 2, 2]}, False),
    ("same_lower", (1, 1, 5, 4), (2, 1, 2, 4), {"pad_type": "same_lower"}, True),
    ("same_lower_stride2", (1, 2, 6, 5), (1, 2, 3, 4), {"pad_type": "same_lower", "strides": [2, 2]}, False),
    ("custom", (1, 2, 4, 5), (2, 2, 3, 3), {"pad_type": "custom", "pad": [1, 0, 2, 1]}, True),
    (
        "custom_stride_dilation",
        (2, 2, 6, 5),
        (2, 2, 2, 3),
        {"pad_type": "custom", "pad": [0, 3, 1, 2], "strides": [2, 3], "dilations": [2, 1]},
        False,
    ),
    ("custom_1d", (1, 1, 4), (1, 1, 2), {"pad_type": "custom", "pad": [2, 1], "strides": [2]}, True),
    ("pad_ignored", (1, 1, 4, 4), (1, 1, 2, 2), {"pad_type": "valid", "pad": [1, 1, 1, 1]}, False),
    ("groups2", (1, 4, 4, 3), (6, 2, 2, 2), {"groups": 2}, True),
    ("depthwise", (1, 3, 5, 5), (3, 1, 3, 3), {"groups": 3, "pad_type": "same"}, True),
    ("depthwise_multiplier", (2, 2, 4), (6, 1, 3), {"groups": 2}, False),
    ("stride_beyond_kernel", (1, 1, 7, 7), (1, 1, 2, 1), {"strides": [3, 4]}, False),
    ("one_output", (1, 2, 3, 3), (2, 2, 3, 3), {}, True),
    ("empty_batch", (0, 2, 4, 4), (3, 2, 2, 2), {}, True),
    ("dynamic", (2, 2, 5, 4), (3, 2, 3, 2), {}, True),
    ("dynamic_same", (1, 2, 5, 4), (3, 2, 3, 2), {"pad_type": "same", "strides": [2, 2]}, True),
]


def conv_value(x, w, b, options):
    spatial, kernel = x.shape[2:], w.shape[2:]
    strides = options.get("strides", [1] * len(kernel))
    dilations = options.get("dilations", [1] * len(kernel))
    pads = windows.paddings(options.get("pad_type", "valid"), options.get("pad"), spatial, kernel, strides, dilations)
    return (
        windows.conv(
            wide(x), wide(w), None if b is None else wide(b), strides, pads, dilations, options.get("groups", 1)
        ),
        pads,
    )


def as_inputs(options):
    return {
        k: v if isinstance(v, str) else np.int32(v) if np.isscalar(v) else np.array(v, "int32")
        for k, v in options.items()
    }


def conv(suite):
    for opset in class_versions("conv"):
        for label, shape, weight_shape, options, biased in CONV:
            at = 16 if opset == 15 and options.get("pad_type") == "same_lower" else opset
            for dtype in ("float16", "float32"):
                rng = seeded("conv", label, dtype)
                x, w = random_array(rng, shape, dtype), random_array(rng, weight_shape, dtype)
                b = random_array(rng, weight_shape[:1], dtype) if biased else None
                full, pads = conv_value(x, w, b, options)
                source = None
                if dtype == "float32" and x.size:
                    got = second_opinion.run(
                        "Conv",
                        [x, w, b],
                        pads=[p[0] for p in pads] + [p[1] for p in pads],
                        group=options.get("groups", 1),
                        strides=options.get("strides", [1] * len(pads)),
                        dilations=options.get("dilations", [1] * len(pads)),
                    )
                    source = second_opinion.confirm(suite, f"conv {label}", full, got and got[0])
                dims = (None,) + shape[1:2] + (None,) * (len(shape) - 2) if "dynamic" in label else None
                inputs = {"x": In(x, dims), "weight": w, **as_inputs(options)}
                if biased:
                    inputs["bias"] = b
                suite.op("conv", at, f"{dtype}_{label}", inputs, narrow(full, dtype), accumulate=True, source=source)
                if opset == 17 and label in ("valid", "same_stride2", "groups2", "valid_1d", "valid_3d"):
                    inputs.update(weight=In(w), **({"bias": In(b)} if biased else {}))
                    suite.op(
                        "conv",
                        17,
                        f"{dtype}_weight_from_input_{label}",
                        inputs,
                        narrow(full, dtype),
                        accumulate=True,
                        source=source,
                    )
        x, w = np.ones((1, 3, 4, 4), "float32"), np.ones((2, 2, 2, 2), "float32")
        suite.error("conv", opset, "channels_differ", {"x": In(x), "weight": w}, [((1, 2, 3, 3), "float32")])
    rng = seeded("conv", "mixed")
    x, w, b = (
        random_array(rng, (1, 2, 4, 4), "float32"),
        random_array(rng, (3, 2, 2, 2), "float16"),
        random_array(rng, (3,), "float16"),
    )
    suite.op(
        "conv",
        17,
        "half_weight",
        {"x": In(x), "weight": w, "bias": b},
        narrow(conv_value(x, w, b, {})[0], "float32"),
        accumulate=True,
        reading="result has the dtype of x",
    )
    x, w = np.ones((1, 1, 4, 4), "float32"), np.ones((1, 1, 2, 2), "float32")
    suite.error(
        "conv",
        15,
        "same_lower",
        {"x": In(x), "weight": w, "pad_type": "same_lower"},
        [((1, 1, 4, 4), "float32")],
        reading="same_lower starts with iOS16",
    )


TRANSPOSE = [
    ("valid", (1, 2, 3, 4), (2, 3, 3, 2), {}, True),
    ("valid_1d", (2, 3, 4), (3, 2, 3), {}, False),
    ("valid_3d", (1, 2, 2, 3, 2), (2, 1, 2, 2, 3), {}, True),
    ("stride2", (1, 2, 3, 3), (2, 2, 3, 2), {"strides": [2, 2]}, False),
    ("stride_beyond_kernel", (1, 1, 3, 2), (1, 1, 2, 1), {"strides": [3, 2]}, True),
    ("dilated", (1, 1, 3, 3), (1, 2, 2, 3), {"dilations": [2, 3]}, True),
    ("custom", (1, 2, 4, 4), (2, 2, 3, 3), {"pad_type": "custom", "pad": [1, 0, 2, 1], "strides": [2, 1]}, True),
    ("custom_1d", (1, 1, 5), (1, 1, 4), {"pad_type": "custom", "pad": [1, 2], "strides": [2]}, False),
    ("same", (1, 2, 3, 4), (2, 2, 3, 3), {"pad_type": "same"}, True),
    ("same_stride2", (1, 2, 3, 3), (2, 2, 4, 3), {"pad_type": "same", "strides": [2, 2]}, False),
    ("same_odd_total", (1, 1, 3, 3), (1, 1, 2, 4), {"pad_type": "same"}, False),
    ("groups2", (1, 4, 3, 3), (4, 3, 2, 2), {"groups": 2, "strides": [2, 2]}, True),
    ("depthwise", (1, 3, 3, 3), (3, 1, 2, 2), {"groups": 3}, False),
    ("output_shape_natural", (1, 2, 3, 3), (2, 2, 3, 3), {"strides": [2, 2], "output_shape": [1, 2, 7, 7]}, True),
    (
        "output_shape_custom",
        (1, 2, 3, 3),
        (2, 2, 3, 3),
        {"pad_type": "custom", "pad": [1, 1, 1, 1], "strides": [2, 2], "output_shape": [1, 2, 6, 6]},
        True,
    ),
    (
        "output_shape_1d",
        (1, 1, 4),
        (1, 2, 3),
        {"pad_type": "custom", "pad": [1, 1], "strides": [2], "output_shape": [1, 2, 8]},
        False,
    ),
    ("empty_batch", (0, 2, 3, 3), (2, 1, 2, 2), {}, True),
    ("dynamic", (1, 2, 3, 4), (2, 3, 3, 2), {"strides": [2, 2]}, True),
]


def transpose_value(x, w, b, options):
    kernel = w.shape[2:]
    strides, dilations = options.get("strides", [1] * len(kernel)), options.get("dilations", [1] * len(kernel))
    natural = [(n - 1) * s + d * (k - 1) + 1 for n, s, d, k in zip(x.shape[2:], strides, dilations, kernel)]
    pad_type = options.get("pad_type", "valid")
    before, size = [0] * len(kernel), natural
    if pad_type == "custom":
        pad = options["pad"]
        before = pad[0::2]
        size = [n - p - q for n, p, q in zip(natural, pad[0::2], pad[1::2])]
    elif pad_type == "same":
        size = [n * s for n, s in zip(x.shape[2:], strides)]
        before = [max(n - t, 0) // 2 for n, t in zip(natural, size)]
    size = options.get("output_shape", [0, 0, *size])[2:]
    out = windows.conv_transpose(
        wide(x), wide(w), None if b is None else wide(b), strides, before, size, dilations, options.get("groups", 1)
    )
    return out, before, size, natural


def conv_transpose(suite):
    for opset in class_versions("conv_transpose"):
        for label, shape, weight_shape, options, biased in TRANSPOSE:
            for dtype in ("float16", "float32"):
                rng = seeded("conv_transpose", label, dtype)
                x, w = random_array(rng, shape, dtype), random_array(rng, weight_shape, dtype)
                b = random_array(rng, (weight_shape[1] * options.get("groups", 1),), dtype) if biased else None
                full, before, size, natural = transpose_value(x, w, b, options)
                source = None
                if dtype == "float32" and x.size:
                    after = [n - p - s for n, p, s in zip(natural, before, size)]
                    got = second_opinion.run(
                        "ConvTranspose",
                        [x, w, b],
                        pads=[*before, *[max(a, 0) for a in after]],
                        group=options.get("groups", 1),
                        strides=options.get("strides", [1] * len(size)),
                        dilations=options.get("dilations", [1] * len(size)),
                        output_padding=[max(-a, 0) for a in after],
                    )
                    source = second_opinion.confirm(suite, f"conv_transpose {label}", full, got and got[0])
                dims = (None,) + shape[1:2] + (None,) * (len(shape) - 2) if "dynamic" in label else None
                inputs = {"x": In(x, dims), "weight": w, **as_inputs(options)}
                if biased:
                    inputs["bias"] = b
                reading = {
                    "same_odd_total": "same crops floor(total/2) before",
                    "same_stride2": "same crops floor(total/2) before",
                    "output_shape_custom": "output_shape wins; `pad` still gives the crop at the start, the rest is cut or kept at the end",
                    "output_shape_1d": "output_shape wins; `pad` still gives the crop at the start",
                }.get(label, "")
                suite.op(
                    "conv_transpose",
                    opset,
                    f"{dtype}_{label}",
                    inputs,
                    narrow(full, dtype),
                    accumulate=True,
                    source=source,
                    reading=reading,
                )
                if opset == 17 and label in ("valid", "groups2"):
                    inputs.update(weight=In(w), **({"bias": In(b)} if biased else {}))
                    # coremltools' own inference looks at weight.val, although iOS17 allows a weight without one
                    suite.raw(
                        "conv_transpose",
                        17,
                        f"{dtype}_weight_from_input",
                        inputs,
                        narrow(full, dtype),
                        accumulate=True,
                        source=source,
                    )


def conv_quantized(suite):
    for k, options in enumerate(({}, {"pad_type": "same", "strides": [2, 2]}, {"groups": 2})):
        for dtype in ("float16", "float32"):
            rng = seeded("conv_quantized", k, dtype)
            x = random_array(rng, (1, 2, 4, 4), dtype)
            w = rng.integers(0, 256, (2, 2 // options.get("groups", 1), 3, 3)).astype("uint8")
            scale, shift = np.dtype(dtype).type(0.03125), np.dtype(dtype).type(-1.5)
            full, _ = conv_value(x, wide(w) * float(scale) + float(shift), None, options)
            inputs = {
                "x": In(x),
                "weight": w,
                "quantization_type": "linear",
                "nbits": np.int32(8),
                "quant_scale": scale,
                "quant_bias": shift,
            }
            suite.op(
                "conv_quantized",
                15,
                f"{dtype}_linear",
                {**inputs, **as_inputs(options)},
                narrow(full, dtype),
                accumulate=True,
                fold=False,
                reading="weight = stored * quant_scale + quant_bias",
            )


def add(suite):
    conv(suite)
    conv_transpose(suite)
    conv_quantized(suite)
