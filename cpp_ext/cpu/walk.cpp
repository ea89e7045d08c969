// SPDX-License-Identifier: Apache-2.0
// random_walk: walks of first and second order.
//
// What bounds it: each step reads the two offsets of a node and one neighbour (or alias
// slot), two cache lines at random places, and the second read waits for the first. One
// walk alone waits for memory all the time, so a thread drives many walks at once: each
// stage prefetches, for all of them, what the next stage reads. Draws are pure
// functions of (key, walk, step), so walks do not depend on how they are interleaved.
#include "walk.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <optional>
#include <vector>

#include "check.h"
#include "negative.h"
#include "pages.h"
#include "simd.h"

namespace graphlab {
namespace {

using namespace walking;

// Walks in flight in a thread: more than the outstanding misses of a core, few enough
// for their lines to stay in the first-level cache.
constexpr int64_t kWalkers = 64;
constexpr int64_t kGrainSteps = 1 << 14;
// Steps of a call, for each edge, from which on a filter of edges is worth its making.
constexpr int64_t kFilterSteps = 1;

// A set of edges that may say yes for a few pairs that are none (one hash, eight bits
// an edge: about one in nine), so that most tests for an edge read one line instead of
// searching a row. Made for a call that takes many steps.
class EdgeFilter {
 public:
  template <typename Idx>
  void build(const int64_t* ptr, const Idx* idx, int64_t nodes, int64_t edges) {
    nodes_ = static_cast<uint64_t>(nodes);
    int64_t bits = 64;
    while (bits < 8 * edges) bits *= 2, --shift_;
    word_.assign(static_cast<size_t>(bits / 64), 0);
    prefer_huge_pages(word_.data(), bits / 8);
    uint64_t* words = word_.data();
    torch::stable::parallel_for(0, nodes, 1 << 14, [&](int64_t lo, int64_t hi) {
      for (int64_t v = lo; v < hi; ++v) {
        const int64_t end = std::min(ptr[v + 1], edges);
        for (int64_t e = std::max<int64_t>(0, ptr[v]); e < end; ++e) {
          const uint64_t at = place(v, static_cast<int64_t>(idx[e]));
          std::atomic_ref<uint64_t>(words[at / 64])
              .fetch_or(uint64_t{1} << (at % 64), std::memory_order_relaxed);
        }
      }
    });
  }
  bool ready() const { return !word_.empty(); }
  uint64_t place(int64_t from, int64_t to) const {
    const uint64_t pair =
        static_cast<uint64_t>(from) * nodes_ + static_cast<uint64_t>(to);
    return (pair * kGolden) >> shift_;
  }
  void prefetch(uint64_t at) const { __builtin_prefetch(word_.data() + at / 64); }
  bool may_have(uint64_t at) const { return word_[at / 64] >> (at % 64) & 1; }

