"""Makes packages with coremltools, one for each thing the format can hold:  python make_packages.py OUT_DIR"""

import logging
import os
import sys

import numpy as np

logging.disable(logging.WARNING)  # coremltools warns about its missing macOS parts
import coremltools as ct
import coremltools.optimize.coreml as cto
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import types

random = np.random.default_rng(7)


def weights(*shape):
    return random.standard_normal(shape).astype(np.float32)


def conv_net(target, inputs=None, classifier=None):
    first, second, dense = weights(16, 3, 3, 3), weights(32, 16, 3, 3), weights(10, 32)

    @mb.program(input_specs=[mb.TensorSpec(shape=(1, 3, 32, 32))], opset_version=target)
    def program(x):
        x = mb.conv(x=x, weight=first, bias=weights(16), strides=[2, 2], pad_type="same", name="stem")
        x = mb.relu(x=x)
        x = mb.conv(x=x, weight=second, dilations=[2, 2], pad_type="custom", pad=[2, 2, 2, 2])
        x = mb.leaky_relu(x=x, alpha=0.1)
        x = mb.reduce_mean(x=x, axes=[2, 3], keep_dims=False)
        x = mb.linear(x=x, weight=dense, bias=weights(10))
        return mb.softmax(x=x, axis=-1, name="probabilities")

    return ct.convert(
        program,
        minimum_deployment_target=target,
        inputs=inputs,
        classifier_config=classifier,
        skip_model_load=True,
        compute_units=ct.ComputeUnit.CPU_ONLY,
    )


def wide_linear(target):
    matrix = weights(64, 128)

    @mb.program(input_specs=[mb.TensorSpec(shape=(4, 128))], opset_version=target)
    def program(x):
        x = mb.linear(x=x, weight=matrix)
        x = mb.sigmoid(x=x)
        return mb.matmul(x=x, y=weights(64, 32), name="y")

    return ct.convert(program, minimum_deployment_target=target, skip_model_load=True)


def flexible(shape, target=ct.target.iOS17):
    from coremltools.converters.mil.mil import get_new_symbol

    @mb.program(
        input_specs=[mb.TensorSpec(shape=(1, 3, get_new_symbol(), get_new_symbol()))], opset_version=target
    )
    def program(x):
        x = mb.conv(x=x, weight=weights(4, 3, 3, 3), pad_type="valid")
        return mb.relu(x=x, name="y")

    return ct.convert(
        program,
        inputs=[ct.TensorType(name="x", shape=shape)],
        minimum_deployment_target=target,
        skip_model_load=True,
    )


def control_flow():
    @mb.program(input_specs=[mb.TensorSpec(shape=(3,)), mb.TensorSpec(shape=(1,))], opset_version=ct.target.iOS16)
    def program(x, limit):
        def go_on(i, sum):
            return mb.less(x=i, y=4.0)

        def body(i, sum):
            return mb.add(x=i, y=1.0), mb.add(x=sum, y=x)

        i, sum = mb.while_loop(_cond=go_on, _body=body, loop_vars=(0.0, x), name="loop")
        large = mb.squeeze(x=mb.greater(x=mb.reduce_max(x=sum, keep_dims=True), y=limit))
        return mb.cond(
            pred=large, _true_fn=lambda: mb.sub(x=sum, y=1.0), _false_fn=lambda: mb.mul(x=sum, y=2.0), name="y"
        )

    return ct.convert(program, minimum_deployment_target=ct.target.iOS16, skip_model_load=True)


def stateful():
    @mb.program(
        input_specs=[
            mb.TensorSpec(shape=(2, 8), dtype=types.fp16),
            mb.StateTensorSpec(shape=(2, 8), dtype=types.fp16),
        ],
        opset_version=ct.target.iOS18,
    )
    def program(x, total):
        now = mb.read_state(input=total)
        after = mb.add(x=now, y=x)
        after = mb.coreml_update_state(state=total, value=after)
        return mb.mul(x=after, y=np.float16(0.5), name="y")

    return ct.convert(program, minimum_deployment_target=ct.target.iOS18, skip_model_load=True)


def lists():
    @mb.program(input_specs=[mb.TensorSpec(shape=(2, 3))], opset_version=ct.target.iOS15)
    def program(x):
        ls = mb.make_list(init_length=2, elem_shape=[2, 3], dynamic_length=True)
        ls = mb.list_write(ls=ls, index=0, value=x)
        ls = mb.list_write(ls=ls, index=1, value=mb.relu(x=x))
        return mb.list_gather(ls=ls, indices=[1, 0], name="y")

    return ct.convert(
        program, minimum_deployment_target=ct.target.iOS15, compute_precision=ct.precision.FLOAT32, skip_model_load=True
    )


def sub_byte(values, dtype):
    return np.asarray(values).astype(types.nptype_from_builtin(types.string_to_builtin(dtype)))


def vectors():
    """A table of vectors: each index stands for two rows."""
    indices = sub_byte(random.integers(0, 16, (8, 32)), "uint4")
    table = random.standard_normal((1, 1, 16, 2)).astype(np.float16)

    @mb.program(input_specs=[mb.TensorSpec(shape=(4, 32), dtype=types.fp16)], opset_version=ct.target.iOS18)
    def program(x):
        matrix = mb.constexpr_lut_to_dense(indices=indices, lut=table, vector_axis=0)
        return mb.linear(x=x, weight=matrix, name="y")

    return ct.convert(program, minimum_deployment_target=ct.target.iOS18, skip_model_load=True)


