// The version of the library a program is linked with, as "major.minor.patch".
//
//   std::cout << pomona::version();  // 0.1.0
//
// It says nothing about file formats: which of them are read and written is listed by `pomona --help`.
#pragma once

#include <string_view>

namespace pomona {

std::string_view version();

}  // namespace pomona
