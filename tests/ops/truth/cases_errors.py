"""Files that must be refused with an error and never crash: each breaks one rule of one op."""

import numpy as np

from harness import In


def f32(*shape):
    return np.ones(shape, "float32")


def ints(*values):
    return np.array(values, "int32")


def attributes(suite):
    """A value outside what the op allows."""
    x = In(f32(1, 2, 4, 4))
    w = f32(2, 2, 2, 2)
    image = [((1, 2, 4, 4), "float32")]
    for op in ("conv", "conv_transpose"):
        suite.error(op, 17, "unknown_pad_type", {"x": x, "weight": w, "pad_type": "full"}, image)
        suite.error(op, 17, "stride_zero", {"x": x, "weight": w, "strides": ints(0, 1)}, image)
        suite.error(op, 17, "stride_negative", {"x": x, "weight": w, "strides": ints(1, -1)}, image)
        suite.error(op, 17, "dilation_zero", {"x": x, "weight": w, "dilations": ints(0, 0)}, image)
        suite.error(op, 17, "groups_zero", {"x": x, "weight": w, "groups": np.int32(0)}, image)
        suite.error(op, 17, "groups_do_not_divide", {"x": x, "weight": w, "groups": np.int32(3)}, image)
        suite.error(op, 17, "strides_too_short", {"x": x, "weight": w, "strides": ints(1)}, image)
        suite.error(op, 17, "bias_too_long", {"x": x, "weight": w, "bias": f32(5)}, image)
        suite.error(op, 17, "pad_too_short", {"x": x, "weight": w, "pad_type": "custom", "pad": ints(1, 1)}, image)
    for op in ("avg_pool", "max_pool", "l2_pool"):
        size = ints(2, 2)
        suite.error(op, 15, "unknown_pad_type", {"x": x, "kernel_sizes": size, "pad_type": "mirror"}, image)
        suite.error(op, 15, "kernel_zero", {"x": x, "kernel_sizes": ints(0, 2), "pad_type": "valid"}, image)
        suite.error(
            op, 15, "stride_zero", {"x": x, "kernel_sizes": size, "strides": ints(0, 1), "pad_type": "valid"}, image
        )
        suite.error(op, 15, "kernel_too_short", {"x": x, "kernel_sizes": ints(2), "pad_type": "valid"}, image)
    vector = In(f32(4))
    suite.error("reduce_sum", 15, "axis_twice", {"x": In(f32(2, 3)), "axes": ints(0, -2)}, [((3,), "float32")])
    suite.error("reduce_argmax", 15, "axis_out_of_range", {"x": vector, "axis": np.int32(1)}, [((), "int32")])
    suite.error("reduce_argmax", 17, "unknown_dtype", {"x": vector, "output_dtype": "fp32"}, [((), "int32")])
    suite.error("cast", 15, "unknown_dtype", {"x": vector, "dtype": "complex64"}, [((4,), "float32")])
    suite.error("cast", 15, "int8_before_iOS17", {"x": vector, "dtype": "int8"}, [((4,), "int8")])
    suite.error(
        "concat", 15, "axis_out_of_range", {"values": [vector, In(f32(4))], "axis": np.int32(1)}, [((8,), "float32")]
    )
    suite.error(
        "stack", 15, "shapes_differ", {"values": [vector, In(f32(3))], "axis": np.int32(0)}, [((2, 4), "float32")]
    )
    suite.error(
        "stack", 15, "axis_out_of_range", {"values": [vector, In(f32(4))], "axis": np.int32(2)}, [((4, 2), "float32")]
    )
    suite.error(
        "split",
        15,
        "sizes_do_not_add_up",
        {"x": vector, "split_sizes": ints(1, 2), "axis": np.int32(0)},
        [((1,), "float32"), ((2,), "float32")],
    )
    suite.error("split", 15, "neither_count_nor_sizes", {"x": vector, "axis": np.int32(0)}, [((4,), "float32")])
    suite.error("tile", 15, "reps_too_short", {"x": In(f32(2, 3)), "reps": ints(2)}, [((4, 3), "float32")])
    suite.error("tile", 15, "reps_negative", {"x": vector, "reps": ints(-1)}, [((4,), "float32")])
    suite.error(
        "fill", 15, "negative_size", {"shape": In(ints(2, -1)), "value": np.float32(0)}, [((None, None), "float32")]
    )
    suite.error(
        "range_1d",
        15,
        "step_zero",
        {"end": In(np.array(4, "int32")), "start": In(np.array(0, "int32")), "step": In(np.array(0, "int32"))},
        [((None,), "int32")],
    )
    suite.error("reshape", 15, "negative_dim", {"x": vector, "shape": In(ints(-2, 2))}, [((None, None), "float32")])
    suite.error(
        "reshape",
        15,
        "huge_dims",
        {"x": vector, "shape": In(ints(2147483647, 2147483647))},
        [((None, None), "float32")],
    )
    suite.error(
        "slice_by_size", 15, "beyond_the_end", {"x": vector, "begin": ints(2), "size": ints(5)}, [((5,), "float32")]
    )
    suite.error(
        "slice_by_index",
        15,
        "stride_zero",
        {"x": vector, "begin": ints(0), "end": ints(4), "stride": ints(0)},
        [((4,), "float32")],
    )
    suite.error("transpose", 15, "perm_too_short", {"x": In(f32(2, 3)), "perm": ints(0)}, [((2,), "float32")])
    suite.error("expand_dims", 15, "axis_twice", {"x": vector, "axes": ints(0, 0)}, [((1, 1, 4), "float32")])
    suite.error(
        "sliding_windows",
        15,
        "stride_zero",
        {"x": vector, "axis": np.int32(0), "size": np.int32(2), "stride": np.int32(0)},
        [((3, 2), "float32")],
    )
    suite.error(
        "sliding_windows",
        15,
        "size_beyond_dim",
        {"x": vector, "axis": np.int32(0), "size": np.int32(5)},
        [((0, 5), "float32")],
    )
    suite.error("pixel_shuffle", 15, "factor_zero", {"x": x, "upscale_factor": np.int32(0)}, image)
    suite.error(
        "space_to_depth",
        15,
        "size_not_divisible",
        {"x": In(f32(1, 1, 3, 3)), "block_size": np.int32(2)},
        [((1, 4, 1, 1), "float32")],
    )
    suite.error(
        "resize",
        17,
        "more_dims_than_rank",
        {"x": vector, "shape": ints(2, 2), "resized_dims": np.uint32(2)},
        [((2, 2), "float32")],
    )
    suite.error(
        "resize_bilinear",
        15,
        "unknown_mode",
        {"x": x, "target_size_height": np.int32(2), "target_size_width": np.int32(2), "sampling_mode": "CUBIC"},
        [((1, 2, 2, 2), "float32")],
    )
    suite.error(
        "topk", 15, "axis_out_of_range", {"x": vector, "axis": np.int32(-2)}, [((1,), "float32"), ((1,), "int32")]
    )
    suite.error(
        "gather",
        16,
        "batch_dims_too_large",
        {"x": vector, "indices": ints(0), "batch_dims": np.int32(2)},
        [((1,), "float32")],
    )
    suite.error(
        "gather_nd",
        15,
        "tuple_longer_than_rank",
        {"x": vector, "indices": ints(0, 1).reshape(1, 2)},
        [((1,), "float32")],
    )
    suite.error(
        "gather",
        15,
        "index_out_of_range",
        {"x": vector, "indices": In(ints(4))},
        [((1,), "float32")],
        reading="before iOS17 an index outside -D..D-1 is an error",
    )
    suite.error(
        "scatter",
        15,
        "updates_shape_differs",
        {"data": vector, "indices": ints(0, 1), "updates": f32(3)},
        [((4,), "float32")],
    )
    suite.error(
        "layer_norm",
        15,
        "gamma_shape_differs",
        {"x": In(f32(2, 4)), "axes": ints(1), "gamma": f32(3)},
        [((2, 4), "float32")],
    )
    suite.error("batch_norm", 15, "mean_too_short", {"x": x, "mean": f32(1), "variance": f32(1)}, image)
    suite.error(
        "quantize",
        17,
        "output_dtype_int32",
        {"input": vector, "scale": np.float32(1), "output_dtype": "int32"},
        [((4,), "int32")],
    )
    suite.error(
        "constexpr_sparse_to_dense",
        16,
        "mask_too_short",
        {"nonzero_data": f32(2), "mask": np.array([3], "uint8"), "shape": np.array([4, 5], "uint32")},
        [((4, 5), "float32")],
        attributes=True,
    )
    suite.error(
        "constexpr_sparse_to_dense",
        16,
        "values_missing",
        {"nonzero_data": f32(1), "mask": np.array([7], "uint8"), "shape": np.array([4], "uint32")},
        [((4,), "float32")],
        attributes=True,
    )
    suite.error(
        "constexpr_lut_to_dense",
        16,
        "table_of_three",
        {"indices": np.array([0], "uint8"), "lut": f32(3), "shape": np.array([4], "uint32")},
        [((4,), "float32")],
        attributes=True,
    )
    suite.error(
        "constexpr_lut_to_dense",
        16,
        "indices_too_short",
        {"indices": np.array([0], "uint8"), "lut": f32(16), "shape": np.array([4], "uint32")},
        [((4,), "float32")],
        attributes=True,
    )


