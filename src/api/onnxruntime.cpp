#include "api/onnxruntime.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <vector>

#include "api/files.h"
#include "formats/npy/npy.h"

extern char** environ;

namespace pomona::api {
namespace {

constexpr const char* script = R"(
import sys, numpy, onnxruntime
model, inputs, outputs = sys.argv[1:]
options = onnxruntime.SessionOptions()
options.log_severity_level = 3
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
names = [o.name for o in session.get_outputs()]
results = session.run(names, dict(numpy.load(inputs)))
numpy.savez(outputs, **{n: numpy.asarray(r) for n, r in zip(names, results)})
)";

struct Exit {
  int status = 0;  // negative: it could not be started
  std::string errors;
};

Exit run_process(const std::vector<std::string>& words, const std::string& log) {
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 2, log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  pid_t child = 0;
  int failed = posix_spawnp(&child, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failed) return {-1, std::strerror(failed)};
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  std::ifstream file(log);
  std::stringstream text;
  text << file.rdbuf();
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128, text.str()};
}

std::string last_line(const std::string& text) {
  std::size_t end = text.find_last_not_of(" \n");
  if (end == text.npos) return {};
  std::size_t begin = text.rfind('\n', end);
  return text.substr(begin == text.npos ? 0 : begin + 1, end - (begin == text.npos ? 0 : begin + 1) + 1);
}

Result<std::string> find_python(const std::string& log) {
  std::vector<std::string> candidates;
  if (const char* named = std::getenv("POMONA_PYTHON")) candidates.emplace_back(named);
  candidates.emplace_back("python3");
  const char *cache = std::getenv("POMONA_CACHE"), *home = std::getenv("HOME");
  if (cache)
    candidates.push_back(std::string(cache) + "/venv/bin/python3");
  else if (home)
    candidates.push_back(std::string(home) + "/.cache/pomona/venv/bin/python3");
  for (const std::string& python : candidates)
    if (run_process({python, "-c", "import numpy, onnxruntime"}, log).status == 0) return python;
  return fail("no Python with ONNX Runtime is installed here")
      .advise("python3 -m pip install onnxruntime, or POMONA_PYTHON=path of an interpreter that has it")
      .blame(Fault::environment);
}

}  // namespace

Result<NamedTensors> run_onnxruntime(const std::string& model, const NamedTensors& inputs) {
  TemporaryFolder folder = POM_TRY(TemporaryFolder::make());
  std::string log = folder.path() + "/log", in = folder.path() + "/in.npz", out = folder.path() + "/out.npz";
  std::string python = POM_TRY(find_python(log));
  POM_TRY(npy::write_npz(in, inputs));
  Exit done = run_process({python, "-c", script, model, in, out}, log);
  POM_REQUIRE(done.status == 0, "ONNX Runtime does not run '{}': {}", model, last_line(done.errors));
  return npy::read_npz(POM_TRY(map_file(out)));
}

}  // namespace pomona::api
