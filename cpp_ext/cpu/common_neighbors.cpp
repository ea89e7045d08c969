// SPDX-License-Identifier: Apache-2.0
// common_neighbors: what the neighbourhoods of the two nodes of a pair share, and what
// each has alone; common_neighbors_pool: the sum of a feature over the shared ones.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "check.h"
#include "overlap.h"
#include "pages.h"
#include "simd.h"

namespace graphlab {
namespace {

using overlap::Bitmap;
using overlap::Dense;
using overlap::List;
using overlap::Rows;
using overlap::Strategy;

// Pairs of one task: enough to amortise its start, few enough that hubs spread.
constexpr int64_t kTaskPairs = 512;
// Pairs whose rows are on their way from memory while one is intersected.
constexpr int64_t kAhead = 6;
// Pairs from which the cost of all is judged.
constexpr int64_t kSample = 4096;

struct Arguments {
  const int64_t* ptr;
  const int64_t *left, *right;
  int64_t num_nodes, num_entries, num_pairs;
};

Arguments read_arguments(const Tensor& ptr, const Tensor& idx, const Tensor& pairs,
                         const std::optional<Tensor>& exclude) {
  check_vector(ptr, ScalarType::Long, "ptr");
  check_vector(idx, idx.scalar_type(), "idx");
  GL_CHECK(ptr.size(0) >= 1, "`ptr` must not be empty");
  GL_CHECK(pairs.dim() == 2 && pairs.size(0) == 2, "`pairs` must be [2, pairs]");
  GL_CHECK(pairs.scalar_type() == ScalarType::Long, "`pairs` must be int64");
  check_contiguous(pairs, "pairs");
  Arguments given;
  given.ptr = ptr.const_data_ptr<int64_t>();
  given.num_nodes = ptr.size(0) - 1;
  given.num_entries = idx.size(0);
  given.num_pairs = pairs.size(1);
  given.left = pairs.const_data_ptr<int64_t>();
  given.right = given.left + given.num_pairs;
  const auto in_range = [&](const Tensor& t) {
    const int64_t* node = t.const_data_ptr<int64_t>();
    const uint64_t limit = static_cast<uint64_t>(given.num_nodes);
    bool good = true;
    for (int64_t p = 0; p < 2 * t.size(1); ++p)
      good &= static_cast<uint64_t>(node[p]) < limit;
    return good;
  };
  GL_CHECK(in_range(pairs), "`pairs` must be in [0, nodes)");
  if (exclude.has_value()) {
    GL_CHECK(exclude->dim() == 2 && exclude->size(0) == 2 &&
                 exclude->scalar_type() == ScalarType::Long,
             "`exclude` must be [2, pairs], int64");
    check_contiguous(*exclude, "exclude");
    GL_CHECK(in_range(*exclude), "`exclude` must be in [0, nodes)");
  }
  return given;
}

Exclusion exclusion_of(const std::optional<Tensor>& exclude) {
  if (!exclude.has_value()) return Exclusion(nullptr, 0);
  return Exclusion(exclude->const_data_ptr<int64_t>(), exclude->size(1));
}

// One place in the order of work: a pair, with its rows' lengths.
struct Item {
  int64_t pair;
  int64_t key;  // the end whose row is longer
};

// Stable radix sort by key, so that pairs with the same hub follow one another.
std::vector<Item> grouped(std::vector<Item> items, int64_t num_nodes) {
  constexpr int kBits = 11;
  std::vector<Item> other(items.size());
  for (int shift = 0; num_nodes >> shift > 0; shift += kBits) {
    int64_t start[(1 << kBits) + 1] = {};
    const auto digit = [shift](const Item& item) {
      return (item.key >> shift) & ((1 << kBits) - 1);
    };
    for (const Item& item : items) ++start[digit(item) + 1];
    for (int d = 0; d < 1 << kBits; ++d) start[d + 1] += start[d];
    for (const Item& item : items) other[start[digit(item)]++] = item;
    items.swap(other);
  }
  return items;
}

// How one call is done: the order of its pairs, and the strategy.
struct Plan {
  std::vector<Item> items;  // empty: pairs as they come
  Strategy strategy;
};

template <typename Index>
Plan make_plan(const Arguments& given, const Rows<Index>& rows, Strategy wanted) {
  Plan plan{{}, wanted};
  const int64_t n = given.num_nodes;
  const bool fits = n * ((n + 63) / 64) * 8 <= overlap::kDenseBytes;
  if (wanted == Strategy::kDense) GL_CHECK(fits, "too many nodes for dense rows");
  if (wanted == Strategy::kDense || wanted == Strategy::kMerge ||
      wanted == Strategy::kGallop)
    return plan;
  // What the pairs cost, from a sample of them.
  const int64_t stride = std::max<int64_t>(1, given.num_pairs / kSample);
  double one_by_one = 0, by_group = 0;
  for (int64_t p = 0; p < given.num_pairs; p += stride) {
    const int64_t a = rows.of(given.left[p]).size, b = rows.of(given.right[p]).size;
    one_by_one += std::min(overlap::merge_cost(a, b), overlap::gallop_cost(a, b));
    by_group += overlap::kProbeStep * static_cast<double>(std::min(a, b));
  }
  one_by_one *= static_cast<double>(stride);
  by_group *= static_cast<double>(stride);
  if (wanted == Strategy::kAuto && fits) {
    const double words = static_cast<double>((n + 63) / 64);
    const double build = overlap::kBuildStep * static_cast<double>(given.num_entries) +
                         overlap::kWordStep * words * static_cast<double>(n);
    const double dense =
        build + overlap::kWordStep * words * static_cast<double>(given.num_pairs);
    if (dense < std::min(one_by_one, by_group)) return {{}, Strategy::kDense};
  }
  const double grouping = overlap::kGroupStep * static_cast<double>(given.num_pairs);
  if (wanted != Strategy::kBitmap && by_group + grouping >= one_by_one) return plan;
  plan.items.resize(given.num_pairs);
  for (int64_t p = 0; p < given.num_pairs; ++p) {
    if (p + 16 < given.num_pairs) {
      __builtin_prefetch(given.ptr + given.left[p + 16]);
      __builtin_prefetch(given.ptr + given.right[p + 16]);
    }
    const int64_t i = given.left[p], j = given.right[p];
    plan.items[p] = {p, rows.of(i).size >= rows.of(j).size ? i : j};
  }
  plan.items = grouped(std::move(plan.items), n);
  return plan;
}

// Finds hits of one pair after the other, in one thread.
template <typename Index>
class Finder {
 public:
  Finder(const Rows<Index>& rows, const Exclusion& exclusion, const Dense* dense,
         Strategy strategy)
      : rows_(rows), exclusion_(exclusion), dense_(dense), strategy_(strategy) {}
  ~Finder() { drop_key(); }

