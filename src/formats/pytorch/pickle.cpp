#include "formats/pytorch/pickle.h"

#include <bit>
#include <charconv>
#include <cstring>
#include <unordered_map>

namespace pomona::pytorch {
namespace {

using Kind = Item::Kind;

class Machine {
 public:
  explicit Machine(const Bytes& bytes) : bytes_(bytes) {}

  Result<Pickle> run() {
    while (true) {
      std::size_t at = at_;
      std::uint8_t code = *POM_TRY(take(1));
      if (code == '.') break;
      POM_TRY_IN(step(code), "byte {} of the pickle", at);
    }
    pickle_.root = POM_TRY(pop());
    pickle_.size = at_;
    return std::move(pickle_);
  }

 private:
  Result<const std::uint8_t*> take(std::uint64_t size) {
    POM_REQUIRE(size <= bytes_.size() - at_, "the pickle ends at byte {}, where {} more were promised", bytes_.size(),
                size);
    const std::uint8_t* begin = bytes_.data() + at_;
    at_ += std::size_t(size);
    return begin;
  }
  template <class T>
  Result<T> number() {
    T value;
    std::memcpy(&value, POM_TRY(take(sizeof(T))), sizeof(T));
    return value;
  }
  Result<std::string_view> text(std::uint64_t size) {
    return std::string_view(reinterpret_cast<const char*>(POM_TRY(take(size))), std::size_t(size));
  }
  Result<std::string_view> line() {
    std::size_t end = bytes_.text().find('\n', at_);
    POM_REQUIRE(end != std::string_view::npos, "a line of the pickle has no end");
    std::string_view result = bytes_.text().substr(at_, end - at_);
    at_ = end + 1;
    return result;
  }

  void push(Item item) { stack_.push_back(item); }
  void push_integer(std::int64_t value) { push({Kind::integer, value, 0, {}, nullptr}); }
  void push_text(std::string_view value, Kind kind = Kind::text) { push({kind, 0, 0, value, nullptr}); }
  Node* new_node(Node::Kind kind) {
    pickle_.nodes.push_back({kind, {}, {}, {}});
    return &pickle_.nodes.back();
  }
  void push_node(Node* node) { push({Kind::node, 0, 0, {}, node}); }
  Result<Item> pop() {
    POM_REQUIRE(!stack_.empty() && stack_.back().kind != Kind::mark, "the pickle takes from an empty stack");
    Item item = stack_.back();
    stack_.pop_back();
    return item;
  }
  Result<Node*> top_node() {
    POM_REQUIRE(!stack_.empty() && stack_.back().kind == Kind::node,
                "the pickle puts something into what is no object");
    return stack_.back().node;
  }
  // What lies above the last mark, which goes too.
  Result<std::vector<Item>> above_mark() {
    std::size_t i = stack_.size();
    while (i > 0 && stack_[i - 1].kind != Kind::mark) --i;
    POM_REQUIRE(i > 0, "the pickle goes back to a mark that is not there");
    std::vector<Item> items(stack_.begin() + std::ptrdiff_t(i), stack_.end());
    stack_.resize(i - 1);
    return items;
  }
  void push_made(Node::Kind kind, std::vector<Item> items) {
    Node* node = new_node(kind);
    node->items = std::move(items);
    push_node(node);
  }
  Status tuple_of(std::size_t count) {
    std::vector<Item> items(count);
    for (std::size_t i = count; i-- > 0;) items[i] = POM_TRY(pop());
    push_made(Node::Kind::tuple, std::move(items));
    return {};
  }
  // Adds to a list or dictionary itself, to what is made by a call beside its arguments.
  static void add(Node* to, const std::vector<Item>& items) {
    auto& where = to->kind == Node::Kind::call ? to->members : to->items;
    where.insert(where.end(), items.begin(), items.end());
  }
  Status push_global(std::string_view module, std::string_view name) {
    Node* node = new_node(Node::Kind::global);
    node->name = std::string(module) + " " + std::string(name);
    push_node(node);
    return {};
  }
  Status call() {
    Item arguments = POM_TRY(pop()), callee = POM_TRY(pop());
    POM_REQUIRE(callee.kind == Kind::node && callee.node->kind == Node::Kind::global,
                "the pickle calls what is no name");
    POM_REQUIRE(arguments.kind == Kind::node && arguments.node->kind == Node::Kind::tuple,
                "the pickle calls {} without a tuple of arguments", callee.node->name);
    Node* node = new_node(Node::Kind::call);
    node->name = callee.node->name;
    node->items = arguments.node->items;
    push_node(node);
    return {};
  }
  Status remember(std::uint64_t index) {
    POM_REQUIRE(!stack_.empty(), "the pickle remembers nothing");
    memo_[index] = stack_.back();
    return {};
  }
  Status recall(std::uint64_t index) {
    auto found = memo_.find(index);
    POM_REQUIRE(found != memo_.end(), "the pickle recalls number {}, which it never remembered", index);
    push(found->second);
    return {};
  }
  Status persistent(const Item& id) {
    push_made(Node::Kind::persistent, {id});
    return {};
  }
  Status long_number(std::uint64_t size) {
    const std::uint8_t* bytes = POM_TRY(take(size));
    POM_REQUIRE(size <= 8, "a number of {} bytes is too large", size);
    std::int64_t value = 0;
    for (std::uint64_t i = 0; i < size; ++i) value |= std::int64_t(std::uint64_t(bytes[i]) << (8 * i));
    if (size > 0 && size < 8 && bytes[size - 1] & 0x80) value |= std::int64_t(~0ull << (8 * size));
    push_integer(value);
    return {};
  }
  Status decimal() {
    std::string_view digits = POM_TRY(line());
    if (digits == "00" || digits == "01") {
      push({Kind::boolean, digits == "01", 0, {}, nullptr});
      return {};
    }
    if (digits.ends_with('L')) digits.remove_suffix(1);
    std::int64_t value = 0;
    auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    POM_REQUIRE(error == std::errc() && end == digits.data() + digits.size(), "'{}' is no whole number",
                digits.substr(0, 40));
    push_integer(value);
    return {};
  }

