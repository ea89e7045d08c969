// Intersecting two ascending lists of neighbours: by merging, by galloping through the
// longer one, or against a bitmap of one of them. All give the same hits in the same,
// ascending, order; they differ in what they cost.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "check.h"
#include "exclusion.h"

namespace graphlab::overlap {

enum class Strategy { kAuto, kMerge, kGallop, kBitmap, kDense };

inline Strategy strategy_of(const std::string& name) {
  if (name == "merge") return Strategy::kMerge;
  if (name == "gallop") return Strategy::kGallop;
  if (name == "bitmap") return Strategy::kBitmap;
  if (name == "dense") return Strategy::kDense;
  GL_CHECK(name == "auto", "`strategy` must be auto, merge, gallop, bitmap or dense");
  return Strategy::kAuto;
}

// Nanoseconds of one step of each strategy; only their ratios matter. With them the
// choice costs at most 1.2 times the best strategy forced, in all cases of
// benchmarks/results/common_neighbors_strategies.json.
constexpr double kMergeStep = 1.6;    // one entry of either list
constexpr double kGallopStep = 1.3;   // one probe of the longer list
constexpr double kGallopStart = 3.0;  // one entry of the shorter list
constexpr double kMarkStep = 1.0;     // setting, and clearing, one bit
constexpr double kProbeStep = 0.9;    // testing one entry against the bitmap
constexpr double kWordStep = 0.35;    // one word of two dense rows
constexpr double kGroupStep = 70.0;   // one pair put beside those with the same hub
constexpr double kBuildStep = 1.2;    // one entry put into a dense row
// A bit matrix of all nodes, no larger than the caches that make it fast.
constexpr int64_t kDenseBytes = int64_t{16} << 20;

inline double merge_cost(int64_t a, int64_t b) {
  return kMergeStep * static_cast<double>(a + b);
}
inline double gallop_cost(int64_t a, int64_t b) {
  const int64_t small = std::min(a, b), large = std::max(a, b);
  const int steps = std::bit_width(static_cast<uint64_t>(large / (small + 1) + 1));
  return static_cast<double>(small) * (kGallopStart + 2 * kGallopStep * steps);
}

template <typename Index>
struct List {
  const Index* idx;
  int64_t size;
};

// Adjacency rows, ascending and without repetition.
template <typename Index>
struct Rows {
  const int64_t* ptr;
  const Index* idx;
  int64_t num_nodes, num_entries;

  // A row; an empty one where `ptr` is damaged, so that nothing outside is read.
  List<Index> of(int64_t node) const {
    const int64_t begin = ptr[node], end = ptr[node + 1];
    if (begin < 0 || end < begin || end > num_entries) return {idx, 0};
    return {idx + begin, end - begin};
  }
};

// Branch-free: an entry is written in any case and kept only if both lists have it.
template <typename Index>
int64_t merge(List<Index> a, List<Index> b, Index* hits) {
  int64_t i = 0, j = 0, count = 0;
  while (i < a.size && j < b.size) {
    const Index x = a.idx[i], y = b.idx[j];
    hits[count] = x;
    count += x == y;
    i += x <= y;
    j += y <= x;
  }
  return count;
}

// For each entry of the shorter list, doubling steps from where the last one was found,
// then a binary search without branches.
template <typename Index>
int64_t gallop(List<Index> a, List<Index> b, Index* hits) {
  if (a.size > b.size) std::swap(a, b);
  int64_t from = 0, count = 0;
  for (int64_t i = 0; i < a.size; ++i) {
    const Index x = a.idx[i];
    int64_t step = 1;
    while (from + step < b.size && b.idx[from + step] < x) {
      from += step;
      step *= 2;
    }
    int64_t length = std::min(step, b.size - 1 - from) + 1;
    const Index* base = b.idx + from;
    while (length > 1) {
      const int64_t half = length / 2;
      base += base[half - 1] < x ? half : 0;
      length -= half;
    }
    from = base - b.idx;
    if (*base < x && ++from == b.size) break;
    hits[count] = x;
    count += b.idx[from] == x;
  }
  return count;
}

// One bit a node; holds at most one list at a time, and is cleared through it.
template <typename Index>
class Bitmap {
 public:
  void require(int64_t num_nodes) {
    const size_t words = static_cast<size_t>((num_nodes + 63) / 64);
    if (words_.size() < words) words_.resize(words, 0);
    num_nodes_ = num_nodes;
  }
  void mark(List<Index> list) {
    for (int64_t i = 0; i < list.size; ++i) {
      const uint64_t node = static_cast<uint64_t>(list.idx[i]);
      if (node < static_cast<uint64_t>(num_nodes_))
        words_[node / 64] |= uint64_t{1} << (node % 64);
    }
  }
  void clear(List<Index> list) {
    for (int64_t i = 0; i < list.size; ++i) {
      const uint64_t node = static_cast<uint64_t>(list.idx[i]);
      if (node < static_cast<uint64_t>(num_nodes_)) words_[node / 64] = 0;
    }
  }
  int64_t probe(List<Index> list, Index* hits) const {
    int64_t count = 0;
    for (int64_t i = 0; i < list.size; ++i) {
      const Index x = list.idx[i];
      const uint64_t node = static_cast<uint64_t>(x);
      if (node >= static_cast<uint64_t>(num_nodes_)) [[unlikely]]
        continue;
      hits[count] = x;
      count += (words_[node / 64] >> (node % 64)) & 1;
    }
    return count;
  }

