#include "ops/gather_scatter.h"

#include <algorithm>

#include "formats/onnx/open_axis.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "ops/shape.h"
#include "ops/tensor_operation.h"

// Reading and writing by index; sorting.
namespace pomona::onnx {
namespace {

struct Gather {
  ONNX_IN(data);
  ONNX_IN(indices);
  ONNX_ATTR(axis, int) = 0;
  Status lower(Lowering& g) const {
    std::size_t along = POM_TRY(g.axis(axis, data.rank()));
    Value at = g.non_negative(indices, g.dim(data, along), indices.elem());
    Value y =
        g.through_numbers(data, [&](Value x) { return g.add(mil::gather{.x = x, .indices = at, .axis = int(along)}); });
    return g.result(y, data.elem());
  }
};

struct GatherElements {
  ONNX_IN(data);
  ONNX_IN(indices);
  ONNX_ATTR(axis, int) = 0;
  Status lower(Lowering& g) const {
    std::size_t along = POM_TRY(g.axis(axis, data.rank()));
    POM_REQUIRE(indices.rank() == data.rank(), "data and indices have the ranks {} and {}", data.rank(),
                indices.rank());
    Value at = g.non_negative(indices, g.dim(data, along), indices.elem());
    // Indices may leave out the ends of the other dims; MIL wants them equal.
    Value source = data;
    for (std::size_t i = 0; i < data.rank(); ++i) {
      Dim have = data.shape()[i], want = indices.shape()[i];
      if (i == along || have == want) continue;
      source =
          want.known() ? g.slice(source, i, 0, want.value()) : sliced(g, source, i, g.integer(0), g.dim(indices, i));
    }
    auto read = [&](Value x) {
      if (!x || !at || x.rank() <= 5) return g.add(mil::gather_along_axis{.x = x, .indices = at, .axis = int(along)});
      // The dims before the axis and those after it are alike: one stands for each group.
      auto grouped = [&](Value v) {
        Dim before = 1, after = 1;
        for (std::size_t i = 0; i < v.rank(); ++i) {
          if (i < along) before = before * v.shape()[i];
          if (i > along) after = after * v.shape()[i];
        }
        return g.reshape(v, Shape{before, v.shape()[along], after});
      };
      Value flat = g.add(mil::gather_along_axis{.x = grouped(x), .indices = grouped(at), .axis = 1});
      return g.reshape(flat, at.shape());
    };
    return g.result(g.through_numbers(source, read), data.elem());
  }
};

// Index tuples in the last dim brought to be non-negative; `first` is the dim of data they start at.
Value tuples(Lowering& g, Value data, Value indices, std::size_t first, Elem elem) {
  if (!indices || indices.rank() == 0 || !indices.shape().back().known()) return {};
  Values sizes;
  for (std::int64_t i = 0; i < indices.shape().back().value(); ++i)
    sizes.push_back(g.expand_dims(g.dim(data, first + std::size_t(i)), {0}));
  return g.non_negative(indices, g.concat(sizes, 0), elem);
}

struct GatherND {
  ONNX_IN(data);
  ONNX_IN(indices);
  ONNX_ATTR(batch_dims, int, .since = 12) = 0;
  Status lower(Lowering& g) const {
    POM_REQUIRE(indices.rank() >= 1 && indices.shape().back().known(), "the length of the index tuples is not known");
    POM_REQUIRE(*batch_dims >= 0 && indices.shape().back().value() + *batch_dims <= std::int64_t(data.rank()) &&
                    indices.shape().back().value() > 0,
                "index tuples have {} elements for data of rank {}", indices.shape().back().text(), data.rank());
    Value at = tuples(g, data, indices, std::size_t(*batch_dims), indices.elem());
    Value y = g.through_numbers(
        data, [&](Value x) { return g.add(mil::gather_nd{.x = x, .indices = at, .batch_dims = *batch_dims}); });
    return g.result(y, data.elem());
  }
};

Result<std::string> scatter_mode(const std::string& reduction) {
  if (reduction == "none") return std::string("update");
  for (const char* known : {"add", "mul", "max", "min"})
    if (reduction == known) return reduction;
  return fail("reduction is '{}'", reduction);
}

struct ScatterElements {
  ONNX_IN(data);
  ONNX_IN(indices);
  ONNX_IN(updates);
  ONNX_ATTR(axis, int) = 0;
  ONNX_ATTR(reduction, std::string, .since = 16) = "none";
  Status lower(Lowering& g) const {
    std::size_t along = POM_TRY(g.axis(axis, data.rank()));
    std::string mode = POM_TRY(scatter_mode(reduction));
    POM_REQUIRE(indices.rank() == data.rank() && updates.rank() == data.rank(),
                "data, indices and updates differ in rank");
    Value at = g.non_negative(indices, g.dim(data, along), indices.elem());
    if (!at) return g.status().error();
    bool same = true;
    // Indices and updates are of one shape, of which either may know more.
    for (std::size_t i = 0; i < data.rank(); ++i) {
      Dim size = data.shape()[i];
      same = same && (i == along || size == indices.shape()[i] || size == updates.shape()[i]);
    }
    if (same) {
      POM_REQUIRE(data.dtype() != DType::boolean || mode == "update", "booleans have no {}", mode);
      Value change = data.dtype() == DType::boolean ? g.cast(updates, DType::int32) : *updates;
      Value y = g.through_numbers(data, [&](Value x) {
        return g.add(
            mil::scatter_along_axis{.data = x, .indices = at, .updates = change, .axis = int(along), .mode = mode});
      });
      return g.result(g.wrap(y, data.elem()), data.elem());
    }
    return lower_tuples(g, at, along, mode);
  }
  // Indices that cover a part of the other dims: as full index tuples.
  Status lower_tuples(Lowering& g, Value at, std::size_t along, const std::string& mode) const {
    POM_REQUIRE(data.dtype() != DType::boolean, "indices that cover a part of booleans are not supported");
    // Counted along each dim, ones give places in the very shape that the indices have.
    Value ones = g.plus(g.times(at, 0), 1);
    Values parts;
    for (std::size_t i = 0; i < data.rank(); ++i)
      parts.push_back(i == along ? at : g.add(mil::cumsum{.x = ones, .axis = int(i), .exclusive = true}));
    Value all = g.add(mil::stack{.values = parts, .axis = int(data.rank())});
    return g.result(
        g.wrap(g.add(mil::scatter_nd{.data = data, .indices = all, .updates = updates, .mode = mode}), data.elem()),
        data.elem());
  }
};

struct ScatterND {
  ONNX_IN(data);
  ONNX_IN(indices);
  ONNX_IN(updates);
  ONNX_ATTR(reduction, std::string, .since = 16) = "none";
  Status lower(Lowering& g) const {
    std::string mode = POM_TRY(scatter_mode(reduction));
    POM_REQUIRE(indices.rank() >= 1 && indices.shape().back().known() &&
                    indices.shape().back().value() <= std::int64_t(data.rank()) && indices.shape().back().value() > 0,
                "index tuples do not fit data of rank {}", data.rank());
    Value at = tuples(g, data, indices, 0, indices.elem());
    POM_REQUIRE(data.dtype() != DType::boolean || mode == "update", "booleans have no {}", mode);
    Value change = data.dtype() == DType::boolean ? g.cast(updates, DType::int32) : *updates;
    Value y = g.through_numbers(data, [&](Value x) {
      return g.add(mil::scatter_nd{.data = x, .indices = at, .updates = change, .mode = mode});
    });
    return g.result(g.wrap(y, data.elem()), data.elem());
  }
};

struct TopK {
  ONNX_IN(X);
  ONNX_OPTIONAL(K, .since = 10);
  ONNX_ATTR(k, std::int64_t, .until = 10) = 0;
  ONNX_ATTR(axis, int) = -1;
  ONNX_ATTR(largest, bool, .since = 11) = true;
  ONNX_ATTR(sorted, bool, .since = 11) = true;
  Status lower(Lowering& g) const {
    std::int64_t count = k;
    std::size_t along = POM_TRY(g.axis(axis, X.rank()));
    if (K) {
      POM_REQUIRE(K.rank() == 1 && K.shape()[0] == 1, "K has shape {}, not [1]", to_string(K.shape()));
      auto known = g.constant_ints(K, "K");
      if (!known) return first_of_sorted(g, along);
      count = (*known)[0];
    }
    Dim size = X.shape()[along];
    POM_REQUIRE(count > 0 && count <= INT32_MAX && (!size.known() || count <= size.value()),
                "K is {}, but the axis has {} elements", count, size.text());
    Values all =
        g.add_all(mil::topk{.x = X, .k = int(count), .axis = int(along), .ascending = !*largest, .sort = *sorted});
    if (all.size() != 2) return g.status();
    POM_TRY(g.result(all[0], X.elem()));
    return g.result(all[1], Elem::int64);
  }

