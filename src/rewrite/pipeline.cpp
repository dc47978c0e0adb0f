#include "rewrite/pipeline.h"

#include <chrono>

#include "rewrite/passes/passes.h"

namespace pomona::rewrite {
namespace {

class Timer {
 public:
  explicit Timer(Report& report) : report_(report) {}
  template <class Pass>
  auto operator()(std::string_view name, Pass&& pass) {
    struct Note {
      Timer& timer;
      std::string_view name;
      std::chrono::steady_clock::time_point begin = std::chrono::steady_clock::now();
      ~Note() {
        timer.report_.times.push_back(
            {name, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count()});
      }
    } note{*this, name};
    return pass();
  }

 private:
  Report& report_;
};

}  // namespace

Status optimise(Program& program, const PipelineOptions& options, Report& report) {
  Timer run(report);
  auto add_sentences = [&](std::vector<std::string> found) {
    report.sentences.insert(report.sentences.end(), found.begin(), found.end());
  };
  run("remove_dead", [&] { remove_dead(program); });
  POM_TRY(run("fold_constants", [&] { return fold_constants(program); }));
  run("merge_equal", [&] { merge_equal(program); });
  if (options.precision == Precision::half) POM_TRY(run("use_half", [&] { return use_half(program); }));
  add_sentences(POM_TRY(run("adapt_border", [&] { return adapt_border(program, {.half = options.half_border}); })));
  POM_TRY(run("fold_constants", [&] { return fold_constants(program); }));
  run("merge_equal", [&] { merge_equal(program); });
  run("remove_dead", [&] { remove_dead(program); });
  add_sentences(run("legal_names", [&] { return legal_names(program); }));
  return {};
}

}  // namespace pomona::rewrite