 private:
  uint64_t nodes_ = 0;
  int shift_ = 58;
  std::vector<uint64_t> word_;
};

template <typename Idx>
struct Job {
  const int64_t* ptr;
  const Idx* idx;
  const Slot* slot;
  const int64_t* starts;
  Idx* out;
  int64_t num_nodes, num_edges, length;
  uint64_t key, first;
  Bias bias;
  const EdgeFilter* filter;
};

// First order: all walkers of a block take step t together; loops are vector code. A
// walker that has ended stays on its last node, where every later step ends too.
template <typename Idx, bool kWeighted>
__attribute__((always_inline)) inline bool first_order(const Job<Idx>& job, int64_t lo,
                                                       int64_t hi) {
  uint64_t stream[kWalkers];
  int64_t node[kWalkers], at[kWalkers];
  uint32_t degree[kWalkers], coin[kWalkers];
  Idx next[kWalkers];
  const int64_t row = job.length + 1;
  bool good = true;
  for (int64_t base = lo; base < hi; base += kWalkers) {
    const int64_t count = std::min(kWalkers, hi - base);
    for (int64_t i = 0; i < count; ++i) {
      const int64_t start = job.starts[base + i];
      good &= static_cast<uint64_t>(start) < static_cast<uint64_t>(job.num_nodes);
      node[i] = good ? start : 0;
      stream[i] = fold(job.key, job.first + static_cast<uint64_t>(base + i));
      job.out[(base + i) * row] = static_cast<Idx>(node[i]);
      __builtin_prefetch(job.ptr + node[i]);
    }
    if (!good) return false;
    for (int64_t step = 0; step < job.length; ++step) {
      uint32_t uneven = 0;
      for (int64_t i = 0; i < count; ++i) {
        const int64_t begin = job.ptr[node[i]];
        degree[i] = static_cast<uint32_t>(job.ptr[node[i] + 1] - begin);
        const uint64_t z = bits(stream[i], static_cast<uint64_t>(step));
        const uint64_t product = (z >> 32) * degree[i];
        uneven |= static_cast<uint32_t>(product) < degree[i];
        at[i] = degree[i] == 0 ? 0 : begin + static_cast<int64_t>(product >> 32);
        coin[i] = static_cast<uint32_t>(z) & 0x7fffffffu;
      }
      // Rare: some draw may lie in the uneven remainder; `bounded` decides.
      if (uneven) {
        for (int64_t i = 0; i < count; ++i) {
          if (degree[i] == 0) continue;
          at[i] = job.ptr[node[i]] +
                  bounded(stream[i], static_cast<uint64_t>(step), degree[i]);
        }
      }
      for (int64_t i = 0; i < count; ++i) {
        good &= at[i] >= 0 && (at[i] < job.num_edges || degree[i] == 0);
        if constexpr (kWeighted) {
          __builtin_prefetch(job.slot + at[i]);
        } else {
          __builtin_prefetch(job.idx + at[i]);
        }
      }
      if (!good) return false;
      for (int64_t i = 0; i < count; ++i) {
        if (degree[i] == 0) {
          next[i] = -1;
          continue;
        }
        Idx found;
        if constexpr (kWeighted) {
          const Slot& slot = job.slot[at[i]];
          found =
              static_cast<int32_t>(coin[i]) < slot.threshold ? slot.node : slot.other;
          if (slot.threshold < 0) {
            next[i] = -1;
            continue;
          }
        } else {
          found = job.idx[at[i]];
        }
        good &= static_cast<uint64_t>(found) < static_cast<uint64_t>(job.num_nodes);
        found = good ? found : 0;
        next[i] = found;
        node[i] = found;
        __builtin_prefetch(job.ptr + found);
      }
      if (!good) return false;
      for (int64_t i = 0; i < count; ++i)
        job.out[(base + i) * row + step + 1] = next[i];
    }
  }
  return good;
}

// Second order by rejection (KnightKing, Yang et al. 2019): a first-order candidate is
// accepted with its weight over the largest of 1/p, 1, 1/q. Only candidates whose coin
// lies between the chances of near and far need the test for an edge from the previous
// node. A walker that is refused tries again in the next round, while others go on.
template <typename Idx, bool kWeighted>
class SecondOrder {
 public:
  SecondOrder(const Job<Idx>& job, int64_t lo, int64_t hi)
      : job_(job), next_walk_(lo), end_(hi) {}

  bool run() {
    while (live_ < kWalkers && refill(live_)) ++live_;
    while (live_ > 0 && good_) round();
    return good_;
  }

 private:
  struct Walker {
    uint64_t stream;
    int64_t walk, step, node, begin, degree, before, before_begin, before_end;
    uint64_t attempt;
    int64_t at;
    uint64_t coin;
    uint32_t edge_coin;
  };
  struct Search {
    int64_t walker, lo, hi, end, node;
  };
  struct Probe {
    int64_t walker;
    uint64_t at;
    Idx node;
  };

  bool refill(int64_t i) {
    if (next_walk_ == end_ || job_.length == 0) {
      for (; next_walk_ < end_; ++next_walk_) begin_walk(next_walk_);
      return false;
    }
    Walker& w = walker_[i];
    w = {};
    w.walk = next_walk_++;
    w.stream = fold(job_.key, job_.first + static_cast<uint64_t>(w.walk));
    w.node = begin_walk(w.walk);
    w.before = -1;
    __builtin_prefetch(job_.ptr + w.node);
    return good_;
  }

  int64_t begin_walk(int64_t walk) {
    const int64_t start = job_.starts[walk];
    good_ &= static_cast<uint64_t>(start) < static_cast<uint64_t>(job_.num_nodes);
    job_.out[walk * (job_.length + 1)] = static_cast<Idx>(good_ ? start : 0);
    return good_ ? start : 0;
  }

  void round() {
    draw();
    if (!good_) return;
    searches_ = probes_ = 0;
    for (int64_t i = 0; i < live_; ++i) decide(i);
    if (!good_) return;
    probe();
    search();
    // Walks that have ended make room.
    for (int64_t i = 0; i < live_;) {
      if (walker_[i].step < job_.length) {
        ++i;
      } else if (refill(i)) {
        ++i;
      } else {
        walker_[i] = walker_[--live_];
      }
    }
  }

