#include "compress/joint.h"

#include <algorithm>

#include "compress/prune.h"

namespace pomona::compress {
namespace {

class JointScheme : public Scheme {
 public:
  JointScheme(std::shared_ptr<const Scheme> pruner, std::shared_ptr<const Scheme> inner)
      : pruner_(std::move(pruner)), inner_(std::move(inner)) {}

  std::string_view name() const override { return "prune"; }
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
    Pruned pruned = POM_TRY(prune(*pruner_, candidate));
    Candidate rest = candidate;
    rest.weight = pruned.weight;
    rest.tensor = POM_TRY(pruned.weight.materialise());
    rest.summary = summarise(rest.tensor);
    rest.sparse = true;
    Encoded encoded = POM_TRY(inner_->encode(rest));
    if (rest.round && rest.kept) POM_TRY(rest.round(encoded, rest));
    POM_TRY(make_sparse(encoded, pruned.mask, pruned.ones));
    encoded.scheme = "sparse " + encoded.scheme + ", " + pruned.words;
    encoded.error_before += pruned.squared_error;
    return encoded;
  }

 private:
  std::shared_ptr<const Scheme> pruner_, inner_;
};

}  // namespace

std::shared_ptr<const Scheme> make_joint(std::shared_ptr<const Scheme> pruner, std::shared_ptr<const Scheme> inner) {
  return std::make_shared<JointScheme>(std::move(pruner), std::move(inner));
}

}  // namespace pomona::compress
