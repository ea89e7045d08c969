// One row of Walker's alias tables, on CPU and GPU. The twin is
// graphlab/ops/twins/alias.py.
#pragma once

#include <cmath>
#include <cstdint>

#include "draw.h"

namespace graphlab {

constexpr int32_t kCertain = static_cast<int32_t>(kAliasOne - 1);

// Vose's method (1991) in doubles, in a fixed order, and without a product that is
// added to (a fused multiply-add would round differently): all implementations give the
// same bits. `share` and `work` hold `size` entries.
template <typename T>
GL_HOST_DEVICE void build_alias_row(const T* weight, int32_t size, int32_t* threshold,
                                    int32_t* alias, double* share, int32_t* work) {
  int32_t heaviest = 0;
  for (int32_t i = 1; i < size; ++i) {
    if (weight[i] > weight[heaviest]) heaviest = i;
  }
  if (size == 0 || !(weight[heaviest] > 0)) {
    // Marks a row without draws: a slot 0 that is never taken and has no other.
    for (int32_t i = 0; i < size; ++i) threshold[i] = 0, alias[i] = i;
    return;
  }
  // Divided by the largest first, so that no sum overflows.
  const double top = static_cast<double>(weight[heaviest]);
  double total = 0;
  for (int32_t i = 0; i < size; ++i) {
    share[i] = static_cast<double>(weight[i]) / top;
    total += share[i];
  }
  const double scale = static_cast<double>(size) / total;
  // Slots below their share grow from the left, slots above it from the right.
  int32_t small = 0, large = size;
  for (int32_t i = 0; i < size; ++i) {
    share[i] *= scale;
    threshold[i] = kCertain;
    alias[i] = i;
    if (share[i] < 1.0) {
      work[small++] = i;
    } else {
      work[--large] = i;
    }
  }
  while (small > 0 && large < size) {
    const int32_t low = work[--small], high = work[large];
    // The product is exact: a power of two.
    double part = floor(share[low] * static_cast<double>(kAliasOne) + 0.5);
    // A positive weight keeps at least one chance in 2^31 of its slot.
    if (weight[low] > 0 && part < 1.0) part = 1.0;
    threshold[low] = part < kCertain ? static_cast<int32_t>(part) : kCertain;
    alias[low] = high;
    share[high] = (share[high] + share[low]) - 1.0;
    if (share[high] < 1.0) {
      ++large;
      work[small++] = high;
    }
  }
  // What is left on either side is a whole slot but for rounding: certain. A zero
  // weight is never left: it goes to the slot of the largest weight.
  for (int32_t i = 0; i < small; ++i) {
    if (weight[work[i]] > 0) continue;
    threshold[work[i]] = 0;
    alias[work[i]] = heaviest;
  }
}

}  // namespace graphlab
