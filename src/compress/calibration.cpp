#include "compress/calibration.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <tuple>

#include "base/threads.h"
#include "compress/observe.h"
#include "cpu/gemm.h"
#include "ops/conv.h"
#include "ops/linear.h"

namespace pomona::compress {
namespace {

// A matrix of more columns would take gigabytes, and its factor hours.
constexpr std::size_t most_matrix_columns = 16384;

// The input that a weight is multiplied by, and the axis of it that runs along the weight's columns.
struct Reader {
  Value input;
  bool channels_second = false;           // [batch, channels, space...]; else the channels are last
  std::size_t channels = 0, repeats = 1;  // columns are channels x repeats
  bool has_matrix() const { return repeats == 1 && channels <= most_matrix_columns; }
};

std::optional<Reader> reader_of(const Node& user, Value weight) {
  const Shape& shape = weight.shape();
  auto size = [&](std::size_t axis) { return std::size_t(shape[axis].value()); };
  if (is<mil::linear>(&user) && user.input("weight") == weight) return Reader{user.input("x"), false, size(1), 1};
  if (is<mil::matmul>(&user) && user.input("y") == weight && weight.rank() == 2) {
    bool transposed = std::get<bool>(user.attribute("transpose_y"));
    if (std::get<bool>(user.attribute("transpose_x"))) return {};
    return Reader{user.input("x"), false, size(transposed ? 1 : 0), 1};
  }
  if (is<mil::conv>(&user) && user.input("weight") == weight) {
    auto* groups = std::get_if<std::int64_t>(&user.attribute("groups"));
    if (groups && *groups != 1) return {};
    std::size_t kernel = 1;
    for (std::size_t d = 2; d < shape.size(); ++d) kernel *= size(d);
    return Reader{user.input("x"), true, size(1), kernel};
  }
  return {};
}

std::optional<Reader> reader_of(Value weight) {
  for (const Node* user : weight.users())
    if (user->op)
      if (auto reader = reader_of(*user, weight)) return reader;
  return {};
}

// Rounding errors of an embedding go into everything that follows, those of the head it shares its rows with do not.
constexpr double weight_of_unseen = 1;

// Whether any op reads the weight that is not like `reader`.
bool read_otherwise(Value weight, const Reader& reader) {
  return std::ranges::any_of(weight.users(), [&](const Node* user) {
    auto other = user->op ? reader_of(*user, weight) : std::nullopt;
    return !other || other->channels != reader.channels;
  });
}

// Vectors of `width` inputs, one after the other.
std::vector<float> vectors_of(const Tensor& tensor, const Reader& reader) {
  Tensor floats = tensor.converted(DType::fp32);
  std::span<const float> all = floats.view<float>();
  if (!reader.channels_second) return {all.begin(), all.end()};
  std::size_t batch = std::size_t(tensor.sizes()[0]), width = reader.channels, space = all.size() / (batch * width);
  std::vector<float> rows(all.size());
  for (std::size_t b = 0; b < batch; ++b)
    for (std::size_t c = 0; c < width; ++c)
      for (std::size_t s = 0; s < space; ++s) rows[(b * space + s) * width + c] = all[(b * width + c) * space + s];
  return rows;
}

struct Sums {
  Reader reader;
  std::vector<double> moments, sums;
  std::vector<float> largest, matrix;
  double vectors = 0;

  void add(const Tensor& tensor) {
    std::vector<float> rows = vectors_of(tensor, reader);
    std::size_t width = reader.channels, count = rows.size() / width;
    moments.resize(width);
    sums.resize(width);
    largest.resize(width);
    vectors += double(count);
    for (std::size_t v = 0; v < count; ++v)
      for (std::size_t c = 0; c < width; ++c) {
        float x = rows[v * width + c];
        moments[c] += double(x) * double(x);
        sums[c] += double(x);
        largest[c] = std::max(largest[c], std::fabs(x));
      }
    if (!reader.has_matrix()) return;
    matrix.resize(width * width);
    add_products(rows, count, width);
  }

  // x x^T of all vectors, of which the half on and above the diagonal is enough.
  void add_products(const std::vector<float>& rows, std::size_t count, std::size_t width) {
    std::vector<float> turned(rows.size());
    for (std::size_t v = 0; v < count; ++v)
      for (std::size_t c = 0; c < width; ++c) turned[c * count + v] = rows[v * width + c];
    cpu::PackedMatrix packed = cpu::pack_matrix({rows.data(), count, width, std::ptrdiff_t(width), 1});
    std::size_t step = cpu::most_block_rows, blocks = (width + step - 1) / step, panels = cpu::panel_count(width);
    parallel_for(blocks, 1, [&](std::size_t begin, std::size_t end) {
      std::vector<float> product(step * width);
      for (std::size_t b = begin; b < end; ++b) {
        std::size_t first = b * step, here = std::min(step, width - first), panel = first / cpu::panel_columns();
        std::array<const float*, cpu::most_block_rows> from{};
        std::array<float*, cpu::most_block_rows> to{};
        for (std::size_t r = 0; r < here; ++r) from[r] = &turned[(first + r) * count], to[r] = &product[r * width];
        cpu::multiply_panels({from.data(), 1, count, to.data(), here}, packed.view(), nullptr, panel, panels);
        for (std::size_t r = 0; r < here; ++r)
          for (std::size_t j = panel * cpu::panel_columns(); j < width; ++j)
            matrix[(first + r) * width + j] += product[r * width + j];
      }
    });
  }

