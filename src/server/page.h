// The page at /: a chat with the model, with nothing fetched from elsewhere.
#pragma once
#include <string_view>

namespace pomona::server {

std::string_view chat_page();

}  // namespace pomona::server
