// Rows of a compressed matrix over threads.
#pragma once

#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace graphlab {

// One task covers about this many values: it amortises the hand-over to a thread, and
// leaves enough tasks that threads end together.
constexpr int64_t kGrainValues = 1 << 17;

// Runs `part(first row, last row)` over all rows and returns whether all parts returned
// true. Rows are split where the work (edges, and rows for the empty ones) is equal,
// not where their number is; a thread that is done takes the next part. `width` is the
// number of values that an edge costs.
template <typename Part>
bool over_rows(const int64_t* ptr, int64_t rows, int64_t width, const Part& part) {
  const int64_t work = ptr[rows] + rows;
  const int64_t per_task =
      std::max<int64_t>(1, kGrainValues / std::max<int64_t>(1, width));
  const int64_t tasks = (work + per_task - 1) / per_task;
  const int64_t threads = std::min<int64_t>(torch::stable::get_num_threads(), tasks);
  const auto first_row = [&](int64_t task) {
    const int64_t target = std::min(task * per_task, work);
    int64_t lo = 0, hi = rows;
    while (lo < hi) {
      const int64_t middle = lo + (hi - lo) / 2;
      if (ptr[middle] + middle < target) {
        lo = middle + 1;
      } else {
        hi = middle;
      }
    }
    return lo;
  };
  std::atomic<int64_t> next{0};
  std::atomic<bool> good{true};
  torch::stable::parallel_for(0, threads, 1, [&](int64_t, int64_t) {
    for (int64_t task = next++; task < tasks; task = next++) {
      if (!part(first_row(task), first_row(task + 1))) good = false;
    }
  });
  return good;
}

}  // namespace graphlab
