// SPDX-License-Identifier: Apache-2.0
// csr_build: stable counting sort of an edge list by row.
//
// Edges are first split by the high bits of their row into buckets, then each bucket is
// counted and placed while it lies in the cache. Every pass reads and writes memory in
// order, where a plain counting sort misses the cache twice for each edge.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <memory>
#include <tuple>
#include <vector>

#include "check.h"
#include "pages.h"
#include "stream.h"

namespace graphlab {
namespace {

// Edges of a bucket: its columns and edge ids, before and after, fill half an L2 of 1
// MiB.
constexpr int64_t kBucketEdges = 1 << 15;
// Beyond this many buckets the first pass writes to more places than caches track.
constexpr int64_t kMaxBuckets = 1 << 12;
// Below this a second thread costs more than it saves.
constexpr int64_t kChunkEdges = 1 << 16;

template <typename In, typename Idx, typename Eid>
struct Edges {
  const In* row;
  const In* col;
  int64_t count, rows, cols;
  int64_t* ptr;
  Idx* idx;
  Eid* edge_id;
};

template <typename In>
inline bool outside(In id, int64_t size) {
  return static_cast<uint64_t>(static_cast<int64_t>(id)) >= static_cast<uint64_t>(size);
}

// What the split has collected for one bucket: it leaves for memory a cache line at a
// time, so that hundreds of write positions cost no more than one.
constexpr int kLine = 16;

template <typename Low, typename Idx, typename Eid>
struct alignas(64) Line {
  Idx idx[kLine];
  Eid edge_id[kLine];
  Low low[kLine];
  int64_t at;  // where the next edge goes

