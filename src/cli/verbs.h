// The verbs' declarations, one for each file of this folder that has a verb; verbs.cpp lists them for the help.
#pragma once
#include "cli/command.h"

namespace pomona::cli {

using Run = std::function<Result<Outcome>(const Session&)>;
Run declare_inspect(CLI::App& app);
Run declare_show(CLI::App& app);
Run declare_convert(CLI::App& app);
Run declare_compress(CLI::App& app);
Run declare_decompress(CLI::App& app);
Run declare_search(CLI::App& app);
Run declare_run(CLI::App& app);
Run declare_verify(CLI::App& app);
Run declare_conformance(CLI::App& app);
Run declare_bench(CLI::App& app);
Run declare_tokenize(CLI::App& app);
Run declare_generate(CLI::App& app);
Run declare_chat(CLI::App& app);
Run declare_logits(CLI::App& app);
Run declare_perplexity(CLI::App& app);
Run declare_plan(CLI::App& app);
Run declare_serve(CLI::App& app);
Run declare_split(CLI::App& app);
Run declare_doctor(CLI::App& app);

}  // namespace pomona::cli
