// SPDX-License-Identifier: Apache-2.0
// common_neighbors, common_neighbors_pool: see cpp_ext/cpu/common_neighbors.cpp. Two
// passes, count and fill, over the same walk; the sums read the list that these leave.
#include <bit>
#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_scan.cuh>
#include <optional>
#include <string>
#include <tuple>

#include "cuda.cuh"

namespace graphlab {
namespace {

enum Part { kBoth, kLeft, kRight };

// Rows, pairs, and the sorted keys `a * nodes + b` of excluded pairs, both ways round.
template <typename Index>
struct Problem {
  const int64_t* ptr;
  const Index* idx;
  const int64_t *left, *right, *keys;
  int64_t num_nodes, num_entries, num_pairs, num_keys;

  template <typename T>
  static __device__ bool holds(const T* values, int64_t size, T wanted) {
    int64_t lo = 0, hi = size;
    while (lo < hi) {
      const int64_t middle = lo + (hi - lo) / 2;
      if (values[middle] < wanted) {
        lo = middle + 1;
      } else {
        hi = middle;
      }
    }
    return lo < size && values[lo] == wanted;
  }
  // Neighbours by the exclusion alone.
  __device__ bool joined(int64_t node, Index u) const {
    return num_keys == 0 || !holds(keys, num_keys, node * num_nodes + u);
  }
  __device__ int64_t begin_of(int64_t node) const {
    require_in_range(node, num_nodes);
    const int64_t begin = ptr[node], end = ptr[node + 1];
    if (begin < 0 || end < begin || end > num_entries) __trap();
    return begin;
  }
};

// One warp for each pair. Lanes take consecutive entries of the walked row and search
// the other one; the ballot packs the hits, so a pair's list ascends. Without `found`
// only the numbers are written.
template <typename Index, int kPart>
__global__ void walk_kernel(Problem<Index> g, int64_t* count, const int64_t* ends,
                            Index* found) {
  const int lane = threadIdx.x % kWarp;
  const int64_t warps = grid_threads() / kWarp;
  for (int64_t p = grid_thread() / kWarp; p < g.num_pairs; p += warps) {
    const int64_t i = g.left[p], j = g.right[p];
    int64_t a = kPart == kRight ? j : i, b = kPart == kRight ? i : j;
    const int64_t start_a = g.begin_of(a), start_b = g.begin_of(b);
    int64_t begin = start_a, size = g.ptr[a + 1] - start_a;
    int64_t other = start_b, other_size = g.ptr[b + 1] - start_b;
    if (kPart == kBoth && other_size < size) {
      begin = start_b, other = start_a;
      const int64_t length = size, node = a;
      size = other_size, other_size = length;
      a = b, b = node;
    }
    int64_t done = 0;
    for (int64_t first = 0; first < size; first += kWarp) {
      bool hit = false;
      Index u = 0;
      if (first + lane < size) {
        u = g.idx[begin + first + lane];
        hit = u != i && u != j && g.joined(a, u);
        if (hit) {
          const bool also = g.holds(g.idx + other, other_size, u) && g.joined(b, u);
          hit = also == (kPart == kBoth);
        }
      }
      const unsigned mask = __ballot_sync(0xffffffffu, hit);
      if (found != nullptr && hit)
        found[ends[p] + done + __popc(mask & ((1u << lane) - 1))] = u;
      done += __popc(mask);
    }
    if (found == nullptr && lane == 0) count[p] = done;
  }
}

// One thread for each value of a sum; neighbouring threads read neighbouring columns.
template <typename T, typename Index>
__global__ void pool_kernel(const int64_t* ends, const Index* found, const T* x, T* out,
                            int64_t pairs, int64_t width) {
  for (int64_t at = grid_thread(); at < pairs * width; at += grid_threads()) {
    const int64_t p = at / width, column = at % width;
    T sum = 0;
    for (int64_t h = ends[p]; h < ends[p + 1]; ++h) sum += x[found[h] * width + column];
    out[at] = sum;
  }
}

// One thread for each excluded pair.
__global__ void key_kernel(const int64_t* pairs, int64_t count, int64_t num_nodes,
                           int64_t* keys) {
  for (int64_t p = grid_thread(); p < count; p += grid_threads()) {
    const int64_t a = pairs[p], b = pairs[count + p];
    keys[p] = a * num_nodes + b;
    keys[count + p] = b * num_nodes + a;
  }
}

Tensor sorted_keys(const Tensor& ptr, const std::optional<Tensor>& exclude,
                   cudaStream_t stream) {
  if (!exclude.has_value() || exclude->size(1) == 0)
    return torch::stable::new_empty(ptr, {0});
  GL_CHECK(exclude->dim() == 2 && exclude->size(0) == 2 &&
               exclude->scalar_type() == ScalarType::Long,
           "`exclude` must be [2, pairs], int64");
  check_contiguous(*exclude, "exclude");
  const int64_t count = exclude->size(1), nodes = ptr.size(0) - 1;
  GL_CHECK(nodes < (int64_t{1} << 31), "over 2^31 nodes: use the CPU");
  Tensor given = torch::stable::new_empty(ptr, {2 * count});
  Tensor sorted = torch::stable::new_empty(ptr, {2 * count});
  int64_t* keys = given.mutable_data_ptr<int64_t>();
  int64_t* out = sorted.mutable_data_ptr<int64_t>();
  key_kernel<<<blocks_for(count, kBlock), kBlock, 0, stream>>>(
      exclude->const_data_ptr<int64_t>(), count, nodes, keys);
  check_launch("common_neighbors");
  size_t bytes = 0;
  const int bits = 2 * std::bit_width(static_cast<uint64_t>(nodes));
  check_cuda(cub::DeviceRadixSort::SortKeys(nullptr, bytes, keys, out, 2 * count, 0,
                                            std::min(bits, 63), stream),
             "common_neighbors");
  Tensor scratch = torch::stable::new_empty(
      ptr, {static_cast<int64_t>(std::max<size_t>(bytes, 1))}, ScalarType::Byte);
  check_cuda(
      cub::DeviceRadixSort::SortKeys(scratch.mutable_data_ptr(), bytes, keys, out,
                                     2 * count, 0, std::min(bits, 63), stream),
      "common_neighbors");
  return sorted;
}

// Offsets [pairs + 1] from the counts in `ends[1:]`.
void scan(Tensor& ends, cudaStream_t stream) {
  const int64_t pairs = ends.size(0) - 1;
  if (pairs == 0) return;
  int64_t* value = ends.mutable_data_ptr<int64_t>() + 1;
  size_t bytes = 0;
  check_cuda(cub::DeviceScan::InclusiveSum(nullptr, bytes, value, value, pairs, stream),
             "common_neighbors");
  Tensor scratch = torch::stable::new_empty(
      ends, {static_cast<int64_t>(std::max<size_t>(bytes, 1))}, ScalarType::Byte);
  check_cuda(cub::DeviceScan::InclusiveSum(scratch.mutable_data_ptr(), bytes, value,
                                           value, pairs, stream),
             "common_neighbors");
}

template <typename Index, int kPart>
std::tuple<Tensor, Tensor> find(const Problem<Index>& g, const Tensor& ptr,
                                const Tensor& idx, bool values, cudaStream_t stream) {
  Tensor ends = torch::stable::new_zeros(ptr, {g.num_pairs + 1});
  if (g.num_pairs == 0) return {ends, torch::stable::new_empty(idx, {0})};
  const unsigned blocks = blocks_for(g.num_pairs, kBlock / kWarp);
  int64_t* count = ends.mutable_data_ptr<int64_t>() + 1;
  walk_kernel<Index, kPart><<<blocks, kBlock, 0, stream>>>(g, count, nullptr, nullptr);
  check_launch("common_neighbors");
  scan(ends, stream);
  if (!values) return {ends, torch::stable::new_empty(idx, {0})};
  int64_t total = 0;
  check_cuda(cudaMemcpyAsync(&total, count + g.num_pairs - 1, sizeof(total),
                             cudaMemcpyDeviceToHost, stream),
             "common_neighbors");
  check_cuda(cudaStreamSynchronize(stream), "common_neighbors");
  Tensor found = torch::stable::new_empty(idx, {total});
  if (total == 0) return {ends, found};
  walk_kernel<Index, kPart><<<blocks, kBlock, 0, stream>>>(
      g, nullptr, ends.const_data_ptr<int64_t>(), found.mutable_data_ptr<Index>());
  check_launch("common_neighbors");
  return {ends, found};
}

template <typename Index>
Problem<Index> problem_for(const Tensor& ptr, const Tensor& idx, const Tensor& pairs,
                           const Tensor& keys) {
  check_vector(ptr, ScalarType::Long, "ptr");
  check_vector(idx, idx.scalar_type(), "idx");
  GL_CHECK(ptr.size(0) >= 1, "`ptr` must not be empty");
  GL_CHECK(pairs.dim() == 2 && pairs.size(0) == 2, "`pairs` must be [2, pairs]");
  GL_CHECK(pairs.scalar_type() == ScalarType::Long, "`pairs` must be int64");
  check_contiguous(pairs, "pairs");
  const int64_t* left = pairs.const_data_ptr<int64_t>();
  return {ptr.const_data_ptr<int64_t>(),
          idx.const_data_ptr<Index>(),
          left,
          left + pairs.size(1),
          keys.const_data_ptr<int64_t>(),
          ptr.size(0) - 1,
          idx.size(0),
          pairs.size(1),
          keys.size(0)};
}

using Sets = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

// The strategy is the CPU's: here a warp searches the longer row.
Sets common_neighbors(const Tensor& ptr, const Tensor& idx, const Tensor& pairs,
                      std::optional<Tensor> exclude, std::string output, std::string) {
  const OnDevice on(ptr);
  const Tensor keys = sorted_keys(ptr, exclude, on.stream());
  const auto run = [&]<typename Index>() -> Sets {
    const auto g = problem_for<Index>(ptr, idx, pairs, keys);
    auto [c_ptr, c_idx] =
        find<Index, kBoth>(g, ptr, idx, output != "count", on.stream());
    if (output != "sets") {
      const auto none = [](const Tensor& like) {
        return torch::stable::new_empty(like, {0});
      };
      return {c_ptr, c_idx, none(ptr), none(idx), none(ptr), none(idx)};
    }
    auto [l_ptr, l_idx] = find<Index, kLeft>(g, ptr, idx, true, on.stream());
    auto [r_ptr, r_idx] = find<Index, kRight>(g, ptr, idx, true, on.stream());
    return {c_ptr, c_idx, l_ptr, l_idx, r_ptr, r_idx};
  };
  if (idx.scalar_type() == ScalarType::Int) return run.template operator()<int32_t>();
  GL_CHECK(idx.scalar_type() == ScalarType::Long, "`idx` must be int32 or int64");
  return run.template operator()<int64_t>();
}

std::tuple<Tensor, Tensor, Tensor> common_neighbors_pool(
    const Tensor& ptr, const Tensor& idx, const Tensor& pairs,
    std::optional<Tensor> exclude, const Tensor& x, bool keep, std::string) {
  const OnDevice on(ptr);
  GL_CHECK(x.dim() == 2 && x.size(0) == ptr.size(0) - 1, "`x` must be [nodes, width]");
  check_contiguous(x, "x");
  const Tensor keys = sorted_keys(ptr, exclude, on.stream());
  const int64_t count = pairs.size(1), width = x.size(1);
  Tensor out = torch::stable::new_empty(x, {count, width});
  const auto run = [&]<typename T, typename Index>() {
    const auto g = problem_for<Index>(ptr, idx, pairs, keys);
    auto [ends, found] = find<Index, kBoth>(g, ptr, idx, true, on.stream());
    if (count * width > 0) {
      pool_kernel<<<blocks_for(count * width, kBlock), kBlock, 0, on.stream()>>>(
          ends.template const_data_ptr<int64_t>(),
          found.template const_data_ptr<Index>(), x.const_data_ptr<T>(),
          out.mutable_data_ptr<T>(), count, width);
      check_launch("common_neighbors_pool");
    }
    if (!keep) {
      ends = torch::stable::new_zeros(ptr, {1});
      found = torch::stable::new_empty(idx, {0});
    }
    return std::make_tuple(out, ends, found);
  };
  const bool narrow = idx.scalar_type() == ScalarType::Int;
  GL_CHECK(narrow || idx.scalar_type() == ScalarType::Long,
           "`idx` must be int32 or int64");
  if (x.scalar_type() == ScalarType::Float) {
    return narrow ? run.template operator()<float, int32_t>()
                  : run.template operator()<float, int64_t>();
  }
  GL_CHECK(x.scalar_type() == ScalarType::Double, "`x` must be float32 or float64");
  return narrow ? run.template operator()<double, int32_t>()
                : run.template operator()<double, int64_t>();
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(graphlab, CUDA, m) {
  m.impl("common_neighbors", TORCH_BOX(&common_neighbors));
  m.impl("common_neighbors_pool", TORCH_BOX(&common_neighbors_pool));
}

}  // namespace graphlab
