// SPDX-License-Identifier: Apache-2.0
// gather_rows: see cpp_ext/cpu/gather.cpp.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <optional>

#include "cuda.cuh"

namespace graphlab {
namespace {

// `lanes` threads (a power of two up to a warp) share a row and walk along it side by
// side; the other threads of a block take the next rows. Deterministic: each value is
// written once.
struct Layout {
  int lanes;
  dim3 block;
  unsigned grid;
};

Layout layout_for(int64_t count, int64_t units) {
  int lanes = 1;
  while (lanes < kWarp && lanes < units) lanes *= 2;
  const int rows = kBlock / lanes;
  return {lanes, dim3(lanes, rows), blocks_for(count, rows)};
}

template <typename Unit, typename Index>
__global__ void copy_kernel(const Unit* source, const Index* index, Unit* out,
                            int64_t count, int64_t rows, int64_t stride,
                            int64_t units) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.y;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
       i < count; i += step) {
    const int64_t id = index[i];
    require_in_range(id, rows);
    for (int64_t u = threadIdx.x; u < units; u += blockDim.x)
      out[i * units + u] = source[id * stride + u];
  }
}

__device__ inline float decode(__half value) { return __half2float(value); }
__device__ inline float decode(__nv_bfloat16 value) { return __bfloat162float(value); }
__device__ inline float decode(int8_t value) { return static_cast<float>(value); }

template <typename Code, typename Index>
__global__ void decode_kernel(const Code* source, const Index* index,
                              const float* scale, float* out, int64_t count,
                              int64_t rows, int64_t stride, int64_t width) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.y;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
       i < count; i += step) {
    const int64_t id = index[i];
    require_in_range(id, rows);
    for (int64_t j = threadIdx.x; j < width; j += blockDim.x) {
      const float value = decode(source[id * stride + j]);
      out[i * width + j] = scale == nullptr ? value : value * scale[id];
    }
  }
}

struct Job {
  const char* source;
  const float* scale;
  char* out;
  int64_t count, rows, stride, row_bytes, width;  // stride and row_bytes of the source
};

template <typename Unit, typename Index>
void copy(const Job& job, const Index* index, cudaStream_t stream) {
  const int64_t units = job.row_bytes / sizeof(Unit);
  const Layout layout = layout_for(job.count, units);
  copy_kernel<Unit, Index><<<layout.grid, layout.block, 0, stream>>>(
      reinterpret_cast<const Unit*>(job.source), index,
      reinterpret_cast<Unit*>(job.out), job.count, job.rows, job.stride / sizeof(Unit),
      units);
  check_launch("gather_rows");
}

template <typename Code, typename Index>
void decode(const Job& job, const Index* index, cudaStream_t stream) {
  const Layout layout = layout_for(job.count, job.width);
  decode_kernel<Code, Index><<<layout.grid, layout.block, 0, stream>>>(
      reinterpret_cast<const Code*>(job.source), index, job.scale,
      reinterpret_cast<float*>(job.out), job.count, job.rows, job.stride / sizeof(Code),
      job.width);
  check_launch("gather_rows");
}

template <typename Index>
void gather(const Job& job, ScalarType type, bool decoded, const Index* index,
            cudaStream_t stream) {
  if (decoded) {
    if (type == ScalarType::Half) return decode<__half>(job, index, stream);
    if (type == ScalarType::BFloat16) return decode<__nv_bfloat16>(job, index, stream);
    return decode<int8_t>(job, index, stream);
  }
  // The widest unit that divides where rows begin and end.
  const uintptr_t all =
      reinterpret_cast<uintptr_t>(job.source) | reinterpret_cast<uintptr_t>(job.out) |
      static_cast<uintptr_t>(job.stride) | static_cast<uintptr_t>(job.row_bytes);
  if (all % 16 == 0) return copy<int4>(job, index, stream);
  if (all % 8 == 0) return copy<int64_t>(job, index, stream);
  if (all % 4 == 0) return copy<int32_t>(job, index, stream);
  copy<int8_t>(job, index, stream);
}

void gather_rows(const Tensor& source, const Tensor& index, std::optional<Tensor> scale,
                 Tensor out) {
  const ScalarType type = source.scalar_type(), to = out.scalar_type();
  GL_CHECK(source.dim() >= 1 && out.dim() == source.dim(), "`source` must have rows");
  check_contiguous(out, "out");
  check_vector(index, index.scalar_type(), "index");
  Job job{};
  job.count = index.size(0);
  GL_CHECK(out.size(0) == job.count, "`out` must have a row for each index");
  job.width = 1;
  for (int64_t d = source.dim() - 1; d >= 1; --d) {
    GL_CHECK(source.size(d) == out.size(d),
             "`out` must have rows like those of `source`");
    GL_CHECK(source.size(d) == 1 || source.stride(d) == job.width,
             "`source` must have contiguous rows");
    job.width *= source.size(d);
  }
  const bool decoded = type != to || scale.has_value();
  if (decoded) {
    GL_CHECK(to == ScalarType::Float, "`out` must be float32 or the dtype of `source`");
    GL_CHECK(type == ScalarType::Half || type == ScalarType::BFloat16 ||
                 type == ScalarType::Char,
             "`source` must be float16, bfloat16 or int8 to be decoded");
  }
  if (scale.has_value()) {
    GL_CHECK(type == ScalarType::Char, "`scale` is for int8 rows");
    check_vector(*scale, ScalarType::Float, "scale");
    GL_CHECK(scale->size(0) == source.size(0),
             "`scale` must have a value for each row");
    job.scale = scale->const_data_ptr<float>();
  }
  const OnDevice on(source);
  const int64_t bytes = static_cast<int64_t>(source.element_size());
  job.source = static_cast<const char*>(source.const_data_ptr());
  job.out = static_cast<char*>(out.mutable_data_ptr());
  job.rows = source.size(0);
  job.stride = source.stride(0) * bytes;
  job.row_bytes = job.width * bytes;
  if (job.count == 0 || job.width == 0) return;
  if (index.scalar_type() == ScalarType::Int) {
    gather(job, type, decoded, index.const_data_ptr<int32_t>(), on.stream());
  } else {
    GL_CHECK(index.scalar_type() == ScalarType::Long, "`index` must be int32 or int64");
    gather(job, type, decoded, index.const_data_ptr<int64_t>(), on.stream());
  }
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(graphlab, CUDA, m) {
  m.impl("gather_rows", TORCH_BOX(&gather_rows));
}

}  // namespace graphlab
