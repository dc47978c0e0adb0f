#include "api/show.h"

#include <limits>

#include "api/run.h"
#include "ir/text.h"

namespace pomona::api {

Result<std::string> show(const std::string& path, const ShowOptions& options) {
  Model model = POM_TRY(open_model(path));
  TextOptions text;
  if (options.full) text.elide_above = std::numeric_limits<std::size_t>::max();
  if (options.function->empty()) return to_text(model.program, text);
  const Function& function = *POM_TRY(function_of(model.program, options.function));
  return to_text(function, text);
}

}  // namespace pomona::api
