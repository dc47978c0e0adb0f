// Which convolutions near the inputs keep 16 bits, so that 8 bits for the others cost little.
//
// What a convolution at the beginning gets wrong goes through all that follows, and grows on its way; and these have
// the fewest weights. So those with most convolutions behind them keep 16 bits, as many as make the result larger by
// the part that a scheme allows (Scheme::first_layers()), or by 40 kB. A weight that several ops share counts with each
// of them, and as the same error is made in each, one of fp32 stays that where there is room for it. Of a recogniser of
// text in 47 layers, a tenth of the bytes takes away nine tenths of the error.
//
//   FirstLayers first = first_layers(functions, sizes_at_8_bits, allowed);
//   if (auto found = first.find(weight.identity()); found != first.end()) found->second ...
//
// It does not look at what the errors do: `pomona search` measures that.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "ir/program.h"

namespace pomona::compress {

using FirstLayers = std::map<std::string, DType>;  // by a weight's identity: what it is kept in

// `part_for`: how much larger the result may be for this constant's sake, 0 where it has to be compressed. `total`: the
// bytes of all constants at 8 bits.
FirstLayers first_layers(const std::vector<Function*>& functions, std::uint64_t total,
                         const std::function<double(Value)>& part_for);

}  // namespace pomona::compress
