"""make_model.py PATH: y = x W, with x [2, 4] and W [4, 3], as an ONNX file."""
import sys

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

weight = numpy_helper.from_array(numpy.arange(12, dtype=numpy.float32).reshape(4, 3) / 7, "w")
graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 4])],
                          [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3])], [weight])
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), sys.argv[1])
