"""ONNX Runtime as a second opinion on a NumPy formula.  Absent onnx/onnxruntime it answers nothing."""

import numpy as np

try:
    import onnxruntime
    from onnx import helper

    onnxruntime.set_default_logger_severity(3)
except ImportError:
    onnxruntime = None


def run(op_type, inputs, outputs=1, opset=19, **attributes):
    """inputs: list of arrays or None (absent). Returns the list of outputs, or None without ONNX Runtime."""
    if onnxruntime is None:
        return None
    names = ["" if a is None else f"i{k}" for k, a in enumerate(inputs)]
    results = [f"o{k}" for k in range(outputs)]
    node = helper.make_node(op_type, names, results, **attributes)
    declared = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for n, a in zip(names, inputs)
        if n
    ]
    graph = helper.make_graph([node], "g", declared, [helper.make_empty_tensor_value_info(r) for r in results])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {n: a for n, a in zip(names, inputs) if n})


def confirm(suite, what, want, got, rtol=1e-4, atol=1e-5):
    """Records a disagreement; returns the source note for the case."""
    if got is None:
        return "numpy"
    if want.shape != got.shape or not np.allclose(
        want.astype(np.float64), got.astype(np.float64), rtol, atol, equal_nan=True
    ):
        suite.disagreements.append(
            f"{what}: formula {want.ravel()[:6]} {want.shape}, ONNX Runtime {got.ravel()[:6]} {got.shape}"
        )
    return "numpy and onnxruntime"
