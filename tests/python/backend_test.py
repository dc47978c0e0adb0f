"""coremltools predicts with our runtime: values, shapes, states, functions, images, errors, and back."""

import os
import tempfile
import unittest

import numpy
import pomona.coremltools_backend as backend

backend.install()

import coremltools as ct
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.mil import get_new_symbol, types
from PIL import Image


def converted(program, **options):
    return ct.convert(program, convert_to="mlprogram", minimum_deployment_target=options.pop("target", ct.target.iOS17),
                      compute_precision=ct.precision.FLOAT32, **options)


def adder():
    @mb.program(input_specs=[mb.TensorSpec(shape=(1, 4)), mb.TensorSpec(shape=(1, 4))], opset_version=ct.target.iOS17)
    def program(x, y):
        return mb.add(x=x, y=y, name="z")
    return converted(program)


class Values(unittest.TestCase):
    def test_arrays_lists_and_integers(self):
        model = adder()
        ones = numpy.ones((1, 4), numpy.float32)
        for y in ([[1.0, 2, 3, 4]], numpy.array([[1, 2, 3, 4]], numpy.int32), numpy.array([[1, 2, 3, 4]], numpy.float16)):
            result = model.predict({"x": ones, "y": y})["z"]
            self.assertEqual(result.dtype, numpy.float32)
            numpy.testing.assert_array_equal(result, [[2, 3, 4, 5]])
        batch = model.predict([{"x": ones, "y": ones}, {"x": ones, "y": 2 * ones}])
        numpy.testing.assert_array_equal(batch[1]["z"], 3 * ones)

    def test_floats_for_integers(self):
        @mb.program(input_specs=[mb.TensorSpec(shape=(3,), dtype=types.int32)], opset_version=ct.target.iOS17)
        def program(x):
            return mb.add(x=x, y=1, name="z")
        result = converted(program).predict({"x": numpy.array([1, 2, 3], numpy.float32)})["z"]
        self.assertEqual(result.dtype, numpy.int32)
        numpy.testing.assert_array_equal(result, [2, 3, 4])

    def test_scalars_come_with_one_dimension(self):
        @mb.program(input_specs=[mb.TensorSpec(shape=(2, 3))], opset_version=ct.target.iOS17)
        def program(x):
            return mb.reduce_sum(x=x, name="z")
        self.assertEqual(converted(program).predict({"x": numpy.ones((2, 3), numpy.float32)})["z"].shape, (1,))

    def test_images(self):
        @mb.program(input_specs=[mb.TensorSpec(shape=(1, 3, 4, 6))], opset_version=ct.target.iOS17)
        def program(x):
            return mb.sub(x=255.0, y=x, name="z")
        model = converted(program, inputs=[ct.ImageType(name="x", shape=(1, 3, 4, 6), color_layout=ct.colorlayout.BGR)])
        spec = model.get_spec()
        image = spec.description.output[0].type.imageType
        image.height, image.width, image.colorSpace = 4, 6, ct.proto.FeatureTypes_pb2.ImageFeatureType.BGR
        model = ct.models.MLModel(spec, weights_dir=model.weights_dir)
        pixels = numpy.random.default_rng(1).integers(0, 256, (4, 6, 3), dtype=numpy.uint8)
        result = model.predict({"x": Image.fromarray(pixels)})["z"]
        self.assertEqual(result.mode, "RGBA")
        numpy.testing.assert_array_equal(numpy.asarray(result)[:, :, :3], 255 - pixels)
        with self.assertRaises(RuntimeError):
            model.predict({"x": Image.new("RGB", (5, 5))})

    def test_classifier(self):
        @mb.program(input_specs=[mb.TensorSpec(shape=(1, 3))], opset_version=ct.target.iOS17)
        def program(x):
            return mb.softmax(x=x, axis=-1, name="z")
        result = converted(program, classifier_config=ct.ClassifierConfig(["a", "b", "c"])).predict(
            {"x": numpy.array([[0, 2, 1]], numpy.float32)})
        self.assertEqual(result["classLabel"], "b")
        scores = next(value for value in result.values() if isinstance(value, dict))
        self.assertAlmostEqual(sum(scores.values()), 1, places=5)


