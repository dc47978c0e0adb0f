#include "formats/gguf/imatrix.h"

#include <cmath>
#include <cstring>

#include "formats/gguf/blocks.h"

namespace pomona::gguf {
namespace {

constexpr std::string_view sums_end = ".in_sum2", counts_end = ".counts";

// Numbers of the list, in order, each checked against the bytes that are left.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : left_(bytes) {}
  Result<std::int32_t> integer() {
    std::int32_t value = 0;
    POM_REQUIRE(left_.size() >= sizeof value, "the file ends within an entry");
    std::memcpy(&value, left_.data(), sizeof value);
    left_.remove_prefix(sizeof value);
    return value;
  }
  Result<std::string_view> bytes(std::int64_t count) {
    POM_REQUIRE(count >= 0 && std::uint64_t(count) <= left_.size(), "an entry claims {} bytes, and {} are left", count,
                left_.size());
    std::string_view found = left_.substr(0, std::size_t(count));
    left_.remove_prefix(std::size_t(count));
    return found;
  }

 private:
  std::string_view left_;
};

Status add(ImportanceMatrix& matrix, std::string name, std::vector<float> means) {
  for (float mean : means) POM_REQUIRE(std::isfinite(mean) && mean >= 0, "'{}' has a mean square of {}", name, mean);
  matrix.mean_squares[std::move(name)] = std::move(means);
  return {};
}

// Entries: length of the name, name, calls, number of values, values: sums that the number of calls divides.
Result<ImportanceMatrix> read_list(std::string_view text) {
  ImportanceMatrix matrix;
  Reader reader(text);
  std::int32_t entries = POM_TRY(reader.integer());
  POM_REQUIRE(entries > 0, "it says that it has {} entries", entries);
  for (std::int32_t e = 0; e < entries; ++e) {
    std::string name(POM_TRY(reader.bytes(POM_TRY(reader.integer()))));
    std::int32_t calls = POM_TRY(reader.integer()), count = POM_TRY(reader.integer());
    std::string_view values = POM_TRY_IN(reader.bytes(std::int64_t(count) * 4), "entry '{}'", name);
    std::vector<float> means(std::size_t(count), 0.0f);
    if (!means.empty()) std::memcpy(means.data(), values.data(), values.size());
    if (calls > 0)
      for (float& mean : means) mean /= float(calls);
    POM_TRY(add(matrix, std::move(name), std::move(means)));
  }
  return matrix;
}

Result<std::vector<float>> floats_of(const TensorEntry& entry) {
  POM_REQUIRE(entry.type && entry.type->name == "F32", "tensor '{}' is not F32", entry.name);
  std::vector<float> values(entry.bytes.size() / 4);
  if (!values.empty()) std::memcpy(values.data(), entry.bytes.data(), values.size() * 4);
  return values;
}

// Sums [experts, channels] and how many vectors went into each expert's.
Result<ImportanceMatrix> read_tensors(const File& file) {
  ImportanceMatrix matrix;
  for (const TensorEntry& entry : file.tensors) {
    if (!entry.name.ends_with(sums_end)) continue;
    std::string name = entry.name.substr(0, entry.name.size() - sums_end.size());
    std::vector<float> sums = POM_TRY(floats_of(entry)), counts;
    if (const TensorEntry* given = file.tensor(name + std::string(counts_end))) counts = POM_TRY(floats_of(*given));
    std::size_t width = entry.sizes.empty() ? 0 : std::size_t(entry.sizes.back());
    POM_REQUIRE(width > 0 && sums.size() >= width, "tensor '{}' is empty", entry.name);
    std::vector<float> means(width);
    std::size_t experts = sums.size() / width;
    for (std::size_t e = 0; e < experts; ++e) {
      float count = counts.size() == experts && counts[e] > 0 ? counts[e] : 1;
      for (std::size_t c = 0; c < width; ++c) means[c] += sums[e * width + c] / count / float(experts);
    }
    POM_TRY(add(matrix, std::move(name), std::move(means)));
  }
  POM_REQUIRE(!matrix.mean_squares.empty(), "it has no tensor that ends in '{}'", sums_end);
  return matrix;
}

}  // namespace

Result<ImportanceMatrix> read_imatrix(const Bytes& file) {
  if (file.text().starts_with("GGUF")) return read_tensors(POM_TRY(parse_gguf(file)));
  return POM_TRY_IN(read_list(file.text()), "as an importance matrix of llama.cpp");
}

}  // namespace pomona::gguf
