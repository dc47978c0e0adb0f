#include "formats/onnx/lowering.h"
#include "ops/gather_scatter.h"
#include "ops/tensor_operation.h"

// Sequences and optionals. Core ML's programs have neither among their values; here a sequence is the list of its items
// for as long as its length is known before the model runs, and an optional is what it holds, or nothing.
namespace pomona::onnx {
namespace {

using Items = std::vector<Entry>;

Entry sequence_of(Items items, Elem elem) {
  return {.elem = elem, .items = std::make_shared<const Items>(std::move(items))};
}
Result<const Items*> items_of(const InputField& field) {
  POM_REQUIRE(field.entry().items, "input '{}' is a tensor, not a sequence", field.Field::info().name);
  return field.entry().items.get();
}
// The place counted from the front; `end` is allowed where something is inserted.
Result<std::size_t> place_of(Lowering& g, Value position, std::size_t size, bool end) {
  auto at = std::int64_t(POM_TRY(g.constant_number(position, "the position in a sequence")));
  std::int64_t from_front = at < 0 ? at + std::int64_t(size) : at;
  POM_REQUIRE(from_front >= 0 && from_front < std::int64_t(size) + (end ? 1 : 0),
              "position {} is outside a sequence of {}", at, size);
  return std::size_t(from_front);
}

struct SequenceConstruct {
  ONNX_VARIADIC(inputs);
  Status lower(Lowering& g) const {
    POM_REQUIRE(inputs.size() > 0, "there are no tensors");
    return g.give(sequence_of(inputs.entries, inputs.entries[0].elem));
  }
};

struct SequenceEmpty {
  ONNX_ATTR(dtype, int) = int(Elem::float32);
  Status lower(Lowering& g) const { return g.give(sequence_of({}, Elem(*dtype))); }
};

struct SequenceAt {
  ONNX_IN(input_sequence, .sequence = true);
  ONNX_IN(position);
  Status lower(Lowering& g) const {
    const Items& items = *POM_TRY(items_of(input_sequence));
    if (g.as_constant(position).number()) return g.give(items[POM_TRY(place_of(g, position, items.size(), false))]);
    // Tensors of one shape are as good as a tensor of them.
    Values values;
    for (const Entry& item : items) {
      POM_REQUIRE(item.value && item.value.type() == items[0].value.type(),
                  "the position is computed from the inputs, and the tensors of the sequence differ in shape");
      values.push_back(item.value);
    }
    POM_REQUIRE(!values.empty(), "the sequence is empty");
    Value at = g.reshape(position, Shape{});
    at = g.non_negative(at, g.integer(std::int64_t(values.size())), Elem::int64);
    Value all = g.add(mil::stack{.values = values, .axis = 0});
    Value one = g.through_numbers(all, [&](Value x) { return g.add(mil::gather{.x = x, .indices = at, .axis = 0}); });
    return g.result(one, items[0].elem);
  }
};

struct SequenceInsert {
  ONNX_IN(input_sequence, .sequence = true);
  ONNX_IN(tensor);
  ONNX_OPTIONAL(position);
  Status lower(Lowering& g) const {
    Items items = *POM_TRY(items_of(input_sequence));
    std::size_t at = position ? POM_TRY(place_of(g, position, items.size(), true)) : items.size();
    items.insert(items.begin() + std::ptrdiff_t(at), tensor.entry());
    return g.give(sequence_of(std::move(items), tensor.elem()));
  }
};

struct SequenceErase {
  ONNX_IN(input_sequence, .sequence = true);
  ONNX_OPTIONAL(position);
  Status lower(Lowering& g) const {
    Items items = *POM_TRY(items_of(input_sequence));
    POM_REQUIRE(!items.empty(), "the sequence is empty");
    std::size_t at = position ? POM_TRY(place_of(g, position, items.size(), false)) : items.size() - 1;
    items.erase(items.begin() + std::ptrdiff_t(at));
    return g.give(sequence_of(std::move(items), input_sequence.elem()));
  }
};

struct SequenceLength {
  ONNX_IN(input_sequence, .sequence = true);
  Status lower(Lowering& g) const {
    return g.result(g.integer(std::int64_t(POM_TRY(items_of(input_sequence))->size())), Elem::int64);
  }
};

struct ConcatFromSequence {
  ONNX_IN(input_sequence, .sequence = true);
  ONNX_ATTR(axis, int, .required = true);
  ONNX_ATTR(new_axis, bool) = false;
  Status lower(Lowering& g) const {
    const Items& items = *POM_TRY(items_of(input_sequence));
    POM_REQUIRE(!items.empty(), "the sequence is empty");
    Values values;
    for (const Entry& item : items) {
      POM_REQUIRE(item.value && item.value.dtype() == items[0].value.dtype(), "the tensors have different dtypes");
      values.push_back(item.value);
    }
    std::size_t along = POM_TRY(g.axis(axis, values[0].rank() + (*new_axis ? 1 : 0)));
    if (*new_axis)
      for (Value& value : values) value = g.expand_dims(value, {std::int64_t(along)});
    return g.result(values.size() == 1 ? values[0] : g.concat(values, int(along)), items[0].elem);
  }
};

struct SplitToSequence {
  ONNX_IN(input);
  ONNX_OPTIONAL(split);
  ONNX_ATTR(axis, int) = 0;
  ONNX_ATTR(keepdims, bool) = true;
  Status lower(Lowering& g) const {
    std::size_t along = POM_TRY(g.axis(axis, input.rank()));
    Dim size = input.shape()[along];
    Ints sizes;
    if (split && split.rank() > 0) {
      sizes = POM_TRY(g.constant_ints(split, "split"));
    } else {
      POM_REQUIRE(size.known(), "the size along axis {} is {}, so that nobody knows how many parts there are", *axis,
                  size.text());
      std::int64_t part = split ? std::int64_t(POM_TRY(g.constant_number(split, "split"))) : 1;
      POM_REQUIRE(part > 0, "a part has the size {}", part);
      for (std::int64_t left = size.value(); left > 0; left -= part) sizes.push_back(std::min(part, left));
    }
    Items items;
    std::int64_t begin = 0;
    for (std::int64_t part : sizes) {
      POM_REQUIRE(part > 0, "a part has the size {}", part);
      Value one = g.slice(input, along, begin, begin + part);
      if (!split && !*keepdims) one = g.squeeze(one, {std::int64_t(along)});
      items.push_back({one, input.elem()});
      begin += part;
    }
    POM_REQUIRE(!size.known() || begin == size.value(), "the parts add up to {}, but the size is {}", begin,
                size.text());
    return g.give(sequence_of(std::move(items), input.elem()));
  }
};

struct SequenceMap {
  ONNX_IN(input_sequence, .sequence = true);
  ONNX_VARIADIC(additional_inputs, .sequence = true);
  ONNX_GRAPH(body);
  Status lower(Lowering& g) const {
    POM_REQUIRE(body, "the body is missing");
    const Items& items = *POM_TRY(items_of(input_sequence));
    std::vector<Items> made(body.proto->output.size());
    for (std::size_t i = 0; i < items.size(); ++i) {
      Items given{items[i]};
      for (const Entry& other : additional_inputs.entries) {
        POM_REQUIRE(!other.items || other.items->size() == items.size(), "the sequences have {} and {} items",
                    items.size(), other.items->size());
        given.push_back(other.items ? (*other.items)[i] : other);
      }
      Items out = POM_TRY(g.graphs().lower_graph(*body.proto, g.block(), given));
      for (std::size_t k = 0; k < out.size(); ++k) made[k].push_back(out[k]);
    }
    for (Items& one : made) {
      Elem elem = one.empty() ? Elem::float32 : one[0].elem;
      POM_TRY(g.give(sequence_of(std::move(one), elem)));
    }
    return {};
  }
};

struct Optional {
  ONNX_OPTIONAL(input, .sequence = true);
  ONNX_TYPE(type);
  Status lower(Lowering& g) const { return g.give(input.entry() ? input.entry() : Entry{.absent = true}); }
};

// A tensor is an optional that is there.
struct OptionalHasElement {
  ONNX_OPTIONAL(input, .sequence = true);
  Status lower(Lowering& g) const { return g.result(g.scalar(DType::boolean, input.entry() ? 1 : 0), Elem::boolean); }
};
struct OptionalGetElement {
  ONNX_IN(input, .sequence = true);
  Status lower(Lowering& g) const { return g.give(input.entry()); }
};

}  // namespace

Rules sequence_chapter() {
  return {
      rule<ConcatFromSequence>("ConcatFromSequence", 11),
      rule<Optional>("Optional", 15),
      rule<OptionalGetElement>("OptionalGetElement", 15),
      rule<OptionalHasElement>("OptionalHasElement", 15),
      rule<SequenceAt>("SequenceAt", 11),
      rule<SequenceConstruct>("SequenceConstruct", 11),
      rule<SequenceEmpty>("SequenceEmpty", 11),
      rule<SequenceErase>("SequenceErase", 11),
      rule<SequenceInsert>("SequenceInsert", 11),
      rule<SequenceLength>("SequenceLength", 11),
      rule<SequenceMap>("SequenceMap", 17),
      rule<SplitToSequence>("SplitToSequence", 11),
  };
}

}  // namespace pomona::onnx
