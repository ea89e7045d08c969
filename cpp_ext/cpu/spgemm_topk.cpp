// SPDX-License-Identifier: Apache-2.0
// spgemm_topk: product of two sparse matrices plus a third, of which each row keeps its
// largest entries. Row by row: nothing dense, nothing larger than the result.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <tuple>
#include <vector>

#include "check.h"

namespace graphlab {
namespace {

// Rows that a thread takes at a time.
constexpr int64_t kRows = 256;
// Columns up to which a thread holds a sum for each: 4 MB stay in a core's cache.
constexpr int64_t kTableColumns = 1 << 19;

template <typename T, typename Index>
struct Matrix {
  const int64_t* ptr = nullptr;
  const Index* idx = nullptr;
  const T* val = nullptr;
  explicit Matrix(const Tensor& p, const Tensor& i, const Tensor& v)
      : ptr(p.const_data_ptr<int64_t>()),
        idx(i.const_data_ptr<Index>()),
        val(v.const_data_ptr<T>()) {}
};

struct Entry {
  int64_t column;
  double value;
};

bool by_column(const Entry& x, const Entry& y) { return x.column < y.column; }

// Sums of one row by column, for few columns: a place for each, and bits that say which
// are in use. Two levels of bits give them back in order without sorting.
class Table {
 public:
  explicit Table(int64_t columns)
      : sums_(columns),
        used_((columns + 63) / 64),
        words_((static_cast<int64_t>(used_.size()) + 63) / 64) {}
  void reset(int64_t) {}
  void add(int64_t column, double value) {
    uint64_t& word = used_[column >> 6];
    const uint64_t bit = 1ull << (column & 63);
    if (word & bit) {
      sums_[column] += value;
      return;
    }
    word |= bit;
    words_[column >> 12] |= 1ull << (column >> 6 & 63);
    sums_[column] = value;
  }
  // Moves the sums out, by ascending column.
  void take(std::vector<Entry>& entries) {
    entries.clear();
    for (size_t at = 0; at < words_.size(); ++at) {
      for (uint64_t words = words_[at]; words != 0; words &= words - 1) {
        const int64_t word = static_cast<int64_t>(at) * 64 + std::countr_zero(words);
        for (uint64_t bits = used_[word]; bits != 0; bits &= bits - 1) {
          const int64_t column = word * 64 + std::countr_zero(bits);
          entries.push_back({column, sums_[column]});
        }
        used_[word] = 0;
      }
      words_[at] = 0;
    }
  }

 private:
  std::vector<double> sums_;
  std::vector<uint64_t> used_, words_;
};

// The same for any number of columns: open addressing, emptied by forgetting it.
class Hash {
 public:
  explicit Hash(int64_t) {}
  void reset(int64_t most) {
    const uint64_t wanted = std::bit_ceil(static_cast<uint64_t>(2 * most + 2));
    if (wanted > slots_.size()) slots_.resize(wanted);
    mask_ = wanted - 1;
    std::fill_n(slots_.begin(), wanted, -1);
    entries_.clear();
  }
  void add(int64_t column, double value) {
    uint64_t slot =
        (static_cast<uint64_t>(column) * 0x9E3779B97F4A7C15ull >> 20) & mask_;
    while (slots_[slot] >= 0) {
      if (entries_[slots_[slot]].column == column) {
        entries_[slots_[slot]].value += value;
        return;
      }
      slot = (slot + 1) & mask_;
    }
    slots_[slot] = static_cast<int64_t>(entries_.size());
    entries_.push_back({column, value});
  }
  void take(std::vector<Entry>& entries) {
    entries.swap(entries_);
    std::sort(entries.begin(), entries.end(), by_column);
  }

 private:
  std::vector<int64_t> slots_;
  std::vector<Entry> entries_;
  uint64_t mask_ = 0;
};

template <typename T, typename Index, typename Sums>
class Product {
 public:
  Product(Matrix<T, Index> a, Matrix<T, Index> b, std::optional<Matrix<T, Index>> c,
          int64_t rows, int64_t b_rows, int64_t columns, int64_t k)
      : a_(a), b_(b), c_(c), rows_(rows), b_rows_(b_rows), columns_(columns), k_(k) {}

