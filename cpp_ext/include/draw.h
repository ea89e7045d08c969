// Draws of neighbours inside one row, each a pure function of (key, row): positions
// relative to the row's begin. The twin is graphlab/ops/twins/sample.py.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "rng.h"

namespace graphlab {

// Up to this many picks, comparing with all earlier picks beats a hash set.
constexpr int64_t kLinearPicks = 32;

// Alias tables draw 31-bit numbers; 2^31 is certainty. `alias_build` writes 2^31 - 1
// for it and points the slot at itself, so that the missing unit stays in the slot.
constexpr int64_t kAliasOne = int64_t{1} << 31;

// The distinct positions picked so far in one row.
class PickSet {
 public:
  void begin(int64_t most) {
    size_ = 0;
    hashed_ = most > kLinearPicks;
    if (!hashed_) return;
    int64_t slots = 64;
    while (slots < 2 * most) slots *= 2;
    table_.assign(static_cast<size_t>(slots), 0);
    mask_ = static_cast<uint32_t>(slots - 1);
  }
  // Adds `position`; false if it was there.
  bool insert(uint32_t position) {
    if (!hashed_) {
      for (int64_t i = 0; i < size_; ++i) {
        if (linear_[i] == position) return false;
      }
      linear_[size_++] = position;
      return true;
    }
    uint32_t at = static_cast<uint32_t>((position * kGolden) >> 32) & mask_;
    for (; table_[at] != 0; at = (at + 1) & mask_) {
      if (table_[at] == position + 1) return false;
    }
    table_[at] = position + 1;
    ++size_;
    return true;
  }
  int64_t size() const { return size_; }

 private:
  int64_t size_ = 0;
  bool hashed_ = false;
  uint32_t linear_[kLinearPicks];
  std::vector<uint32_t> table_;
  uint32_t mask_ = 0;
};

// k positions with replacement.
inline void draw_with_replacement(uint64_t key, uint32_t degree, int64_t k,
                                  int64_t begin, int64_t* out) {
  for (int64_t t = 0; t < k; ++t) out[t] = begin + bounded(key, t, degree);
}

// k < degree distinct positions by Floyd's method (Bentley & Floyd 1987): pick t is
// uniform in [0, degree - k + t]; if it is taken already, take the upper end instead.
// Here for k <= kLinearPicks.
GL_HOST_DEVICE inline void draw_distinct_few(uint64_t key, uint32_t degree, int64_t k,
                                             int64_t begin, int64_t* out) {
  const uint32_t first = degree - static_cast<uint32_t>(k);
  // The draws do not depend on what is taken: make them all, then look for repeats.
  uint32_t pick[kLinearPicks];
  bool uneven = false;
  for (uint32_t t = 0; t < k; ++t) {
    const uint64_t product = (bits(key, t) >> 32) * (first + t + 1);
    uneven |= static_cast<uint32_t>(product) < first + t + 1;
    pick[t] = static_cast<uint32_t>(product >> 32);
  }
  // Rare: some draw may lie in the uneven remainder; `bounded` decides.
  if (uneven) {
    for (uint32_t t = 0; t < k; ++t) pick[t] = bounded(key, t, first + t + 1);
  }
  for (uint32_t t = 0; t < k; ++t) {
    bool taken = false;
    for (uint32_t u = 0; u < t; ++u) taken |= pick[u] == pick[t];
    pick[t] = taken ? first + t : pick[t];
    out[t] = begin + pick[t];
  }
}

inline void draw_distinct(uint64_t key, uint32_t degree, int64_t k, int64_t begin,
                          int64_t* out, PickSet& picks) {
  if (k <= kLinearPicks) return draw_distinct_few(key, degree, k, begin, out);
  picks.begin(k);
  for (int64_t t = 0; t < k; ++t) {
    const uint32_t last = degree - static_cast<uint32_t>(k - t);
    uint32_t pick = bounded(key, t, last + 1);
    if (!picks.insert(pick)) picks.insert(pick = last);
    out[t] = begin + pick;
  }
}

// A row of alias tables: draws in O(1), and the integer weights that it stands for.
struct AliasRow {
  const int32_t* threshold;
  const int32_t* alias;
  uint32_t degree;

