"""tools/check-includes is held to small trees with one known fault each."""
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

CHECK = pathlib.Path(os.environ.get("POMONA_SOURCE", pathlib.Path(__file__).resolve().parents[2])) / "tools" / "check-includes"


def check(files):
    with tempfile.TemporaryDirectory() as root:
        for path, text in files.items():
            file = pathlib.Path(root) / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        done = subprocess.run([sys.executable, "-B", str(CHECK), root], capture_output=True, text=True)
        return done.returncode, done.stdout


LOWER = {"src/base/error.h": "", "src/ir/type.h": '#include "base/error.h"\n', "src/formats/format.h": '#include "ir/type.h"\n',
         "src/formats/onnx/read.h": '#include "formats/format.h"\n', "src/cpu/plan.h": "", "src/cpu/kernels/conv.cpp": '#include "cpu/plan.h"\n'}


class Includes(unittest.TestCase):
    def accepts(self, files):
        self.assertEqual(check(LOWER | files)[0], 0, check(LOWER | files)[1])

    def refuses(self, files, words):
        status, output = check(LOWER | files)
        self.assertEqual(status, 1)
        self.assertIn(words, output)
        self.assertEqual(len(output.splitlines()), 1, output)

    def test_own_folder_and_down(self):
        self.accepts({"src/ops/conv.cpp": '#include <vector>\n#include "ir/type.h"\n#include "base/error.h"\n'})

    def test_up(self):
        self.refuses({"src/ir/a.cpp": '\n#include "cpu/plan.h"\n'}, "src/ir/a.cpp:2: ir/ is on floor 1, cpu/ on floor 3")

    def test_sideways(self):
        self.refuses({"src/rewrite/a.cpp": '#include "cpu/plan.h"\n'}, "rewrite/ is on floor 3, cpu/ on floor 3")

    def test_one_format_in_another(self):
        self.refuses({"src/formats/mil/a.cpp": '#include "formats/onnx/read.h"\n'}, "formats/mil/ is on floor 3, formats/onnx/")

    def test_shared_format_header_knows_no_format(self):
        self.refuses({"src/formats/all.cpp": '#include "formats/onnx/read.h"\n'}, "only lower floors")

    def test_unknown_folder(self):
        self.refuses({"src/misc/a.cpp": ""}, "'misc' has no floor")

    def test_path_not_from_src(self):
        self.refuses({"src/cpu/a.cpp": '#include "plan.h"\n'}, "no file src/plan.h")

    def test_heavy_header(self):
        self.refuses({"src/cli/a.h": "#include <CLI/CLI.hpp>\n"}, "include it in .cpp files only")

    def test_installed_header_in_a_low_floor(self):
        self.refuses({"src/cpu/a.cpp": '#include "pomona/version.h"\n'}, "for api/ and the floors above")

    def test_installed_header_with_a_dependency(self):
        self.refuses({"include/pomona/a.h": "#include <string>\n#include <fmt/core.h>\n"}, "include/pomona/a.h:2: fmt/core.h")


if __name__ == "__main__":
    unittest.main()
