// SPDX-License-Identifier: Apache-2.0
// gather_levels: rows that lie in device memory, and in pinned host memory, in one
// launch.
#include "cuda.cuh"

namespace graphlab {
namespace {

// A warp copies a row; lanes walk along it side by side, so that a row in host memory
// crosses the bus in whole lines.
template <typename Unit>
struct CopyRow {
  const Unit* device;
  const Unit* host;
  const int32_t* source;
  Unit* out;
  int64_t device_rows, host_rows, units;

  __device__ void operator()(int64_t i, int lane) const {
    const int64_t at = source[i];
    if (at < 0) return;  // not in memory: the caller fills it
    require_in_range(at, device_rows + host_rows);
    const Unit* row =
        at < device_rows ? device + at * units : host + (at - device_rows) * units;
    for (int64_t u = lane; u < units; u += kWarp) out[i * units + u] = row[u];
  }
};

template <typename Unit>
__global__ void copy_rows_kernel(int64_t count, CopyRow<Unit> body) {
  const int64_t warps = grid_threads() / kWarp;
  for (int64_t i = grid_thread() / kWarp; i < count; i += warps) {
    body(i, threadIdx.x % kWarp);
  }
}

template <typename Unit>
void run(const Tensor& device, const void* host, const Tensor& source, Tensor& out,
         int64_t host_rows, int64_t bytes, cudaStream_t stream) {
  const CopyRow<Unit> body{static_cast<const Unit*>(device.const_data_ptr()),
                           static_cast<const Unit*>(host),
                           source.const_data_ptr<int32_t>(),
                           static_cast<Unit*>(out.mutable_data_ptr()),
                           device.size(0),
                           host_rows,
                           bytes / static_cast<int64_t>(sizeof(Unit))};
  const unsigned grid = blocks_for(source.size(0), kBlock / kWarp);
  copy_rows_kernel<Unit><<<grid, kBlock, 0, stream>>>(source.size(0), body);
  check_launch("gather_levels");
}

void gather_levels(const Tensor& device, const Tensor& host, const Tensor& source,
                   Tensor out) {
  GL_CHECK(device.dim() == 2 && host.dim() == 2 && out.dim() == 2,
           "rows must be uint8 [rows, bytes]");
  for (const Tensor* t : {&device, &host, static_cast<const Tensor*>(&out)}) {
    GL_CHECK(t->scalar_type() == ScalarType::Byte, "rows must be uint8");
    check_contiguous(*t, "rows");
    GL_CHECK(t->size(1) == out.size(1), "rows must be equally long");
  }
  check_vector(source, ScalarType::Int, "source");
  GL_CHECK(source.size(0) == out.size(0), "`source` must have one entry per row");
  const OnDevice on(device);
  const int64_t bytes = out.size(1);
  // Pageable memory has no address on the device.
  void* mapped = nullptr;
  if (host.size(0) > 0) {
    void* found = const_cast<void*>(host.const_data_ptr());
    check_cuda(cudaHostGetDevicePointer(&mapped, found, 0),
               "`host_rows` must be pinned");
  }
  const uintptr_t all = reinterpret_cast<uintptr_t>(device.const_data_ptr()) |
                        reinterpret_cast<uintptr_t>(mapped) |
                        reinterpret_cast<uintptr_t>(out.const_data_ptr()) |
                        static_cast<uintptr_t>(bytes);
  if (bytes == 0 || source.size(0) == 0) return;
  if (all % 16 == 0) {
    run<int4>(device, mapped, source, out, host.size(0), bytes, on.stream());
  } else if (all % 4 == 0) {
    run<int32_t>(device, mapped, source, out, host.size(0), bytes, on.stream());
  } else {
    run<int8_t>(device, mapped, source, out, host.size(0), bytes, on.stream());
  }
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(graphlab_io, CUDA, m) {
  m.impl("gather_levels", TORCH_BOX(&gather_levels));
}

}  // namespace graphlab