  // `next` is the number of pairs from here on that share `key`; 0: no grouping.
  int64_t find(int64_t i, int64_t j, int64_t key, int64_t next) {
    const List<Index> a = rows_.of(i), b = rows_.of(j);
    const int64_t most = std::min(a.size, b.size);
    if (static_cast<int64_t>(hits_.size()) < most + 1) hits_.resize(2 * most + 64);
    Index* hits = hits_.data();
    if (dense_ != nullptr) return dense_->common(i, j, hits);
    int64_t count;
    if (strategy_ == Strategy::kBitmap || (next > 0 && worth(a, b, key, next))) {
      take_key(key, key == i ? a : b);
      count = bits().probe(key == i ? b : a, hits);
    } else if (strategy_ == Strategy::kMerge ||
               (strategy_ == Strategy::kAuto &&
                overlap::merge_cost(a.size, b.size) <=
                    overlap::gallop_cost(a.size, b.size))) {
      count = overlap::merge(a, b, hits);
    } else {
      count = overlap::gallop(a, b, hits);
    }
    if (count == 0) return 0;
    return overlap::drop_excluded(i, j, exclusion_.of(i), exclusion_.of(j), hits,
                                  count);
  }
  const Index* hits() const { return hits_.data(); }

 private:
  bool worth(List<Index> a, List<Index> b, int64_t key, int64_t next) const {
    if (key == key_) return true;
    const int64_t small = std::min(a.size, b.size), large = std::max(a.size, b.size);
    const double mark =
        2 * overlap::kMarkStep * static_cast<double>(large) / static_cast<double>(next);
    return mark + overlap::kProbeStep * static_cast<double>(small) <
           std::min(overlap::merge_cost(small, large),
                    overlap::gallop_cost(small, large));
  }
  // Kept by the thread: clean between calls, as large as the largest graph it saw.
  static Bitmap<Index>& bits() {
    static thread_local Bitmap<Index> kept;
    return kept;
  }
  void take_key(int64_t key, List<Index> row) {
    if (key == key_) return;
    drop_key();
    bits().require(rows_.num_nodes);
    bits().mark(row);
    key_ = key, marked_ = row;
  }
  void drop_key() {
    if (key_ >= 0) bits().clear(marked_);
    key_ = -1;
  }

