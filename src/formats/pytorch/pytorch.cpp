#include "formats/pytorch/pytorch.h"

#include <fmt/format.h>

#include <cstring>
#include <set>

#include "base/zip.h"
#include "formats/pytorch/pickle.h"

namespace pomona::pytorch {
namespace {

constexpr int deepest = 32;
constexpr std::uint64_t largest_repetition = 1 << 24;
constexpr std::size_t most_visited = 1'000'000;

struct StorageType {
  std::string_view name;  // with "Storage" behind it
  DType dtype;
};
constexpr StorageType storage_types[] = {{"Float", DType::fp32},   {"Half", DType::fp16},    {"BFloat16", DType::bf16},
                                         {"Double", DType::fp64},  {"Long", DType::int64},   {"Int", DType::int32},
                                         {"Short", DType::int16},  {"Char", DType::int8},    {"Byte", DType::uint8},
                                         {"Bool", DType::boolean}, {"Untyped", DType::uint8}};
// As torch.float8_e4m3fn and its like are pickled.
constexpr StorageType element_types[] = {{"float32", DType::fp32},
                                         {"float16", DType::fp16},
                                         {"bfloat16", DType::bf16},
                                         {"float64", DType::fp64},
                                         {"int64", DType::int64},
                                         {"int32", DType::int32},
                                         {"int16", DType::int16},
                                         {"int8", DType::int8},
                                         {"uint8", DType::uint8},
                                         {"uint16", DType::uint16},
                                         {"uint32", DType::uint32},
                                         {"uint64", DType::uint64},
                                         {"float8_e4m3fn", DType::f8e4m3fn},
                                         {"float8_e5m2", DType::f8e5m2},
                                         {"bool", DType::boolean}};

struct Layout {
  DType dtype;
  std::string stored;
  std::int64_t offset = 0;  // in elements, as the strides
  Sizes sizes, strides;
};

bool contiguous(const Layout& layout) {
  std::int64_t expected = 1;
  for (std::size_t d = layout.sizes.size(); d-- > 0;) {
    if (layout.sizes[d] != 1 && layout.strides[d] != expected) return false;
    expected *= layout.sizes[d];
  }
  return true;
}

// Elements of the storage that the tensor reaches; checked against overflow.
Result<std::uint64_t> reach(const Layout& layout) {
  std::uint64_t last = std::uint64_t(layout.offset), count = 1;
  bool fits = layout.offset >= 0;
  for (std::size_t d = 0; d < layout.sizes.size(); ++d) {
    fits = fits && layout.sizes[d] >= 0 && layout.strides[d] >= 0 &&
           !__builtin_mul_overflow(count, std::uint64_t(layout.sizes[d]), &count) && count < 1ULL << 48;
    std::uint64_t way = 0;
    fits = fits && (layout.sizes[d] == 0 || (!__builtin_mul_overflow(std::uint64_t(layout.sizes[d] - 1),
                                                                     std::uint64_t(layout.strides[d]), &way) &&
                                             !__builtin_add_overflow(last, way, &last) && last < 1ULL << 48));
  }
  POM_REQUIRE(fits, "sizes {} with strides {} are impossible", to_string(layout.sizes), to_string(layout.strides));
  return count == 0 ? 0 : last + 1;
}

// The elements in row-major order.
Tensor gathered(const Layout& layout, const std::uint8_t* storage) {
  Tensor out(layout.dtype, layout.sizes);
  std::size_t width = element_size_bytes(layout.dtype), rank = layout.sizes.size();
  std::uint8_t* to = out.mutable_data();
  Sizes at(rank, 0);
  for (std::size_t i = 0; i < out.count(); ++i, to += width) {
    std::int64_t from = layout.offset;
    for (std::size_t d = 0; d < rank; ++d) from += at[d] * layout.strides[d];
    std::memcpy(to, storage + std::size_t(from) * width, width);
    for (std::size_t d = rank; d-- > 0 && ++at[d] == layout.sizes[d];) at[d] = 0;
  }
  return out;
}

class Reader {
 public:
  Reader(const Bytes& file, std::map<std::string, ZipMember> members) : file_(file), members_(std::move(members)) {}

  // Adds the tensors below an item; errors: a call that is not known.
  Status collect(const Item& item, const std::string& name, int depth) {
    POM_REQUIRE(depth < deepest, "the dictionaries are nested more than {} deep", deepest);
    if (item.kind != Item::Kind::node) return {};
    // What many others share would be gone through again and again.
    POM_REQUIRE(++visited_ < most_visited, "the pickle names more than {} things", most_visited);
    Node& node = *item.node;
    switch (node.kind) {
      case Node::Kind::dictionary:
        return collect_pairs(node.items, name, depth);
      case Node::Kind::list:
      case Node::Kind::tuple:
        for (std::size_t i = 0; i < node.items.size(); ++i)
          POM_TRY(collect(node.items[i], joined(name, std::to_string(i)), depth + 1));
        return {};
      case Node::Kind::call:
        return collect_call(node, name, depth);
      default:
        return {};
    }
  }

