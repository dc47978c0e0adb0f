#include "api/dump.h"

#include <fmt/format.h>

#include <filesystem>

#include "api/files.h"
#include "base/record.h"
#include "ir/text.h"

namespace pomona::api {

Result<Dump> Dump::asked(const std::vector<std::string>& options, const std::string& output) {
  Dump dump;
  std::string usual = std::filesystem::path(output).replace_extension(".passes").string();
  for (const std::string& option : options) {
    std::size_t equals = option.find('=');
    std::string folder = equals == option.npos ? usual : option.substr(equals + 1);
    POM_REQUIRE(!folder.empty() && equals != 0, "--dump-after takes PASS or PASS=FOLDER, not '{}'", option);
    POM_TRY(make_folder(folder));
    dump.folders_[option.substr(0, equals)] = folder;
  }
  return dump;
}

Status Dump::take(std::string_view pass, const Program& program) {
  ++passes_;
  seen_.emplace(pass);
  for (const auto& [wanted, folder] : folders_) {
    if (wanted != "all" && wanted != pass) continue;
    files_.push_back(fmt::format("{}/{:02}_{}.mil", folder, passes_, pass));
    POM_TRY(write_whole_file(files_.back(), to_text(program), true));
  }
  return {};
}

Status Dump::check() const {
  for (const auto& [wanted, folder] : folders_) {
    if (wanted == "all" || seen_.count(wanted)) continue;
    std::vector<std::string_view> known(seen_.begin(), seen_.end());
    std::string near = nearest_word(wanted, known);
    return fail("--dump-after names '{}', but the passes that ran are: {}", wanted, fmt::join(known, ", "))
        .advise(near.empty() ? "all" : near);
  }
  return {};
}

}  // namespace pomona::api
