#include "compress/first_layers.h"

#include <algorithm>
#include <map>

#include "ops/conv.h"

namespace pomona::compress {

namespace {

struct Layer {
  Value weight;
  std::size_t passed = 0;  // convolutions that its errors go through, the uses of a shared weight added up
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
      // A byte more for each weight than 8 bits take.
      std::uint64_t more = weight->count();
      if (double(used + more) > part_for(layer.weight) * double(total)) continue;
      used += more;
      kept.insert(weight->identity());
    }
  }
  return kept;
}

}  // namespace pomona::compress