def signatures(suite):
    """Inputs that do not match the op's class version."""
    x = In(f32(2, 3))
    same = [((2, 3), "float32")]
    suite.error("relu", 15, "input_missing", {}, same)
    suite.error("relu", 15, "unknown_input", {"x": x, "slope": np.float32(1)}, same)
    suite.error("relu", 15, "int_input", {"x": In(np.ones((2, 3), "int32"))}, [((2, 3), "int32")])
    suite.error("add", 15, "dtypes_differ", {"x": x, "y": In(np.ones((2, 3), "int32"))}, same)
    suite.error("add", 15, "shapes_do_not_broadcast", {"x": x, "y": In(f32(2, 2))}, same)
    suite.error("logical_and", 15, "float_input", {"x": x, "y": In(f32(2, 3))}, [((2, 3), "bool")])
    suite.error("softmax", 15, "axis_not_const", {"x": x, "axis": In(np.array(1, "int32"))}, same)
    suite.error(
        "resize",
        16,
        "op_too_new",
        {"x": x, "shape": ints(4), "resized_dims": np.uint32(1)},
        [((2, 4), "float32")],
        reading="resize starts with iOS17",
    )
    suite.error(
        "gather",
        15,
        "batch_dims_too_new",
        {"x": x, "indices": ints(0), "batch_dims": np.int32(0)},
        [((1, 3), "float32")],
        reading="batch_dims starts with iOS16",
    )
    suite.error(
        "topk",
        15,
        "sort_too_new",
        {"x": x, "sort": True},
        [((2, 1), "float32"), ((2, 1), "int32")],
        reading="sort starts with iOS16",
    )
    suite.error(
        "lstm",
        15,
        "backward_weights_missing",
        {
            "x": In(f32(2, 1, 3)),
            "initial_h": In(f32(1, 4)),
            "initial_c": In(f32(1, 4)),
            "weight_ih": f32(8, 3),
            "weight_hh": f32(8, 2),
            "direction": "bidirectional",
        },
        [((1, 1, 4), "float32"), ((1, 4), "float32"), ((1, 4), "float32")],
    )
    suite.error(
        "lstm",
        15,
        "unknown_direction",
        {
            "x": In(f32(2, 1, 3)),
            "initial_h": In(f32(1, 2)),
            "initial_c": In(f32(1, 2)),
            "weight_ih": f32(8, 3),
            "weight_hh": f32(8, 2),
            "direction": "sideways",
        },
        [((1, 1, 2), "float32"), ((1, 2), "float32"), ((1, 2), "float32")],
    )
    suite.error(
        "gru",
        15,
        "weight_shape_differs",
        {"x": In(f32(2, 1, 3)), "initial_h": In(f32(1, 2)), "weight_ih": f32(8, 3), "weight_hh": f32(6, 2)},
        [((1, 1, 2), "float32"), ((1, 2), "float32")],
    )
    suite.error(
        "scaled_dot_product_attention",
        18,
        "batch_dims_differ",
        {"query": In(f32(2, 3, 4)), "key": In(f32(1, 3, 4)), "value": In(f32(1, 3, 4))},
        [((2, 3, 4), "float32")],
    )


def add(suite):
    attributes(suite)
    signatures(suite)
