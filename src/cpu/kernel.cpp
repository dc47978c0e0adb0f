#include "cpu/kernel.h"

#include <cstring>

#include "cpu/vector_program.h"
#include "ir/evaluate.h"

namespace pomona::cpu {

DType storage_dtype(DType dtype) { return dtype == DType::fp16 ? DType::fp32 : dtype; }

Tensor to_storage(const Tensor& tensor) {
  if (tensor.is_list()) return tensor;
  return tensor.converted(storage_dtype(tensor.dtype()));
}
Tensor from_storage(const Tensor& stored, DType dtype) {
  if (stored.is_list() || stored.is_dictionary()) return stored;
  return stored.converted(dtype);
}

void Finish::operator()(const Frame& f, std::size_t begin, std::size_t count) const {
  if (!program) return;
  const void* pointers[most_registers];
  for (std::size_t i = 0; i < sources.size(); ++i) pointers[i] = f.pointers[sources[i]];
  run_vector_program(*program, pointers, f.pointers[result], begin, count);
}

SlotNumber PlanContext::slot_of(Value value) const {
  for (std::size_t i = 0; i < operands.size(); ++i)
    for (std::size_t k = 0; k < operands[i].size(); ++k)
      if (operands[i][k].value == value) {
        if (asked) asked->push_back(sources[i][k]);
        return sources[i][k];
      }
  return no_slot;
}

std::shared_ptr<const void> PlanContext::shared(const std::string& key,
                                                const std::function<std::shared_ptr<const void>()>& make) {
  auto [at, fresh] = cache->try_emplace(key);
  if (fresh) at->second = make();
  return at->second;
}

Kernel eval_kernel(PlanContext& at) {
  struct Operand {
    SlotNumber slot;
    DType dtype;
    Sizes sizes;
  };
  std::vector<Operand> operands, results;
  for (std::size_t i = 0; i < at.operands.size(); ++i)
    for (std::size_t k = 0; k < at.operands[i].size(); ++k) {
      const Type& type = *at.operands[i][k].type;
      operands.push_back({at.sources[i][k], type.dtype, known_sizes(type.shape)});
    }
  for (std::size_t i = 0; i < at.results.size(); ++i)
    results.push_back({at.results[i], at.result_types[i].dtype, at.result_sizes(i)});
  auto run = [operands, results, node = &at.node, opset = at.opset](const Frame& f) {
    Tensors inputs;
    for (const Operand& o : operands) {
      if (o.slot == no_slot) {
        inputs.emplace_back();
        continue;
      }
      Tensor view(
          storage_dtype(o.dtype), o.sizes,
          Bytes(nullptr, {f.read<std::uint8_t>(o.slot), std::size_t(element_count(o.sizes)) * storage_bytes(o.dtype)}));
      inputs.push_back(from_storage(view, o.dtype));
    }
    auto outputs = evaluate_node(*node, inputs, {opset, node, f.interpreter});
    if (!outputs) return f.fail(std::move(outputs).error());
    for (std::size_t i = 0; i < results.size(); ++i) {
      Tensor stored = to_storage((*outputs)[i]);
      if (stored.size_bytes()) std::memcpy(f.write<std::uint8_t>(results[i].slot), stored.data(), stored.size_bytes());
    }
  };
  return {.run = std::move(run)};
}

}  // namespace pomona::cpu
