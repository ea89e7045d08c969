// SPDX-License-Identifier: Apache-2.0
// skipgram_train: stochastic gradient steps of skip-gram with negative sampling.
//
// What bounds it: for each pair, 1 + K rows of the tail table are read and written, and
// three products with the head are formed for each. Read at random from memory that is
// 1 KiB of traffic a row. So the head stays in the first-level cache over its window,
// the rows of a walk are used by all its windows, its negatives come from a pool, and
// the rows of a later walk are prefetched meanwhile; what is left is arithmetic, done
// for eight rows at once so that their sums do not wait for each other.
#include "skipgram.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <vector>

#include "check.h"
#include "simd.h"

namespace graphlab {
namespace {

using namespace skipgram;

#define GL_INLINE __attribute__((always_inline)) inline

// Sixteen floats: one AVX-512 register, two of AVX2, four of SSE; the same sums in the
// same order on each.
typedef float Lanes __attribute__((vector_size(64)));
typedef int32_t IntLanes __attribute__((vector_size(64)));

// Rows that see the same head before it changes. With one negative these are four
// pairs; word2vec has six rows (one pair and five negatives).
constexpr int kGroup = 8;
// Rows in flight from memory: a walk this far ahead is prefetched.
constexpr int64_t kAheadPlaces = 16;

// 1 / (1 + exp(-x)), relative error below 1e-6.
GL_INLINE void sigmoid(Lanes& x) {
  const Lanes low = Lanes{} - 87.0f, high = Lanes{} + 87.0f;
  x = x < low ? low : x;
  x = x > high ? high : x;
  // exp(-x) = 2^n 2^f with |f| <= 1/2; the constant rounds to an integer.
  const Lanes t = x * -1.44269504f;
  const Lanes magic = Lanes{} + 12582912.0f;
  const Lanes shifted = t + magic;
  const Lanes f = t - (shifted - magic);
  Lanes p = Lanes{} + 1.54035304e-4f;
  p = p * f + 1.33335581e-3f;
  p = p * f + 9.61812911e-3f;
  p = p * f + 5.55041087e-2f;
  p = p * f + 2.40226507e-1f;
  p = p * f + 6.93147181e-1f;
  p = p * f + 1.0f;
  const IntLanes n = (IntLanes)shifted - (IntLanes)magic;
  const IntLanes scaled = (IntLanes)p + (n << 23);
  x = 1.0f / (1.0f + (Lanes)scaled);
}

GL_INLINE void load(const float* from, Lanes& to) {
  std::memcpy(&to, from, sizeof(to));
}
GL_INLINE void store(const Lanes& from, float* to) {
  std::memcpy(to, &from, sizeof(from));
}

// Sums of the lanes of eight registers, in lanes 0 to 7 of the result: three rounds
// fold two registers into one, the last folds neighbours. The same order on every
// machine.
GL_INLINE void sum_lanes(const Lanes (&v)[kGroup], Lanes& out) {
#define GL_8(x) x, x + 1, x + 2, x + 3, x + 4, x + 5, x + 6, x + 7
#define GL_4(x) x, x + 1, x + 2, x + 3
#define GL_LOW8 GL_8(0), GL_8(16)
#define GL_HIGH8 GL_8(8), GL_8(24)
#define GL_LOW4 GL_4(0), GL_4(8), GL_4(16), GL_4(24)
#define GL_HIGH4 GL_4(4), GL_4(12), GL_4(20), GL_4(28)
#define GL_LOW2 0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29
#define GL_HIGH2 2, 3, 6, 7, 10, 11, 14, 15, 18, 19, 22, 23, 26, 27, 30, 31
#define GL_LOW1 0, 2, 4, 6, 8, 10, 12, 14, 0, 2, 4, 6, 8, 10, 12, 14
#define GL_HIGH1 1, 3, 5, 7, 9, 11, 13, 15, 1, 3, 5, 7, 9, 11, 13, 15
#define GL_SUM(to, a, b, size)                                   \
  const Lanes to = __builtin_shufflevector(a, b, GL_LOW##size) + \
                   __builtin_shufflevector(a, b, GL_HIGH##size)
  GL_SUM(a, v[0], v[1], 8);
  GL_SUM(b, v[2], v[3], 8);
  GL_SUM(c, v[4], v[5], 8);
  GL_SUM(d, v[6], v[7], 8);
  GL_SUM(ab, a, b, 4);
  GL_SUM(cd, c, d, 4);
  GL_SUM(all, ab, cd, 2);
  GL_SUM(done, all, all, 1);
  out = done;
#undef GL_SUM
#undef GL_8
#undef GL_4
#undef GL_LOW8
#undef GL_HIGH8
#undef GL_LOW4
#undef GL_HIGH4
#undef GL_LOW2
#undef GL_HIGH2
#undef GL_LOW1
#undef GL_HIGH1
}

// A row of the tail table with its label and the weight of its loss.
struct Term {
  float* row;
  float label, weight;
};

// One step of `head` and kRows rows, all from the same old head.
template <int kRows, bool kDecay>
GL_INLINE void step(float* __restrict head, const Term* term, int64_t stride,
                    float rate, float decay, double* loss) {
  Lanes sum[kGroup] = {}, x, gradient = {};
  float* row[kRows];
  for (int r = 0; r < kRows; ++r) row[r] = term[r].row;
  for (int64_t k = 0; k < stride; k += kRowLanes) {
    Lanes h;
    load(head + k, h);
    for (int r = 0; r < kRows; ++r) {
      Lanes v;
      load(row[r] + k, v);
      sum[r] += v * h;
    }
  }
  sum_lanes(sum, x);
  for (int r = 0; r < kRows; ++r) gradient[r] = term[r].label;
  if (loss != nullptr) {
    for (int r = 0; r < kRows; ++r) {
      const double z = term[r].label > 0 ? -x[r] : x[r];
      *loss += term[r].weight * (z > 30 ? z : std::log1p(std::exp(z)));
    }
  }
  sigmoid(x);
  gradient -= x;
  float g[kRows], keep[kRows], kept = 1.0f;
  for (int r = 0; r < kRows; ++r) {
    const float w = rate * term[r].weight;
    g[r] = w * gradient[r];
    if constexpr (kDecay) {
      keep[r] = 1.0f - w * decay;
      kept -= w * decay;
    }
  }
  for (int64_t k = 0; k < stride; k += kRowLanes) {
    Lanes h, change = {};
    load(head + k, h);
    for (int r = 0; r < kRows; ++r) {
      Lanes v;
      load(row[r] + k, v);
      change += v * g[r];
      if constexpr (kDecay) v = v * keep[r];
      v += h * g[r];
      store(v, row[r] + k);
    }
    if constexpr (kDecay) h = h * kept;
    store(h + change, head + k);
  }
}

template <bool kDecay>
GL_INLINE void steps(float* head, const Term* term, int64_t count, int64_t stride,
                     float rate, float decay, bool reference, double* loss) {
  int64_t i = 0;
  if (!reference) {
    for (; i + kGroup <= count; i += kGroup)
      step<kGroup, kDecay>(head, term + i, stride, rate, decay, loss);
    if (i + 4 <= count) {
      step<4, kDecay>(head, term + i, stride, rate, decay, loss);
      i += 4;
    }
    if (i + 2 <= count) {
      step<2, kDecay>(head, term + i, stride, rate, decay, loss);
      i += 2;
    }
  }
  for (; i < count; ++i) step<1, kDecay>(head, term + i, stride, rate, decay, loss);
}

struct Tally {
  double loss = 0;
  int64_t counted = 0, pairs = 0;
};

GL_INLINE void prefetch_row(const float* row, int64_t stride) {
  for (int64_t k = 0; k < stride; k += kRowLanes) __builtin_prefetch(row + k, 1);
}

// The walks of one thread in order, a few of them drawn and prefetched ahead.
template <typename Idx>
class Trainer {
 public:
  GL_INLINE Trainer(const Tables& tables, const NodeTable& nodes, const Setting& s,
                    const Idx* walks, int64_t row, int64_t count)
      : t_(tables),
        nodes_(nodes),
        s_(s),
        walks_(walks),
        row_(row),
        count_(count),
        ahead_(std::max<int64_t>(1, kAheadPlaces / row)),
        pool_(s.pool_of(s.most_pairs(row))),
        negative_(static_cast<size_t>((ahead_ + 1) * pool_)),
        place_(static_cast<size_t>(ahead_ + 1)),
        head_(static_cast<size_t>(tables.stride + kRowLanes)),
        term_(static_cast<size_t>(2 * s.window * (1 + s.negatives))) {}

  // Returns false where an id is no row of its table.
  GL_INLINE bool run(int64_t lo, int64_t hi, Tally& tally) {
    for (int64_t i = lo; i < std::min(hi, lo + ahead_); ++i) {
      if (!begin(i)) return false;
      prefetch(i, 0, row_);
    }
    for (int64_t i = lo; i < hi; ++i) {
      if (i + ahead_ < hi && !begin(i + ahead_)) return false;
      train(i, i + ahead_ < hi, tally);
    }
    return true;
  }

 private:
  struct Place {
    int64_t length;
    uint64_t stream;
  };
  Place& place(int64_t i) { return place_[i % (ahead_ + 1)]; }
  int32_t* negatives(int64_t i) { return negative_.data() + i % (ahead_ + 1) * pool_; }

  // Looks at walk i: its length, whether its ids are rows, its negatives.
  GL_INLINE bool begin(int64_t i) {
    const Idx* walk = walks_ + i * row_;
    int64_t length = 0;
    while (length < row_ && walk[length] >= 0) ++length;
    bool good = true;
    const int64_t first_tail = s_.forward ? 1 : 0;
    for (int64_t j = 0; j + first_tail < length; ++j) good &= walk[j] < t_.head_rows;
    for (int64_t j = first_tail; j < length; ++j) good &= walk[j] < t_.tail_rows;
    const uint64_t stream = fold(s_.key, s_.first + static_cast<uint64_t>(i));
    place(i) = {length, stream};
    int32_t* to = negatives(i);
    const int64_t drawn = s_.pool == 0 ? s_.pool_of(s_.most_pairs(length)) : s_.pool;
    for (int64_t k = 0; k < drawn; ++k) {
      to[k] = nodes_.draw(stream, static_cast<uint64_t>(k));
      good &= static_cast<uint64_t>(to[k]) < static_cast<uint64_t>(t_.tail_rows);
    }
    return good;
  }

  // Starts reading the rows that places [lo, hi) of walk i will use.
  GL_INLINE void prefetch(int64_t i, int64_t lo, int64_t hi) {
    const Idx* walk = walks_ + i * row_;
    const int64_t length = place(i).length, to = std::min(hi, length);
    for (int64_t j = lo; j < to; ++j) {
      if (!s_.forward || j + 1 < length)
        prefetch_row(t_.head + walk[j] * t_.stride, t_.stride);
      if (!s_.forward || j > 0) prefetch_row(t_.tail + walk[j] * t_.stride, t_.stride);
    }
    if (s_.pool == 0) return;
    const int32_t* negative = negatives(i);
    for (int64_t k = s_.pool * lo / row_; k < s_.pool * hi / row_; ++k)
      prefetch_row(t_.tail + negative[k] * t_.stride, t_.stride);
  }

  GL_INLINE void train(int64_t i, bool more, Tally& tally) {
    const Idx* walk = walks_ + i * row_;
    const int64_t length = place(i).length, stride = t_.stride;
    const uint64_t stream = place(i).stream;
    const int32_t* negative = negatives(i);
    const float rate = s_.rate_of(i, count_);
    const bool counts = i % kLossEvery == 0;
    // The head's own cache lines: aligned by hand.
    float* head = head_.data();
    head += (64 - reinterpret_cast<uintptr_t>(head) % 64) % 64 / sizeof(float);
    int64_t pairs = 0, at = 0;
    for (int64_t j = 0; j < row_; ++j) {
      if (more) prefetch(i + ahead_, j, j + 1);
      if (j >= length) continue;
      const int64_t reach = s_.reach(stream, j);
      const int64_t lo = s_.forward ? j + 1 : std::max<int64_t>(0, j - reach);
      const int64_t hi = std::min(length, j + reach + 1);
      int64_t terms = 0;
      for (int64_t c = lo; c < hi; ++c) {
        if (c == j) continue;
        for (int64_t k = 0; k < s_.negatives; ++k) {
          if (at == pool_) at = 0;
          term_[terms++] = {t_.tail + negative[at++] * stride, 0.0f, s_.weight};
        }
        term_[terms++] = {t_.tail + walk[c] * stride, 1.0f, 1.0f};
        ++pairs;
      }
      if (terms == 0) continue;
      if (s_.pool == 0 && s_.negatives > 0) {
        // Without a pool the rows of the next place are on their way meanwhile.
        const int64_t most = s_.most_pairs(1) * s_.negatives;
        const int64_t end = s_.pool_of(s_.most_pairs(length));
        for (int64_t k = at; k < std::min(at + most, end); ++k)
          prefetch_row(t_.tail + negative[k] * stride, stride);
      }
      float* row = t_.head + walk[j] * stride;
      std::memcpy(head, row, static_cast<size_t>(stride) * sizeof(float));
      double* loss = counts ? &tally.loss : nullptr;
      if (s_.decay > 0) {
        steps<true>(head, term_.data(), terms, stride, rate, s_.decay, s_.reference,
                    loss);
      } else {
        steps<false>(head, term_.data(), terms, stride, rate, 0.0f, s_.reference, loss);
      }
      std::memcpy(row, head, static_cast<size_t>(stride) * sizeof(float));
    }
    tally.pairs += pairs;
    if (counts) tally.counted += pairs;
  }

  const Tables t_;
  const NodeTable nodes_;
  const Setting s_;
  const Idx* walks_;
  int64_t row_, count_, ahead_, pool_;
  std::vector<int32_t> negative_;
  std::vector<Place> place_;
  std::vector<float> head_;
  std::vector<Term> term_;
};

GL_MULTIVERSION bool run_32(const Tables& tables, const NodeTable& nodes,
                            const Setting& s, const int32_t* walks, int64_t row,
                            int64_t count, int64_t lo, int64_t hi, Tally& tally) {
  return Trainer<int32_t>(tables, nodes, s, walks, row, count).run(lo, hi, tally);
}
GL_MULTIVERSION bool run_64(const Tables& tables, const NodeTable& nodes,
                            const Setting& s, const int64_t* walks, int64_t row,
                            int64_t count, int64_t lo, int64_t hi, Tally& tally) {
  return Trainer<int64_t>(tables, nodes, s, walks, row, count).run(lo, hi, tally);
}

Tensor skipgram_train(Tensor head, Tensor tail, const Tensor& walks,
                      const Tensor& threshold, const Tensor& alias, int64_t window,
                      bool forward, bool shrink, int64_t negatives, double weight,
                      int64_t pool, double rate, double rate_end, double decay,
                      bool reference, int64_t threads, int64_t key, int64_t first) {
  const Tables tables = read_tables(head, tail);
  const NodeTable nodes = read_table(threshold, alias);
  const Setting s = read_setting(window, forward, shrink, negatives, weight, pool, rate,
                                 rate_end, decay, reference, key, first);
  GL_CHECK(walks.dim() == 2 && walks.is_contiguous(), "`walks` must be a matrix");
  const int64_t count = walks.size(0), row = walks.size(1);
  GL_CHECK(row > 0, "`walks` must hold nodes");
  const bool is_short = walks.scalar_type() == ScalarType::Int;
  GL_CHECK(is_short || walks.scalar_type() == ScalarType::Long,
           "`walks` must be int32 or int64");
  std::mutex lock;
  Tally total;
  bool good = true;
  const auto work = [&](int64_t lo, int64_t hi) {
    Tally mine;
    const bool fine = is_short
                          ? run_32(tables, nodes, s, walks.const_data_ptr<int32_t>(),
                                   row, count, lo, hi, mine)
                          : run_64(tables, nodes, s, walks.const_data_ptr<int64_t>(),
                                   row, count, lo, hi, mine);
    const std::lock_guard<std::mutex> guard(lock);
    total.loss += mine.loss;
    total.counted += mine.counted;
    total.pairs += mine.pairs;
    good &= fine;
  };
  if (threads <= 1) {
    work(0, count);
  } else {
    torch::stable::parallel_for(0, count, (count + threads - 1) / threads, work);
  }
  GL_CHECK(good, "`walks` and `alias` must hold rows of the tables");
  Tensor out = torch::stable::new_empty(head, {int64_t{3}}, ScalarType::Double);
  double* to = out.mutable_data_ptr<double>();
  to[0] = total.loss;
  to[1] = static_cast<double>(total.counted);
  to[2] = static_cast<double>(total.pairs);
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(graphlab, CPU, m) {
  m.impl("skipgram_train", TORCH_BOX(&skipgram_train));
}

}  // namespace graphlab
