// What follows a linear layer: layer norm, dropout and ReLU of a row.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "dropout.h"

namespace graphlab {

struct Moments {
  double mean, inverse;  // inverse of the standard deviation
};

template <typename T>
[[gnu::always_inline]] inline Moments moments(const T* x, int64_t width, double eps) {
  constexpr int kParts = 16;
  T sum[kParts] = {};
  int64_t c = 0;
  for (; c + kParts <= width; c += kParts)
    for (int k = 0; k < kParts; ++k) sum[k] += x[c + k];
  double total = 0;
  for (; c < width; ++c) total += x[c];
  for (int k = 0; k < kParts; ++k) total += sum[k];
  const double mean = total / static_cast<double>(width);
  T square[kParts] = {};
  const T middle = static_cast<T>(mean);
  for (c = 0; c + kParts <= width; c += kParts)
    for (int k = 0; k < kParts; ++k) {
      const T off = x[c + k] - middle;
      square[k] += off * off;
    }
  double spread = 0;
  for (; c < width; ++c) spread += (x[c] - middle) * static_cast<double>(x[c] - middle);
  for (int k = 0; k < kParts; ++k) spread += square[k];
  return {mean, 1 / std::sqrt(spread / static_cast<double>(width) + eps)};
}

// Columns [lo, hi) of a row, at most kDropoutValues of them; `x` and `out` are the row
// and may be the same; without `weight` there is no norm.
template <typename T>
[[gnu::always_inline]] inline void finish_piece(const T* x, const T* weight,
                                                const T* bias, Moments m,
                                                const Dropout& dropout, int64_t row,
                                                int64_t width, int64_t lo, int64_t hi,
                                                bool relu, T* out) {
  x += lo, out += lo;
  const int64_t count = hi - lo;
  if (weight != nullptr) {
    weight += lo, bias += lo;
    const T mean = static_cast<T>(m.mean), inverse = static_cast<T>(m.inverse);
    for (int64_t c = 0; c < count; ++c)
      out[c] = (x[c] - mean) * inverse * weight[c] + bias[c];
    x = out;
  }
  if (dropout.active()) {
    uint16_t bits[kDropoutValues];
    draw_bits(dropout.key, row, width, lo, count, bits);
    const uint32_t threshold = dropout.threshold;
    const T scale = static_cast<T>(dropout.scale);
    for (int64_t c = 0; c < count; ++c)
      out[c] = bits[c] >= threshold ? x[c] * scale : T{0};
    x = out;
  }
  if (relu) {
    // The comparison lets NaN through, as torch does.
    for (int64_t c = 0; c < count; ++c) out[c] = x[c] <= T{0} ? T{0} : x[c];
  } else if (x != out) {
    std::copy(x, x + count, out);
  }
}

}  // namespace graphlab
