#include "pomona/version.h"

namespace pomona {

std::string_view version() { return POMONA_VERSION; }

}  // namespace pomona
