"""The blocks of docs/python.md run, one after another, as someone who follows the page would."""

import os
import pathlib
import re
import sys
import tempfile
import unittest

import onnx

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from module_test import mlp

PAGE = pathlib.Path(os.environ["POMONA_SOURCE"]) / "docs" / "python.md"


def one_input():
    """The page's model: `ids` is a constant."""
    model = mlp(classes=256)
    del model.graph.input[1]
    model.graph.initializer.append(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(
        onnx.helper.make_tensor("ids", onnx.TensorProto.INT64, [1], [3])), "ids"))
    return model


class Page(unittest.TestCase):
    def test_blocks_in_order(self):
        here = os.getcwd()
        self.addCleanup(os.chdir, here)
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            onnx.save(one_input(), "model.onnx")
            names = {}
            blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.M | re.S)
            self.assertGreater(len(blocks), 7)
            for number, block in enumerate(blocks):
                with self.subTest(block=number):
                    exec(compile(block, f"{PAGE.name}, block {number}", "exec"), names)
            self.assertTrue(names["found"]["passed"])
            self.assertEqual(names["error"].kind if "error" in names else "request", "request")
            os.chdir(here)


if __name__ == "__main__":
    unittest.main()
