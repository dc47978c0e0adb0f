// What is wrong with a command line, in our words: CLI11's errors, read.
#pragma once
#include <string>

#include "base/error.h"

namespace CLI {
class App;
class ParseError;
}  // namespace CLI

namespace pomona::cli {

// `verb` is the one that was being parsed, or null.
Error usage_error(const CLI::ParseError& problem, const CLI::App* verb);

}  // namespace pomona::cli
