#include "formats/npy/npy.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace pomona {
namespace {

namespace fs = std::filesystem;

struct Folder {
  fs::path path = fs::temp_directory_path() / ("pomona_npy_" + std::to_string(::getpid()));
  Folder() { fs::create_directories(path); }
  ~Folder() { fs::remove_all(path); }
};

std::string python() {
  const char* given = std::getenv("POMONA_TEST_PYTHON");
  return given ? given : "python3";
}
bool run_python(const Folder& folder, const std::string& code) {
  std::ofstream(folder.path / "code.py") << code;
  return std::system((python() + " " + (folder.path / "code.py").string()).c_str()) == 0;
}

NamedTensors samples() {
  return {{"half", Tensor::from_numbers(DType::fp16, {2, 3}, {1, 2, 3, -4, 0.5, 65504})},
          {"single", Tensor::from_numbers(DType::fp32, {}, {-1.25})},
          {"double", Tensor::from_numbers(DType::fp64, {2, 1, 2}, {1e300, -2, 3, 4})},
          {"flags", Tensor::from_numbers(DType::boolean, {3}, {1, 0, 1})},
          {"whole", Tensor::from_numbers(DType::int64, {2}, {-9, 7})},
          {"small", Tensor::from_numbers(DType::uint16, {2, 2}, {0, 1, 2, 65535})},
          {"nothing", Tensor(DType::int32, {0, 4})},
          {"words", Tensor::strings({2}, {"caf\xC3\xA9", "\xF0\x9F\x8D\x8E"})}};
}

TEST(Npz, RoundTrip) {
  auto contents = npy::npz_contents(samples());
  ASSERT_TRUE(contents);
  auto back = npy::read_npz(Bytes::own(*contents));
  ASSERT_TRUE(back) << describe(back.error());
  for (const auto& [name, tensor] : samples()) EXPECT_TRUE((*back)[name].same_bits(tensor)) << name;
}

TEST(Npz, NumPyReadsWhatWeWriteAndWeReadWhatItWrites) {
  Folder folder;
  std::string mine = (folder.path / "mine.npz").string(), theirs = (folder.path / "theirs.npz").string(),
              packed = (folder.path / "packed.npz").string();
  ASSERT_TRUE(npy::write_npz(mine, samples()));
  if (!run_python(folder, "import numpy")) GTEST_SKIP() << "no NumPy in " << python();
  ASSERT_TRUE(run_python(folder,
                         "import numpy as np\n"
                         "a = dict(np.load('" +
                             mine +
                             "'))\n"
                             "assert a['half'].dtype == np.float16 and a['half'].tolist()[1] == [-4, 0.5, 65504]\n"
                             "assert a['words'].tolist() == ['caf\\u00e9', '\\U0001F34E']\n"
                             "assert a['nothing'].shape == (0, 4) and a['single'].shape == ()\n"
                             "np.savez('" +
                             theirs +
                             "', **a)\n"
                             "a['half'] = np.asfortranarray(a['half'])\n"
                             "a['small'] = a['small'].astype('>u2')\n"
                             "a['zeros'] = np.zeros(100000, np.float32)\n"
                             "np.savez_compressed('" +
                             packed + "', **a)\n"));
  for (const std::string& path : {theirs, packed}) {
    auto file = map_file(path);
    ASSERT_TRUE(file);
    auto back = npy::read_npz(*file);
    ASSERT_TRUE(back) << describe(back.error());
    for (const auto& [name, tensor] : samples()) EXPECT_TRUE((*back)[name].same_bits(tensor)) << name;
  }
}

TEST(Npz, EveryTruncationIsAnError) {
  auto contents = npy::npz_contents({{"x", Tensor::from_numbers(DType::fp32, {2}, {1, 2})}});
  ASSERT_TRUE(contents);
  for (std::size_t length = 0; length < contents->size(); ++length)
    EXPECT_FALSE(npy::read_npz(Bytes::own(contents->substr(0, length)))) << length;
}

TEST(Npy, RefusesWhatItsHeaderCannotMean) {
  auto with_header = [](std::string header) {
    std::string file = "\x93NUMPY\x01";
    file += '\0';
    file += {char(header.size()), char(header.size() >> 8)};
    return npy::read_npy(Bytes::own(file + header + std::string(64, '\0')));
  };
  EXPECT_TRUE(with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }"));
  EXPECT_FALSE(with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 99999999999), }"));
  EXPECT_FALSE(with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }"));
  EXPECT_FALSE(with_header("{'descr': '<U0', 'fortran_order': False, 'shape': (99999999999,), }"));
  auto object = with_header("{'descr': '|O8', 'fortran_order': False, 'shape': (2,), }");
  ASSERT_FALSE(object);
  EXPECT_EQ(object.error().what, "dtype 'O8' is not read");
}

}  // namespace
}  // namespace pomona
