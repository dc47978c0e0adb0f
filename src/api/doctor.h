// What this machine can do, what is likely to go wrong with a model, and what an error text means.
//
//   Machine m = machine();
//   auto concerns = POM_TRY(examine("model.mlpackage", {.target = "iOS17"}));
#pragma once
#include "api/model.h"
#include "base/record.h"
#include "silicon/check.h"
#include "silicon/error_text.h"

namespace pomona::api {

struct DoctorOptions {
  POM_OPTION(target, std::string, "the oldest system that has to run the model; without it, the model's own");
  POM_OPTION(chip, std::string, "whose Neural Engine") = "M4";
};

struct Tool {
  std::string name, found;  // empty: it is not there
  std::string use;          // what it would be good for
};
struct Machine {
  std::string system, processor, vector_units;
  int cores = 0, threads = 0;
  double memory_gb = 0, free_disk_gb = 0;
  std::string cache_folder;
  bool core_ml = false;  // programs can be run by Core ML itself
  std::vector<Tool> tools;
};
Machine machine();

Result<std::vector<silicon::Concern>> examine(const std::string& path, const DoctorOptions& options);

}  // namespace pomona::api
