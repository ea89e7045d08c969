// A range over threads, in pieces.
#pragma once

#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace graphlab {

// Runs `part(first, last)` over pieces of `grain` of [0, count) and returns whether all
// parts returned true. A thread that is done takes the next piece; one piece is run by
// the caller alone.
template <typename Part>
bool over_range(int64_t count, int64_t grain, const Part& part) {
  const int64_t tasks = (count + grain - 1) / grain;
  const int64_t threads = std::min<int64_t>(torch::stable::get_num_threads(), tasks);
  if (threads <= 1) return count <= 0 || part(int64_t{0}, count);
  std::atomic<int64_t> next{0};
  std::atomic<bool> good{true};
  torch::stable::parallel_for(0, threads, 1, [&](int64_t, int64_t) {
    for (int64_t task = next++; task < tasks; task = next++) {
      if (!part(task * grain, std::min(count, (task + 1) * grain))) good = false;
    }
  });
  return good;
}

}  // namespace graphlab
