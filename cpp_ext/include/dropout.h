// Dropout whose mask is a function of (key, row, column): 16 random bits a value, four
// values to a draw of the stream `key`.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "rng.h"

namespace graphlab {

struct Dropout {
  uint32_t threshold;  // 16 bits below it drop a value
  double scale;
  uint64_t key;

  Dropout(double p, int64_t key_bits)
      : threshold(std::min<uint32_t>(static_cast<uint32_t>(std::nearbyint(p * 65536)),
                                     65535)),
        scale(65536.0 / (65536 - threshold)),
        key(static_cast<uint64_t>(key_bits)) {}
  bool active() const { return threshold != 0; }
};

// Draws of a part of a row at a time.
constexpr int64_t kDropoutValues = 256;

// Bits of columns [column, column + count) of a row; `column` is a multiple of 4 and
// `count` at most kDropoutValues.
[[gnu::always_inline]] inline void draw_bits(uint64_t key, int64_t row, int64_t width,
                                             int64_t column, int64_t count,
                                             uint16_t* bits) {
  uint64_t words[kDropoutValues / 4];
  const uint64_t first =
      static_cast<uint64_t>(row * ((width + 3) / 4) + column / 4) + 1;
  const int64_t draws = (count + 3) / 4;
  for (int64_t w = 0; w < draws; ++w)
    words[w] = mix64(key + (first + static_cast<uint64_t>(w)) * kGolden);
  std::memcpy(bits, words, static_cast<size_t>(draws) * sizeof(uint64_t));
}

}  // namespace graphlab
