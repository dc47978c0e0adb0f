#include "api/conformance.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>

#include "api/conformance_case.h"
#include "api/files.h"
#include "base/threads.h"

namespace pomona::api {
namespace {

namespace fs = std::filesystem;

Result<std::map<std::string, std::string>> cases_below(const Strings& folders) {
  std::map<std::string, std::string> found;  // by name
  for (const std::string& folder : folders) {
    std::error_code failed;
    POM_REQUIRE(fs::is_directory(folder, failed), "there is no folder '{}'", folder);
    auto add = [&](const fs::path& path) {
      std::error_code ignored;
      if (!fs::exists(path / "model.onnx", ignored)) return;
      std::string name = fs::weakly_canonical(path, ignored).filename().string();
      // Two suites may have a case of one name; both are run.
      for (int i = 2; found.count(name) && found[name] != path.string(); ++i)
        name = fmt::format("{}.{}", path.filename().string(), i);
      found[name] = path.string();
    };
    add(folder);
    for (fs::recursive_directory_iterator at(folder, failed), end; !failed && at != end; at.increment(failed))
      if (std::error_code ignored; at->is_directory(ignored)) add(at->path());
  }
  return found;
}

Result<std::map<std::string, std::string>> cases_listed(const std::string& list,
                                                        const std::map<std::string, std::string>& known) {
  std::ifstream file(list);
  POM_REQUIRE(file, "the list of cases '{}' cannot be read", list);
  std::map<std::string, std::string> chosen;
  for (std::string line; std::getline(file, line);) {
    while (!line.empty() && std::isspace(static_cast<unsigned char>(line.back()))) line.pop_back();
    if (line.empty() || line[0] == '#') continue;
    std::error_code ignored;
    if (auto at = known.find(line); at != known.end())
      chosen.insert(*at);
    else if (fs::exists(fs::path(line) / "model.onnx", ignored))
      chosen[fs::path(line).filename().string()] = line;
    else
      return fail("'{}' in '{}' is no case: neither one of those below the folders, nor a folder with model.onnx", line,
                  list);
  }
  return chosen;
}

// What a case's process says to its parent: the fields, each ended by a zero byte.
std::string packed(const CaseResult& result) {
  return fmt::format("{}{}{}{}{}", int(result.status), result.op, '\0', result.group, '\0') + result.reason + '\0';
}
bool unpack(const std::string& text, CaseResult& result) {
  if (text.empty()) return false;
  result.status = CaseResult::Status(text[0] - '0');
  std::size_t begin = 1;
  for (std::string* field : {&result.op, &result.group, &result.reason}) {
    std::size_t end = text.find('\0', begin);
    if (end == text.npos) return false;
    *field = text.substr(begin, end - begin);
    begin = end + 1;
  }
  return true;
}

struct Child {
  pid_t pid = 0;
  int pipe = -1;
  CaseResult* result = nullptr;
  std::string heard;
  Stopwatch watch;
};

// Runs cases in processes of their own, as many at a time as there are threads to use.
class Pool {
 public:
  Pool(std::vector<CaseResult>& cases, const ConformanceOptions& options, const Progress& progress)
      : cases_(cases), options_(options), progress_(progress) {}

  Status run() {
    std::size_t next = 0, done = 0;
    while (done < cases_.size()) {
      while (children_.size() < thread_count() && next < cases_.size()) POM_TRY(start(cases_[next++]));
      done += listen();
      if (progress_) progress_("cases", double(done) / double(cases_.size()));
    }
    return {};
  }

