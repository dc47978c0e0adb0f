// Prompt and decode speed of a language model's checkpoint, for bench/llm_decode.py.
//
//   bench_llm_decode model.gguf [threads] [prompt] [decode] [profile]
//
// Each line read from standard input asks for one measurement; the answer is a line of JSON: tokens per second of a
// prompt and of decoding behind it, bytes of the weights that a token reads, bytes per second of a plain read loop over
// as much memory. Before the first, the logits are compared with those of a run that decodes every weight to float.
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/threads.h"
#include "cpu/huge_bytes.h"
#include "cpu/runner.h"
#include "llm/language_model.h"

namespace {

using namespace pomona;

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

struct Session {
  const Function& function;
  cpu::Runner runner;
  std::int64_t position = 0;
  Session(const Function& f, cpu::Rounding rounding) : function(f), runner(f, {.rounding = rounding}) {}

  Result<Tensor> feed(const std::vector<std::int64_t>& tokens) {
    std::int64_t count = std::int64_t(tokens.size());
    NamedTensors inputs{{"input_ids", Tensor::ints(tokens).reshaped({1, count})}};
    if (function.body.input("position")) inputs["position"] = Tensor::ints({position});
    if (function.body.input("last")) inputs["last"] = Tensor::ints({count - 1});
    Tensors results = POM_TRY(runner.run(inputs));
    position += count;
    return results[0];
  }
};

std::vector<std::int64_t> tokens_from(std::int64_t seed, std::int64_t count, std::int64_t vocabulary) {
  std::vector<std::int64_t> tokens;
  for (std::int64_t i = 0; i < count; ++i) tokens.push_back((seed * 7919 + i * 104729 + 17) % vocabulary);
  return tokens;
}

Result<double> cosine(Session& a, Session& b, std::int64_t vocabulary) {
  double least = 1;
  for (std::int64_t i = 0; i < 6; ++i) {
    auto tokens = tokens_from(i, i == 0 ? 21 : 1, vocabulary);
    Tensor x = POM_TRY(a.feed(tokens)), y = POM_TRY(b.feed(tokens));
    double xy = 0, xx = 0, yy = 0;
    for (std::size_t e = 0; e < x.count(); ++e) {
      xy += x.number(e) * y.number(e);
      xx += x.number(e) * x.number(e);
      yy += y.number(e) * y.number(e);
    }
    least = std::min(least, xy / std::sqrt(xx * yy));
  }
  return least;
}

double read_rate() {
  static const cpu::HugeBytes memory(std::size_t(512) << 20);
  static volatile std::uint64_t sink;
  constexpr std::size_t chunk = std::size_t(1) << 18;
  double begin = now();
  parallel_for(memory.size() / chunk, 1, [&](std::size_t first, std::size_t last) {
    std::uint64_t sums[8] = {};
    for (std::size_t i = first * chunk; i < last * chunk; i += 64) {
      std::uint64_t line[8];
      std::memcpy(line, memory.data() + i, 64);
      for (int k = 0; k < 8; ++k) sums[k] += line[k];
    }
    for (std::uint64_t sum : sums) sink = sink + sum;
  });
  return double(memory.size()) / (now() - begin);
}

Status measure(const char* path, std::int64_t prompt, std::int64_t decode, bool profile) {
  double begin = now();
  llm::Checkpoint checkpoint = POM_TRY(llm::open_checkpoint(path));
  llm::BuildOptions options{.context = prompt + decode + 64, .prefill = 512, .dtype = DType::fp32, .in_memory = true};
  Program program = POM_TRY(llm::build_program(checkpoint, options));
  std::int64_t vocabulary = POM_TRY(llm::language_model_of(program)).vocabulary;
  Session session(program.main(), cpu::Rounding::fast);
  POM_TRY(session.feed(tokens_from(1, 8, vocabulary)));
  double first = now() - begin;
  {
    Session exact(program.main(), cpu::Rounding::strict), ours(program.main(), cpu::Rounding::fast);
    std::printf("{\"first_token\": %.3f, \"cosine\": %.8f}\n", first, POM_TRY(cosine(ours, exact, vocabulary)));
    std::fflush(stdout);
  }
  char line[64];
  while (std::fgets(line, sizeof line, stdin)) {
    session.position = 0;
    double start = now();
    for (std::int64_t done = 0; done < prompt; done += 512)
      POM_TRY(session.feed(tokens_from(done, std::min<std::int64_t>(512, prompt - done), vocabulary)));
    double middle = now();
    session.runner.set_profiling(profile);
    session.position = 0;  // as llama-bench does: from an empty context
    for (std::int64_t i = 0; i < decode; ++i) POM_TRY(session.feed(tokens_from(i, 1, vocabulary)));
    double end = now();
    session.runner.set_profiling(false);
    std::printf("{\"prompt\": %.2f, \"decode\": %.2f, \"read\": %.4g}\n", double(prompt) / (middle - start),
                double(decode) / (end - middle), read_rate());
    std::fflush(stdout);
  }
  std::map<std::string, double> costs;
  for (const cpu::StepTime& step : session.runner.profile()) costs[step.kernel + " (" + step.op + ")"] += step.seconds;
  double runs = 1;
  for (const cpu::StepTime& step : session.runner.profile()) runs = std::max(runs, double(step.runs));
  if (std::getenv("POMONA_BENCH_STEPS"))
    for (const cpu::StepTime& step : session.runner.profile())
      std::fprintf(stderr, "%9.4f ms  %s %s\n", 1e3 * step.seconds / double(step.runs), step.kernel.c_str(),
                   step.label.c_str());
  for (const auto& [name, seconds] : costs) std::fprintf(stderr, "%9.4f ms  %s\n", 1e3 * seconds / runs, name.c_str());
  return {};
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 2) return 2;
  auto number = [&](int i, int otherwise) { return count > i ? std::max(1, std::atoi(arguments[i])) : otherwise; };
  set_thread_count(unsigned(number(2, 2)));
  auto status = measure(arguments[1], number(3, 512), number(4, 64), count > 5);
  if (!status) std::fputs(describe(status.error()).c_str(), stderr);
  return status ? 0 : 1;
}
