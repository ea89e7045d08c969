// SPDX-License-Identifier: Apache-2.0
// random_walk and negative_sample: one thread a walk, or a draw; the same draws as on
// the CPU, bit for bit. Thousands of walks in flight hide the latency of their reads.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "check.h"
#include "launch.cuh"
#include "negative.h"
#include "walk.h"

namespace graphlab {
namespace {

using namespace walking;

template <typename Idx>
struct WalkOne {
  const int64_t* ptr;
  const Idx* idx;
  const Slot* slot;
  const int64_t* starts;
  Idx* out;
  int32_t* bad;
  int64_t num_nodes, num_edges, length;
  uint64_t key, first;
  Bias bias;
  bool second;

  __device__ bool is_node(int64_t v) const {
    return static_cast<uint64_t>(v) < static_cast<uint64_t>(num_nodes);
  }

  // The neighbour at a position; -1 in a row without positive weight.
  __device__ int64_t neighbour(int64_t at, uint64_t coin) const {
    if (at < 0 || at >= num_edges) {
      *bad = 1;
      return -1;
    }
    if (slot == nullptr) return static_cast<int64_t>(idx[at]);
    const Slot s = slot[at];
    if (s.threshold < 0) return -1;
    return static_cast<int32_t>(coin) < s.threshold ? s.node : s.other;
  }

  __device__ int64_t step_from(int64_t node, int64_t before, uint64_t stream,
                               uint64_t step) const {
    const int64_t begin = ptr[node];
    const uint32_t degree = static_cast<uint32_t>(ptr[node + 1] - begin);
    if (degree == 0) return -1;
    if (!second) {
      const uint64_t z = bits(stream, step);
      return neighbour(begin + bounded(stream, step, degree), z & 0x7fffffffu);
    }
    const uint64_t of_step = bits(stream, step);
    for (uint64_t attempt = 0;; ++attempt) {
      const uint64_t z = bits(of_step, 2 * attempt);
      const uint64_t coin = bits(of_step, 2 * attempt + 1) >> 32;
      const int64_t found =
          neighbour(begin + bounded(of_step, 2 * attempt, degree), z & 0x7fffffffu);
      if (found < 0 || before < 0 || degree == 1) return found;
      uint64_t chance;
      if (found == before) {
        chance = bias.back;
      } else if (coin < bias.low()) {
        return found;
      } else if (coin >= bias.high()) {
        continue;
      } else {
        chance =
            has_edge(idx, ptr[before], ptr[before + 1], found) ? bias.near : bias.far;
      }
      if (coin < chance) return found;
    }
  }

  __device__ void operator()(int64_t i) const {
    Idx* row = out + i * (length + 1);
    int64_t node = starts[i], before = -1;
    if (!is_node(node)) {
      *bad = 1;
      return;
    }
    const uint64_t stream = fold(key, first + static_cast<uint64_t>(i));
    row[0] = static_cast<Idx>(node);
    int64_t step = 0;
    for (; step < length; ++step) {
      const int64_t found =
          step_from(node, before, stream, static_cast<uint64_t>(step));
      if (found < 0) break;
      if (!is_node(found)) {
        *bad = 1;
        break;
      }
      before = node;
      node = found;
      row[step + 1] = static_cast<Idx>(found);
    }
    for (; step < length; ++step) row[step + 1] = static_cast<Idx>(-1);
  }
};

struct DrawOne {
  NodeTable table;
  int32_t *out, *bad;
  uint64_t key, first;

  __device__ void operator()(int64_t i) const {
    out[i] = table.draw(key, first + static_cast<uint64_t>(i));
    if (static_cast<uint64_t>(out[i]) >= static_cast<uint64_t>(table.size)) *bad = 1;
  }
};

void require_good(const Tensor& bad, cudaStream_t stream, const char* message) {
  int32_t found = 0;
  STD_CUDA_CHECK(cudaMemcpyAsync(&found, bad.const_data_ptr<int32_t>(), sizeof(found),
                                 cudaMemcpyDeviceToHost, stream));
  STD_CUDA_CHECK(cudaStreamSynchronize(stream));
  GL_CHECK(found == 0, message);
}

Tensor random_walk(const Tensor& ptr, const Tensor& idx, std::optional<Tensor> slots,
                   const Tensor& starts, int64_t length, std::vector<int64_t> bias,
                   int64_t key, int64_t first) {
  const Graph graph = read_graph(ptr, idx, slots, starts, length, bias);
  const OnDevice device(idx);
  const int64_t count = starts.size(0);
  Tensor out = torch::stable::new_empty(idx, {count, length + 1}, idx.scalar_type());
  Tensor bad = torch::stable::new_zeros(idx, {int64_t{1}}, ScalarType::Int);
  Bias chance{};
  if (!bias.empty()) {
    chance = {static_cast<uint64_t>(bias[0]), static_cast<uint64_t>(bias[1]),
              static_cast<uint64_t>(bias[2])};
  }
  const auto run = [&]<typename Idx>(const Idx* neighbours) {
    const WalkOne<Idx> body{graph.ptr,
                            neighbours,
                            graph.slot,
                            starts.const_data_ptr<int64_t>(),
                            out.mutable_data_ptr<Idx>(),
                            bad.mutable_data_ptr<int32_t>(),
                            graph.num_nodes,
                            graph.num_edges,
                            length,
                            static_cast<uint64_t>(key),
                            static_cast<uint64_t>(first),
                            chance,
                            !bias.empty()};
    for_each(count, device.stream(), body);
  };
  if (graph.short_idx != nullptr) {
    run(graph.short_idx);
  } else {
    run(graph.long_idx);
  }
  require_good(bad, device.stream(), "`starts` and `idx` must hold node ids");
  return out;
}

Tensor negative_sample(const Tensor& threshold, const Tensor& alias, int64_t count,
                       int64_t key, int64_t first) {
  const NodeTable table = read_table(threshold, alias);
  GL_CHECK(count >= 0, "`count` must not be negative");
  const OnDevice device(alias);
  Tensor out = torch::stable::new_empty(alias, {count}, ScalarType::Int);
  Tensor bad = torch::stable::new_zeros(alias, {int64_t{1}}, ScalarType::Int);
  const DrawOne body{table, out.mutable_data_ptr<int32_t>(),
                     bad.mutable_data_ptr<int32_t>(), static_cast<uint64_t>(key),
                     static_cast<uint64_t>(first)};
  for_each(count, device.stream(), body);
  require_good(bad, device.stream(), "`alias` must point inside the table");
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(graphlab, CUDA, m) {
  m.impl("random_walk", TORCH_BOX(&random_walk));
  m.impl("negative_sample", TORCH_BOX(&negative_sample));
}

}  // namespace graphlab