  Status step(std::uint8_t code);
  Status step_number(std::uint8_t code);
  Status step_text(std::uint8_t code);
  Status step_container(std::uint8_t code);

  Bytes bytes_;
  std::size_t at_ = 0;
  std::vector<Item> stack_;
  std::unordered_map<std::uint64_t, Item> memo_;
  Pickle pickle_;
};

Status Machine::step(std::uint8_t code) {
  switch (code) {
    case 0x80:  // PROTO
      POM_REQUIRE(*POM_TRY(take(1)) <= 5, "the pickle is of a protocol after 5");
      return {};
    case 0x95:  // FRAME
      POM_TRY(take(8));
      return {};
    case '0':  // POP
      POM_REQUIRE(!stack_.empty(), "the pickle takes from an empty stack");
      stack_.pop_back();
      return {};
    case '1':  // POP_MARK
      POM_TRY(above_mark());
      return {};
    case '2':  // DUP
      POM_REQUIRE(!stack_.empty(), "the pickle takes from an empty stack");
      push(stack_.back());
      return {};
    case '(':
      push({Kind::mark, 0, 0, {}, nullptr});
      return {};
    case 'c': {  // GLOBAL
      std::string_view module = POM_TRY(line());
      return push_global(module, POM_TRY(line()));
    }
    case 0x93: {  // STACK_GLOBAL
      Item name = POM_TRY(pop()), module = POM_TRY(pop());
      POM_REQUIRE(name.kind == Kind::text && module.kind == Kind::text, "the pickle names a global by no text");
      return push_global(module.text, name.text);
    }
    case 'R':   // REDUCE
    case 0x81:  // NEWOBJ
      return call();
    case 'b': {  // BUILD: the state of an object, of no use without its class
      POM_TRY(pop());
      POM_TRY(top_node());
      return {};
    }
    case 'p':
    case 'g': {  // PUT, GET
      std::string_view digits = POM_TRY(line());
      std::uint64_t index = 0;
      auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
      POM_REQUIRE(error == std::errc() && end == digits.data() + digits.size(), "the pickle's memory has no place '{}'",
                  digits.substr(0, 40));
      return code == 'p' ? remember(index) : recall(index);
    }
    case 'q':  // BINPUT
      return remember(*POM_TRY(take(1)));
    case 'r':
      return remember(POM_TRY(number<std::uint32_t>()));
    case 0x94:  // MEMOIZE
      return remember(memo_.size());
    case 'h':  // BINGET
      return recall(*POM_TRY(take(1)));
    case 'j':
      return recall(POM_TRY(number<std::uint32_t>()));
    case 'Q':  // BINPERSID
      return persistent(POM_TRY(pop()));
    case 'P': {
      std::string_view id = POM_TRY(line());
      return persistent({Kind::text, 0, 0, id, nullptr});
    }
    default:
      return step_number(code);
  }
}

Status Machine::step_number(std::uint8_t code) {
  switch (code) {
    case 'N':
      push({});
      return {};
    case 0x88:
    case 0x89:
      push({Kind::boolean, code == 0x88, 0, {}, nullptr});
      return {};
    case 'J':
      push_integer(POM_TRY(number<std::int32_t>()));
      return {};
    case 'K':
      push_integer(*POM_TRY(take(1)));
      return {};
    case 'M':
      push_integer(POM_TRY(number<std::uint16_t>()));
      return {};
    case 0x8A:  // LONG1
      return long_number(*POM_TRY(take(1)));
    case 0x8B: {
      auto size = POM_TRY(number<std::int32_t>());
      POM_REQUIRE(size >= 0, "a number has {} bytes", size);
      return long_number(std::uint64_t(size));
    }
    case 'I':
    case 'L':
      return decimal();
    case 'G': {  // BINFLOAT, big-endian
      auto bits = POM_TRY(number<std::uint64_t>());
      push({Kind::real, 0, std::bit_cast<double>(__builtin_bswap64(bits)), {}, nullptr});
      return {};
    }
    case 'F':
      POM_TRY(line());
      push({Kind::real, 0, 0, {}, nullptr});
      return {};
    default:
      return step_text(code);
  }
}

Status Machine::step_text(std::uint8_t code) {
  switch (code) {
    case 'X':
      push_text(POM_TRY(text(POM_TRY(number<std::uint32_t>()))));
      return {};
    case 0x8C:
    case 'U':
      push_text(POM_TRY(text(*POM_TRY(take(1)))));
      return {};
    case 0x8D:
      push_text(POM_TRY(text(POM_TRY(number<std::uint64_t>()))));
      return {};
    case 'T':
      push_text(POM_TRY(text(POM_TRY(number<std::uint32_t>()))));
      return {};
    case 'S': {
      std::string_view quoted = POM_TRY(line());
      POM_REQUIRE(quoted.size() >= 2, "a text has no quotes");
      push_text(quoted.substr(1, quoted.size() - 2));
      return {};
    }
    case 'V':
      push_text(POM_TRY(line()));
      return {};
    case 'C':
      push_text(POM_TRY(text(*POM_TRY(take(1)))), Kind::bytes);
      return {};
    case 'B':
      push_text(POM_TRY(text(POM_TRY(number<std::uint32_t>()))), Kind::bytes);
      return {};
    case 0x8E:
      push_text(POM_TRY(text(POM_TRY(number<std::uint64_t>()))), Kind::bytes);
      return {};
    default:
      return step_container(code);
  }
}

Status Machine::step_container(std::uint8_t code) {
  switch (code) {
    case '}':
      push_made(Node::Kind::dictionary, {});
      return {};
    case ']':
      push_made(Node::Kind::list, {});
      return {};
    case ')':
      push_made(Node::Kind::tuple, {});
      return {};
    case 0x8F:
      push_made(Node::Kind::set, {});
      return {};
    case 't':
      push_made(Node::Kind::tuple, POM_TRY(above_mark()));
      return {};
    case 'l':
      push_made(Node::Kind::list, POM_TRY(above_mark()));
      return {};
    case 'd':
      push_made(Node::Kind::dictionary, POM_TRY(above_mark()));
      return {};
    case 0x85:
    case 0x86:
    case 0x87:
      return tuple_of(std::size_t(code) - 0x84);
    case 's': {
      Item value = POM_TRY(pop()), key = POM_TRY(pop());
      add(POM_TRY(top_node()), {key, value});
      return {};
    }
    case 'u':
    case 'e':
    case 0x90: {  // SETITEMS, APPENDS, ADDITEMS
      std::vector<Item> items = POM_TRY(above_mark());
      POM_REQUIRE(code != 'u' || items.size() % 2 == 0, "the pickle sets a key without a value");
      add(POM_TRY(top_node()), items);
      return {};
    }
    case 'a': {
      Item item = POM_TRY(pop());
      add(POM_TRY(top_node()), {item});
      return {};
    }
    default:
      return fail("instruction 0x{:02x} of pickle is not known", code);
  }
}

}  // namespace

Result<Pickle> read_pickle(const Bytes& bytes) { return Machine(bytes).run(); }

}  // namespace pomona::pytorch
