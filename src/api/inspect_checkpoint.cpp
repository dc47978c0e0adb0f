#include "api/inspect_checkpoint.h"

#include "api/files.h"
#include "formats/gguf/blocks.h"
#include "formats/safetensors/safetensors.h"
#include "llm/language_model.h"

namespace pomona::api {
namespace {

void add_tensor(Inspection& found, const std::string& name, const std::string& storage, const Type& type,
                std::uint64_t bytes) {
  std::uint64_t count = std::uint64_t(element_count(known_sizes(type.shape)));
  found.weights.push_back({name, storage, type, count, bytes});
  found.parameters += count;
  found.bytes_by_kind[storage] += bytes;
}

// The tensors of a file that no configuration explains, under its own names.
Status add_raw_tensors(const std::string& path, Inspection& found) {
  auto bytes = map_file(path);
  if (bytes && bytes->text().starts_with("GGUF")) {
    gguf::File file = POM_TRY(gguf::read_gguf(path));
    for (const gguf::TensorEntry& tensor : file.tensors)
      add_tensor(found, tensor.name, std::string(tensor.type->name), tensor_type(DType::fp32, to_shape(tensor.sizes)),
                 tensor.bytes.size());
  } else if (bytes && path.ends_with(".safetensors")) {
    safetensors::File file = POM_TRY(safetensors::read_safetensors(path));
    for (const auto& [name, entry] : file.tensors)
      add_tensor(found, name, entry.stored, tensor_type(entry.dtype, to_shape(entry.sizes)), entry.bytes.size());
  }
  return {};
}

}  // namespace

Result<Inspection> inspect_checkpoint(const std::string& path, const std::string& format) {
  Inspection found;
  found.path = path;
  found.format = format;
  found.file_bytes = size_on_disk(path);
  auto checkpoint = llm::open_checkpoint(path);
  if (!checkpoint) {
    found.obstacle = describe(checkpoint.error());
    // A file that cannot be read at all is damaged, whoever asks.
    if (Status raw = add_raw_tensors(path, found); !raw || found.weights.empty()) return std::move(checkpoint).error();
    return found;
  }
  found.configuration = checkpoint->config;
  for (const auto& [name, tensor] : checkpoint->tensors)
    add_tensor(found, name, tensor.storage, tensor_type(tensor.decoded.dtype(), to_shape(tensor.sizes)),
               tensor.stored_bytes);
  auto program = llm::build_program(*checkpoint, {});
  if (!program) found.obstacle = describe(program.error());
  return found;
}

}  // namespace pomona::api
