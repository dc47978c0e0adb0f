#include <fmt/format.h>

#include "formats/mlpackage/description.h"

namespace pomona::mlpackage {
namespace {

// Model.proto's ArrayDataType.
struct ArrayDType {
  std::int64_t number;
  DType dtype;
};
constexpr ArrayDType array_dtypes[] = {{0x10010, DType::fp16},
                                       {0x10020, DType::fp32},
                                       {0x10040, DType::fp64},
                                       {0x20008, DType::int8},
                                       {0x20020, DType::int32}};

Result<Feature::Range> read_range(Message message) {
  Feature::Range range{0, 0};
  WireField field;
  for (WireReader reader(message); POM_TRY(reader.next(field));) {
    if (field.number == 1) range.lower = POM_TRY(field.integer());
    if (field.number == 2) range.upper = POM_TRY(field.integer());
  }
  POM_REQUIRE(range.lower >= 0 && (range.upper < 0 || range.upper >= range.lower),
              "byte {}: a size range goes from {} to {}", message.place(), range.lower, range.upper);
  return range;
}

Status read_array(Message message, Feature& feature) {
  feature.kind = Feature::Kind::array;
  feature.has_shape = false;
  std::int64_t number = 0;
  WireField field, inner, deep;
  for (WireReader reader(message); POM_TRY(reader.next(field));) switch (field.number) {
      case 1:
        POM_TRY(field.append_integers(feature.shape));
        feature.has_shape = true;
        break;
      case 2:
        number = POM_TRY(field.integer());
        break;
      case 21:
        for (WireReader shapes(POM_TRY(field.message())); POM_TRY(shapes.next(inner));)
          if (inner.number == 1) {
            Sizes& sizes = feature.enumerated.emplace_back();
            for (WireReader parts(POM_TRY(inner.message())); POM_TRY(parts.next(deep));)
              if (deep.number == 1) POM_TRY(deep.append_integers(sizes));
          }
        break;
      case 31:
        for (WireReader ranges(POM_TRY(field.message())); POM_TRY(ranges.next(inner));)
          if (inner.number == 1) feature.ranges.push_back(POM_TRY(read_range(POM_TRY(inner.message()))));
        break;
      case 41:
        feature.default_value = double(std::int32_t(POM_TRY(field.integer())));
        break;
      case 51:
      case 61:
        feature.default_value = POM_TRY(field.real());
        break;
    }
  for (const ArrayDType& row : array_dtypes)
    if (row.number == number) {
      feature.dtype = row.dtype;
      return {};
    }
  return fail("byte {}: an array has the unknown dtype {}", message.place(), number);
}

Status read_image(Message message, Feature& feature) {
  feature.kind = Feature::Kind::image;
  std::int64_t width = 0, height = 0;
  WireField field, inner, deep;
  for (WireReader reader(message); POM_TRY(reader.next(field));) switch (field.number) {
      case 1:
        width = POM_TRY(field.integer());
        break;
      case 2:
        height = POM_TRY(field.integer());
        break;
      case 3:
        feature.color_space = int(POM_TRY(field.integer()));
        break;
      case 21:
        for (WireReader sizes(POM_TRY(field.message())); POM_TRY(sizes.next(inner));) {
          if (inner.number != 1) continue;
          Sizes size{0, 0};
          for (WireReader parts(POM_TRY(inner.message())); POM_TRY(parts.next(deep));)
            if (deep.number == 1 || deep.number == 2) size[2 - deep.number] = POM_TRY(deep.integer());
          feature.enumerated.push_back(size);
        }
        break;
      case 31:
        feature.ranges.resize(2);
        for (WireReader ranges(POM_TRY(field.message())); POM_TRY(ranges.next(inner));)
          if (inner.number == 1 || inner.number == 2)
            feature.ranges[2 - inner.number] = POM_TRY(read_range(POM_TRY(inner.message())));
        break;
    }
  feature.shape = {height, width};
  return {};
}

Status read_feature_type(Message message, Feature& feature, int depth = 0) {
  POM_REQUIRE(depth < 2, "byte {}: a state of a state", message.place());
  WireField field, inner;
  bool found = false;
  for (WireReader reader(message); POM_TRY(reader.next(field));) {
    found = found || (field.number >= 1 && field.number <= 8);
    switch (field.number) {
      case 1:
        feature.kind = Feature::Kind::int64;
        break;
      case 2:
        feature.kind = Feature::Kind::real;
        break;
      case 3:
        feature.kind = Feature::Kind::string;
        break;
      case 4:
        POM_TRY(read_image(POM_TRY(field.message()), feature));
        break;
      case 5:
        POM_TRY(read_array(POM_TRY(field.message()), feature));
        break;
      case 6:
        feature.kind = Feature::Kind::dictionary;
        for (WireReader keys(POM_TRY(field.message())); POM_TRY(keys.next(inner));)
          feature.dtype = inner.number == 1 ? DType::int64 : DType::string;
        break;
      case 7:
        feature.kind = Feature::Kind::sequence;
        for (WireReader parts(POM_TRY(field.message())); POM_TRY(parts.next(inner));) {
          if (inner.number == 101) feature.ranges = {POM_TRY(read_range(POM_TRY(inner.message())))};
          if (inner.number == 1 || inner.number == 3) feature.dtype = inner.number == 1 ? DType::int64 : DType::string;
        }
        break;
      case 8:
        for (WireReader parts(POM_TRY(field.message())); POM_TRY(parts.next(inner));)
          if (inner.number == 1) POM_TRY(read_array(POM_TRY(inner.message()), feature));
        break;
      case 1000:
        feature.optional = POM_TRY(field.boolean());
        break;
    }
  }
  POM_REQUIRE(found, "byte {}: a feature has no type", message.place());
  return {};
}

Result<Feature> read_feature(Message message) {
  Feature feature;
  WireField field;
  for (WireReader reader(message); POM_TRY(reader.next(field));) switch (field.number) {
      case 1:
        feature.name = POM_TRY(field.text());
        break;
      case 2:
        feature.description = POM_TRY(field.text());
        break;
      case 3:
        POM_TRY(read_feature_type(POM_TRY(field.message()), feature));
        break;
    }
  return feature;
}

Status add_feature(const WireField& field, std::vector<Feature>& features) {
  features.push_back(POM_TRY(read_feature(POM_TRY(field.message()))));
  return {};
}

Result<FunctionDescription> read_function(Message message) {
  FunctionDescription function;
  WireField field;
  for (WireReader reader(message); POM_TRY(reader.next(field));) switch (field.number) {
      case 1:
        function.name = POM_TRY(field.text());
        break;
      case 2:
        POM_TRY(add_feature(field, function.inputs));
        break;
      case 3:
        POM_TRY(add_feature(field, function.outputs));
        break;
      case 4:
        function.predicted_feature = POM_TRY(field.text());
        break;
      case 5:
        function.predicted_probabilities = POM_TRY(field.text());
        break;
      case 6:
        POM_TRY(add_feature(field, function.states));
        break;
    }
  return function;
}

Result<Metadata> read_metadata(Message message) {
  Metadata metadata;
  WireField field, inner;
  for (WireReader reader(message); POM_TRY(reader.next(field));) switch (field.number) {
      case 1:
        metadata.description = POM_TRY(field.text());
        break;
      case 2:
        metadata.version = POM_TRY(field.text());
        break;
      case 3:
        metadata.author = POM_TRY(field.text());
        break;
      case 4:
        metadata.license = POM_TRY(field.text());
        break;
      case 100: {
        std::string key, value;
        for (WireReader parts(POM_TRY(field.message())); POM_TRY(parts.next(inner));)
          (inner.number == 1 ? key : value) = POM_TRY(inner.text());
        metadata.user[key] = value;
        break;
      }
    }
  return metadata;
}

}  // namespace

Result<ModelDescription> read_description(Message message) {
  ModelDescription description;
  FunctionDescription& single = description.single;
  WireField field;
  for (WireReader reader(message); POM_TRY(reader.next(field));) switch (field.number) {
      case 1:
        POM_TRY(add_feature(field, single.inputs));
        break;
      case 10:
        POM_TRY(add_feature(field, single.outputs));
        break;
      case 13:
        POM_TRY(add_feature(field, single.states));
        break;
      case 11:
        single.predicted_feature = POM_TRY(field.text());
        break;
      case 12:
        single.predicted_probabilities = POM_TRY(field.text());
        break;
      case 20:
        description.functions.push_back(POM_TRY(read_function(POM_TRY(field.message()))));
        break;
      case 21:
        description.default_function = POM_TRY(field.text());
        break;
      case 100:
        description.metadata = POM_TRY(read_metadata(POM_TRY(field.message())));
        break;
    }
  return description;
}

}  // namespace pomona::mlpackage