  Entries entries;

 private:
  static std::string joined(const std::string& a, const std::string& b) { return a.empty() ? b : a + "." + b; }

  Status collect_pairs(const std::vector<Item>& pairs, const std::string& name, int depth) {
    for (std::size_t i = 0; i + 1 < pairs.size(); i += 2) {
      if (pairs[i + 1].kind != Item::Kind::node) continue;
      std::string key = pairs[i].kind == Item::Kind::text      ? std::string(pairs[i].text)
                        : pairs[i].kind == Item::Kind::integer ? std::to_string(pairs[i].integer)
                                                               : "?";
      POM_TRY(collect(pairs[i + 1], joined(name, key), depth + 1));
    }
    return {};
  }

  Status collect_call(const Node& call, const std::string& name, int depth) {
    if (call.name == "collections OrderedDict" || call.name == "collections defaultdict")
      return collect_pairs(call.members, name, depth);
    if (call.name == "torch._utils _rebuild_parameter" || call.name == "torch._utils _rebuild_parameter_with_state" ||
        call.name == "torch.nn.parameter Parameter") {
      POM_REQUIRE(!call.items.empty(), "a parameter without a tensor");
      return collect(call.items[0], name, depth + 1);
    }
    if (call.name == "torch._tensor _rebuild_from_type_v2" && call.items.size() >= 3 &&
        call.items[2].kind == Item::Kind::node && call.items[0].kind == Item::Kind::node) {
      Node inner{Node::Kind::call, call.items[0].node->name, call.items[2].node->items, {}};
      return collect_call(inner, name, depth + 1);
    }
    if (call.name.starts_with("torch._utils _rebuild_tensor")) {
      Entry entry = POM_TRY_IN(tensor(call), "tensor '{}'", name);
      POM_REQUIRE(entries.emplace(name, std::move(entry)).second, "two tensors are called '{}'", name);
      return {};
    }
    // Sizes, devices and dtypes among training arguments are no tensors, and harmless.
    if (call.name == "torch Size" || call.name == "torch device") return {};
    return fail("it wants to call '{}', which is no part of a tensor; nothing of it was run", call.name)
        .in(fmt::format("'{}'", name));
  }

  static Result<std::int64_t> integer(const Item& item) {
    POM_REQUIRE(item.kind == Item::Kind::integer, "a number is missing");
    return item.integer;
  }
  static Result<Sizes> integers(const Item& item) {
    POM_REQUIRE(item.kind == Item::Kind::node && item.node->items.size() <= 16, "sizes or strides are missing");
    Sizes sizes;
    for (const Item& each : item.node->items) sizes.push_back(POM_TRY(integer(each)));
    return sizes;
  }

  // _rebuild_tensor(storage, offset, sizes, strides, ...); the third version names the dtype as its seventh argument.
  Result<Entry> tensor(const Node& call) {
    POM_REQUIRE(call.items.size() >= 4 && call.items[0].kind == Item::Kind::node &&
                    call.items[0].node->kind == Node::Kind::persistent,
                "it is made of no storage");
    const Item& id = call.items[0].node->items[0];
    POM_REQUIRE(id.kind == Item::Kind::node && id.node->items.size() >= 5 && id.node->items[0].text == "storage" &&
                    id.node->items[1].kind == Item::Kind::node && id.node->items[2].kind == Item::Kind::text,
                "its storage is described in a way that is not known");
    Layout layout;
    POM_TRY(set_dtype(call, *id.node->items[1].node, layout));
    layout.offset = POM_TRY(integer(call.items[1]));
    layout.sizes = POM_TRY(integers(call.items[2]));
    layout.strides = POM_TRY(integers(call.items[3]));
    POM_REQUIRE(layout.sizes.size() == layout.strides.size(), "it has {} sizes and {} strides", layout.sizes.size(),
                layout.strides.size());
    return Entry{layout.stored, POM_TRY(weight(layout, std::string(id.node->items[2].text)))};
  }

  static Status set_dtype(const Node& call, const Node& storage, Layout& layout) {
    std::string_view name = storage.name;
    name = name.substr(name.rfind(' ') + 1);
    bool named = call.name.ends_with("_v3") && call.items.size() >= 7 && call.items[6].kind == Item::Kind::node;
    if (named) {
      name = call.items[6].node->name;
      name = name.substr(name.rfind(' ') + 1);
    } else {
      POM_REQUIRE(name.ends_with("Storage"), "its storage is a '{}'", storage.name);
      name.remove_suffix(7);
    }
    for (const auto& [known, dtype] : named ? std::span<const StorageType>(element_types) : storage_types)
      if (known == name) {
        layout.dtype = dtype;
        layout.stored = std::string(name);
        return {};
      }
    return fail("its elements are of type '{}', which is not known", name);
  }

