"""The package's types, as mypy sees them: what is right passes, what is wrong is found, ops included."""

import os
import subprocess
import sys
import tempfile
import unittest

import pomona

RIGHT = '''
import numpy
import pomona
from pomona import Rule, pattern

model = pomona.convert("a.onnx", dynamic={"x": [(1, 8), 16]}, progress=True)
results: dict[str, object] = model.predict({"x": numpy.zeros((1, 16))})
with pomona.program({"x": (1, (1, 8)), "i": ((1,), "int32"), "j": ((1,), numpy.float16)}) as p:
    h = p.linear(x=p["x"], weight=numpy.zeros((3, 3)))
    p.output("y", 1 / (p["x"] + 1) @ h)
rule = Rule("r", pattern.mul(x=pattern.any("x"), y=2), lambda p, m: p.add(x=m["x"], y=m["x"]))
pomona.convert("a.onnx", rules=[rule], custom_ops={"a::B": lambda p, i, a: i[0]})
for piece in pomona.generate("m.gguf", "x"):
    print(piece.upper())
'''
WRONG = {
    'p.rellu(x=p["x"])': 'no attribute "rellu"',
    'p.relu(y=p["x"])': 'keyword argument "y"',
    "p.relu()": 'Missing named argument "x"',
    "pomona.load(3)": 'Argument 1 to "load"',
    'pomona.verify("m").passed': 'has no attribute "passed"',
    'pomona.compress("m", wrong)': "wrong",
}


def mypy(*arguments):
    environment = dict(os.environ, MYPYPATH=os.path.dirname(os.path.dirname(pomona.__file__)))
    if any("site-packages" in path for path in environment["MYPYPATH"].split(os.pathsep)):
        del environment["MYPYPATH"]  # mypy finds what is installed by itself
    done = subprocess.run([sys.executable, "-m", "mypy", "--cache-dir", os.devnull, "--ignore-missing-imports", *arguments], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, env=environment)
    return done.returncode, done.stdout


class Types(unittest.TestCase):
    def test_what_is_right_and_what_is_wrong(self):
        with tempfile.TemporaryDirectory() as folder:
            right, wrong = os.path.join(folder, "right.py"), os.path.join(folder, "wrong.py")
            with open(right, "w") as file:
                file.write(RIGHT)
            with open(wrong, "w") as file:
                file.write('import pomona\np = pomona.program({"x": (1,)})\n' + "".join(line + "\n" for line in WRONG))
            status, said = mypy("--strict", right)
            self.assertEqual(status, 0, said)
            _, said = mypy(wrong)
        for number, (line, text) in enumerate(WRONG.items(), start=3):
            self.assertRegex(said, rf'wrong.py:{number}: error: .*{text}', line)

    def test_the_package_itself(self):
        status, said = mypy("-p", "pomona")
        self.assertEqual(status, 0, said)

    def test_it_says_that_it_is_typed(self):
        self.assertTrue(os.path.exists(os.path.join(os.path.dirname(pomona.__file__), "py.typed")))


if __name__ == "__main__":
    unittest.main()