  const Rows<Index>& rows_;
  const Exclusion& exclusion_;
  const Dense* dense_;
  Strategy strategy_;
  std::vector<Index> hits_;
  int64_t key_ = -1;
  List<Index> marked_{nullptr, 0};
};

// Calls each(task, pair, hits, count) for all pairs; a task's pairs come in order, from
// one thread.
template <typename Index, typename Each>
void over_pairs(const Arguments& given, const Rows<Index>& rows,
                const Exclusion& exclusion, const Plan& plan, const Each& each) {
  const int64_t tasks = (given.num_pairs + kTaskPairs - 1) / kTaskPairs;
  std::unique_ptr<Dense> dense;
  if (plan.strategy == Strategy::kDense)
    dense = std::make_unique<Dense>(rows, exclusion);
  std::atomic<int64_t> next{0};
  const int64_t threads = std::min<int64_t>(torch::stable::get_num_threads(), tasks);
  const bool in_order = plan.items.empty();
  torch::stable::parallel_for(0, threads, 1, [&](int64_t, int64_t) {
    Finder<Index> finder(rows, exclusion, dense.get(), plan.strategy);
    for (int64_t task = next++; task < tasks; task = next++) {
      const int64_t lo = task * kTaskPairs;
      const int64_t hi = std::min(lo + kTaskPairs, given.num_pairs);
      const auto pair_at = [&](int64_t t) { return in_order ? t : plan.items[t].pair; };
      int64_t run_end = lo;
      for (int64_t t = lo; t < hi; ++t) {
        if (dense == nullptr && t + 2 * kAhead < hi) {
          const int64_t far = pair_at(t + 2 * kAhead), near = pair_at(t + kAhead);
          __builtin_prefetch(given.ptr + given.left[far]);
          __builtin_prefetch(given.ptr + given.right[far]);
          __builtin_prefetch(rows.idx + given.ptr[given.left[near]]);
          __builtin_prefetch(rows.idx + given.ptr[given.right[near]]);
        }
        const int64_t p = pair_at(t);
        int64_t key = -1, run = 0;
        if (!in_order) {
          key = plan.items[t].key;
          if (t >= run_end) {
            run_end = t + 1;
            while (run_end < hi && plan.items[run_end].key == key) ++run_end;
          }
          run = run_end - t;
        }
        const int64_t count = finder.find(given.left[p], given.right[p], key, run);
        each(task, p, finder.hits(), count);
      }
    }
  });
}

// Lists of all pairs, collected by task, then laid out pair after pair.
template <typename Index>
class Collected {
 public:
  Collected(int64_t num_pairs, const Tensor& like_ptr)
      : parts_((num_pairs + kTaskPairs - 1) / kTaskPairs),
        ptr_(torch::stable::new_empty(like_ptr, {num_pairs + 1}, ScalarType::Long)),
        count_(ptr_.mutable_data_ptr<int64_t>() + 1),
        num_pairs_(num_pairs) {}

  void put(int64_t task, int64_t pair, const Index* values, int64_t count) {
    parts_[task].insert(parts_[task].end(), values, values + count);
    count_[pair] = count;
  }
  std::vector<Index>& part(int64_t task) { return parts_[task]; }
  void note(int64_t pair, int64_t count) { count_[pair] = count; }

  // `items` empty: pairs came in order. Nothing is laid out where only counts are
  // wanted.
  std::tuple<Tensor, Tensor> finish(const Tensor& like_idx, const Plan& plan,
                                    bool values = true) {
    int64_t* ptr = count_ - 1;
    ptr[0] = 0;
    for (int64_t p = 0; p < num_pairs_; ++p) ptr[p + 1] += ptr[p];
    Tensor idx = torch::stable::new_empty(like_idx, {values ? ptr[num_pairs_] : 0});
    if (!values) return {ptr_, idx};
    Index* out = idx.mutable_data_ptr<Index>();
    const int64_t tasks = static_cast<int64_t>(parts_.size());
    torch::stable::parallel_for(0, tasks, 4, [&](int64_t lo, int64_t hi) {
      for (int64_t task = lo; task < hi; ++task) {
        const Index* from = parts_[task].data();
        const int64_t end = std::min((task + 1) * kTaskPairs, num_pairs_);
        for (int64_t t = task * kTaskPairs; t < end; ++t) {
          const int64_t p = plan.items.empty() ? t : plan.items[t].pair;
          const int64_t count = ptr[p + 1] - ptr[p];
          std::copy(from, from + count, out + ptr[p]);
          from += count;
        }
      }
    });
    return {ptr_, idx};
  }

