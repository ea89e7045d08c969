// What every CUDA kernel file needs: the caller's device and stream, launch checks.
#pragma once

#include <cuda_runtime.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>

#include "check.h"

namespace graphlab {

constexpr int kWarp = 32;
constexpr int kBlock = 256;

// Makes the device of a tensor current, and knows torch's stream on it.
class OnDevice {
 public:
  explicit OnDevice(const Tensor& t) : guard_(t.get_device_index()) {
    void* stream = nullptr;
    TORCH_ERROR_CODE_CHECK(
        aoti_torch_get_current_cuda_stream(t.get_device_index(), &stream));
    stream_ = static_cast<cudaStream_t>(stream);
  }
  cudaStream_t stream() const { return stream_; }

 private:
  torch::stable::accelerator::DeviceGuard guard_;
  cudaStream_t stream_;
};

inline void check_cuda(cudaError_t status, const char* what) {
  GL_CHECK(status == cudaSuccess, what, ": ", cudaGetErrorString(status));
}

// After every launch.
inline void check_launch(const char* kernel) { check_cuda(cudaGetLastError(), kernel); }

// Blocks for `items` of which each block takes `each`, for loops that stride by the
// grid.
inline unsigned blocks_for(int64_t items, int64_t each) {
  const int64_t wanted = (items + each - 1) / std::max<int64_t>(each, 1);
  return static_cast<unsigned>(std::clamp<int64_t>(wanted, 1, int64_t{1} << 30));
}

// This thread's number in the grid and the grid's size, in 64 bits.
__device__ inline int64_t grid_thread() {
  return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ inline int64_t grid_threads() {
  return static_cast<int64_t>(gridDim.x) * blockDim.x;
}

// As in torch, a wrong id on the device is an error that surfaces at the next
// synchronisation: asking for it here would stall every call.
__device__ inline void require_in_range(int64_t id, int64_t size) {
  if (id < 0 || id >= size) __trap();
}

}  // namespace graphlab
