// The vectors that the IQ formats choose from. Each set is a subset of all vectors with three (or eight) levels per
// element, numbered as a number in base three (or eight) whose lowest digit is the first element, in ascending order.
//
//   const std::int8_t* v = iq2_xs_grid(17);     // eight of 8, 25, 43
#pragma once
#include <cstdint>

namespace pomona::gguf {

const std::int8_t* iq2_xxs_grid(unsigned index);  // 256 of eight elements 8, 25, 43
const std::int8_t* iq2_xs_grid(unsigned index);   // 512
const std::int8_t* iq2_s_grid(unsigned index);    // 1024
const std::int8_t* iq3_xxs_grid(unsigned index);  // 256 of four elements 4, 12, 20, 28, 36, 44, 52, 62
const std::int8_t* iq3_s_grid(unsigned index);    // 512 of four elements 1, 3, .. 15
const std::int8_t* iq1_grid(unsigned index);      // 2048 of eight elements -1, 0, 1

}  // namespace pomona::gguf