 private:
  std::vector<std::vector<Index>> parts_;
  Tensor ptr_;
  int64_t* count_;
  int64_t num_pairs_;
};

// Columns of some rows of x, summed in registers, in the order of the rows.
template <int kVectors, typename T, typename Index>
[[gnu::always_inline]] inline void add_block(const T* x, int64_t stride,
                                             const Index* hits, int64_t count, T* out) {
  Vector<T> sum[kVectors] = {};
  for (int64_t h = 0; h < count; ++h) {
    const T* row = x + hits[h] * stride;
    if (h + 4 < count) {
      const char* later = reinterpret_cast<const char*>(x + hits[h + 4] * stride);
      for (int v = 0; v < kVectors; ++v) __builtin_prefetch(later + v * kVectorBytes);
    }
    for (int v = 0; v < kVectors; ++v) {
      Vector<T> part;
      std::memcpy(&part, row + v * kLanes<T>, sizeof(part));
      sum[v] += part;
    }
  }
  for (int v = 0; v < kVectors; ++v)
    std::memcpy(out + v * kLanes<T>, &sum[v], sizeof(sum[v]));
}

template <typename T, typename Index>
[[gnu::always_inline]] inline void add_rows(const T* x, int64_t width,
                                            const Index* hits, int64_t count, T* out) {
  constexpr int64_t kLane = kLanes<T>;
  int64_t c = 0;
  for (; c + 8 * kLane <= width; c += 8 * kLane)
    add_block<8>(x + c, width, hits, count, out + c);
  for (; c + 4 * kLane <= width; c += 4 * kLane)
    add_block<4>(x + c, width, hits, count, out + c);
  for (; c + kLane <= width; c += kLane)
    add_block<1>(x + c, width, hits, count, out + c);
  for (; c < width; ++c) {
    T sum = 0;
    for (int64_t h = 0; h < count; ++h) sum += x[hits[h] * width + c];
    out[c] = sum;
  }
}

#define GL_ADD_ROWS(T, Index)                                                         \
  GL_MULTIVERSION void pool_##T##_##Index(const T* x, int64_t width,                  \
                                          const Index* hits, int64_t count, T* out) { \
    add_rows(x, width, hits, count, out);                                             \
  }                                                                                   \
  inline void pool_row(const T* x, int64_t width, const Index* hits, int64_t count,   \
                       T* out) {                                                      \
    pool_##T##_##Index(x, width, hits, count, out);                                   \
  }

GL_ADD_ROWS(float, int32_t)
GL_ADD_ROWS(float, int64_t)
GL_ADD_ROWS(double, int32_t)
GL_ADD_ROWS(double, int64_t)

using Sets = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

template <typename Index>
Sets find_sets(const Arguments& given, const Rows<Index>& rows, const Tensor& ptr,
               const Tensor& idx, const Exclusion& exclusion) {
  const int64_t pairs = given.num_pairs;
  Collected<Index> both(pairs, ptr), left(pairs, ptr), right(pairs, ptr);
  const int64_t tasks = (pairs + kTaskPairs - 1) / kTaskPairs;
  torch::stable::parallel_for(0, tasks, 1, [&](int64_t first, int64_t last) {
    for (int64_t task = first; task < last; ++task) {
      auto &c = both.part(task), &l = left.part(task), &r = right.part(task);
      const int64_t end = std::min((task + 1) * kTaskPairs, pairs);
      for (int64_t p = task * kTaskPairs; p < end; ++p) {
        const int64_t i = given.left[p], j = given.right[p];
        const size_t c0 = c.size(), l0 = l.size(), r0 = r.size();
        overlap::split(
            rows.of(i), rows.of(j), i, j, exclusion.of(i), exclusion.of(j),
            [&](Index u) { c.push_back(u); }, [&](Index u) { l.push_back(u); },
            [&](Index u) { r.push_back(u); });
        both.note(p, c.size() - c0);
        left.note(p, l.size() - l0);
        right.note(p, r.size() - r0);
      }
    }
  });
  const Plan in_order{{}, Strategy::kMerge};
  auto [c_ptr, c_idx] = both.finish(idx, in_order);
  auto [l_ptr, l_idx] = left.finish(idx, in_order);
  auto [r_ptr, r_idx] = right.finish(idx, in_order);
  return {c_ptr, c_idx, l_ptr, l_idx, r_ptr, r_idx};
}

Sets common_neighbors(const Tensor& ptr, const Tensor& idx, const Tensor& pairs,
                      std::optional<Tensor> exclude, std::string output,
                      std::string strategy) {
  const Arguments given = read_arguments(ptr, idx, pairs, exclude);
  const Exclusion exclusion = exclusion_of(exclude);
  const Strategy wanted = overlap::strategy_of(strategy);
  GL_CHECK(output == "count" || output == "ids" || output == "sets",
           "`output` must be count, ids or sets");
  const auto run = [&]<typename Index>() -> Sets {
    const Rows<Index> rows{given.ptr, idx.const_data_ptr<Index>(), given.num_nodes,
                           given.num_entries};
    if (output == "sets") return find_sets(given, rows, ptr, idx, exclusion);
    const bool values = output == "ids";
    const Plan plan = make_plan(given, rows, wanted);
    Collected<Index> found(given.num_pairs, ptr);
    over_pairs(given, rows, exclusion, plan,
               [&](int64_t task, int64_t p, const Index* hits, int64_t count) {
                 found.put(task, p, hits, values ? count : 0);
                 found.note(p, count);
               });
    auto [c_ptr, c_idx] = found.finish(idx, plan, values);
    const auto none = [](const Tensor& like) {
      return torch::stable::new_empty(like, {0});
    };
    return {c_ptr, c_idx, none(ptr), none(idx), none(ptr), none(idx)};
  };
  if (idx.scalar_type() == ScalarType::Int) return run.template operator()<int32_t>();
  GL_CHECK(idx.scalar_type() == ScalarType::Long, "`idx` must be int32 or int64");
  return run.template operator()<int64_t>();
}

std::tuple<Tensor, Tensor, Tensor> common_neighbors_pool(
    const Tensor& ptr, const Tensor& idx, const Tensor& pairs,
    std::optional<Tensor> exclude, const Tensor& x, bool keep, std::string strategy) {
  const Arguments given = read_arguments(ptr, idx, pairs, exclude);
  const Exclusion exclusion = exclusion_of(exclude);
  const Strategy wanted = overlap::strategy_of(strategy);
  GL_CHECK(x.dim() == 2, "`x` must be [nodes, width]");
  check_contiguous(x, "x");
  const int64_t width = x.size(1), num_x = x.size(0);
  Tensor out = torch::stable::new_empty(x, {given.num_pairs, width});
  std::atomic<bool> good{true};
  const auto run = [&]<typename T, typename Index>() {
    const Rows<Index> rows{given.ptr, idx.const_data_ptr<Index>(), given.num_nodes,
                           given.num_entries};
    const Plan plan = make_plan(given, rows, wanted);
    const T* values = x.const_data_ptr<T>();
    T* sums = out.mutable_data_ptr<T>();
    prefer_huge_pages(sums, given.num_pairs * width * static_cast<int64_t>(sizeof(T)));
    Collected<Index> found(keep ? given.num_pairs : 0, ptr);
    over_pairs(given, rows, exclusion, plan,
               [&](int64_t task, int64_t p, const Index* hits, int64_t count) {
                 if (keep) found.put(task, p, hits, count);
                 T* row = sums + p * width;
                 bool fits = true;
                 for (int64_t h = 0; h < count; ++h)
                   fits &=
                       static_cast<uint64_t>(hits[h]) < static_cast<uint64_t>(num_x);
                 if (!fits) good = false;
                 if (count == 0 || !fits) {
                   std::fill(row, row + width, T{0});
                 } else {
                   pool_row(values, width, hits, count, row);
                 }
               });
    return found.finish(idx, plan);
  };
  const bool narrow = idx.scalar_type() == ScalarType::Int;
  GL_CHECK(narrow || idx.scalar_type() == ScalarType::Long,
           "`idx` must be int32 or int64");
  std::tuple<Tensor, Tensor> list = [&] {
    if (x.scalar_type() == ScalarType::Float) {
      return narrow ? run.template operator()<float, int32_t>()
                    : run.template operator()<float, int64_t>();
    }
    GL_CHECK(x.scalar_type() == ScalarType::Double, "`x` must be float32 or float64");
    return narrow ? run.template operator()<double, int32_t>()
                  : run.template operator()<double, int64_t>();
  }();
  GL_CHECK(good, "`idx` must be in [0, rows of x)");
  return {out, std::get<0>(list), std::get<1>(list)};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(graphlab, CPU, m) {
  m.impl("common_neighbors", TORCH_BOX(&common_neighbors));
  m.impl("common_neighbors_pool", TORCH_BOX(&common_neighbors_pool));
}

}  // namespace graphlab