  std::tuple<Tensor, Tensor, Tensor> run(const Tensor& like_ptr, const Tensor& like_idx,
                                         const Tensor& like_val) {
    const int64_t blocks = (rows_ + kRows - 1) / kRows;
    parts_.resize(blocks);
    std::atomic<int64_t> next{0};
    std::atomic<bool> good{true};
    const int64_t threads = std::min<int64_t>(torch::stable::get_num_threads(), blocks);
    torch::stable::parallel_for(0, threads, 1, [&](int64_t, int64_t) {
      Sums sums(columns_);
      std::vector<Entry> entries;
      for (int64_t block = next++; block < blocks; block = next++) {
        if (!make_block(block, sums, entries)) good = false;
      }
    });
    GL_CHECK(good, "indices must be below the number of rows and columns");
    Tensor ptr = torch::stable::new_empty(like_ptr, {rows_ + 1});
    int64_t* offsets = ptr.template mutable_data_ptr<int64_t>();
    offsets[0] = 0;
    for (int64_t row = 0; row < rows_; ++row) {
      const Part& part = parts_[row / kRows];
      offsets[row + 1] = offsets[row] + part.counts[row % kRows];
    }
    Tensor idx = torch::stable::new_empty(like_idx, {offsets[rows_]});
    Tensor val = torch::stable::new_empty(like_val, {offsets[rows_]});
    Index* ids = idx.template mutable_data_ptr<Index>();
    T* values = val.template mutable_data_ptr<T>();
    for (int64_t block = 0; block < blocks; ++block) {
      Part& part = parts_[block];
      const int64_t at = offsets[block * kRows];
      if (!part.idx.empty()) {
        std::memcpy(ids + at, part.idx.data(), part.idx.size() * sizeof(Index));
        std::memcpy(values + at, part.val.data(), part.val.size() * sizeof(T));
      }
      part = Part{};
    }
    return {ptr, idx, val};
  }

 private:
  struct Part {
    std::vector<int64_t> counts;
    std::vector<Index> idx;
    std::vector<T> val;
  };

  bool make_block(int64_t block, Sums& sums, std::vector<Entry>& entries) {
    Part& part = parts_[block];
    bool good = true;
    for (int64_t row = block * kRows; row < std::min(rows_, (block + 1) * kRows);
         ++row) {
      good &= make_row(row, sums);
      sums.take(entries);
      if (k_ > 0 && static_cast<int64_t>(entries.size()) > k_) {
        // Of equal values the smaller columns stay.
        std::nth_element(entries.begin(), entries.begin() + k_, entries.end(),
                         [](const Entry& x, const Entry& y) {
                           return x.value > y.value ||
                                  (x.value == y.value && x.column < y.column);
                         });
        entries.resize(k_);
        std::sort(entries.begin(), entries.end(), by_column);
      }
      part.counts.push_back(static_cast<int64_t>(entries.size()));
      for (const Entry& entry : entries) {
        part.idx.push_back(static_cast<Index>(entry.column));
        part.val.push_back(static_cast<T>(entry.value));
      }
    }
    return good;
  }

  // Products are added in the order of A's entries, then of B's, then C's entries.
  bool make_row(int64_t row, Sums& sums) {
    bool good = true;
    int64_t most = c_ ? c_->ptr[row + 1] - c_->ptr[row] : 0;
    for (int64_t e = a_.ptr[row]; e < a_.ptr[row + 1]; ++e) {
      const int64_t middle = a_.idx[e];
      if (static_cast<uint64_t>(middle) < static_cast<uint64_t>(b_rows_))
        most += b_.ptr[middle + 1] - b_.ptr[middle];
    }
    sums.reset(std::min(most, columns_));
    const auto add = [&](int64_t column, double value) {
      if (static_cast<uint64_t>(column) < static_cast<uint64_t>(columns_)) {
        sums.add(column, value);
      } else {
        good = false;
      }
    };
    for (int64_t e = a_.ptr[row]; e < a_.ptr[row + 1]; ++e) {
      const int64_t middle = a_.idx[e];
      if (static_cast<uint64_t>(middle) >= static_cast<uint64_t>(b_rows_)) {
        good = false;
        continue;
      }
      const double factor = a_.val[e];
      for (int64_t f = b_.ptr[middle]; f < b_.ptr[middle + 1]; ++f)
        add(b_.idx[f], factor * static_cast<double>(b_.val[f]));
    }
    if (c_)
      for (int64_t e = c_->ptr[row]; e < c_->ptr[row + 1]; ++e)
        add(c_->idx[e], static_cast<double>(c_->val[e]));
    return good;
  }

