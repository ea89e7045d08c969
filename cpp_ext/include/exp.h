// exp over an array, in a loop that compilers turn into vectors.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace graphlab {

// exp(x) = 2^k exp(r) with |r| <= ln(2) / 2 and a polynomial of degree 6 for exp(r)
// (Cody and Waite's reduction, Cephes' coefficients): within 2 units in the last place,
// infinity, zero and NaN where std::exp has them.
[[gnu::always_inline]] inline float fast_exp(float x) {
  x = x > 90.0f ? 90.0f : x;
  x = x < -105.0f ? -105.0f : x;
  // Adding 1.5 * 2^23 rounds to the nearest integer, and leaves it in the low bits.
  const float shifted = x * 1.44269504f + 12582912.0f;
  const float k = shifted - 12582912.0f;
  const int32_t power = std::bit_cast<int32_t>(shifted) - 0x4b400000;
  const float r = x - k * 0.693359375f + k * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  // In two steps, so that results beyond the normal numbers come out right.
  const int32_t half = power >> 1;
  const float low = std::bit_cast<float>((half + 127) << 23);
  const float high = std::bit_cast<float>((power - half + 127) << 23);
  return p * low * high;
}

[[gnu::always_inline]] inline double fast_exp(double x) { return std::exp(x); }

}  // namespace graphlab