  void copy(int64_t from, int64_t to, Low* to_low, Idx* to_idx, Eid* to_id) const {
    for (int64_t i = from; i < to; ++i) {
      to_low[i] = low[i % kLine];
      to_idx[i] = idx[i % kLine];
      to_id[i] = edge_id[i % kLine];
    }
  }
};

// One pass over a list that fits in the cache. Returns whether all ids are in range.
template <typename In, typename Idx, typename Eid>
bool build_small(const Edges<In, Idx, Eid>& g) {
  std::fill(g.ptr, g.ptr + g.rows + 1, 0);
  bool bad = false;
  for (int64_t e = 0; e < g.count; ++e) {
    bad |= outside(g.row[e], g.rows) || outside(g.col[e], g.cols);
    if (bad) return false;
    ++g.ptr[g.row[e] + 1];
  }
  for (int64_t r = 0; r < g.rows; ++r) g.ptr[r + 1] += g.ptr[r];
  std::vector<int64_t> cursor(g.ptr, g.ptr + g.rows);
  for (int64_t e = 0; e < g.count; ++e) {
    const int64_t at = cursor[g.row[e]]++;
    g.idx[at] = static_cast<Idx>(g.col[e]);
    g.edge_id[at] = static_cast<Eid>(e);
  }
  return true;
}

// `Low` holds the bits of a row that its bucket does not say.
template <typename Low, typename In, typename Idx, typename Eid>
bool build_large(const Edges<In, Idx, Eid>& g, int shift) {
  const int64_t buckets = ((g.rows - 1) >> shift) + 1;
  const int64_t threads = torch::stable::get_num_threads();
  const int64_t chunks = std::clamp<int64_t>(g.count / kChunkEdges, 1, threads);
  const auto chunk_begin = [&](int64_t c) { return g.count * c / chunks; };
  const In mask = static_cast<In>((int64_t{1} << shift) - 1);

  // 1. How many edges of each chunk fall in each bucket.
  std::vector<int64_t> offset(chunks * buckets);
  std::atomic<bool> bad{false};
  torch::stable::parallel_for(0, chunks, 1, [&](int64_t first, int64_t last) {
    for (int64_t c = first; c < last; ++c) {
      std::vector<int64_t> count(buckets);
      const In* row = g.row;
      const int64_t rows = g.rows, end = chunk_begin(c + 1);
      bool wrong = false;
      for (int64_t e = chunk_begin(c); e < end; ++e) {
        const bool out = outside(row[e], rows);
        wrong |= out;
        ++count[out ? 0 : row[e] >> shift];
      }
      if (wrong) bad = true;
      std::copy(count.begin(), count.end(), offset.begin() + c * buckets);
    }
  });
  if (bad) return false;

  // 2. Where each (bucket, chunk) begins: chunks in order inside a bucket keep it
  // stable.
  std::vector<int64_t> bucket_begin(buckets + 1);
  int64_t running = 0, widest = 0;
  for (int64_t b = 0; b < buckets; ++b) {
    bucket_begin[b] = running;
    for (int64_t c = 0; c < chunks; ++c) {
      running += std::exchange(offset[c * buckets + b], running);
    }
    widest = std::max(widest, running - bucket_begin[b]);
  }
  bucket_begin[buckets] = running;

  // 3. Split. The outputs themselves hold the split columns and edge ids.
  std::unique_ptr<Low[]> low(new Low[g.count]);
  prefer_huge_pages(low.get(), g.count * sizeof(Low));
  prefer_huge_pages(g.idx, g.count * sizeof(Idx));
  prefer_huge_pages(g.edge_id, g.count * sizeof(Eid));
  torch::stable::parallel_for(0, chunks, 1, [&](int64_t first, int64_t last) {
    for (int64_t c = first; c < last; ++c) {
      const int64_t* begin = offset.data() + c * buckets;
      std::unique_ptr<Line<Low, Idx, Eid>[]> lines(new Line<Low, Idx, Eid>[buckets]);
      for (int64_t b = 0; b < buckets; ++b) lines[b].at = begin[b];
      const In *rows = g.row, *cols = g.col;
      const int64_t num_cols = g.cols, end = chunk_begin(c + 1);
      bool wrong = false;
      for (int64_t e = chunk_begin(c); e < end; ++e) {
        const In row = rows[e], col = cols[e];
        wrong |= outside(col, num_cols);
        const int64_t b = row >> shift;
        Line<Low, Idx, Eid>& line = lines[b];
        const int64_t to = line.at++;
        const int slot = static_cast<int>(to % kLine);
        line.low[slot] = static_cast<Low>(row & mask);
        line.idx[slot] = static_cast<Idx>(col);
        line.edge_id[slot] = static_cast<Eid>(e);
        if (slot == kLine - 1) {
          const int64_t from = to - slot;
          if (from >= begin[b]) {
            stream(low.get() + from, line.low);
            stream(g.idx + from, line.idx);
            stream(g.edge_id + from, line.edge_id);
          } else {
            line.copy(begin[b], to + 1, low.get(), g.idx, g.edge_id);
          }
        }
      }
      for (int64_t b = 0; b < buckets; ++b) {
        const int64_t to = lines[b].at, from = std::max(begin[b], to / kLine * kLine);
        lines[b].copy(from, to, low.get(), g.idx, g.edge_id);
      }
      stream_end();
      if (wrong) bad = true;
    }
  });
  if (bad) return false;

  // 4. Count and place each bucket. Buckets differ in size, so threads take the next
  // one.
  g.ptr[0] = 0;
  std::atomic<int64_t> next{0};
  torch::stable::parallel_for(0, threads, 1, [&](int64_t, int64_t) {
    std::vector<int64_t> cursor(int64_t{1} << shift);
    std::unique_ptr<Idx[]> old_idx(new Idx[widest]);
    std::unique_ptr<Eid[]> old_id(new Eid[widest]);
    for (int64_t b = next++; b < buckets; b = next++) {
      const int64_t begin = bucket_begin[b], size = bucket_begin[b + 1] - begin;
      const int64_t first_row = b << shift;
      const int64_t rows = std::min(g.rows - first_row, int64_t{1} << shift);
      const Low* keys = low.get() + begin;
      std::fill(cursor.begin(), cursor.begin() + rows, 0);
      for (int64_t i = 0; i < size; ++i) ++cursor[keys[i]];
      int64_t end = begin;
      for (int64_t r = 0; r < rows; ++r) {
        end += std::exchange(cursor[r], end);
        g.ptr[first_row + r + 1] = end;
      }
      if (rows == 1) continue;
      std::copy(g.idx + begin, g.idx + begin + size, old_idx.get());
      std::copy(g.edge_id + begin, g.edge_id + begin + size, old_id.get());
      for (int64_t i = 0; i < size; ++i) {
        const int64_t to = cursor[keys[i]]++;
        g.idx[to] = old_idx[i];
        g.edge_id[to] = old_id[i];
      }
    }
  });
  return true;
}

template <typename In, typename Idx, typename Eid>
bool build(const Tensor& row, const Tensor& col, int64_t rows, int64_t cols,
           Tensor& ptr, Tensor& idx, Tensor& edge_id) {
  const Edges<In, Idx, Eid> g{row.const_data_ptr<In>(),
                              col.const_data_ptr<In>(),
                              row.size(0),
                              rows,
                              cols,
                              ptr.mutable_data_ptr<int64_t>(),
                              idx.mutable_data_ptr<Idx>(),
                              edge_id.mutable_data_ptr<Eid>()};
  if (g.count <= kBucketEdges || rows == 0) return build_small(g);
  const int64_t wanted = std::min(g.count / kBucketEdges, kMaxBuckets);
  const int row_bits = std::bit_width(static_cast<uint64_t>(rows - 1));
  const int bucket_bits = std::bit_width(static_cast<uint64_t>(wanted - 1));
  const int shift = std::max(0, row_bits - bucket_bits);
  prefer_huge_pages(g.ptr, (rows + 1) * static_cast<int64_t>(sizeof(int64_t)));
  return shift <= 16 ? build_large<uint16_t>(g, shift)
                     : build_large<uint32_t>(g, shift);
}

std::tuple<Tensor, Tensor, Tensor> csr_build(const Tensor& row, const Tensor& col,
                                             int64_t num_rows, int64_t num_cols) {
  const ScalarType type = row.scalar_type();
  GL_CHECK(type == ScalarType::Int || type == ScalarType::Long,
           "`row` must be int32 or int64");
  check_vector(row, type, "row");
  check_vector(col, type, "col");
  GL_CHECK(row.size(0) == col.size(0), "`row` and `col` must have equal lengths");
  GL_CHECK(num_rows >= 0 && num_rows < (int64_t{1} << 44),
           "`num_rows` is out of range");
  const int64_t count = row.size(0);
  const bool narrow_idx = num_cols < (int64_t{1} << 31);
  const bool narrow_id = count < (int64_t{1} << 31);
  const auto index_type = [](bool narrow) {
    return narrow ? ScalarType::Int : ScalarType::Long;
  };
  Tensor ptr = torch::stable::new_empty(row, {num_rows + 1}, ScalarType::Long);
  Tensor idx = torch::stable::new_empty(row, {count}, index_type(narrow_idx));
  Tensor edge_id = torch::stable::new_empty(row, {count}, index_type(narrow_id));
  const auto run = [&]<typename In>() {
    if (narrow_idx && narrow_id)
      return build<In, int32_t, int32_t>(row, col, num_rows, num_cols, ptr, idx,
                                         edge_id);
    if (narrow_idx)
      return build<In, int32_t, int64_t>(row, col, num_rows, num_cols, ptr, idx,
                                         edge_id);
    if (narrow_id)
      return build<In, int64_t, int32_t>(row, col, num_rows, num_cols, ptr, idx,
                                         edge_id);
    return build<In, int64_t, int64_t>(row, col, num_rows, num_cols, ptr, idx, edge_id);
  };
  const bool good = type == ScalarType::Int ? run.template operator()<int32_t>()
                                            : run.template operator()<int64_t>();
  GL_CHECK(good, "ids must be in [0, num_rows) and [0, num_cols)");
  return {ptr, idx, edge_id};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(graphlab, CPU, m) {
  m.impl("csr_build", TORCH_BOX(&csr_build));
}

}  // namespace graphlab
