// Core ML packages: `.mlpackage` directories and plain `.mlmodel` files that hold ML Programs, to and from Program.
//
//   Program p = POM_TRY(read_package("encoder.mlpackage"));
//   POM_TRY(write_package(p, "smaller.mlpackage", {.force = true}));
//
// Reading maps the files: weights are views of weight.bin. Writing streams them: a tensor is computed, written and
// forgotten. Models of other kinds (neural networks, tree ensembles, ...) are refused by name.
//
// A package written while it exists appears only when it is complete: it is made beside its place and renamed. A draft
// is complete too, but waits for the word: `draft.move_to(path)`.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/unfinished.h"
#include "ir/program.h"

namespace pomona::mlpackage {

// A package or a plain .mlmodel. Errors: it is no ML Program; a pipeline (see read_pipeline); anything damaged.
Result<Program> read_package(const std::string& path);
// A model's protobuf, with the folder of its weight files (empty: there is none).
Result<Program> read_model(const Bytes& model, const std::string& weights_folder);

// Whether that is an ML Program, not a pipeline or another kind of model. Errors: anything damaged around it.
Result<bool> holds_program(const std::string& path);

struct NamedProgram {
  std::string name;
  Program program;
};
// The members of a Core ML pipeline, or of a single model (then without a name).
Result<std::vector<NamedProgram>> read_pipeline(const std::string& path);

struct WriteOptions {
  bool force = false;                                                                      // replace what is there
  std::function<void(std::uint64_t done_bytes, std::uint64_t total_bytes)> progress = {};  // of the weight file
};
// Errors: `path` exists and force is off; there is no space (before anything is written); a name or type that Core ML
// does not have; a weight that cannot be computed. What was at `path` is untouched unless writing succeeds.
Status write_package(const Program& program, const std::string& path, const WriteOptions& options = {});
// The same, beside `path`: a package in a folder that goes with the object unless it is moved to its place.
Result<Unfinished> write_draft(const Program& program, const std::string& path, const WriteOptions& options = {});

}  // namespace pomona::mlpackage
