// A kernel for each of a number of things, launched and checked.
#pragma once

#include <torch/csrc/stable/macros.h>

#include <algorithm>
#include <cstdint>

#include "cuda.cuh"

namespace graphlab {

constexpr int kThreads = 256;

// Runs `body(i)` for i in [0, count), one thread for each i, strided over the grid.
// Bodies are structs with a device operator(): lambdas would need a flag of nvcc.
template <typename Body>
__global__ void for_each_kernel(int64_t count, Body body) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
       i < count; i += step) {
    body(i);
  }
}

template <typename Body>
void for_each(int64_t count, cudaStream_t stream, Body body) {
  if (count == 0) return;
  const int64_t blocks =
      std::min<int64_t>((count + kThreads - 1) / kThreads, int64_t{1} << 20);
  for_each_kernel<<<static_cast<unsigned>(blocks), kThreads, 0, stream>>>(count, body);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

// The same with one warp for each i: `body(i, lane)`, all 32 lanes together.
template <typename Body>
__global__ void for_each_warp_kernel(int64_t count, Body body) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * (blockDim.x / 32);
  const int64_t first =
      (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / 32;
  for (int64_t i = first; i < count; i += step) body(i, threadIdx.x % 32);
}

template <typename Body>
void for_each_warp(int64_t count, cudaStream_t stream, Body body) {
  if (count == 0) return;
  constexpr int64_t kWarps = kThreads / 32;
  const int64_t blocks =
      std::min<int64_t>((count + kWarps - 1) / kWarps, int64_t{1} << 20);
  for_each_warp_kernel<<<static_cast<unsigned>(blocks), kThreads, 0, stream>>>(count,
                                                                               body);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

}  // namespace graphlab