  Matrix<T, Index> a_, b_;
  std::optional<Matrix<T, Index>> c_;
  int64_t rows_, b_rows_, columns_, k_;
  std::vector<Part> parts_;
};

void check_matrix(const Tensor& ptr, const Tensor& idx, const Tensor& val,
                  const Tensor& like_idx, const Tensor& like_val) {
  check_vector(ptr, ScalarType::Long, "ptr");
  check_vector(idx, like_idx.scalar_type(), "idx");
  check_vector(val, like_val.scalar_type(), "val");
  GL_CHECK(ptr.size(0) >= 1, "`ptr` must have an entry");
  GL_CHECK(val.size(0) == idx.size(0), "`val` must have a value an entry");
  check_offsets(ptr.const_data_ptr<int64_t>(), ptr.size(0) - 1, idx.size(0));
}

std::tuple<Tensor, Tensor, Tensor> spgemm_topk(const Tensor& a_ptr, const Tensor& a_idx,
                                               const Tensor& a_val, const Tensor& b_ptr,
                                               const Tensor& b_idx, const Tensor& b_val,
                                               std::optional<Tensor> c_ptr,
                                               std::optional<Tensor> c_idx,
                                               std::optional<Tensor> c_val,
                                               int64_t num_cols, int64_t k) {
  const ScalarType type = a_val.scalar_type(), index = a_idx.scalar_type();
  GL_CHECK(type == ScalarType::Float || type == ScalarType::Double,
           "values must be float32 or float64");
  GL_CHECK(index == ScalarType::Int || index == ScalarType::Long,
           "indices must be int32 or int64");
  GL_CHECK(num_cols >= 0 && k >= 0, "sizes must not be negative");
  check_matrix(a_ptr, a_idx, a_val, a_idx, a_val);
  check_matrix(b_ptr, b_idx, b_val, a_idx, a_val);
  const bool with_c = c_ptr.has_value();
  GL_CHECK(c_idx.has_value() == with_c && c_val.has_value() == with_c,
           "`c` must be given whole");
  if (with_c) {
    check_matrix(*c_ptr, *c_idx, *c_val, a_idx, a_val);
    GL_CHECK(c_ptr->size(0) == a_ptr.size(0), "`c` must have the rows of `a`");
  }
  const auto call = [&]<typename T, typename Index>() {
    std::optional<Matrix<T, Index>> c;
    if (with_c) c.emplace(*c_ptr, *c_idx, *c_val);
    const auto multiply = [&]<typename Sums>() {
      Product<T, Index, Sums> product(
          Matrix<T, Index>(a_ptr, a_idx, a_val), Matrix<T, Index>(b_ptr, b_idx, b_val),
          c, a_ptr.size(0) - 1, b_ptr.size(0) - 1, num_cols, k);
      return product.run(a_ptr, a_idx, a_val);
    };
    return num_cols <= kTableColumns ? multiply.template operator()<Table>()
                                     : multiply.template operator()<Hash>();
  };
  const bool narrow = index == ScalarType::Int;
  if (type == ScalarType::Float)
    return narrow ? call.template operator()<float, int32_t>()
                  : call.template operator()<float, int64_t>();
  return narrow ? call.template operator()<double, int32_t>()
                : call.template operator()<double, int64_t>();
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(graphlab, CPU, m) {
  m.impl("spgemm_topk", TORCH_BOX(&spgemm_topk));
}

}  // namespace graphlab
