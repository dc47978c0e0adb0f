#include "ops/shape.h"

#include <algorithm>

#include "ops/axes.h"
#include "ops/catalogue.h"
#include "ops/element_moves.h"
#include "ops/shape_rules.h"

namespace pomona::mil {
namespace {

// The elements of x, when the result has them in the same order and is still shape-like.
std::optional<std::vector<Dim>> same_contents(const InputField& x, const Result<Types>& types) {
  if (!types || (*types)[0].rank() > 1) return {};
  return x.contents();
}

Result<Tensors> reshaped_to(const InputField& x, Result<Types> types) {
  Type type = POM_TRY(std::move(types))[0];
  POM_REQUIRE(all_known(type.shape), "the result's shape {} is not known", to_string(type.shape));
  return Tensors{x.tensor().reshaped(known_sizes(type.shape))};
}

// A shape that must hold as many elements as x has.
Result<Types> same_count(const InputField& x, Shape shape) {
  POM_TRY(check_sizes(shape));
  Dim difference = element_count(x.shape()) - element_count(shape);
  POM_REQUIRE(!difference.known() || difference == 0, "x of shape {} cannot become {}: it has another element count",
              to_string(x.shape()), to_string(shape));
  return Types{tensor_type(x.dtype(), std::move(shape))};
}

}  // namespace

Result<Types> expand_dims::infer(const At&) const {
  std::size_t rank = x.rank() + axes->size();
  std::vector<bool> inserted(rank);
  for (std::size_t axis : POM_TRY(checked_axes(axes, rank))) inserted[axis] = true;
  Shape shape;
  auto next = x.shape().begin();
  for (std::size_t d = 0; d < rank; ++d) shape.push_back(inserted[d] ? Dim(1) : *next++);
  return Types{tensor_type(x.dtype(), std::move(shape))};
}
Result<Tensors> expand_dims::eval(const At& at) const { return reshaped_to(x, infer(at)); }
std::optional<std::vector<Dim>> expand_dims::contents(const At& at) const { return same_contents(x, infer(at)); }

Result<Types> squeeze::infer(const At&) const {
  std::vector<bool> listed(x.rank());
  for (std::size_t axis : POM_TRY(checked_axes(axes, x.rank()))) listed[axis] = true;
  Shape shape;
  for (std::size_t d = 0; d < x.rank(); ++d) {
    Dim size = x.shape()[d];
    // An unknown size is taken to be 1 only where the model names its axis.
    bool goes = axes->empty() ? size == 1 : listed[d] && (size == 1 || !size.known());
    if (!goes) shape.push_back(size);
  }
  return Types{tensor_type(x.dtype(), std::move(shape))};
}
Result<Tensors> squeeze::eval(const At& at) const { return reshaped_to(x, infer(at)); }
std::optional<std::vector<Dim>> squeeze::contents(const At& at) const { return same_contents(x, infer(at)); }

Result<Types> reshape::infer(const At& at) const {
  std::size_t rank = POM_TRY(vector_length(shape));
  std::vector<Dim> wanted = POM_TRY(vector_contents(shape, rank));
  std::optional<std::size_t> open;
  Dim rest = 1;
  for (std::size_t d = 0; d < rank; ++d) {
    if (wanted[d] == 0) {
      POM_REQUIRE(at.opset >= iOS17 || rank == x.rank(), "shape has a 0 and {} entries, but x has rank {}", rank,
                  x.rank());
      // Since iOS17 the 0 counts from the last dim.
      std::size_t missing = rank - x.rank();
      if (rank > x.rank())
        wanted[d] = d < missing ? Dim(1) : x.shape()[d - missing];
      else
        wanted[d] = x.shape()[d + (x.rank() - rank)];
    } else if (wanted[d] == -1) {
      POM_REQUIRE(!open, "shape has more than one -1");
      open = d;
      continue;
    }
    POM_REQUIRE(!wanted[d].known() || wanted[d].value() >= 0, "shape has the entry {}", wanted[d].value());
    rest = rest * wanted[d];
  }
  if (!open) return same_count(x, std::move(wanted));
  wanted[*open] = 0;
  POM_TRY(check_sizes(wanted));
  POM_REQUIRE(!(rest == 0), "shape has -1 beside a size of 0, so that it could be anything");
  Dim total = element_count(x.shape());
  if (auto exact = exact_div(total, rest)) {
    wanted[*open] = *exact;
  } else {
    POM_REQUIRE(!total.known() || !rest.known(), "x has {} elements, which {} does not divide", total.text(),
                rest.text());
    wanted[*open] = floor_div(total, rest);
  }
  POM_TRY(check_sizes(wanted));
  return Types{tensor_type(x.dtype(), std::move(wanted))};
}
Result<Tensors> reshape::eval(const At& at) const { return reshaped_to(x, infer(at)); }
std::optional<std::vector<Dim>> reshape::contents(const At& at) const { return same_contents(x, infer(at)); }

Result<Types> reshape_like::infer(const At&) const {
  std::size_t count = ref_tensors.size();
  POM_REQUIRE(begins->size() == count && ends->size() == count && end_masks->size() == count,
              "ref_tensors has {} entries, but begins has {}, ends {} and end_masks {}", count, begins->size(),
              ends->size(), end_masks->size());
  Shape shape;
  for (std::size_t i = 0; i < count; ++i) {
    const Shape& from = ref_tensors.shape(i);
    auto rank = std::int64_t(from.size());
    auto bound = [&](std::int64_t b) { return std::clamp<std::int64_t>(b < 0 ? b + rank : b, 0, rank); };
    std::int64_t end = (*end_masks)[i] ? rank : bound((*ends)[i]);
    for (std::int64_t d = bound((*begins)[i]); d < end; ++d) shape.push_back(from[std::size_t(d)]);
  }
  return same_count(x, std::move(shape));
}
Result<Tensors> reshape_like::eval(const At& at) const { return reshaped_to(x, infer(at)); }

Result<Types> transpose::infer(const At&) const {
  POM_REQUIRE(perm->size() == x.rank(), "perm has {} entries, but x has rank {}", perm->size(), x.rank());
  Shape shape;
  for (std::size_t from : POM_TRY(checked_axes(perm, x.rank()))) shape.push_back(x.shape()[from]);
  return Types{tensor_type(x.dtype(), std::move(shape))};
}
Result<Tensors> transpose::eval(const At& at) const {
  Type type = POM_TRY(infer(at))[0];
  return Tensors{
      rearrange_elements(x.tensor(), x.sizes(), POM_TRY(checked_axes(perm, x.rank())), known_sizes(type.shape))};
}

Result<Types> reverse::infer(const At&) const {
  POM_TRY(chosen_axes(axes, x.rank()));
  return Types{x.type()};
}
Result<Tensors> reverse::eval(const At&) const {
  std::vector<bool> turned = POM_TRY(chosen_axes(axes, x.rank()));
  Selection selection = all_elements(x.sizes());
  for (std::size_t d = 0; d < turned.size(); ++d) {
    if (!turned[d]) continue;
    selection.offset += (x.sizes()[d] - 1) * selection.strides[d];
    selection.strides[d] *= -1;
  }
  return Tensors{select_elements(x.tensor(), selection)};
}

Result<Types> reverse_sequence::infer(const At&) const {
  std::size_t along = POM_TRY(checked_axis(seq_axis, x.rank())), batch = POM_TRY(checked_axis(batch_axis, x.rank()));
  POM_REQUIRE(along != batch, "seq_axis and batch_axis are both {}", along);
  POM_REQUIRE(lengths.rank() == 1, "lengths has rank {}, not 1", lengths.rank());
  POM_TRY(same_size(lengths.shape()[0], x.shape()[batch], "the length of lengths", "x's size along batch_axis"));
  return Types{x.type()};
}
Result<Tensors> reverse_sequence::eval(const At& at) const {
  POM_TRY(infer(at));
  std::size_t along = *normal_axis(seq_axis, x.rank()), batch = *normal_axis(batch_axis, x.rank());
  Sizes strides = strides_of(x.sizes());
  Tensor result = x.tensor();
  for (std::int64_t b = 0; b < x.sizes()[batch]; ++b) {
    auto length = std::int64_t(lengths.tensor().number(std::size_t(b)));
    POM_REQUIRE(length >= 0 && length <= x.sizes()[along], "lengths[{}] is {}, but x has {} elements along seq_axis", b,
                length, x.sizes()[along]);
    if (length == 0) continue;
    Selection kept = all_elements(x.sizes());
    kept.sizes[batch] = 1;
    kept.sizes[along] = length;
    kept.offset = b * strides[batch];
    Selection turned = kept;
    turned.strides[along] *= -1;
    turned.offset += (length - 1) * strides[along];
    replace_elements(result, kept, select_elements(x.tensor(), turned));
  }
  return Tensors{std::move(result)};
}

namespace {

// What a slice takes of one dim.
struct Span {
  Dim first = 0, count = 0;
  std::int64_t stride = 1;
  bool squeezed = false;
};

struct SliceFields {
  const InputField &x, &begin, &end;
  const Ints &stride, &begin_mask, &end_mask, &squeeze_mask;
};

// The smaller of a bound and a size. A bound of 10^9 or more is how writers say "to the end": no dimension is that
// long.
Dim within(Dim bound, Dim size) {
  constexpr std::int64_t endless = 1'000'000'000;
  if (!size.known() && bound.known() && bound.value() >= endless) return size;
  if (bound == 0 || never_negative(bound - size)) return bound == 0 ? bound : size;
  return never_negative(size - bound) ? bound : minimum(bound, size);
}

// Where Python's slicing puts a bound: between `low` and `size + low`, with low -1 when going backwards. Empty:
// unknown.
std::optional<Dim> clamped_bound(Dim bound, Dim size, std::int64_t low) {
  // From the end: size - min(-bound, size) rather than max(size + bound, 0), so that x[1:] and x[:-1] have equal sizes.
  if (bound.known() && bound.value() < 0) return size - within(Dim(0) - bound, size - low);
  if (!never_negative(bound) && !(bound == size)) return {};
  return within(bound - low, size) + low;
}

Result<Span> span_of(Dim size, std::optional<Dim> begin, std::optional<Dim> end, std::int64_t stride) {
  POM_REQUIRE(stride != 0, "stride has a 0");
  Span span{.stride = stride};
  std::int64_t low = stride > 0 ? 0 : -1;
  std::optional<Dim> first = begin ? clamped_bound(*begin, size, low) : stride > 0 ? Dim(0) : size - 1;
  std::optional<Dim> last = end ? clamped_bound(*end, size, low) : stride > 0 ? size : Dim(-1);
  span.first = first.value_or(Dim::unknown());
  if (!first || !last) {
    span.count = Dim::unknown();
    return span;
  }
  Dim distance = stride > 0 ? *last - *first : *first - *last;
  std::int64_t step = stride > 0 ? stride : -stride;
  // Sizes are never negative, even where nothing else is known of them.
  bool ordered = never_negative(distance) || (stride > 0 ? *first == 0 || *last == size : *last == -1);
  span.count = floor_div(distance + (step - 1), step);
  if (!ordered) span.count = maximum(span.count, 0);
  return span;
}

Result<Span> squeezed_span(Dim size, Dim begin) {
  if (begin.known() && size.known())
    POM_REQUIRE(begin.value() >= -size.value() && begin.value() < size.value(), "element {} of {} does not exist",
                begin.value(), size.value());
  Dim first = begin.known() && begin.value() < 0 ? size + begin : begin;
  return Span{.first = first, .count = 1, .squeezed = true};
}

Result<std::vector<Span>> slice_spans(const SliceFields& s) {
  std::size_t rank = s.x.rank();
  std::vector<Dim> begin = POM_TRY(vector_contents(s.begin, rank)), end = POM_TRY(vector_contents(s.end, rank));
  for (const Ints* list : {&s.stride, &s.begin_mask, &s.end_mask, &s.squeeze_mask})
    POM_REQUIRE(list->empty() || list->size() == rank, "a stride or mask has {} entries, but x has rank {}",
                list->size(), rank);
  auto marked = [](const Ints& mask, std::size_t d) { return !mask.empty() && mask[d] != 0; };
  std::vector<Span> spans;
  for (std::size_t d = 0; d < rank; ++d) {
    Dim size = s.x.shape()[d];
    if (marked(s.squeeze_mask, d)) {
      spans.push_back(POM_TRY_IN(squeezed_span(size, begin[d]), "dim {}", d));
      continue;
    }
    std::optional<Dim> from, to;
    if (!marked(s.begin_mask, d)) from = begin[d];
    if (!marked(s.end_mask, d)) to = end[d];
    // Steps beyond int32 take one element, as the largest int32 does; so nothing overflows.
    std::int64_t stride =
        s.stride.empty() ? 1 : std::clamp<std::int64_t>(s.stride[d], -(std::int64_t(1) << 31), std::int64_t(1) << 31);
    spans.push_back(POM_TRY_IN(span_of(size, from, to, stride), "dim {}", d));
  }
  return spans;
}

Shape shape_of(const std::vector<Span>& spans) {
  Shape shape;
  for (const Span& span : spans)
    if (!span.squeezed) shape.push_back(span.count);
  return shape;
}

// The same of concrete sizes. `sizes` has all dims, squeezed ones as 1.
Result<Selection> selection_of(const std::vector<Span>& spans, const Sizes& sizes) {
  Selection selection = all_elements(sizes);
  for (std::size_t d = 0; d < spans.size(); ++d) {
    POM_REQUIRE(spans[d].first.known() && spans[d].count.known(), "the bounds of dim {} are not known", d);
    selection.sizes[d] = spans[d].count.value();
    // Without elements the first one's place does not matter and may lie outside.
    if (selection.sizes[d] == 0) continue;
    selection.offset += spans[d].first.value() * selection.strides[d];
    selection.strides[d] *= spans[d].stride;
  }
  return selection;
}

Result<Tensors> selected(const InputField& x, const std::vector<Span>& spans) {
  Tensor result = select_elements(x.tensor(), POM_TRY(selection_of(spans, x.sizes())));
  return Tensors{result.reshaped(known_sizes(shape_of(spans)))};
}

std::optional<std::vector<Dim>> selected_contents(const InputField& x, const Result<std::vector<Span>>& spans) {
  auto all = x.contents();
  if (!all || !spans || spans->size() != 1) return {};
  const Span& span = (*spans)[0];
  if (!span.first.known() || !span.count.known()) return {};
  std::vector<Dim> dims;
  for (std::int64_t i = 0, at = span.first.value(); i < span.count.value(); ++i, at += span.stride) {
    if (at < 0 || at >= std::int64_t(all->size())) return {};
    dims.push_back((*all)[std::size_t(at)]);
  }
  return dims;
}

SliceFields fields_of(const slice_by_index& s) {
  return {s.x, s.begin, s.end, *s.stride, *s.begin_mask, *s.end_mask, *s.squeeze_mask};
}
SliceFields fields_of(const slice_update& s) {
  return {s.x, s.begin, s.end, *s.stride, *s.begin_mask, *s.end_mask, *s.squeeze_mask};
}

Result<std::vector<Span>> slice_spans(const slice_by_size& s) {
  std::size_t rank = s.x.rank();
  std::vector<Dim> begin = POM_TRY(vector_contents(s.begin, rank)), size = POM_TRY(vector_contents(s.size, rank));
  std::vector<Span> spans;
  for (std::size_t d = 0; d < rank; ++d) {
    Dim whole = s.x.shape()[d], first = begin[d], count = size[d];
    // What is only known when the model runs may count from the end, or mean the rest, then.
    bool sure = first.known() || never_negative(first);
    if (first.known() && first.value() < 0) first = whole + first;
    if (!sure) first = Dim::unknown();
    if (count == -1)
      count = sure ? whole - first : Dim::unknown();
    else if (!count.known() && !never_negative(count))
      count = Dim::unknown();
    Dim left = whole - first - count;
    POM_REQUIRE((!first.known() || first.value() >= 0) && (!count.known() || count.value() >= 0) &&
                    (!left.known() || left.value() >= 0),
                "begin[{}] = {} and size[{}] = {} reach outside x's {} elements", d, begin[d].text(), d, size[d].text(),
                whole.text());
    spans.push_back({.first = first, .count = count});
  }
  return spans;
}

}  // namespace

Result<Types> slice_by_index::infer(const At&) const {
  return Types{tensor_type(x.dtype(), shape_of(POM_TRY(slice_spans(fields_of(*this)))))};
}
Result<Tensors> slice_by_index::eval(const At&) const { return selected(x, POM_TRY(slice_spans(fields_of(*this)))); }
std::optional<std::vector<Dim>> slice_by_index::contents(const At&) const {
  return selected_contents(x, slice_spans(fields_of(*this)));
}

Result<Types> slice_by_size::infer(const At&) const {
  return Types{tensor_type(x.dtype(), shape_of(POM_TRY(slice_spans(*this))))};
}
Result<Tensors> slice_by_size::eval(const At&) const { return selected(x, POM_TRY(slice_spans(*this))); }
std::optional<std::vector<Dim>> slice_by_size::contents(const At&) const {
  return selected_contents(x, slice_spans(*this));
}

Result<Types> slice_update::infer(const At&) const {
  Shape slice = shape_of(POM_TRY(slice_spans(fields_of(*this))));
  POM_REQUIRE(update.rank() > 0, "update is a scalar; it needs rank 1 or more");
  POM_TRY(same_shape(update.shape(), slice, "update", "the slice"));
  return Types{x.type()};
}
Result<Tensors> slice_update::eval(const At& at) const {
  POM_TRY(infer(at));
  Tensor result = x.tensor();
  replace_elements(result, POM_TRY(selection_of(POM_TRY(slice_spans(fields_of(*this))), x.sizes())), update.tensor());
  return Tensors{std::move(result)};
}

std::vector<const OpDef*> shape_chapter() {
  return op_list<expand_dims, squeeze, reshape, reshape_like, transpose, reverse, reverse_sequence, slice_by_index,
                 slice_by_size, slice_update, sliding_windows, depth_to_space, space_to_depth, pixel_shuffle,
                 pixel_unshuffle, space_to_batch, batch_to_space>();
}

}  // namespace pomona::mil
