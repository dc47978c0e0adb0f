#include "cpu/vector_program.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/threads.h"
#include "cpu/vector_program_kernels.h"

namespace pomona::cpu {
namespace {

struct alignas(64) Buffer {
  std::uint32_t lanes[largest_chunk];
};

template <class T>
void widen(const T* from, std::int64_t stride, std::uint32_t* to, std::size_t count) {
  if (stride == 0) return (void)std::fill_n(to, count, std::uint32_t(std::int32_t(*from)));
  for (std::size_t i = 0; i < count; ++i) to[i] = std::uint32_t(std::int32_t(from[std::ptrdiff_t(i) * stride]));
}

// Elements `stride` apart, as 32-bit lanes.
void load(const VectorSource& source, const std::uint8_t* data, std::int64_t element, std::int64_t stride,
          std::uint32_t* to, std::size_t count) {
  switch (source.dtype) {
    case DType::boolean:
    case DType::uint8:
      return widen(data + element, stride, to, count);
    case DType::int8:
      return widen(reinterpret_cast<const std::int8_t*>(data) + element, stride, to, count);
    case DType::int16:
      return widen(reinterpret_cast<const std::int16_t*>(data) + element, stride, to, count);
    case DType::uint16:
      return widen(reinterpret_cast<const std::uint16_t*>(data) + element, stride, to, count);
    default: {
      const auto* from = reinterpret_cast<const std::uint32_t*>(data) + element;
      if (stride == 1) return (void)std::memcpy(to, from, count * 4);
      if (stride == 0) return (void)std::fill_n(to, count, *from);
      for (std::size_t i = 0; i < count; ++i) to[i] = from[std::ptrdiff_t(i) * stride];
    }
  }
}

void store(DType dtype, const std::uint32_t* from, std::uint8_t* data, std::size_t begin, std::size_t count) {
  if (element_size_bytes(dtype) == 2) {
    auto* to = reinterpret_cast<std::uint16_t*>(data) + begin;
    for (std::size_t i = 0; i < count; ++i) to[i] = std::uint16_t(from[i]);
  } else {
    for (std::size_t i = 0; i < count; ++i) data[begin + i] = std::uint8_t(from[i]);
  }
}

class Run {
 public:
  Run(const VectorProgram& program, const void* const* sources, void* destination)
      : p_(program), destination_(static_cast<std::uint8_t*>(destination)) {
    for (const VectorSource& source : p_.sources)
      data_[count_++] = source.constant.empty() ? static_cast<const std::uint8_t*>(*sources++)
                                                : reinterpret_cast<const std::uint8_t*>(source.constant.data());
  }

  void operator()(std::size_t begin, std::size_t end) {
    aligned_ = begin % p_.run == 0;
    load_once();
    for (std::size_t at = begin; at < end;) {
      std::size_t count = std::min(p_.chunk, end - at);
      // A chunk holds whole runs, or a part of one.
      if (p_.chunk % p_.run != 0 || !aligned_) count = std::min(count, p_.run - at % p_.run);
      chunk(at, count);
      at += count;
    }
  }

 private:
  bool whole_runs() const { return aligned_ && p_.chunk % p_.run == 0; }
  std::uint32_t* buffer(std::size_t r) { return buffers_[p_.buffers[r]].lanes; }

  void load_once() {
    for (std::size_t r = 0; r < p_.sources.size(); ++r) {
      const VectorSource& source = p_.sources[r];
      registers_[r] = {data_[r], source.kind == VectorSource::Kind::scalar && source.direct};
      if (source.direct) continue;
      if (source.kind == VectorSource::Kind::scalar) load(source, data_[r], 0, 0, buffer(r), largest_chunk);
      if (source.kind == VectorSource::Kind::periodic && whole_runs())
        for (std::size_t i = 0; i < p_.chunk; i += p_.run)
          load(source, data_[r], 0, source.strides.back(), buffer(r) + i, p_.run);
    }
  }

