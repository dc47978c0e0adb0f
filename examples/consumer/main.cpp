#include <iostream>

#include "pomona/version.h"

int main() { std::cout << "pomona " << pomona::version() << '\n'; }
