// The arguments of skipgram_train, checked, as its CPU and CUDA kernels use them. The
// twin is graphlab/ops/twins/skipgram.py.
#pragma once

#include <algorithm>
#include <cstdint>

#include "check.h"
#include "negative.h"
#include "rng.h"

namespace graphlab::skipgram {

// Rows of both tables are padded with zeros to this many floats: one 512-bit register.
constexpr int64_t kRowLanes = 16;
// Draws of the window's size come after all draws of negatives.
constexpr uint64_t kShrink = uint64_t{1} << 40;
// Every so-many-th walk of a call counts for the loss that is shown.
constexpr int64_t kLossEvery = 16;

struct Setting {
  int64_t window = 1, negatives = 1, pool = 0;
  bool forward = false, shrink = false, reference = false;
  float weight = 1, rate = 0, rate_end = 0, decay = 0;
  uint64_t key = 0, first = 0;

  // Learning rate of walk i of `count`: falls from `rate` towards `rate_end`.
  GL_HOST_DEVICE float rate_of(int64_t i, int64_t count) const {
    return rate + (rate_end - rate) * (static_cast<float>(i) /
                                       static_cast<float>(count > 0 ? count : 1));
  }
  // Contexts on each side of place j.
  GL_HOST_DEVICE int64_t reach(uint64_t stream, int64_t j) const {
    if (!shrink) return window;
    const uint64_t z = bits(stream, kShrink + static_cast<uint64_t>(j)) >> 32;
    return 1 + static_cast<int64_t>((z * static_cast<uint64_t>(window)) >> 32);
  }
  // Distinct draws of negatives for a walk that has so many pairs.
  GL_HOST_DEVICE int64_t pool_of(int64_t pairs) const {
    return pool == 0 ? pairs * negatives : pool;
  }
  // Most pairs that a walk of `length` nodes can have.
  GL_HOST_DEVICE int64_t most_pairs(int64_t length) const {
    const int64_t one_side = length * window;
    return forward ? one_side : 2 * one_side;
  }
};

struct Tables {
  float* head = nullptr;
  float* tail = nullptr;
  int64_t head_rows = 0, tail_rows = 0, stride = 0;
};

inline Tables read_tables(Tensor& head, Tensor& tail) {
  for (const Tensor* t : {&head, &tail}) {
    GL_CHECK(t->dim() == 2 && t->scalar_type() == ScalarType::Float,
             "tables must be float32 matrices");
    GL_CHECK(t->is_contiguous() && t->size(1) % kRowLanes == 0 && t->size(1) > 0,
             "tables must be contiguous, rows padded to 16 floats");
  }
  GL_CHECK(head.size(1) == tail.size(1), "tables must have rows of one length");
  return {head.mutable_data_ptr<float>(), tail.mutable_data_ptr<float>(), head.size(0),
          tail.size(0), head.size(1)};
}

inline Setting read_setting(int64_t window, bool forward, bool shrink,
                            int64_t negatives, double weight, int64_t pool, double rate,
                            double rate_end, double decay, bool reference, int64_t key,
                            int64_t first) {
  GL_CHECK(window >= 1 && window < (int64_t{1} << 20), "`window` out of range");
  GL_CHECK(negatives >= 0 && negatives < (int64_t{1} << 16),
           "`negatives` out of range");
  GL_CHECK(pool == 0 || pool >= negatives, "`pool` must hold the negatives of a pair");
  Setting s;
  s.window = window, s.negatives = negatives, s.pool = pool;
  s.forward = forward, s.shrink = shrink, s.reference = reference;
  s.weight = static_cast<float>(weight), s.rate = static_cast<float>(rate);
  s.rate_end = static_cast<float>(rate_end), s.decay = static_cast<float>(decay);
  s.key = static_cast<uint64_t>(key), s.first = static_cast<uint64_t>(first);
  return s;
}

}  // namespace graphlab::skipgram