  void chunk(std::size_t begin, std::size_t count) {
    for (std::size_t r = 0; r < p_.sources.size(); ++r) load_source(r, begin, count);
    bool narrow = element_size_bytes(p_.result) != 4;
    for (std::size_t i = 0; i < p_.code.size(); ++i) {
      const Instruction& c = p_.code[i];
      bool last = i + 1 == p_.code.size();
      void* out = last && !narrow ? static_cast<void*>(destination_ + begin * 4) : buffer(c.result);
      run_instruction(c, argument(c.x), argument(c.y), argument(c.z), out, count);
      registers_[c.result] = {out, false};
    }
    if (narrow)
      store(p_.result, static_cast<const std::uint32_t*>(argument(p_.code.back().result).data), destination_, begin,
            count);
  }
  ChunkArgument argument(RegisterNumber r) const { return r == no_register ? ChunkArgument() : registers_[r]; }

  void load_source(std::size_t r, std::size_t begin, std::size_t count) {
    const VectorSource& source = p_.sources[r];
    using Kind = VectorSource::Kind;
    if (source.kind == Kind::whole) {
      if (source.direct)
        registers_[r].data = data_[r] + begin * 4;
      else
        load_into(r, source, std::int64_t(begin), 1, count);
    } else if (source.kind == Kind::periodic && whole_runs()) {
      registers_[r].data = buffer(r);
    } else if (source.kind != Kind::scalar) {
      load_runs(r, source, begin, count);
    } else if (!source.direct) {
      registers_[r].data = buffer(r);
    }
  }
  void load_into(std::size_t r, const VectorSource& source, std::int64_t element, std::int64_t stride,
                 std::size_t count) {
    load(source, data_[r], element, stride, buffer(r), count);
    registers_[r].data = buffer(r);
  }
  // Run by run, with the start of each found from its number.
  void load_runs(std::size_t r, const VectorSource& source, std::size_t begin, std::size_t count) {
    std::int64_t inner = source.strides.back();
    bool wide = element_size_bytes(source.dtype) == 4;
    for (std::size_t done = 0; done < count;) {
      std::size_t at = begin + done, within = at % p_.run, length = std::min(p_.run - within, count - done);
      std::int64_t element = std::int64_t(within) * inner;
      std::size_t rest = at / p_.run;
      for (std::size_t d = p_.sizes.size() - 1; d-- > 0;) {
        std::size_t size = std::size_t(p_.sizes[d]);
        element += std::int64_t(rest % size) * source.strides[d];
        rest /= size;
      }
      if (length == count && inner == 1 && wide) {
        registers_[r].data = data_[r] + element * 4;
        return;
      }
      load(source, data_[r], element, inner, buffer(r) + done, length);
      done += length;
    }
    registers_[r].data = buffer(r);
  }

  const VectorProgram& p_;
  std::uint8_t* destination_;
  std::array<const std::uint8_t*, most_registers> data_;
  std::array<ChunkArgument, most_registers> registers_;
  std::size_t count_ = 0;
  bool aligned_ = true;
  std::array<Buffer, most_buffers> buffers_;
};

}  // namespace

void run_vector_program(const VectorProgram& program, const void* const* sources, void* destination, std::size_t begin,
                        std::size_t count) {
  if (count) Run(program, sources, destination)(begin, begin + count);
}

void run_vector_program(const VectorProgram& program, const void* const* sources, void* destination) {
  std::size_t count = std::size_t(element_count(program.sizes));
  if (count == 0) return;
  constexpr std::size_t elements_per_task = 16384;
  std::size_t grain = (elements_per_task + program.run - 1) / program.run * program.run;
  parallel_for((count + grain - 1) / grain, 1, [&](std::size_t first, std::size_t last) {
    std::size_t begin = first * grain, end = std::min(last * grain, count);
    run_vector_program(program, sources, destination, begin, end - begin);
  });
}

}  // namespace pomona::cpu