class Shapes(unittest.TestCase):
    def test_ranges_and_enumerations(self):
        @mb.program(input_specs=[mb.TensorSpec(shape=(get_new_symbol(),))], opset_version=ct.target.iOS17)
        def program(x):
            return mb.relu(x=x, name="z")
        ranged = converted(program, inputs=[ct.TensorType(name="x", shape=(ct.RangeDim(3, 5),))])
        self.assertEqual(ranged.predict({"x": numpy.ones(5, numpy.float32)})["z"].shape, (5,))
        with self.assertRaisesRegex(RuntimeError, r"Size \(99\) of dimension \(0\) is not in allowed range \(3\.\.5\)"):
            ranged.predict({"x": numpy.ones(99, numpy.float32)})
        listed = converted(program, inputs=[ct.TensorType(name="x", shape=ct.EnumeratedShapes([(3,), (7,)]))])
        self.assertEqual(listed.predict({"x": numpy.ones(7, numpy.float32)})["z"].shape, (7,))
        with self.assertRaisesRegex(RuntimeError, r"MultiArray Shape \(5\) was not in enumerated set of allowed shapes"):
            listed.predict({"x": numpy.ones(5, numpy.float32)})


class States(unittest.TestCase):
    def test_states_belong_to_whoever_made_them(self):
        @mb.program(input_specs=[mb.TensorSpec(shape=(2,), dtype=types.fp16), mb.StateTensorSpec(shape=(2,), dtype=types.fp16)],
                    opset_version=ct.target.iOS18)
        def program(x, sum):
            return mb.coreml_update_state(state=sum, value=mb.add(x=mb.read_state(input=sum), y=x), name="z")
        model = ct.convert(program, convert_to="mlprogram", minimum_deployment_target=ct.target.iOS18)
        one, other = model.make_state(), model.make_state()
        x = numpy.array([1, 2], numpy.float32)
        model.predict({"x": x}, one)
        numpy.testing.assert_array_equal(model.predict({"x": x}, one)["z"], [2, 4])
        numpy.testing.assert_array_equal(model.predict({"x": x}, other)["z"], [1, 2])
        one.write_state("sum", numpy.array([10, 20], numpy.float32))
        self.assertEqual(one.read_state("sum").dtype, numpy.float32)
        numpy.testing.assert_array_equal(model.predict({"x": x}, one)["z"], [11, 22])
        with self.assertRaises(RuntimeError):
            model.predict({"x": x})
        with self.assertRaises(RuntimeError):
            one.read_state("nothing")


class Functions(unittest.TestCase):
    def test_chosen_by_name_and_compiled(self):
        with tempfile.TemporaryDirectory() as folder:
            description = ct.utils.MultiFunctionDescriptor()
            for name, factor in (("twice", 2.0), ("thrice", 3.0)):
                @mb.program(input_specs=[mb.TensorSpec(shape=(2,))], opset_version=ct.target.iOS18)
                def program(x):
                    return mb.mul(x=x, y=factor, name="z")
                converted(program, target=ct.target.iOS18).save(f"{folder}/{name}.mlpackage")
                description.add_function(f"{folder}/{name}.mlpackage", "main", name)
            description.default_function_name = "twice"
            ct.utils.save_multifunction(description, f"{folder}/both.mlpackage")
            x = numpy.ones(2, numpy.float32)
            model = ct.models.MLModel(f"{folder}/both.mlpackage", function_name="thrice", compute_units=ct.ComputeUnit.CPU_AND_NE)
            numpy.testing.assert_array_equal(model.predict({"x": x})["z"], [3, 3])
            compiled = ct.models.CompiledMLModel(model.get_compiled_model_path())
            numpy.testing.assert_array_equal(compiled.predict({"x": x})["z"], [2, 2])
            with self.assertRaises(RuntimeError):
                ct.models.CompiledMLModel(model.get_compiled_model_path(), function_name="nothing")


class Around(unittest.TestCase):
    def test_classic_models_load_and_say_so(self):
        spec = ct.proto.Model_pb2.Model()
        spec.specificationVersion = 1
        for features, name in ((spec.description.input, "x"), (spec.description.output, "y")):
            feature = features.add()
            feature.name = name
            feature.type.doubleType.MergeFromString(b"")
        spec.description.predictedFeatureName = "y"
        spec.glmRegressor.offset.append(0.1)
        spec.glmRegressor.weights.add().value.append(2.0)
        model = ct.models.MLModel(spec)
        with self.assertRaisesRegex(RuntimeError, "generalised linear regressor"):
            model.predict({"x": 2.0})

    def test_taken_out_again(self):
        model = adder()
        ones = numpy.ones((1, 4), numpy.float32)
        backend.uninstall()
        try:
            with tempfile.TemporaryDirectory() as folder:
                model.save(f"{folder}/m.mlpackage")
                bare = ct.models.MLModel(f"{folder}/m.mlpackage")
                with self.assertRaisesRegex(Exception, "macOS|CoreML"):
                    bare.predict({"x": ones, "y": ones})
        finally:
            backend.install()
        numpy.testing.assert_array_equal(adder().predict({"x": ones, "y": ones})["z"], 2 * ones)


if __name__ == "__main__":
    unittest.main()