  void draw() {
    for (int64_t i = 0; i < live_; ++i) {
      Walker& w = walker_[i];
      if (w.attempt == 0) {
        w.begin = job_.ptr[w.node];
        w.degree = job_.ptr[w.node + 1] - w.begin;
      }
      w.at = -1;
      if (w.degree <= 0) continue;
      const uint64_t stream = bits(w.stream, static_cast<uint64_t>(w.step));
      const uint64_t z = bits(stream, 2 * w.attempt);
      const uint32_t degree = static_cast<uint32_t>(w.degree);
      const uint64_t product = (z >> 32) * degree;
      uint32_t place = static_cast<uint32_t>(product >> 32);
      if (static_cast<uint32_t>(product) < degree)
        place = bounded(stream, 2 * w.attempt, degree);
      w.at = w.begin + place;
      w.edge_coin = static_cast<uint32_t>(z) & 0x7fffffffu;
      w.coin = bits(stream, 2 * w.attempt + 1) >> 32;
      good_ &= w.begin >= 0 && w.at < job_.num_edges;
      if constexpr (kWeighted) {
        __builtin_prefetch(job_.slot + w.at);
      } else {
        __builtin_prefetch(job_.idx + w.at);
      }
    }
  }

  void decide(int64_t i) {
    Walker& w = walker_[i];
    if (w.at < 0) return finish(w);
    Idx found;
    if constexpr (kWeighted) {
      const Slot& slot = job_.slot[w.at];
      if (slot.threshold < 0) return finish(w);
      found =
          static_cast<int32_t>(w.edge_coin) < slot.threshold ? slot.node : slot.other;
    } else {
      found = job_.idx[w.at];
    }
    good_ &= static_cast<uint64_t>(found) < static_cast<uint64_t>(job_.num_nodes);
    if (!good_) return;
    // Nothing to choose: the bias of a single edge cancels.
    if (w.before < 0 || w.degree == 1) return accept(w, found);
    if (found == w.before)
      return w.coin < job_.bias.back ? accept(w, found) : refuse(w);
    if (w.coin < job_.bias.low()) return accept(w, found);
    if (w.coin >= job_.bias.high()) return refuse(w);
    if (job_.filter == nullptr) return begin_search(i, found);
    const uint64_t at = job_.filter->place(w.before, found);
    job_.filter->prefetch(at);
    probe_[probes_++] = {i, at, found};
  }

  // Pairs that are surely no edge are decided; the others are looked up.
  void probe() {
    for (int64_t k = 0; k < probes_; ++k) {
      const Probe& p = probe_[k];
      Walker& w = walker_[p.walker];
      if (job_.filter->may_have(p.at)) {
        begin_search(p.walker, p.node);
      } else if (w.coin < job_.bias.far) {
        accept(w, p.node);
      } else {
        refuse(w);
      }
    }
  }

  void begin_search(int64_t i, Idx node) {
    const Walker& w = walker_[i];
    Search& s = search_[searches_++];
    s = {i, w.before_begin, w.before_end, w.before_end, static_cast<int64_t>(node)};
    __builtin_prefetch(job_.idx + s.lo + (s.hi - s.lo) / 2);
  }

  // Binary searches of all walkers that need one, a step of each in turn.
  void search() {
    for (bool more = searches_ > 0; more;) {
      more = false;
      for (int64_t k = 0; k < searches_; ++k) {
        Search& s = search_[k];
        if (s.lo >= s.hi) continue;
        const int64_t middle = s.lo + (s.hi - s.lo) / 2;
        const bool below = static_cast<int64_t>(job_.idx[middle]) < s.node;
        s.lo = below ? middle + 1 : s.lo;
        s.hi = below ? s.hi : middle;
        more |= s.lo < s.hi;
        __builtin_prefetch(job_.idx + s.lo + (s.hi - s.lo) / 2);
      }
    }
    for (int64_t k = 0; k < searches_; ++k) {
      const Search& s = search_[k];
      Walker& w = walker_[s.walker];
      const bool near = s.lo < s.end && static_cast<int64_t>(job_.idx[s.lo]) == s.node;
      if (w.coin < (near ? job_.bias.near : job_.bias.far)) {
        accept(w, static_cast<Idx>(s.node));
      } else {
        refuse(w);
      }
    }
  }

  void accept(Walker& w, Idx found) {
    job_.out[w.walk * (job_.length + 1) + ++w.step] = found;
    w.before = w.node;
    w.before_begin = w.begin;
    w.before_end = w.begin + w.degree;
    w.node = found;
    w.attempt = 0;
    __builtin_prefetch(job_.ptr + found);
  }
  void refuse(Walker& w) { ++w.attempt; }
  void finish(Walker& w) {
    Idx* row = job_.out + w.walk * (job_.length + 1);
    std::fill(row + w.step + 1, row + job_.length + 1, static_cast<Idx>(-1));
    w.step = job_.length;
  }

