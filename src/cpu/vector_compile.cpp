#include "cpu/vector_compile.h"

#include <algorithm>
#include <bit>

#include "cpu/layout.h"

namespace pomona::cpu {

// Strides along the result's dimensions of a tensor that broadcasts to it.
Sizes VectorEmitter::strides_for(const Sizes& sizes, bool channels_last) const {
  Sizes own = channels_last ? channels_last_strides(sizes) : strides_of(sizes), strides(sizes_.size(), 0);
  std::size_t skipped = sizes_.size() - sizes.size();
  for (std::size_t d = 0; d < sizes.size(); ++d)
    if (sizes[d] != 1) strides[skipped + d] = own[d];
  return strides;
}

RegisterNumber VectorEmitter::add_source(SlotNumber slot, DType dtype, Sizes strides,
                                         std::vector<std::uint32_t> constant) {
  for (std::size_t i = 0; i < sources_.size(); ++i)
    if (slot != no_slot && sources_[i].slot == slot && sources_[i].source.strides == strides) return RegisterNumber(i);
  VectorSource source{VectorSource::Kind::strided, dtype, std::move(strides), false, std::move(constant)};
  sources_.push_back({std::move(source), slot});
  return RegisterNumber(sources_.size() - 1);
}

void VectorEmitter::start_from(Value value, SlotNumber result, bool rounds) {
  RegisterNumber r = add_source(result, DType::fp32, strides_for(sizes_, channels_last_), {});
  if (rounds && rounding_ == Rounding::strict) {
    code_.push_back({.op = Opcode::copy, .rounds = true, .result = next_++, .x = r});
    r = code_.back().result;
  }
  registers_[value] = last_ = r;
}

void VectorEmitter::add(const Node& node, const std::vector<std::vector<Operand>>& operands, const Type& result) {
  node_ = &node;
  operands_ = &operands;
  result_ = &result;
  std::size_t before = code_.size();
  RegisterNumber r = find_elementwise(node.op)->emit(*this);
  if (exact()) {
    bool fresh = code_.size() > before && code_.back().result == r;
    if (!fresh) r = emit(Opcode::copy, r);
    code_.back().rounds = true;
  }
  registers_[node.output()] = last_ = r;
}

RegisterNumber VectorEmitter::operand(const InputField& field) {
  auto at = registers_.find(Value(field));
  if (at != registers_.end()) return at->second;
  for (const auto& operands : *operands_)
    for (const Operand& o : operands) {
      if (o.value != Value(field)) continue;
      Place place = place_of_(o);
      return add_source(place.slot, storage_dtype(o.type->dtype),
                        strides_for(known_sizes(o.type->shape), place.channels_last), {});
    }
  return no_register;
}
RegisterNumber VectorEmitter::operand_along_channels(const InputField& field) {
  for (const auto& operands : *operands_)
    for (const Operand& o : operands)
      if (o.value == Value(field)) {
        Sizes strides(sizes_.size(), 0);
        if (sizes_[1] != 1) strides[1] = 1;
        return add_source(place_of_(o).slot, DType::fp32, std::move(strides), {});
      }
  return no_register;
}
RegisterNumber VectorEmitter::numbers_along(std::size_t axis, std::vector<float> numbers) {
  Sizes strides(sizes_.size(), 0);
  if (axis < sizes_.size() && sizes_[axis] != 1) strides[axis] = 1;
  std::vector<std::uint32_t> bits;
  for (float number : numbers) bits.push_back(std::bit_cast<std::uint32_t>(number));
  return add_source(no_slot, DType::fp32, std::move(strides), std::move(bits));
}
RegisterNumber VectorEmitter::integer(std::int32_t number) {
  return add_source(no_slot, DType::int32, Sizes(sizes_.size(), 0), {std::uint32_t(number)});
}
std::optional<float> VectorEmitter::number(const InputField& field) const {
  const Tensor* tensor = field.known();
  if (!tensor || !is_float(field.dtype()) || tensor->count() != 1) return {};
  return float(tensor->number(0));
}

RegisterNumber VectorEmitter::emit(Opcode op, RegisterNumber x, const Parameters& parameters) {
  return emit(op, x, no_register, no_register, parameters);
}
RegisterNumber VectorEmitter::emit(Opcode op, RegisterNumber x, RegisterNumber y, RegisterNumber z,
                                   const Parameters& p) {
  code_.push_back({op, p.rounds, next_++, x, y, z, p.alpha, p.beta, p.function});
  return code_.back().result;
}
const Instruction* VectorEmitter::maker(RegisterNumber r) const {
  if (r < first_computed) return nullptr;
  for (const Instruction& c : code_)
    if (c.result == r) return c.rounds ? nullptr : &c;
  return nullptr;
}

void VectorEmitter::remove_unused(RegisterNumber result) {
  std::vector<RegisterNumber> wanted{result};
  auto is_wanted = [&](RegisterNumber r) { return std::find(wanted.begin(), wanted.end(), r) != wanted.end(); };
  std::vector<Instruction> kept;
  for (std::size_t i = code_.size(); i-- > 0;) {
    if (!is_wanted(code_[i].result)) continue;
    for (RegisterNumber r : {code_[i].x, code_[i].y, code_[i].z})
      if (r != no_register) wanted.push_back(r);
    kept.insert(kept.begin(), code_[i]);
  }
  code_ = std::move(kept);
}

// Dimensions in the order of memory; neighbours that every tensor walks as one become one.
void VectorEmitter::collapse(VectorProgram& program) const {
  Sizes sizes;
  std::vector<Sizes> strides(sources_.size());
  std::vector<std::size_t> order = channels_last_ ? channels_last_order(sizes_.size()) : std::vector<std::size_t>();
  for (std::size_t i = 0; i < sizes_.size(); ++i) {
    std::size_t d = order.empty() ? i : order[i];
    if (sizes_[d] == 1) continue;
    bool joins = !sizes.empty();
    for (std::size_t s = 0; joins && s < sources_.size(); ++s)
      joins = strides[s].back() == sources_[s].source.strides[d] * sizes_[d];
    if (joins)
      sizes.back() *= sizes_[d];
    else
      sizes.push_back(sizes_[d]);
    for (std::size_t s = 0; s < sources_.size(); ++s) {
      if (joins) strides[s].pop_back();
      strides[s].push_back(sources_[s].source.strides[d]);
    }
  }
  if (sizes.empty()) {
    sizes.push_back(1);
    for (Sizes& s : strides) s.push_back(0);
  }
  Sizes whole = strides_of(sizes);
  for (std::size_t s = 0; s < sources_.size(); ++s) {
    VectorSource source = sources_[s].source;
    source.strides = strides[s];
    auto zero = [](std::int64_t stride) { return stride == 0; };
    using Kind = VectorSource::Kind;
    if (std::all_of(strides[s].begin(), strides[s].end(), zero))
      source.kind = Kind::scalar;
    else if (strides[s] == whole)
      source.kind = Kind::whole;
    else if (sizes.size() > 1 && std::all_of(strides[s].begin(), strides[s].end() - 1, zero))
      source.kind = Kind::periodic;
    program.sources.push_back(std::move(source));
  }
  program.sizes = std::move(sizes);
  program.run = std::size_t(std::max<std::int64_t>(program.sizes.back(), 1));
  program.chunk = program.run <= largest_chunk ? largest_chunk / program.run * program.run : largest_chunk;
}

// Sources that are read where they lie: whole ones, and scalars that the instructions take as such.
void VectorEmitter::choose_direct(VectorProgram& program) const {
  for (VectorSource& source : program.sources) {
    bool wide = element_size_bytes(source.dtype) == 4;
    source.direct = wide && (source.kind == VectorSource::Kind::whole || source.kind == VectorSource::Kind::scalar);
  }
  auto scalar = [&](RegisterNumber r) {
    return r < program.sources.size() && program.sources[r].kind == VectorSource::Kind::scalar &&
           program.sources[r].direct;
  };
  for (const Instruction& c : program.code) {
    bool two = c.y != no_register && c.z == no_register;
    if (scalar(c.x) && (!two || scalar(c.y))) program.sources[c.x].direct = false;
  }
}

bool VectorEmitter::assign_buffers(VectorProgram& program) {
  std::size_t registers = program.sources.size() + program.code.size();
  std::vector<std::size_t> last_use(registers, 0);
  for (std::size_t i = 0; i < program.code.size(); ++i)
    for (RegisterNumber r : {program.code[i].x, program.code[i].y, program.code[i].z})
      if (r != no_register) last_use[r] = i;
  program.buffers.assign(registers, 0);
  std::vector<std::uint8_t> free;
  for (std::size_t r = 0; r < program.sources.size(); ++r)
    if (!program.sources[r].direct) program.buffers[r] = std::uint8_t(program.buffer_count++);
  for (std::size_t i = 0; i < program.code.size(); ++i) {
    const Instruction& c = program.code[i];
    std::vector<RegisterNumber> dead{c.x, c.y, c.z};
    std::sort(dead.begin(), dead.end());
    dead.erase(std::unique(dead.begin(), dead.end()), dead.end());
    for (RegisterNumber r : dead)
      if (r != no_register && r >= program.sources.size() && last_use[r] == i) free.push_back(program.buffers[r]);
    if (free.empty()) free.push_back(std::uint8_t(program.buffer_count++));
    program.buffers[c.result] = free.back();
    free.pop_back();
  }
  return program.buffer_count <= most_buffers && registers <= most_registers;
}

std::optional<Finish> VectorEmitter::finish(SlotNumber result, DType dtype) {
  bool rounds = dtype == DType::fp16;
  remove_unused(last_);
  if (code_.empty() || code_.back().result != last_) last_ = emit(Opcode::copy, last_);
  if (rounds) code_.back().rounds = true;
  auto program = std::make_shared<VectorProgram>();
  program->result = storage_dtype(dtype);
  std::map<RegisterNumber, RegisterNumber> renumbered{{no_register, no_register}};
  for (std::size_t i = 0; i < sources_.size(); ++i) renumbered[RegisterNumber(i)] = RegisterNumber(i);
  for (Instruction c : code_) {
    renumbered[c.result] = RegisterNumber(renumbered.size() - 1);
    for (RegisterNumber* r : {&c.result, &c.x, &c.y, &c.z}) *r = renumbered[*r];
    program->code.push_back(c);
  }
  collapse(*program);
  choose_direct(*program);
  if (!assign_buffers(*program)) return {};
  Finish finish;
  for (const Source& source : sources_)
    if (source.source.constant.empty()) finish.sources.push_back(source.slot);
  finish.program = std::move(program);
  finish.result = result;
  return finish;
}

}  // namespace pomona::cpu
