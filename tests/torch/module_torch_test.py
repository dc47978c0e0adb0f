"""What of PyTorch the module takes, and what it refuses by name: modules, exported programs, the folder of a transformers model."""

import os
import tempfile
import unittest

import numpy
import pomona
import torch


class Net(torch.nn.Module):
    def forward(self, x):
        return torch.relu(x)


class Sources(unittest.TestCase):
    def test_modules_and_exported_programs_are_refused_by_name(self):
        exported = torch.export.export(Net(), (torch.ones(2),))
        for source, name in ((Net(), "Net"), (exported, "ExportedProgram"), (torch.jit.trace(Net(), torch.ones(2)), "TracedModule")):
            with self.assertRaisesRegex(pomona.Error, f"PyTorch .*{name}") as caught:
                pomona.convert(source)
            self.assertIn("torch.onnx.export", caught.exception.hint)
        with tempfile.TemporaryDirectory() as folder:
            torch.export.save(exported, f"{folder}/net.pt2")
            with self.assertRaisesRegex(pomona.Error, "exported PyTorch program"):
                pomona.convert(f"{folder}/net.pt2")

    def test_tensors_are_arrays(self):
        with pomona.program({"x": (3,)}) as p:
            p.output("y", p["x"] * 2)
        numpy.testing.assert_array_equal(p.model.predict({"x": torch.ones(3)})["y"], [2, 2, 2])

    def test_folder_of_a_transformers_model(self):
        try:
            from transformers import BertConfig, BertModel
        except ImportError:
            self.skipTest("transformers is not installed")
        torch.manual_seed(0)
        bert = BertModel(BertConfig(vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
                                    max_position_embeddings=64)).eval()
        ids = numpy.array([[3, 4, 5, 6]], numpy.int32)
        with torch.no_grad():
            want = bert(torch.tensor(ids)).last_hidden_state.numpy()
        with tempfile.TemporaryDirectory() as folder:
            bert.save_pretrained(os.path.join(folder, "bert"))
            model = pomona.convert(os.path.join(folder, "bert"), precision="fp32")
            given = {name: ids if name == "input_ids" else numpy.full_like(ids, name == "attention_mask") for name in model.inputs}
            got = model.predict(given)["last_hidden_state"]
        numpy.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


if __name__ == "__main__":
    unittest.main()