 private:
  // K is computed, and topk takes a constant: all are sorted, and so many of them stay.
  Status first_of_sorted(Lowering& g, std::size_t along) const {
    Value order = g.add(mil::argsort{.x = X, .axis = int(along), .ascending = !*largest});
    Ints before(along, -1), behind(X.rank() - along - 1, -1);
    Values sizes{K};
    if (!before.empty()) sizes.insert(sizes.begin(), g.ints(before));
    if (!behind.empty()) sizes.push_back(g.ints(behind));
    order = g.add(mil::slice_by_size{.x = order, .begin = g.ints(Ints(X.rank(), 0)), .size = g.concat(sizes, 0)});
    POM_TRY(g.result(g.add(mil::gather_along_axis{.x = X, .indices = order, .axis = int(along)}), X.elem()));
    return g.result(order, Elem::int64);
  }
};

struct NonZero {
  ONNX_IN(X);
  Status lower(Lowering& g) const {
    if (X.rank() == 0) {
      Value rows = g.add(mil::non_zero{.x = g.expand_dims(X, {0})});
      return g.result(g.slice(g.transpose(rows, {1, 0}), 0, 0, 0), Elem::int64);
    }
    return g.result(g.transpose(g.add(mil::non_zero{.x = X}), {1, 0}), Elem::int64);
  }
};

struct Compress {
  ONNX_IN(input);
  ONNX_IN(condition);
  ONNX_ATTR(axis, std::optional<int>);
  Status lower(Lowering& g) const {
    std::size_t along = 0;
    Value x = input;
    if (axis->has_value())
      along = POM_TRY(g.axis(**axis, input.rank()));
    else
      x = g.reshape(x, Shape{element_count(input.shape())});
    Value places = g.squeeze(g.add(mil::non_zero{.x = condition}), {1});
    Value y = g.through_numbers(
        x, [&](Value v) { return g.add(mil::gather{.x = v, .indices = places, .axis = int(along)}); });
    return g.result(y, input.elem());
  }
};

// Writes `update` along `axis` from write_indices[b] on, for each b of the first dim.
struct TensorScatter {
  ONNX_IN(past_cache);
  ONNX_IN(update);
  ONNX_OPTIONAL(write_indices);
  ONNX_ATTR(axis, int) = -2;
  ONNX_ATTR(mode, std::string) = "linear";
  Status lower(Lowering& g) const {
    std::size_t along = POM_TRY(g.axis(axis, past_cache.rank()));
    POM_REQUIRE(along > 0 && all_known(update.shape()), "the update needs a known shape, and its axis may not be 0");
    POM_REQUIRE(*mode == "linear" || *mode == "circular", "mode is '{}'", *mode);
    POM_REQUIRE(update.rank() == past_cache.rank() && update.shape()[along].value() < (1 << 24),
                "an update {} does not fit a cache {}", to_string(update.shape()), to_string(past_cache.shape()));
    Ints places;
    for (std::int64_t i = 0; i < update.shape()[along].value(); ++i) places.push_back(i);
    Shape line(update.rank(), 1);
    line[along] = update.shape()[along];
    Value at = g.reshape(g.ints(places), line);
    if (write_indices) {
      Shape column(update.rank(), 1);
      column[0] = update.shape()[0];
      at = g.plus(at, g.reshape(write_indices, column));
    }
    if (*mode == "circular") at = g.add(mil::mod{.x = at, .y = g.dim(past_cache, along)});
    at = g.broadcast_to(at, update.shape(), {});
    for (std::size_t i = 0; i < update.rank(); ++i)
      POM_REQUIRE(i == along || update.shape()[i] == past_cache.shape()[i], "dim {} of cache and update differ", i);
    return g.result(g.add(mil::scatter_along_axis{
                        .data = past_cache, .indices = at, .updates = update, .axis = int(along), .mode = "update"}),
                    past_cache.elem());
  }
};

}  // namespace

Rules gather_scatter_chapter() {
  return {
      rule<Compress>("Compress"),
      rule<Gather>("Gather"),
      rule<GatherElements>("GatherElements"),
      rule<GatherND>("GatherND"),
      rule<NonZero>("NonZero"),
      rule<ScatterElements>("Scatter", 9, 11),
      rule<ScatterElements>("ScatterElements"),
      rule<ScatterND>("ScatterND"),
      rule<TensorScatter>("TensorScatter"),
      rule<TopK>("TopK"),
  };
}

}  // namespace pomona::onnx