  // A row without positive weight; `alias_build` marks it so.
  GL_HOST_DEVICE bool empty() const {
    return degree == 0 || (threshold[0] == 0 && alias[0] == 0);
  }

  GL_HOST_DEVICE uint32_t draw(uint64_t key, uint64_t number) const {
    const uint32_t slot = bounded(key, 2 * number, degree);
    const uint64_t r = bits(key, 2 * number + 1) >> 33;
    return r < static_cast<uint64_t>(threshold[slot])
               ? slot
               : static_cast<uint32_t>(alias[slot]);
  }
  // weight[i] / (degree * 2^31) is the probability of position i, exactly.
  void weights(std::vector<int64_t>& weight) const {
    weight.assign(degree, 0);
    for (uint32_t i = 0; i < degree; ++i) {
      weight[i] += threshold[i];
      // Tables of another graph may point anywhere; the caller checks what is drawn.
      const uint32_t other = static_cast<uint32_t>(alias[i]);
      if (other < degree) weight[other] += kAliasOne - threshold[i];
    }
  }
};

// Uniform integer in [0, range), 0 < range < 2^63, by masks and rejection.
GL_HOST_DEVICE inline uint64_t bounded_wide(uint64_t key, uint64_t counter,
                                            uint64_t range) {
  uint64_t mask = range;
  for (int shift = 1; shift < 64; shift *= 2) mask |= mask >> shift;
  const uint64_t stream = fold(key, counter);
  for (uint64_t attempt = 0;; ++attempt) {
    const uint64_t value = bits(stream, attempt) & mask;
    if (value < range) return value;
  }
}

// Alias draws before the fallback of draw_weighted_distinct.
GL_HOST_DEVICE inline int64_t most_alias_draws(int64_t k) { return 8 * k + 32; }

// Successive sampling without replacement: each pick is proportional to weight among
// the positions left. Alias draws that repeat are drawn again, at most 8 k + 32 draws
// in all; then the rest comes from the integer weights in O(degree) a pick, which has
// the same distribution. Returns the number of picks: k, or all positive weights if
// fewer.
inline int64_t draw_weighted_distinct(uint64_t key, const AliasRow& row, int64_t k,
                                      int64_t begin, int64_t* out, PickSet& picks,
                                      std::vector<int64_t>& weight) {
  if (row.empty() || k == 0) return 0;
  if (row.degree <= k) {
    int64_t count = 0;
    row.weights(weight);
    for (uint32_t i = 0; i < row.degree; ++i) {
      if (weight[i] > 0) out[count++] = begin + i;
    }
    return count;
  }
  picks.begin(k);
  const int64_t most = most_alias_draws(k);
  int64_t drawn = 0;
  for (; drawn < most && picks.size() < k; ++drawn) {
    const uint32_t pick = row.draw(key, drawn);
    const int64_t at = picks.size();
    if (picks.insert(pick)) out[at] = begin + pick;
  }
  int64_t count = picks.size();
  if (count == k) return k;
  row.weights(weight);
  int64_t total = static_cast<int64_t>(row.degree) * kAliasOne;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t pick = out[i] - begin;
    if (pick >= row.degree) continue;
    total -= weight[pick];
    weight[pick] = 0;
  }
  for (; count < k && total > 0; ++count) {
    int64_t left = static_cast<int64_t>(bounded_wide(key, 2 * most + count, total));
    uint32_t pick = 0;
    while (pick + 1 < row.degree && left >= weight[pick]) left -= weight[pick++];
    total -= weight[pick];
    weight[pick] = 0;
    out[count] = begin + pick;
  }
  return count;
}

}  // namespace graphlab
