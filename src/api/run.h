// Runs a model here, as its source's users would call it: their names, dtypes and ranks going in and coming out.
//
//   RunReport report = POM_TRY(run("encoder.mlpackage", {.inputs = Strings{"in.npz"}}));
//   report.outputs.at("last_hidden_state")
#pragma once
#include "api/model.h"
#include "base/record.h"
#include "cpu/runner.h"

namespace pomona::api {

struct RunOptions {
  POM_OPTION(inputs, Strings, "in.npz, in.json, name=x.npy or name=photo.png; may be repeated");
  POM_OPTION(outputs, Strings, "out.npz, out.json, name=photo.png or a folder; may be repeated");
  POM_OPTION(function, std::string, "the function to run; without it, the default one");
  POM_OPTION(random, bool, "run on seeded random inputs");
  POM_OPTION(seed, std::int64_t, "of the random inputs") = 0;
  POM_OPTION(state_in, std::string, "npz of states before the run");
  POM_OPTION(state_out, std::string, "npz of states after the run");
  POM_OPTION(all_tensors, std::string, "folder for every tensor on the way, as .npy");
  POM_OPTION(text, Strings, "run on a text, through the tokenizer; may be repeated");
  POM_OPTION(tokenizer, std::string,
             "vocab.txt, tokenizer.json or the folder of one, for --text; without it the model's own");
  POM_OPTION(pool, std::string, "mean or first: one vector per --text, of length 1, as output 'embedding'");
  POM_OPTION(strict, bool, "round to fp16 after every op, not only where values are stored");
  POM_OPTION(accumulate, std::string, "fp16: sum products of fp16 programs in fp16 too, a pessimistic Neural Engine");
  POM_OPTION(force, bool, "replace existing outputs");
};

struct RunReport {
  NamedTensors outputs;           // by source name
  std::vector<Feature> features;  // of the outputs, by source name
  double load_seconds = 0, run_seconds = 0;
};
Result<RunReport> run(const std::string& path, const RunOptions& options);

// What --accumulate says. Errors: neither fp16 nor fp32.
Result<bool> accumulates_half(const std::string& dtype);
// The function of that name, or the default one when it is empty.
Result<Function*> function_of(Program& program, const std::string& name);
// One call: `given` by source names or the program's, results by source names.
Result<NamedTensors> call(cpu::Runner& runner, const Program& program, const Function& function,
                          const NamedTensors& given);
// Makes every tensor of the function's body a result, behind its own.
void expose_all_tensors(Function& function);

}  // namespace pomona::api