 private:
  Status start(CaseResult& result) {
    int ends[2];
    if (pipe(ends) != 0) return fail("no pipe: {}", std::strerror(errno)).blame(Fault::environment);
    std::fflush(nullptr);
    pid_t pid = fork();
    if (pid < 0) return fail("no process: {}", std::strerror(errno)).blame(Fault::environment);
    if (pid == 0) {
      close(ends[0]);
      for (int signal : {SIGINT, SIGTERM, SIGHUP}) ::signal(signal, SIG_DFL);
      alarm(unsigned(*options_.seconds));
      set_thread_count(1);
      std::string outputs = options_.outputs->empty() ? "" : *options_.outputs + "/" + result.name + ".npz";
      std::string text = packed(run_case(result.folder, outputs, options_));
      for (std::size_t sent = 0; sent < text.size();) {
        ssize_t count = write(ends[1], text.data() + sent, text.size() - sent);
        if (count <= 0) break;
        sent += std::size_t(count);
      }
      _exit(0);
    }
    close(ends[1]);
    children_.push_back({pid, ends[0], &result, {}, {}});
    return {};
  }

  // Waits for some child to say something; returns how many ended.
  std::size_t listen() {
    std::vector<pollfd> waiting;
    for (const Child& child : children_) waiting.push_back({child.pipe, POLLIN, 0});
    if (poll(waiting.data(), nfds_t(waiting.size()), -1) < 0) return 0;
    std::size_t ended = 0;
    for (std::size_t i = children_.size(); i-- > 0;) {
      if (!waiting[i].revents) continue;
      char buffer[4096];
      ssize_t count = read(children_[i].pipe, buffer, sizeof buffer);
      if (count > 0) {
        children_[i].heard.append(buffer, std::size_t(count));
        continue;
      }
      finish(children_[i]);
      children_.erase(children_.begin() + std::ptrdiff_t(i));
      ++ended;
    }
    return ended;
  }

  void finish(Child& child) {
    close(child.pipe);
    int status = 0;
    while (waitpid(child.pid, &status, 0) < 0 && errno == EINTR) continue;
    CaseResult& result = *child.result;
    result.seconds = child.watch.seconds();
    if (WIFSIGNALED(status)) {
      result.status = CaseResult::Status::failed;
      result.reason = WTERMSIG(status) == SIGALRM ? fmt::format("it took more than {} s", *options_.seconds)
                                                  : fmt::format("it crashed: {}", strsignal(WTERMSIG(status)));
    } else if (!unpack(child.heard, result)) {
      result.status = CaseResult::Status::failed;
      result.reason = "it ended without an answer";
    }
    if (!options_.outputs->empty() && result.status != CaseResult::Status::passed &&
        result.status != CaseResult::Status::wrong)
      std::ofstream(*options_.outputs + "/" + result.name + ".err") << result.reason << "\n";
  }

  std::vector<CaseResult>& cases_;
  const ConformanceOptions& options_;
  const Progress& progress_;
  std::vector<Child> children_;
};

}  // namespace

std::string_view name(CaseResult::Status status) {
  static constexpr std::string_view names[] = {"passed", "wrong", "failed", "unsupported"};
  return names[int(status)];
}

std::size_t ConformanceReport::count(CaseResult::Status status) const {
  return std::size_t(
      std::count_if(cases.begin(), cases.end(), [&](const CaseResult& c) { return c.status == status; }));
}

Result<ConformanceReport> conformance(const Strings& folders, const ConformanceOptions& options,
                                      const Progress& progress) {
  POM_REQUIRE(*options.seconds > 0, "--seconds takes a number of at least 1");
  auto chosen = POM_TRY(cases_below(folders));
  if (!options.list->empty()) chosen = POM_TRY(cases_listed(options.list, chosen));
  POM_REQUIRE(!chosen.empty(), "there is no case: no folder with model.onnx and test_data_set_0");
  if (!options.outputs->empty()) POM_TRY(make_folder(options.outputs));
  ConformanceReport report;
  for (const auto& [name, folder] : chosen) {
    CaseResult& result = report.cases.emplace_back();
    result.name = name;
    result.folder = folder;
  }
  POM_TRY(Pool(report.cases, options, progress).run());
  return report;
}

}  // namespace pomona::api
