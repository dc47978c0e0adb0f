// Tensors from and to what users have: .npz, .npy, .json and pictures.
//
//   --inputs in.npz                 arrays by name
//   --inputs x=a.npy                one array
//   --inputs photo=cat.png          a picture, for an image input
//   --inputs in.json                {"x": [[1, 2], [3, 4]]} or {"x": {"dtype": "int64", "shape": [2, 2], "data":
//   [...]}}
//   --inputs cat.png                when the model has one input
//
// Which of these a file is is found from its bytes.
#pragma once
#include "ir/program.h"

namespace pomona::api {

Result<NamedTensors> read_tensors(const std::vector<std::string>& places, const Program& program,
                                  const Function& function);
// Of a file alone: .npz, .npy (named after `path` without its extension) or .json.
Result<NamedTensors> read_tensor_file(const std::string& path);

// `place`: out.npz, out.json, out.npy (of a single tensor), name=file (one of them; .png for pictures), or a folder
// (a file for each tensor; pictures as .png). `features` say which tensors are pictures.
Status write_tensors(const std::string& place, const NamedTensors& tensors, const std::vector<Feature>& features,
                     bool force);
// Whether that can be done, asked before there is anything to write.
Status check_place(const std::string& place, bool force);

}  // namespace pomona::api