def sparse_table():
    """Constexpr ops in a chain, one of them with two results."""
    mask = sub_byte(random.integers(0, 2, (16, 32)), "uint1")
    count = int(mask.astype(np.int64).sum())
    indices = sub_byte(random.integers(0, 8, count), "uint3")
    table = random.standard_normal((1, 1, 8, 1)).astype(np.float16)

    @mb.program(input_specs=[mb.TensorSpec(shape=(4, 32), dtype=types.fp16)], opset_version=ct.target.iOS18)
    def program(x):
        mask_out, values = mb.constexpr_lut_to_sparse(indices_mask=mask, indices_nonzero_data=indices, lut=table)
        matrix = mb.constexpr_sparse_to_dense(nonzero_data=values, mask=mask_out)
        return mb.linear(x=x, weight=matrix, name="y")

    return ct.convert(program, minimum_deployment_target=ct.target.iOS18, skip_model_load=True)


def linear_quantized(model, **options):
    config = cto.OptimizationConfig(global_config=cto.OpLinearQuantizerConfig(weight_threshold=0, **options))
    return cto.linear_quantize_weights(model, config)


def palettized(model, **options):
    config = cto.OptimizationConfig(
        global_config=cto.OpPalettizerConfig(mode="uniform", weight_threshold=0, **options)
    )
    return cto.palettize_weights(model, config)


def pruned(model):
    config = cto.OptimizationConfig(
        global_config=cto.OpMagnitudePrunerConfig(target_sparsity=0.6, weight_threshold=0)
    )
    return cto.prune_weights(model, config)


def multifunction(folder):
    shared, own = weights(32, 16), weights(16, 32)

    def make(name, tail):
        @mb.program(input_specs=[mb.TensorSpec(shape=(2, 16))], opset_version=ct.target.iOS18)
        def program(x):
            x = mb.linear(x=x, weight=shared)
            return mb.relu(x=x, name="y") if not tail else mb.linear(x=x, weight=own, name="y")

        model = ct.convert(program, minimum_deployment_target=ct.target.iOS18, skip_model_load=True)
        path = os.path.join(folder, f"part_{name}.mlpackage")
        model.save(path)
        return path

    descriptor = ct.utils.MultiFunctionDescriptor()
    descriptor.add_function(make("short", False), src_function_name="main", target_function_name="short")
    descriptor.add_function(make("long", True), src_function_name="main", target_function_name="long")
    descriptor.default_function_name = "short"
    ct.utils.save_multifunction(descriptor, os.path.join(folder, "multifunction.mlpackage"))


def main(folder):
    os.makedirs(folder, exist_ok=True)

    def save(name, model):
        model.author, model.license, model.version = "A. Author", "none", "1.2"
        model.short_description = "made for a test"
        model.user_defined_metadata["key"] = "value"
        model.save(os.path.join(folder, name + ".mlpackage"))

    t15, t16, t17, t18 = ct.target.iOS15, ct.target.iOS16, ct.target.iOS17, ct.target.iOS18
    save("conv_iOS15", conv_net(t15))
    save("conv_iOS17", conv_net(t17))
    save("affine_iOS16", linear_quantized(wide_linear(t16), mode="linear"))
    save("affine_conv_iOS17", linear_quantized(conv_net(t17), mode="linear_symmetric"))
    save("table_iOS16", palettized(conv_net(t16), nbits=4))
    save("table_6bit_iOS16", palettized(wide_linear(t16), nbits=6))
    save("sparse_iOS16", pruned(wide_linear(t16)))
    save("blocks_iOS18", linear_quantized(wide_linear(t18), mode="linear", dtype="int4", granularity="per_block", block_size=32))
    save("table_iOS18", palettized(wide_linear(t18), nbits=3, granularity="per_grouped_channel", group_size=16))
    save("vectors_iOS18", vectors())
    save("sparse_table_iOS18", sparse_table())
    save("sparse_iOS18", pruned(wide_linear(t18)))
    save("image_classifier", conv_net(t16, [ct.ImageType(name="x", shape=(1, 3, 32, 32), scale=1 / 255.0, bias=[-0.5, -0.4, -0.3])], ct.ClassifierConfig([f"class {i}" for i in range(10)])))
    save("numbered_classifier", conv_net(t15, None, ct.ClassifierConfig(list(range(10)))))
    side = ct.RangeDim(lower_bound=8, upper_bound=64, default=16)
    save("range", flexible(ct.Shape((1, 3, side, ct.RangeDim(8, 64, default=16)))))
    save("enumerated", flexible(ct.EnumeratedShapes([(1, 3, 16, 16), (1, 3, 32, 24)], default=(1, 3, 16, 16))))
    save("control_flow", control_flow())
    save("stateful", stateful())
    save("lists", lists())
    multifunction(folder)
    pipeline = ct.utils.make_pipeline(flexible((1, 3, 8, 8)), follow_up())
    save("pipeline", pipeline)


def follow_up():
    @mb.program(input_specs=[mb.TensorSpec(shape=(1, 4, 6, 6))], opset_version=ct.target.iOS17)
    def program(y):
        return mb.tanh(x=y, name="z")

    return ct.convert(program, minimum_deployment_target=ct.target.iOS17, skip_model_load=True)


if __name__ == "__main__":
    main(sys.argv[1])
