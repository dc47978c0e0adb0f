#include "compress/joint.h"

#include <fmt/format.h>

#include <algorithm>

#include "compress/prune.h"

namespace pomona::compress {
namespace {

class JointScheme : public Scheme {
 public:
  JointScheme(std::shared_ptr<const Scheme> pruner, std::shared_ptr<const Scheme> inner)
      : pruner_(std::move(pruner)), inner_(std::move(inner)) {}

  std::string_view scheme_name() const override { return "prune"; }
  std::int64_t weight_threshold() const override {
    return std::max(pruner_->weight_threshold(), inner_->weight_threshold());
  }
  bool looks_at_all() const override { return pruner_->looks_at_all(); }
  void look_at(const Tensor& tensor) const override { pruner_->look_at(tensor); }
  Result<std::optional<Zeros>> zeros(const Candidate& candidate) const override { return pruner_->zeros(candidate); }

  Status check(Target opset) const override {
    if (opset < iOS18)
      return fail("the program is for {}, but sparse codes need iOS18", name(opset))
          .advise("convert the model with --target iOS18");
    return inner_->check(opset);
  }

  Result<Encoded> encode(const Candidate& candidate) const override {
    Encoded encoded = POM_TRY(prune_and_encode(*pruner_, *inner_, candidate));
    // Codes that were chosen with data are there; everything else is made when it is written, at one go, as pruning
    // and fitting once for each part would take several times as long.
    if (!encoded.rounded) share_work(encoded, candidate);
    return encoded;
  }

 private:
  static Result<Encoded> prune_and_encode(const Scheme& pruner, const Scheme& inner, const Candidate& candidate) {
    Pruned pruned = POM_TRY(prune(pruner, candidate));
    Candidate rest = candidate;
    rest.tensor = POM_TRY(pruned.weight.materialise());
    rest.weight = Weight(rest.tensor);
    rest.summary = summarise(rest.tensor);
    rest.sparse = true;
    Encoded encoded = POM_TRY(inner.encode(rest));
    if (rest.round && rest.kept) POM_TRY(rest.round(encoded, rest));
    POM_TRY(make_sparse(encoded, Weight(POM_TRY(pruned.mask.materialise())), pruned.ones));
    encoded.scheme = "sparse " + encoded.scheme + ", " + pruned.words;
    encoded.error_before += pruned.squared_error;
    return encoded;
  }

  void share_work(Encoded& encoded, const Candidate& candidate) const {
    std::vector<PartType> types;
    std::string what = fmt::format("joint {} {} {}", static_cast<const void*>(this), encoded.scheme,
                                   static_cast<const void*>(candidate.importance.values.get()));
    each_weight(encoded, [&](Weight& weight) { types.push_back({weight.dtype(), weight.sizes()}); });
    Candidate plan = candidate;
    plan.weight = {};
    plan.tensor = {};
    auto measured = std::make_shared<Measured>();
    auto make = [plan, measured, pruner = pruner_, inner = inner_](std::span<const Tensor> in) -> Result<Tensors> {
      Candidate again = plan;
      again.tensor = in[0];
      again.weight = Weight(in[0]);
      again.shelf = std::make_shared<Shelf>();
      Encoded made = POM_TRY(prune_and_encode(*pruner, *inner, again));
      Tensors parts;
      Status status;
      each_weight(made, [&](Weight& weight) {
        auto part = weight.materialise();
        if (part)
          parts.push_back(*std::move(part));
        else
          status = std::move(part).error();
      });
      POM_TRY(std::move(status));
      if (made.measured) measured->squared_error = made.measured->squared_error.load();
      return parts;
    };
    auto parts = parts_of(what, {candidate.weight}, types, make, candidate.shelf);
    std::size_t next = 0;
    each_weight(encoded, [&](Weight& weight) { weight = parts[next++]; });
    encoded.measured = measured;
  }

  template <class F>
  static void each_weight(Encoded& encoded, F f) {
    for (Stage& stage : encoded.stages)
      for (auto& [field, part] : stage.parts)
        if (part.weight) f(part.weight);
  }

  std::shared_ptr<const Scheme> pruner_, inner_;
};

}  // namespace

std::shared_ptr<const Scheme> make_joint(std::shared_ptr<const Scheme> pruner, std::shared_ptr<const Scheme> inner) {
  return std::make_shared<JointScheme>(std::move(pruner), std::move(inner));
}

}  // namespace pomona::compress