  Result<Weight> weight(const Layout& layout, const std::string& key) {
    auto member = members_.find(key);
    POM_REQUIRE(member != members_.end(), "its storage '{}' is not in the archive", key);
    std::uint64_t wanted = POM_TRY(reach(layout)) * element_size_bytes(layout.dtype);
    POM_REQUIRE(wanted <= member->second.size, "it reaches to byte {} of storage '{}', which has {}", wanted, key,
                member->second.size);
    // Strides of 0 repeat elements, but no model has a large tensor of few numbers.
    std::uint64_t size = stored_size_bytes(layout.dtype, std::uint64_t(element_count(layout.sizes)));
    POM_REQUIRE(size <= member->second.size + largest_repetition, "it has {} bytes, made of the {} of storage '{}'",
                size, member->second.size, key);
    Weight storage = storage_of(key, member->second);
    std::string what = fmt::format("{} {} at {} by {}", name(layout.dtype), to_string(layout.sizes), layout.offset,
                                   to_string(layout.strides));
    return Weight::derived(
        {what, layout.dtype, layout.sizes, {storage}, [layout](std::span<const Tensor> in) -> Result<Tensor> {
           if (!contiguous(layout)) return gathered(layout, in[0].data());
           std::size_t width = element_size_bytes(layout.dtype);
           const std::uint8_t* begin = in[0].data() + std::size_t(layout.offset) * width;
           std::size_t size = std::size_t(element_count(layout.sizes)) * width;
           // The elements where they are, if they may be read there.
           if (reinterpret_cast<std::uintptr_t>(begin) % width == 0)
             return Tensor(layout.dtype, layout.sizes, Bytes(std::make_shared<const Tensor>(in[0]), {begin, size}));
           Tensor copy(layout.dtype, layout.sizes);
           std::memcpy(copy.mutable_data(), begin, size);
           return copy;
         }});
  }

  // A member of the archive, unpacked and checked when it is needed.
  Weight storage_of(const std::string& key, const ZipMember& member) {
    auto found = storages_.find(key);
    if (found != storages_.end()) return found->second;
    std::string what = fmt::format("storage {} of {}", member.name, static_cast<const void*>(file_.data()));
    Weight storage = Weight::derived({what,
                                      DType::uint8,
                                      {std::int64_t(member.size)},
                                      {},
                                      [file = file_, member](std::span<const Tensor>) -> Result<Tensor> {
                                        Bytes contents = POM_TRY(zip_contents(file, member));
                                        POM_REQUIRE(contents.size() == member.size, "'{}' has {} bytes, not {}",
                                                    member.name, contents.size(), member.size);
                                        return Tensor(DType::uint8, {std::int64_t(member.size)}, contents);
                                      }});
    storages_[key] = storage;
    return storage;
  }

  Bytes file_;
  std::map<std::string, ZipMember> members_;
  std::map<std::string, Weight> storages_;
  std::size_t visited_ = 0;
};

// A dictionary that holds everything under one of the usual keys is opened.
Entries opened(Entries entries) {
  for (const char* key : {"state_dict.", "model_state_dict.", "module.", "model_state."}) {
    bool all = !entries.empty();
    for (const auto& [name, entry] : entries) all = all && name.starts_with(key);
    if (!all) continue;
    Entries inner;
    for (auto& [name, entry] : entries) inner[name.substr(std::strlen(key))] = std::move(entry);
    entries = std::move(inner);
  }
  return entries;
}

}  // namespace

Result<Entries> parse_pytorch(const Bytes& bytes) {
  POM_REQUIRE(
      bytes.text().starts_with("PK\x03\x04"),
      "this is no zip archive, as PyTorch writes them since version 1.6 (older files: load and save them again)");
  const ZipMember* data = nullptr;
  auto all = POM_TRY(zip_members(bytes));
  std::map<std::string, ZipMember> storages;
  for (const ZipMember& member : all) {
    if (member.name.ends_with("/data.pkl") || member.name == "data.pkl") data = &member;
    std::size_t at = member.name.rfind("/data/");
    if (at != member.name.npos) storages[member.name.substr(at + 6)] = member;
    if (member.name.ends_with("/byteorder")) {
      Bytes order = POM_TRY(zip_contents(bytes, member));
      POM_REQUIRE(order.text() == "little", "the file's numbers are {}-endian", order.text().substr(0, 20));
    }
    POM_REQUIRE(!member.name.ends_with("/constants.pkl"), "this is a TorchScript program, not a dictionary of weights");
  }
  POM_REQUIRE(data, "the archive has no data.pkl, so PyTorch did not write it");
  Bytes text = POM_TRY(zip_contents(bytes, *data));
  Pickle pickle = POM_TRY_IN(read_pickle(text), "'{}'", data->name);
  Reader reader(bytes, std::move(storages));
  POM_TRY_IN(reader.collect(pickle.root, "", 0), "'{}'", data->name);
  POM_REQUIRE(!reader.entries.empty(), "there are no tensors in it");
  return opened(std::move(reader.entries));
}

Result<Entries> read_pytorch(const std::string& path) {
  return POM_TRY_IN(parse_pytorch(POM_TRY(map_file(path))), "file '{}'", path);
}

}  // namespace pomona::pytorch
