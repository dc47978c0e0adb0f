// Python's pickle format (protocols 0 to 5) read without running anything: calls become nodes that say what would have
// been called with what, and it is for the reader of the result to know a few of them.
//
//   Pickle p = POM_TRY(read_pickle(bytes));
//   p.root                                   // e.g. a Node of kind dictionary
//   node->name                               // "torch._utils _rebuild_tensor_v2" of a call
//
// It is a stack machine over values; no value owns another, so that cyclic and deeply nested pickles do no harm.
#pragma once
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace pomona::pytorch {

struct Node;

struct Item {
  enum class Kind : std::uint8_t { none, boolean, integer, real, text, bytes, node, mark };
  Kind kind = Kind::none;
  std::int64_t integer = 0;
  double real = 0;
  std::string_view text;  // of the pickle's own bytes
  Node* node = nullptr;
};

struct Node {
  enum class Kind : std::uint8_t { list, tuple, dictionary, set, global, call, persistent };
  Kind kind;
  std::string name;           // of a global, or of what is called: module and name with a blank between
  std::vector<Item> items;    // elements; arguments of a call; key, value, key, value of a dictionary
  std::vector<Item> members;  // of a call's result: what was put into it after it was made, keys and values in turn
};

struct Pickle {
  std::deque<Node> nodes;
  Item root;
  std::size_t size = 0;  // bytes read; another pickle may follow
};

Result<Pickle> read_pickle(const Bytes& bytes);

}  // namespace pomona::pytorch
