#include "compress/first_layers.h"

#include <algorithm>
#include <map>

#include "ops/conv.h"

namespace pomona::compress {

namespace {

// So many bytes more are nothing to anybody, and much to a small model.
constexpr double always_allowed = 40e3;

struct Layer {
  Value weight;
  std::size_t passed = 0;  // convolutions that its errors go through, the uses of a shared weight added up
  std::size_t uses = 0;
};

std::vector<Layer> layers_of(const Function& function) {
  std::vector<Value> uses;
  for (const auto& node : function.body.nodes())
    if (is<mil::conv>(node.get()) && node->input("weight").literal()) uses.push_back(node->input("weight"));
  std::vector<Layer> layers;
  std::map<std::string, std::size_t> places;
  for (std::size_t i = 0; i < uses.size(); ++i) {
    auto [at, fresh] = places.try_emplace(uses[i].literal()->identity(), layers.size());
    if (fresh) layers.push_back({uses[i]});
    layers[at->second].passed += uses.size() - i;
    ++layers[at->second].uses;
  }
  std::ranges::stable_sort(layers, std::ranges::greater(), &Layer::passed);
  return layers;
}

}  // namespace

FirstLayers first_layers(const std::vector<Function*>& functions, std::uint64_t total,
                         const std::function<double(Value)>& part_for) {
  FirstLayers kept;
  std::uint64_t used = 0;
  for (const Function* function : functions) {
    for (const Layer& layer : layers_of(*function)) {
      const Weight* weight = layer.weight.literal();
      if (kept.contains(weight->identity())) continue;
      double part = part_for(layer.weight), allowed = part > 0 ? std::max(part * double(total), always_allowed) : 0;
      bool repeated = layer.uses > 1 && weight->dtype() == DType::fp32;
      for (DType dtype : {repeated ? DType::fp32 : DType::fp16, DType::fp16}) {
        std::uint64_t more = weight->count() * (element_size_bytes(dtype) - 1);  // than 8 bits take
        if (double(used + more) > allowed) continue;
        used += more;
        kept[weight->identity()] = dtype;
        break;
      }
    }
  }
  return kept;
}

}  // namespace pomona::compress
