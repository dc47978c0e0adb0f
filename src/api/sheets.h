// What verify and compress found, as a page for a browser.
//
//   POM_TRY(write_compress_page(report, "encoder.mlpackage, int4", "int4.html", false));
#pragma once
#include "api/compress.h"

namespace pomona::api {

Status write_compress_page(const CompressReport& report, const std::string& title, const std::string& output,
                           bool force);
// With `bisect`, the error of every tensor that has a twin is in it.
Status write_verify_page(const VerifyReport& report, const std::string& title, const std::string& output, bool force);

}  // namespace pomona::api