 private:
  std::vector<uint64_t> words_;
  int64_t num_nodes_ = 0;
};

// All rows as bits, without loops and without excluded pairs.
class Dense {
 public:
  template <typename Index>
  Dense(const Rows<Index>& rows, const Exclusion& exclusion)
      : words_((rows.num_nodes + 63) / 64),
        bits_(static_cast<size_t>(words_ * rows.num_nodes), 0) {
    for (int64_t v = 0; v < rows.num_nodes; ++v) {
      const List<Index> list = rows.of(v);
      for (int64_t e = 0; e < list.size; ++e) {
        const uint64_t u = static_cast<uint64_t>(list.idx[e]);
        if (u < static_cast<uint64_t>(rows.num_nodes))
          row(v)[u / 64] |= uint64_t{1} << (u % 64);
      }
      row(v)[v / 64] &= ~(uint64_t{1} << (v % 64));
      const Ends ends = exclusion.of(v);
      for (const int64_t* u = ends.begin; u != ends.end; ++u)
        row(v)[*u / 64] &= ~(uint64_t{1} << (*u % 64));
    }
  }

  template <typename Index>
  int64_t common(int64_t i, int64_t j, Index* hits) const {
    const uint64_t *a = row(i), *b = row(j);
    int64_t count = 0;
    for (int64_t w = 0; w < words_; ++w) {
      for (uint64_t both = a[w] & b[w]; both != 0; both &= both - 1)
        hits[count++] = static_cast<Index>(64 * w + std::countr_zero(both));
    }
    return count;
  }

 private:
  uint64_t* row(int64_t v) { return bits_.data() + v * words_; }
  const uint64_t* row(int64_t v) const { return bits_.data() + v * words_; }

  int64_t words_;
  std::vector<uint64_t> bits_;
};

// Drops the ends of the pair, and hits over an excluded pair.
template <typename Index>
int64_t drop_excluded(int64_t i, int64_t j, Ends of_i, Ends of_j, Index* hits,
                      int64_t count) {
  int64_t kept = 0;
  const bool plain = of_i.empty() && of_j.empty();
  for (int64_t h = 0; h < count; ++h) {
    const Index u = hits[h];
    hits[kept] = u;
    kept += u != i && u != j && (plain || (!of_i.holds(u) && !of_j.holds(u)));
  }
  return kept;
}

// Common neighbours of i and j, and those of one of them alone; without i and j.
template <typename Index, typename Common, typename Left, typename Right>
void split(List<Index> a, List<Index> b, int64_t i, int64_t j, Ends of_i, Ends of_j,
           Common common, Left left, Right right) {
  int64_t p = 0, q = 0;
  while (p < a.size || q < b.size) {
    const bool in_a = p < a.size && (q >= b.size || a.idx[p] <= b.idx[q]);
    const bool in_b = q < b.size && (p >= a.size || b.idx[q] <= a.idx[p]);
    const Index u = in_a ? a.idx[p] : b.idx[q];
    p += in_a;
    q += in_b;
    if (u == i || u == j) continue;
    const bool of_a = in_a && (of_i.empty() || !of_i.holds(u));
    const bool of_b = in_b && (of_j.empty() || !of_j.holds(u));
    if (of_a && of_b) {
      common(u);
    } else if (of_a) {
      left(u);
    } else if (of_b) {
      right(u);
    }
  }
}

}  // namespace graphlab::overlap
