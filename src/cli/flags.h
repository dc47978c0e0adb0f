// Flags from records: every field of an option record becomes a flag of its name, with '-' for '_'.
//
//   auto options = std::make_shared<api::RunOptions>();
//   add_flags(app, *options);          // --inputs, --all-tensors, ...
//
// Lists are repeated flags, bools take no value. The field's documentation is the flag's help, its value the default.
#pragma once
#include <functional>

#include "base/record.h"

namespace CLI {
class App;
}

namespace pomona::cli {

// One flag as a field's record has it, its value given to `take`.
void add_attribute_flag(CLI::App& app, const FieldInfo& field, const std::string& doc,
                        std::function<void(const Attribute&)> take);
void add_record_flags(CLI::App& app, void* record, const RecordInfo& info);
template <class R>
void add_flags(CLI::App& app, R& record) {
  add_record_flags(app, &record, record_of<R>());
}

}  // namespace pomona::cli
