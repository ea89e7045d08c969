// SPDX-License-Identifier: Apache-2.0
// spmm, spmm_edge_dot: see cpp_ext/cpu/spmm.cpp.
#include <optional>
#include <string>

#include "cuda.cuh"

namespace graphlab {
namespace {

constexpr int kWarps = kBlock / kWarp;
// Columns of a tile that one lane keeps in registers.
constexpr int kPerLane = 4;
constexpr int kTile = kWarp * kPerLane;

template <typename T, typename Index>
struct Job {
  const int64_t* ptr;
  const Index* idx;
  const T* weight;
  const T* x;
  T* out;
  int64_t rows, x_rows, x_stride, width, edges;
  bool mean;
};

// The entries of a row, cut to what exists: offsets that fall cannot lead outside.
__device__ inline int64_t clip(int64_t offset, int64_t edges) {
  return offset < 0 ? 0 : (offset > edges ? edges : offset);
}

// One warp for each (row, tile of 128 columns); lane l sums columns l, l + 32, l + 64
// and l + 96 of the tile in registers, over edges in order: deterministic, the CPU's
// order. The row of a hub keeps its warp busy alone.
template <typename T, typename Index>
__global__ void spmm_kernel(Job<T, Index> job) {
  const int lane = threadIdx.x;
  const int64_t tiles = (job.width + kTile - 1) / kTile;
  const int64_t step = static_cast<int64_t>(gridDim.x) * kWarps;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.y;
       i < job.rows * tiles; i += step) {
    const int64_t row = i / tiles, column = i % tiles * kTile + lane;
    const int64_t begin = clip(job.ptr[row], job.edges);
    const int64_t end = clip(job.ptr[row + 1], job.edges);
    T sum[kPerLane] = {};
    for (int64_t e = begin; e < end; ++e) {
      const int64_t id = job.idx[e];
      require_in_range(id, job.x_rows);
      const T weight = job.weight == nullptr ? T(1) : job.weight[e];
      const T* values = job.x + id * job.x_stride + column;
#pragma unroll
      for (int k = 0; k < kPerLane; ++k)
        if (column + k * kWarp < job.width) sum[k] += weight * values[k * kWarp];
    }
    const T count = job.mean && end > begin ? static_cast<T>(end - begin) : T(1);
#pragma unroll
    for (int k = 0; k < kPerLane; ++k)
      if (column + k * kWarp < job.width)
        job.out[row * job.width + column + k * kWarp] = sum[k] / count;
  }
}

// One warp for each row, over its edges in turn; lanes take columns side by side, and a
// tree of shuffles adds them: deterministic. `weight` of the job is grad [rows, width].
template <typename T, typename Index>
__global__ void dot_kernel(Job<T, Index> job) {
  const int lane = threadIdx.x;
  const int64_t step = static_cast<int64_t>(gridDim.x) * kWarps;
  for (int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.y;
       row < job.rows; row += step) {
    const int64_t begin = clip(job.ptr[row], job.edges);
    const int64_t end = clip(job.ptr[row + 1], job.edges);
    const T* grad = job.weight + row * job.width;
    for (int64_t e = begin; e < end; ++e) {
      const int64_t id = job.idx[e];
      require_in_range(id, job.x_rows);
      const T* values = job.x + id * job.x_stride;
      T sum = 0;
      for (int64_t j = lane; j < job.width; j += kWarp) sum += grad[j] * values[j];
      for (int offset = kWarp / 2; offset > 0; offset /= 2)
        sum += __shfl_down_sync(0xffffffffu, sum, offset);
      if (lane == 0) job.out[e] = sum;
    }
  }
}

template <typename T, typename Index>
Job<T, Index> job_for(const Tensor& ptr, const Tensor& idx, const Tensor& x,
                      Tensor& out) {
  Job<T, Index> job{};
  job.ptr = ptr.const_data_ptr<int64_t>();
  job.idx = idx.const_data_ptr<Index>();
  job.x = x.const_data_ptr<T>();
  job.out = out.mutable_data_ptr<T>();
  job.rows = ptr.size(0) - 1;
  job.x_rows = x.size(0);
  job.x_stride = x.stride(0);
  job.width = x.size(1);
  job.edges = idx.size(0);
  return job;
}

template <typename T, typename Index>
void launch_spmm(const Tensor& ptr, const Tensor& idx,
                 const std::optional<Tensor>& weight, const Tensor& x, bool mean,
                 Tensor& out, cudaStream_t stream) {
  Job<T, Index> job = job_for<T, Index>(ptr, idx, x, out);
  job.weight = weight.has_value() ? weight->const_data_ptr<T>() : nullptr;
  job.mean = mean;
  const int64_t tasks = job.rows * ((job.width + kTile - 1) / kTile);
  if (tasks == 0) return;
  spmm_kernel<<<blocks_for(tasks, kWarps), dim3(kWarp, kWarps), 0, stream>>>(job);
  check_launch("spmm");
}

template <typename T, typename Index>
void launch_dot(const Tensor& ptr, const Tensor& idx, const Tensor& grad,
                const Tensor& x, Tensor& out, cudaStream_t stream) {
  Job<T, Index> job = job_for<T, Index>(ptr, idx, x, out);
  job.weight = grad.const_data_ptr<T>();
  if (job.rows == 0) return;
  dot_kernel<<<blocks_for(job.rows, kWarps), dim3(kWarp, kWarps), 0, stream>>>(job);
  check_launch("spmm_edge_dot");
}

void check_inputs(const Tensor& ptr, const Tensor& idx, const Tensor& x) {
  const ScalarType type = x.scalar_type(), index_type = idx.scalar_type();
  GL_CHECK(x.dim() == 2, "`x` must be [rows, width]");
  GL_CHECK(type == ScalarType::Float || type == ScalarType::Double,
           "`x` must be float32 or float64");
  GL_CHECK(index_type == ScalarType::Int || index_type == ScalarType::Long,
           "`idx` must be int32 or int64");
  GL_CHECK(x.size(1) <= 1 || x.stride(1) == 1, "`x` must have contiguous rows");
  check_vector(ptr, ScalarType::Long, "ptr");
  check_vector(idx, index_type, "idx");
  GL_CHECK(ptr.size(0) >= 1, "`ptr` must have an entry");
}

// The transpose serves autograd only (graphlab/ops/spmm.py).
Tensor spmm(const Tensor& ptr, const Tensor& idx, std::optional<Tensor> weight,
            const Tensor& x, std::string reduce, std::optional<Tensor>,
            std::optional<Tensor>, std::optional<Tensor>) {
  check_inputs(ptr, idx, x);
  GL_CHECK(reduce == "sum" || reduce == "mean", "`reduce` must be sum or mean");
  if (weight.has_value()) {
    check_vector(*weight, x.scalar_type(), "weight");
    GL_CHECK(weight->size(0) == idx.size(0),
             "`weight` must have a value for each edge");
  }
  const OnDevice on(x);
  const bool mean = reduce == "mean", narrow = idx.scalar_type() == ScalarType::Int;
  Tensor out = torch::stable::new_empty(x, {ptr.size(0) - 1, x.size(1)});
  if (x.scalar_type() == ScalarType::Float) {
    narrow ? launch_spmm<float, int32_t>(ptr, idx, weight, x, mean, out, on.stream())
           : launch_spmm<float, int64_t>(ptr, idx, weight, x, mean, out, on.stream());
  } else {
    narrow ? launch_spmm<double, int32_t>(ptr, idx, weight, x, mean, out, on.stream())
           : launch_spmm<double, int64_t>(ptr, idx, weight, x, mean, out, on.stream());
  }
  return out;
}

Tensor spmm_edge_dot(const Tensor& ptr, const Tensor& idx, const Tensor& grad,
                     const Tensor& x) {
  check_inputs(ptr, idx, x);
  GL_CHECK(
      grad.dim() == 2 && grad.size(0) == ptr.size(0) - 1 && grad.size(1) == x.size(1),
      "`grad` must be [rows, width]");
  GL_CHECK(grad.scalar_type() == x.scalar_type(), "`grad` must have the dtype of `x`");
  check_contiguous(grad, "grad");
  const OnDevice on(x);
  const bool narrow = idx.scalar_type() == ScalarType::Int;
  Tensor out = torch::stable::new_empty(x, {idx.size(0)});
  if (x.scalar_type() == ScalarType::Float) {
    narrow ? launch_dot<float, int32_t>(ptr, idx, grad, x, out, on.stream())
           : launch_dot<float, int64_t>(ptr, idx, grad, x, out, on.stream());
  } else {
    narrow ? launch_dot<double, int32_t>(ptr, idx, grad, x, out, on.stream())
           : launch_dot<double, int64_t>(ptr, idx, grad, x, out, on.stream());
  }
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(graphlab, CUDA, m) {
  m.impl("spmm", TORCH_BOX(&spmm));
  m.impl("spmm_edge_dot", TORCH_BOX(&spmm_edge_dot));
}

}  // namespace graphlab
