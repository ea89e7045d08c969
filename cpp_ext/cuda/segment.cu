// SPDX-License-Identifier: Apache-2.0
// segment_reduce, segment_softmax: see cpp_ext/cpu/segment.cpp.
#include <cmath>
#include <string>
#include <tuple>

#include "cuda.cuh"

namespace graphlab {
namespace {

enum class Reduce { kSum, kMean, kMax };

// The rows of a segment, cut to what exists: offsets that fall cannot lead outside.
__device__ inline int64_t clip(int64_t offset, int64_t rows) {
  return offset < 0 ? 0 : (offset > rows ? rows : offset);
}

// One thread for each (segment, column), columns side by side, so that a warp reads
// consecutive values. Rows are added in order: deterministic, the CPU's bits.
template <typename T>
__global__ void reduce_kernel(const T* src, const int64_t* ptr, T* out, int64_t* arg,
                              int64_t segments, int64_t rows, int64_t width,
                              Reduce how) {
  for (int64_t i = grid_thread(); i < segments * width; i += grid_threads()) {
    const int64_t s = i / width, j = i % width;
    const int64_t begin = clip(ptr[s], rows), end = clip(ptr[s + 1], rows);
    if (how == Reduce::kMax) {
      T top = begin < end ? src[begin * width + j] : T(0);
      int64_t where = begin < end ? begin : -1;
      for (int64_t e = begin + 1; e < end; ++e) {
        const T value = src[e * width + j];
        // NaN wins once and stays, as in torch.amax.
        if (value > top || (value != value && top == top)) {
          top = value;
          where = e;
        }
      }
      out[i] = top;
      arg[i] = where;
      continue;
    }
    T sum = 0;
    for (int64_t e = begin; e < end; ++e) sum += src[e * width + j];
    out[i] =
        how == Reduce::kMean && end > begin ? sum / static_cast<T>(end - begin) : sum;
  }
}

// One thread for each (segment, column), three passes over its rows; deterministic.
template <typename T>
__global__ void softmax_kernel(const T* src, const int64_t* ptr, T* out,
                               int64_t segments, int64_t rows, int64_t width) {
  for (int64_t i = grid_thread(); i < segments * width; i += grid_threads()) {
    const int64_t s = i / width, j = i % width;
    const int64_t begin = clip(ptr[s], rows), end = clip(ptr[s + 1], rows);
    T top = -INFINITY;
    for (int64_t e = begin; e < end; ++e) {
      const T value = src[e * width + j];
      top = value > top ? value : top;
    }
    T total = 0;
    for (int64_t e = begin; e < end; ++e) {
      const T value = exp(src[e * width + j] - top);
      out[e * width + j] = value;
      total += value;
    }
    for (int64_t e = begin; e < end; ++e) out[e * width + j] /= total;
  }
}

void check_inputs(const Tensor& src, const Tensor& ptr) {
  GL_CHECK(src.dim() == 2, "`src` must be [rows, width]");
  GL_CHECK(
      src.scalar_type() == ScalarType::Float || src.scalar_type() == ScalarType::Double,
      "`src` must be float32 or float64");
  check_contiguous(src, "src");
  check_vector(ptr, ScalarType::Long, "ptr");
  GL_CHECK(ptr.size(0) >= 1, "`ptr` must have an entry");
  GL_CHECK(ptr.get_device_index() == src.get_device_index(), "one device, please");
}

template <typename T>
void launch_reduce(const Tensor& src, const Tensor& ptr, Tensor& out, Tensor& arg,
                   Reduce how, cudaStream_t stream) {
  const int64_t segments = ptr.size(0) - 1, width = src.size(1);
  if (segments * width == 0) return;
  reduce_kernel<T><<<blocks_for(segments * width, kBlock), kBlock, 0, stream>>>(
      src.const_data_ptr<T>(), ptr.const_data_ptr<int64_t>(), out.mutable_data_ptr<T>(),
      arg.mutable_data_ptr<int64_t>(), segments, src.size(0), width, how);
  check_launch("segment_reduce");
}

template <typename T>
void launch_softmax(const Tensor& src, const Tensor& ptr, Tensor& out,
                    cudaStream_t stream) {
  const int64_t segments = ptr.size(0) - 1, width = src.size(1);
  if (segments * width == 0) return;
  softmax_kernel<T><<<blocks_for(segments * width, kBlock), kBlock, 0, stream>>>(
      src.const_data_ptr<T>(), ptr.const_data_ptr<int64_t>(), out.mutable_data_ptr<T>(),
      segments, src.size(0), width);
  check_launch("segment_softmax");
}

std::tuple<Tensor, Tensor> segment_reduce(const Tensor& src, const Tensor& ptr,
                                          std::string reduce) {
  check_inputs(src, ptr);
  const OnDevice on(src);
  const int64_t segments = ptr.size(0) - 1, width = src.size(1);
  const Reduce how = reduce == "sum"    ? Reduce::kSum
                     : reduce == "mean" ? Reduce::kMean
                                        : Reduce::kMax;
  Tensor out = torch::stable::new_empty(src, {segments, width});
  Tensor arg =
      torch::stable::new_empty(ptr, {how == Reduce::kMax ? segments : 0, width});
  if (src.scalar_type() == ScalarType::Float) {
    launch_reduce<float>(src, ptr, out, arg, how, on.stream());
  } else {
    launch_reduce<double>(src, ptr, out, arg, how, on.stream());
  }
  return {out, arg};
}

Tensor segment_softmax(const Tensor& src, const Tensor& ptr) {
  check_inputs(src, ptr);
  const OnDevice on(src);
  Tensor out = torch::stable::empty_like(src);
  if (src.scalar_type() == ScalarType::Float) {
    launch_softmax<float>(src, ptr, out, on.stream());
  } else {
    launch_softmax<double>(src, ptr, out, on.stream());
  }
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(graphlab, CUDA, m) {
  m.impl("segment_reduce", TORCH_BOX(&segment_reduce));
  m.impl("segment_softmax", TORCH_BOX(&segment_softmax));
}

}  // namespace graphlab
