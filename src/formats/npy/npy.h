// NumPy's files: .npy (one array) and .npz (a zip of them), read and written.
//
//   NamedTensors arrays = POM_TRY(read_npz(POM_TRY(map_file("inputs.npz"))));
//   POM_TRY(write_npz("outputs.npz", {{"y", y}}));
//
// Reading knows versions 1 to 3, both byte orders, C and Fortran order, members stored or deflated, checksums; dtypes
// bool, the integers, fp16, fp32, fp64 and strings (U, S). Writing gives version 1, little endian, C order, stored;
// elements narrower than a byte become one int8 or uint8 each, as NumPy has no such types. It does not read pickled
// objects, complex numbers, structured dtypes, or encrypted and split archives.
#pragma once
#include <string>

#include "base/bytes.h"
#include "ir/tensor.h"

namespace pomona::npy {

Result<Tensor> read_npy(const Bytes& file);
Result<NamedTensors> read_npz(const Bytes& file);

// The file's contents. Errors: the tensor is a list or dictionary, or its dtype is one NumPy lacks (bf16, fp8).
Result<std::string> npy_contents(const Tensor& tensor);
Result<std::string> npz_contents(const NamedTensors& tensors);
Status write_npy(const std::string& path, const Tensor& tensor);
Status write_npz(const std::string& path, const NamedTensors& tensors);

}  // namespace pomona::npy
