// GGUF files: typed metadata and named tensors, most of them quantised in blocks (GGUF specification, versions 2 and
// 3).
//
//   File f = POM_TRY(read_gguf("model.gguf"));             // any part of a split file stands for all of them
//   f.text("general.architecture")                         // "llama"
//   f.strings("tokenizer.ggml.tokens")                     // null when there are none
//   for (const TensorEntry& t : f.tensors) ...             // ranges of the mapped files; decoding: blocks.h
//
// Everything a file says is checked before it is believed: counts against the bytes that are left, offsets, sizes,
// names. Big-endian files are refused.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "ir/tensor.h"

namespace pomona::gguf {

struct BlockType;

// Texts are views of the mapped file. An array of arrays holds Values.
struct Value {
  std::variant<bool, std::int64_t, double, std::string_view, std::vector<bool>, std::vector<std::int64_t>,
               std::vector<double>, std::vector<std::string_view>, std::vector<Value>>
      held;
};

struct TensorEntry {
  std::string name;
  Sizes sizes;  // outermost first: [out, in] of a matrix
  const BlockType* type = nullptr;
  Bytes bytes;  // exactly the tensor's
};

struct File {
  std::uint32_t version = 0;
  std::map<std::string, Value, std::less<>> metadata;
  std::vector<TensorEntry> tensors;
  std::vector<Bytes> parts;  // the mapped files

  // What the metadata have under a key; empty, or null, when it is missing or something else.
  std::optional<std::int64_t> integer(std::string_view key) const;
  std::optional<double> number(std::string_view key) const;  // an integer too
  std::optional<bool> boolean(std::string_view key) const;
  std::optional<std::string_view> text(std::string_view key) const;
  const std::vector<std::string_view>* strings(std::string_view key) const;
  const std::vector<std::int64_t>* integers(std::string_view key) const;
  const std::vector<double>* numbers(std::string_view key) const;  // of floats
  const std::vector<bool>* booleans(std::string_view key) const;
  const TensorEntry* tensor(std::string_view name) const;
};

Result<File> read_gguf(const std::string& path);
// One file's bytes; a part of a split file gives what it holds.
Result<File> parse_gguf(const Bytes& bytes);

}  // namespace pomona::gguf