  Statistics mean() const {
    Statistics statistics;
    statistics.columns = reader.channels * reader.repeats;
    double scale = vectors > 0 ? 1 / vectors : 0;
    for (std::size_t c = 0; c < moments.size(); ++c) {
      statistics.second_moments.insert(statistics.second_moments.end(), reader.repeats, float(moments[c] * scale));
      statistics.means.insert(statistics.means.end(), reader.repeats, float(sums[c] * scale));
      statistics.largest.insert(statistics.largest.end(), reader.repeats, largest[c]);
    }
    statistics.matrix = matrix;
    std::size_t width = reader.channels;
    for (std::size_t i = 0; i < width && !matrix.empty(); ++i)
      for (std::size_t j = i; j < width; ++j)
        statistics.matrix[i * width + j] = statistics.matrix[j * width + i] =
            float(double(matrix[i * width + j]) * scale);
    return statistics;
  }
};

}  // namespace

std::optional<LayerInput> layer_input(const Node& op, Value weight) {
  auto reader = reader_of(op, weight);
  if (!reader) return {};
  bool columns_first = is<mil::matmul>(&op) && !std::get<bool>(op.attribute("transpose_y"));
  return LayerInput{reader->input, reader->channels_second ? 1 : reader->input.rank() - 1,
                    columns_first ? ChannelAxes{1, 0} : ChannelAxes{0, 1}};
}

Result<const Statistics*> Calibration::of(Value weight) { return POM_TRY(shared(weight)).get(); }

Result<std::shared_ptr<const Statistics>> Calibration::shared(Value weight) {
  if (weight.block() != &function_->body || !reader_of(weight)) return std::shared_ptr<const Statistics>();
  auto at = found_.find(weight.name());
  if (at == found_.end()) {
    POM_TRY(collect(weight));
    at = found_.find(weight.name());
  }
  return at == found_.end() ? std::shared_ptr<const Statistics>() : at->second;
}

Status Calibration::collect(Value from) {
  std::map<std::string, Reader> readers;
  std::set<Value> inputs_read;
  std::set<std::string> unseen;
  std::uint64_t bytes = 0;
  bool begun = false;
  for (const auto& node : function_->body.nodes()) {
    if (!node->op->structural || node->output_count() != 1) continue;
    Value weight = node->output();
    begun = begun || weight == from;
    if (!begun || weight.rank() < 2 || !is_float(weight.dtype())) continue;
    auto reader = reader_of(weight);
    if (!reader || reader->input.is_weight() || reader->input.block() != &function_->body) continue;
    // Weights that read the same share what is collected.
    std::uint64_t needs = 4 * reader->channels * (reader->has_matrix() ? reader->channels : 1);
    if (inputs_read.count(reader->input)) needs = 0;
    if (!readers.empty() && bytes + needs > limit_) break;
    bytes += needs;
    inputs_read.insert(reader->input);
    readers.emplace(weight.name(), *reader);
    if (read_otherwise(weight, *reader)) unseen.insert(weight.name());
  }
  Values inputs;
  std::map<Value, Sums> sums;
  for (const auto& [name, reader] : readers) {
    if (auto [at, fresh] = sums.emplace(reader.input, Sums{reader, {}, {}, {}, {}, 0}); fresh)
      inputs.push_back(reader.input);
    else if (reader.has_matrix())
      at->second.reader = reader;
  }
  POM_TRY(observe(
      *function_, inputs, samples_,
      [&](std::size_t input, std::size_t, const Tensor& tensor) { sums.at(inputs[input]).add(tensor); }, continues_));
  found_.clear();
  // One for each input, and for each kind of weight that reads it.
  std::map<std::tuple<Value, std::size_t, bool>, std::shared_ptr<const Statistics>> made;
  for (const auto& [name, reader] : readers) {
    bool otherwise = unseen.count(name) > 0;
    auto [at, fresh] = made.try_emplace({reader.input, reader.repeats, otherwise});
    if (fresh) {
      Sums& of_input = sums.at(reader.input);
      of_input.reader.repeats = reader.repeats;
      auto statistics = std::make_shared<Statistics>(of_input.mean());
      if (reader.repeats != 1) statistics->matrix.clear();
      if (otherwise) statistics->unseen = weight_of_unseen;
      at->second = std::move(statistics);
    }
    found_[name] = at->second;
  }
  return {};
}

Importance importance_of(const Statistics& statistics, const ChannelAxes& axes, const Sizes& sizes) {
  Importance importance;
  // Inputs that are always 0 still count a little, so that no table is spent on nothing.
  double mean = 0;
  for (float moment : statistics.second_moments) mean += double(moment);
  mean /= double(std::max<std::size_t>(1, statistics.second_moments.size()));
  if (!(mean > 0)) return importance;
  auto values = std::make_shared<std::vector<float>>(statistics.second_moments);
  for (float& value : *values) value = float(double(value) / mean + 1e-3 + statistics.unseen);
  importance.values = std::move(values);
  if (axes.input < axes.output) importance.inner = std::size_t(sizes[axes.output]);
  return importance;
}

}  // namespace pomona::compress
