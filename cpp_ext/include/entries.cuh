// Work on the entries of a sparse matrix, whatever their rows: 32 of them a warp, so
// that a long row is no more work for anyone than short ones.
#pragma once

#include <cstdint>

#include "chunks.cuh"

namespace graphlab {

constexpr unsigned kAllLanes = 0xffffffffu;
constexpr int kWarps = kBlock / kWarp;

// Numbers of type T that a lane takes at a time.
template <typename T, int N>
struct alignas(N * sizeof(T)) Pack {
  T at[N];
};

// Calls `run` with the numbers that a lane takes at a time: 16 bytes of them where rows
// of all tables begin and end at multiples of 16 bytes, else one; and with the lanes
// that share a row then: a power of two, up to a warp.
template <typename T, typename Run>
void with_pack(const void* one, const void* other, int64_t stride, int64_t width,
               Run run) {
  constexpr int kWide = 16 / sizeof(T);
  const uintptr_t all = reinterpret_cast<uintptr_t>(one) |
                        reinterpret_cast<uintptr_t>(other) |
                        static_cast<uintptr_t>(stride) * sizeof(T) |
                        static_cast<uintptr_t>(width) * sizeof(T);
  const bool wide = all % 16 == 0;
  int lanes = 1;
  while (lanes < kWarp && lanes < (wide ? width / kWide : width)) lanes *= 2;
  if (wide) {
    run.template operator()<kWide>(lanes);
  } else {
    run.template operator()<1>(lanes);
  }
}

// Calls `finish(e, row, id, product)` for each entry e = (row, id): the scalar product
// of row `row` of `a` [rows, width] and row `id` of `b`, summed in a tree:
// deterministic.
template <typename T, typename Index, int N, typename Finish>
__global__ void products_kernel(Chunks chunks, const Index* idx, const T* a, const T* b,
                                int64_t b_rows, int64_t b_stride, int64_t width,
                                int lanes, Finish finish) {
  const int lane = threadIdx.x, parts = kWarp / lanes, part = lane / lanes;
  const int64_t step = static_cast<int64_t>(gridDim.x) * kBlock;
  for (int64_t e = (static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.y) * kWarp;
       e < chunks.entries; e += step) {
    const int64_t left = chunks.entries - e;
    const int here = left < kWarp ? static_cast<int>(left) : kWarp;
    int64_t id = 0, row = 0;
    if (lane < here) {
      id = idx[e + lane];
      require_in_range(id, b_rows);
      row = chunks.row_of(e + lane);
    }
    T mine = 0;
    for (int k = 0; k < here; k += parts) {
      const int at = k + part;
      const T* from = a + __shfl_sync(kAllLanes, row, at % kWarp) * width;
      const T* to = b + __shfl_sync(kAllLanes, id, at % kWarp) * b_stride;
      T sum = 0;
      for (int64_t j = lane % lanes * N; at < here && j < width;
           j += static_cast<int64_t>(lanes) * N) {
        const auto x = *reinterpret_cast<const Pack<T, N>*>(from + j);
        const auto y = *reinterpret_cast<const Pack<T, N>*>(to + j);
#pragma unroll
        for (int n = 0; n < N; ++n) sum += x.at[n] * y.at[n];
      }
      for (int offset = lanes / 2; offset > 0; offset /= 2)
        sum += __shfl_xor_sync(kAllLanes, sum, offset);
      // Entry k + p is in the lanes of part p; lane k + p keeps it.
      const T found = __shfl_sync(kAllLanes, sum, (lane - k) * lanes % kWarp);
      if (lane >= k && lane < k + parts) mine = found;
    }
    if (lane < here) finish(e + lane, row, id, mine);
  }
}

template <typename T, typename Index, typename Finish>
void for_each_product(const Chunks& chunks, const Index* idx, const T* a, const T* b,
                      int64_t b_rows, int64_t b_stride, int64_t width, Finish finish,
                      cudaStream_t stream, const char* name) {
  if (chunks.rows == 0 || chunks.entries == 0) return;
  with_pack<T>(a, b, b_stride, width, [&]<int N>(int lanes) {
    products_kernel<T, Index, N>
        <<<blocks_for(chunks.entries, kBlock), dim3(kWarp, kWarps), 0, stream>>>(
            chunks, idx, a, b, b_rows, b_stride, width, lanes, finish);
    check_launch(name);
  });
}

}  // namespace graphlab
