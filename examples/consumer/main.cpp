// Says the version of the installed library; with a model and a place for a package, converts it and runs both on ones.
#include <cmath>
#include <iostream>
#include <vector>

#include "pomona/pomona.h"

namespace {

int complain(const pomona::Problem& problem) {
  std::cerr << problem.text() << '\n';
  return 2;
}

int convert_and_compare(const std::string& source, const std::string& output) {
  auto made = pomona::convert_model(source, output, {{"precision", "fp32"}, {"force", true}});
  if (!made) return complain(made.problem());
  std::cout << source << " -> " << output
            << (made->verification.passed ? ", verified\n" : ", NOT within the tolerance\n");

  auto before = pomona::Model::open(source), after = pomona::Model::open(output);
  if (!before) return complain(before.problem());
  if (!after) return complain(after.problem());
  for (const pomona::Port& input : after->inputs()) std::cout << "input " << input.name << ": " << input.type << '\n';
  const pomona::Arrays ones{{"x", pomona::Array::of<float>({2, 4}, std::vector<float>(8, 1))}};
  auto expected = before->run(ones), got = after->run(ones);
  if (!expected) return complain(expected.problem());
  if (!got) return complain(got.problem());
  double largest = 0;
  auto want = expected->at("y").as<float>(), have = got->at("y").as<float>();
  for (std::size_t i = 0; i < want.size(); ++i) largest = std::fmax(largest, std::fabs(want[i] - have[i]));
  std::cout << want.size() << " numbers, largest difference " << largest << '\n';
  return want.size() == have.size() && largest < 1e-5 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  std::cout << "pomona " << pomona::version() << '\n';
  return argc == 3 ? convert_and_compare(argv[1], argv[2]) : 0;
}