  const Job<Idx>& job_;
  int64_t next_walk_, end_, live_ = 0, searches_ = 0, probes_ = 0;
  bool good_ = true;
  Walker walker_[kWalkers];
  Search search_[kWalkers];
  Probe probe_[kWalkers];
};

GL_MULTIVERSION bool uniform_32(const Job<int32_t>& job, int64_t lo, int64_t hi) {
  return first_order<int32_t, false>(job, lo, hi);
}
GL_MULTIVERSION bool uniform_64(const Job<int64_t>& job, int64_t lo, int64_t hi) {
  return first_order<int64_t, false>(job, lo, hi);
}
GL_MULTIVERSION bool weighted_32(const Job<int32_t>& job, int64_t lo, int64_t hi) {
  return first_order<int32_t, true>(job, lo, hi);
}

bool walk_range(const Job<int32_t>& job, bool second, int64_t lo, int64_t hi) {
  if (!second) {
    return job.slot != nullptr ? weighted_32(job, lo, hi) : uniform_32(job, lo, hi);
  }
  if (job.slot != nullptr) return SecondOrder<int32_t, true>(job, lo, hi).run();
  return SecondOrder<int32_t, false>(job, lo, hi).run();
}

bool walk_range(const Job<int64_t>& job, bool second, int64_t lo, int64_t hi) {
  if (!second) return uniform_64(job, lo, hi);
  return SecondOrder<int64_t, false>(job, lo, hi).run();
}

template <typename Idx>
void run(Job<Idx> job, bool second, int64_t count) {
  std::atomic<bool> good{true};
  const int64_t grain = std::max<int64_t>(
      kWalkers, kGrainSteps / std::max<int64_t>(1, job.length) / kWalkers * kWalkers);
  torch::stable::parallel_for(0, count, grain, [&](int64_t lo, int64_t hi) {
    if (!walk_range(job, second, lo, hi)) good = false;
  });
  GL_CHECK(good, "`starts` and `idx` must hold node ids, `ptr` offsets into `idx`");
}

Tensor random_walk(const Tensor& ptr, const Tensor& idx, std::optional<Tensor> slots,
                   const Tensor& starts, int64_t length, std::vector<int64_t> bias,
                   int64_t key, int64_t first) {
  const Graph graph = read_graph(ptr, idx, slots, starts, length, bias);
  const int64_t count = starts.size(0);
  Tensor out = torch::stable::new_empty(idx, {count, length + 1}, idx.scalar_type());
  prefer_huge_pages(out.mutable_data_ptr(),
                    out.numel() * static_cast<int64_t>(out.element_size()));
  Bias chance{};
  if (!bias.empty()) {
    chance = {static_cast<uint64_t>(bias[0]), static_cast<uint64_t>(bias[1]),
              static_cast<uint64_t>(bias[2])};
  }
  const bool far_differs = !bias.empty() && bias[1] != bias[2];
  const auto fill = [&]<typename Idx>(const Idx* neighbours) {
    EdgeFilter filter;
    if (far_differs && count * length >= kFilterSteps * graph.num_edges)
      filter.build(graph.ptr, neighbours, graph.num_nodes, graph.num_edges);
    run<Idx>({graph.ptr, neighbours, graph.slot, starts.const_data_ptr<int64_t>(),
              out.mutable_data_ptr<Idx>(), graph.num_nodes, graph.num_edges, length,
              static_cast<uint64_t>(key), static_cast<uint64_t>(first), chance,
              filter.ready() ? &filter : nullptr},
             !bias.empty(), count);
  };
  if (graph.short_idx != nullptr) {
    fill(graph.short_idx);
  } else {
    fill(graph.long_idx);
  }
  return out;
}

Tensor negative_sample(const Tensor& threshold, const Tensor& alias, int64_t count,
                       int64_t key, int64_t first) {
  const NodeTable table = read_table(threshold, alias);
  GL_CHECK(count >= 0, "`count` must not be negative");
  Tensor out = torch::stable::new_empty(alias, {count}, ScalarType::Int);
  int32_t* to = out.mutable_data_ptr<int32_t>();
  const uint64_t stream = static_cast<uint64_t>(key);
  torch::stable::parallel_for(0, count, kGrainSteps, [=](int64_t lo, int64_t hi) {
    for (int64_t i = lo; i < hi; ++i)
      to[i] = table.draw(stream, static_cast<uint64_t>(first + i));
  });
  bool good = true;
  for (int64_t i = 0; i < count; ++i)
    good &= static_cast<uint64_t>(to[i]) < static_cast<uint64_t>(table.size);
  GL_CHECK(good, "`alias` must point inside the table");
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(graphlab, CPU, m) {
  m.impl("random_walk", TORCH_BOX(&random_walk));
  m.impl("negative_sample", TORCH_BOX(&negative_sample));
}

}  // namespace graphlab
