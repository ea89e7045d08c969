// SPDX-License-Identifier: Apache-2.0
// spmm, spmm_edge_dot: see cpp_ext/cpu/spmm.cpp.
//
// Lanes take 16 bytes of a row each where rows allow it; where rows are shorter than a
// warp's reach, groups of lanes work on rows, or on entries of a long row, of their
// own. The order of sums does not vary from call to call: deterministic.
#include <optional>
#include <string>

#include "chunks.cuh"
#include "entries.cuh"

namespace graphlab {
namespace {

// Rows of `x` in flight for each lane.
constexpr int kAhead = 4;

template <typename T, typename Index>
struct Job {
  Chunks chunks;
  const Index* idx;
  const T* weight;
  const T* x;
  T* out;
  T* partial;  // [chunks, 2, width]: sums of the pieces of long rows
  int64_t x_rows, x_stride, width;
  int lanes;  // of a row of `x`, up to a warp: a power of two
  bool mean;
};

// The sum of weight * x over entries, for this lane's columns; all lanes call it, and
// those of the warp's first part (lane < lanes) hold it then.
template <typename T, typename Index, int N>
__device__ Pack<T, N> sum_of(const Job<T, Index>& job, Span span, int64_t column,
                             int lane) {
  const int parts = kWarp / job.lanes, part = lane / job.lanes;
  const bool inside = column < job.width;
  Pack<T, N> sum{};
  for (int64_t e = span.begin; e < span.end; e += kWarp) {
    const int here = static_cast<int>(span.end - e < kWarp ? span.end - e : kWarp);
    Index id = 0;
    T weight = 1;
    if (lane < here) {
      id = job.idx[e + lane];
      require_in_range(id, job.x_rows);
      if (job.weight != nullptr) weight = job.weight[e + lane];
    }
    for (int k = 0; k < here; k += kAhead * parts) {
      Pack<T, N> values[kAhead];
      T factor[kAhead];
#pragma unroll
      for (int a = 0; a < kAhead; ++a) {
        const int at = k + a * parts + part;
        const int64_t from = __shfl_sync(kAllLanes, id, at % kWarp);
        factor[a] = __shfl_sync(kAllLanes, weight, at % kWarp);
        values[a] = at < here && inside ? *reinterpret_cast<const Pack<T, N>*>(
                                              job.x + from * job.x_stride + column)
                                        : Pack<T, N>{};
      }
#pragma unroll
      for (int a = 0; a < kAhead; ++a) {
        const bool there = k + a * parts + part < here;
#pragma unroll
        for (int n = 0; n < N; ++n)
          if (there) sum.at[n] += factor[a] * values[a].at[n];
      }
    }
  }
  for (int offset = job.lanes; offset < kWarp; offset *= 2) {
#pragma unroll
    for (int n = 0; n < N; ++n)
      sum.at[n] += __shfl_xor_sync(kAllLanes, sum.at[n], offset);
  }
  return sum;
}

template <typename T, int N>
__device__ void divide(Pack<T, N>& sum, int64_t count) {
#pragma unroll
  for (int n = 0; n < N; ++n) sum.at[n] /= static_cast<T>(count);
}

// Each warp takes one (item, tile of columns) after the other.
template <int N, typename T, typename Index, typename Body>
__device__ void for_each_tile(const Job<T, Index>& job, int64_t items, Body body) {
  const int lane = threadIdx.x;
  const int64_t reach = static_cast<int64_t>(job.lanes) * N;
  const int64_t tiles = (job.width + reach - 1) / reach;
  const int64_t step = static_cast<int64_t>(gridDim.x) * kWarps;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.y;
       i < items * tiles; i += step) {
    body(i / tiles, i % tiles * reach + lane % job.lanes * N, lane);
  }
}

// Groups of lanes take `each` consecutive rows, whose entries lie side by side: reads
// of `x` run ahead over the ends of rows, so that short rows do not wait for one
// another. A lane has kPacks packs of columns. Entries of a row are added in order, as
// on the CPU.
template <typename T, typename Index, int N, int kPacks>
__global__ void __launch_bounds__(kBlock, kPacks == 1 ? 4 : 1)
    rows_kernel(Job<T, Index> job, int each) {
  const int lanes = job.lanes, lane = threadIdx.x % kWarp, member = lane % lanes;
  const int shift = lane - member;
  const unsigned mask = (lanes == kWarp ? kAllLanes : (1u << lanes) - 1) << shift;
  const int64_t reach = static_cast<int64_t>(lanes) * N * kPacks;
  const int64_t tiles = (job.width + reach - 1) / reach;
  const int64_t batches = (job.chunks.rows + each - 1) / each;
  const int64_t step = grid_threads() / lanes;
  for (int64_t i = grid_thread() / lanes; i < batches * tiles; i += step) {
    const int64_t first = i / tiles * each;
    const int64_t column = i % tiles * reach + member * N;
    const int64_t left = job.chunks.rows - first;
    const int count = left < each ? static_cast<int>(left) : each;
    const Span mine = member < count ? job.chunks.row(first + member) : Span{0, 0};
    const unsigned skipped = __ballot_sync(mask, job.chunks.is_long(mine)) >> shift;
    for (int row = 0; row < count; ++row) {
      if (skipped >> row & 1u) continue;
      // Up to the next long row, or to the last.
      int stop = __ffs(static_cast<int>(skipped >> row));
      stop = stop == 0 || row + stop - 1 > count ? count : row + stop - 1;
      const int64_t begin = __shfl_sync(mask, mine.begin, row, lanes);
      const Index* ids = job.idx + begin;
      const T* weights = job.weight == nullptr ? nullptr : job.weight + begin;
      // Places in the run: rows of at most `chunks.size` entries, so 32 bits hold them.
      const int begins = static_cast<int>(mine.begin - begin);
      const int ends = static_cast<int>(mine.end - begin);
      const int64_t run = __shfl_sync(mask, mine.end, stop - 1, lanes) - begin;
      // Other lengths come of offsets that fall: nothing is read for them.
      const bool sound = run >= 0 && run <= lanes * job.chunks.size;
      const int total = sound ? static_cast<int>(run) : 0;
      int row_end = __shfl_sync(mask, ends, row, lanes);
      Pack<T, N> sum[kPacks] = {};
      const auto finish = [&] {
        const int length = row_end - __shfl_sync(mask, begins, row, lanes);
        T* out = job.out + (first + row) * job.width + column;
#pragma unroll
        for (int p = 0; p < kPacks; ++p) {
          if (job.mean && length > 0) divide(sum[p], length);
          const int at = p * lanes * N;
          if (column + at < job.width)
            *reinterpret_cast<Pack<T, N>*>(out + at) = sum[p];
          sum[p] = {};
        }
        ++row;
        row_end = __shfl_sync(mask, ends, row, lanes);
      };
      Index next = member < total ? ids[member] : Index(0);
      for (int e = 0; e < total; e += lanes) {
        const Index id = next;
        const int after = e + lanes + member;
        next = after < total ? ids[after] : Index(0);
        require_in_range(id, job.x_rows);
        T weight = 1;
        if (weights != nullptr && e + member < total) weight = weights[e + member];
        const int here = total - e < lanes ? total - e : lanes;
        for (int k = 0; k < here; k += kAhead) {
          Pack<T, N> values[kAhead][kPacks];
#pragma unroll
          for (int a = 0; a < kAhead; ++a) {
            const T* from =
                job.x + column + __shfl_sync(mask, id, k + a, lanes) * job.x_stride;
#pragma unroll
            for (int p = 0; p < kPacks; ++p) {
              const int at = p * lanes * N;
              values[a][p] = k + a < here && column + at < job.width
                                 ? *reinterpret_cast<const Pack<T, N>*>(from + at)
                                 : Pack<T, N>{};
            }
          }
#pragma unroll
          for (int a = 0; a < kAhead; ++a) {
            if (k + a >= here) break;
            const T factor = __shfl_sync(mask, weight, k + a, lanes);
            while (row + 1 < stop && e + k + a >= row_end) finish();
#pragma unroll
            for (int p = 0; p < kPacks; ++p)
#pragma unroll
              for (int n = 0; n < N; ++n) sum[p].at[n] += factor * values[a][p].at[n];
          }
        }
      }
      while (row < stop) finish();
      --row;
    }
  }
}

template <typename T, typename Index, int N>
__global__ void pieces_kernel(Job<T, Index> job, int64_t places) {
  for_each_tile<N>(job, places, [&](int64_t place, int64_t column, int lane) {
    const Span span = job.chunks.piece(place / 2, static_cast<int>(place % 2));
    if (span.length() <= 0) return;
    const Pack<T, N> sum = sum_of<T, Index, N>(job, span, column, lane);
    if (lane < job.lanes && column < job.width)
      *reinterpret_cast<Pack<T, N>*>(job.partial + place * job.width + column) = sum;
  });
}

// One thread for each (place, column) at which a long row begins.
template <typename T, typename Index>
__global__ void join_kernel(Job<T, Index> job, int64_t places) {
  for (int64_t i = grid_thread(); i < places * job.width; i += grid_threads()) {
    const int64_t place = i / job.width, column = i % job.width;
    const int64_t row = job.chunks.row_begun_at(place);
    if (row < 0) continue;
    const Span span = job.chunks.row(row);
    T sum = job.partial[i];
    const int64_t last = job.chunks.last_chunk(span);
#pragma unroll 4
    for (int64_t chunk = place / 2 + 1; chunk <= last; ++chunk)
      sum += job.partial[2 * chunk * job.width + column];
    if (job.mean) sum /= static_cast<T>(span.length());
    job.out[row * job.width + column] = sum;
  }
}

// The gradient of an entry's weight.
template <typename T>
struct Keep {
  T* out;
  __device__ void operator()(int64_t e, int64_t, int64_t, T product) const {
    out[e] = product;
  }
};

template <typename T, typename Index>
Job<T, Index> job_for(const Tensor& ptr, const Tensor& idx, const Tensor& x,
                      Tensor& out) {
  Job<T, Index> job{};
  job.chunks = chunks_of(ptr, idx.size(0));
  job.idx = idx.const_data_ptr<Index>();
  job.x = x.const_data_ptr<T>();
  job.out = out.mutable_data_ptr<T>();
  job.x_rows = x.size(0);
  job.x_stride = x.stride(0);
  job.width = x.size(1);
  return job;
}

template <typename T, typename Index, int N>
void launch_rows(Job<T, Index> job, int lanes, cudaStream_t stream) {
  // Few lanes would read ids one by one.
  job.lanes = std::max(lanes, 4);
  const int packs = job.width > static_cast<int64_t>(kWarp) * N ? 2 : 1;
  const int64_t reach = static_cast<int64_t>(job.lanes) * N * packs;
  const int64_t tiles = (job.width + reach - 1) / reach;
  // Rows for each group: few where there are few rows, so that all of a device works.
  const int64_t threads = job.chunks.rows * tiles * job.lanes;
  const int each = static_cast<int>(std::clamp<int64_t>(threads >> 21, 1, job.lanes));
  const int64_t batches = (job.chunks.rows + each - 1) / each;
  const unsigned grid = blocks_for(batches * tiles * job.lanes, kBlock);
  if (packs == 1) {
    rows_kernel<T, Index, N, 1><<<grid, kBlock, 0, stream>>>(job, each);
  } else {
    rows_kernel<T, Index, N, 2><<<grid, kBlock, 0, stream>>>(job, each);
  }
  check_launch("spmm");
}

template <typename T, typename Index>
void launch_spmm(const Tensor& ptr, const Tensor& idx,
                 const std::optional<Tensor>& weight, const Tensor& x, bool mean,
                 Tensor& out, cudaStream_t stream) {
  Job<T, Index> job = job_for<T, Index>(ptr, idx, x, out);
  if (job.chunks.rows == 0 || job.width == 0) return;
  job.weight = weight.has_value() ? weight->const_data_ptr<T>() : nullptr;
  job.mean = mean;
  const int64_t places = job.chunks.places();
  Tensor partial = torch::stable::new_empty(x, {places, x.size(1)});
  job.partial = partial.mutable_data_ptr<T>();
  with_pack<T>(job.x, job.out, job.x_stride, job.width, [&]<int N>(int lanes) {
    const dim3 block(kWarp, kWarps);
    launch_rows<T, Index, N>(job, lanes, stream);
    job.lanes = lanes;
    const int64_t reach = static_cast<int64_t>(lanes) * N;
    const int64_t tiles = (job.width + reach - 1) / reach;
    if (places == 0) return;
    pieces_kernel<T, Index, N>
        <<<blocks_for(places * tiles, kWarps), block, 0, stream>>>(job, places);
    check_launch("spmm");
    join_kernel<<<blocks_for(places * job.width, kBlock), kBlock, 0, stream>>>(job,
                                                                               places);
    check_launch("spmm");
  });
}

template <typename T, typename Index>
void launch_dot(const Tensor& ptr, const Tensor& idx, const Tensor& grad,
                const Tensor& x, Tensor& out, cudaStream_t stream) {
  for_each_product(chunks_of(ptr, idx.size(0)), idx.const_data_ptr<Index>(),
                   grad.const_data_ptr<T>(), x.const_data_ptr<T>(), x.size(0),
                   x.stride(0), x.size(1), Keep<T>{out.mutable_data_ptr<T>()}, stream,
                   "spmm_edge_dot");
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
