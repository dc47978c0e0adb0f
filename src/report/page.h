// What all pages share: the frame, its colours, and text and data put into it safely.
#pragma once
#include <string>
#include <string_view>

namespace pomona::report {

// `text` as it may stand between tags.
std::string escaped(std::string_view text);
// JSON as it may stand inside a <script>: "</script>" cannot end it.
std::string inside_script(std::string json);
// A whole document. `body` is HTML, `script` runs at its end, `data` is JSON that the script finds as `data`.
std::string page(std::string_view title, std::string_view body, std::string_view script, std::string data);

}  // namespace pomona::report
