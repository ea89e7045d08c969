// SPDX-License-Identifier: Apache-2.0
// segment_reduce, segment_softmax: see cpp_ext/cpu/segment.cpp.
//
// One thread for each (segment, column), columns side by side, so that a warp reads
// consecutive values. Rows are taken in order; pieces of long segments are joined in
// order: deterministic.
#include <cmath>
#include <string>
#include <tuple>

#include "chunks.cuh"

namespace graphlab {
namespace {

enum class Reduce { kSum, kMean, kMax };

template <typename T>
struct Job {
  Chunks chunks;
  const T* src;
  T* out;
  int64_t* arg;
  T* partial;            // [chunks, 2, width]
  int64_t* partial_arg;  // the same of maxima
  T* partial_total;      // the same of softmax
  int64_t width;
  Reduce how;
};

// A value and the row that it is of.
template <typename T>
struct Found {
  T value;
  int64_t row;
};

// NaN wins once and stays, as in torch.amax.
template <typename T>
__device__ void take_larger(Found<T>& best, T value, int64_t row) {
  if (value > best.value || (value != value && best.value == best.value)) {
    best = {value, row};
  }
}

template <typename T>
__device__ Found<T> maximum(const Job<T>& job, Span span, int64_t column) {
  const T* src = job.src + column;
  if (span.length() <= 0) return {T(0), -1};
  Found<T> best{src[span.begin * job.width], span.begin};
#pragma unroll 4
  for (int64_t e = span.begin + 1; e < span.end; ++e)
    take_larger(best, src[e * job.width], e);
  return best;
}

template <typename T>
__device__ T total(const Job<T>& job, Span span, int64_t column) {
  const T* src = job.src + column;
  T sum = 0;
#pragma unroll 4
  for (int64_t e = span.begin; e < span.end; ++e) sum += src[e * job.width];
  return sum;
}

// The largest value and the sum of exp(value - largest).
template <typename T>
struct Soft {
  T top, sum;
};

template <typename T>
__device__ Soft<T> soften(const Job<T>& job, Span span, int64_t column) {
  const T* src = job.src + column;
  T top = -INFINITY;
#pragma unroll 4
  for (int64_t e = span.begin; e < span.end; ++e) {
    const T value = src[e * job.width];
    top = value > top ? value : top;
  }
  T sum = 0;
#pragma unroll 4
  for (int64_t e = span.begin; e < span.end; ++e) {
    const T value = src[e * job.width];
    // A piece of -inf alone counts nothing: its maximum is no number to compare with.
    sum += value == -INFINITY ? T(0) : exp(value - top);
  }
  return {top, sum};
}

template <typename T>
__device__ void write(const Job<T>& job, Span span, int64_t column, Soft<T> of) {
#pragma unroll 4
  for (int64_t e = span.begin; e < span.end; ++e) {
    const int64_t at = e * job.width + column;
    job.out[at] = exp(job.src[at] - of.top) / of.sum;
  }
}

template <typename T>
__global__ void reduce_kernel(Job<T> job) {
  const int64_t count = job.chunks.rows * job.width;
  for (int64_t i = grid_thread(); i < count; i += grid_threads()) {
    const Span span = job.chunks.row(i / job.width);
    if (job.chunks.is_long(span)) continue;
    if (job.how == Reduce::kMax) {
      const Found<T> best = maximum(job, span, i % job.width);
      job.out[i] = best.value;
      job.arg[i] = best.row;
      continue;
    }
    const T sum = total(job, span, i % job.width);
    const bool divide = job.how == Reduce::kMean && span.length() > 0;
    job.out[i] = divide ? sum / static_cast<T>(span.length()) : sum;
  }
}

template <typename T>
__global__ void reduce_pieces_kernel(Job<T> job, int64_t places) {
  for (int64_t i = grid_thread(); i < places * job.width; i += grid_threads()) {
    const int64_t place = i / job.width;
    const Span span = job.chunks.piece(place / 2, static_cast<int>(place % 2));
    if (span.length() <= 0) continue;
    if (job.how == Reduce::kMax) {
      const Found<T> best = maximum(job, span, i % job.width);
      job.partial[i] = best.value;
      job.partial_arg[i] = best.row;
    } else {
      job.partial[i] = total(job, span, i % job.width);
    }
  }
}

template <typename T>
__global__ void reduce_join_kernel(Job<T> job, int64_t places) {
  for (int64_t i = grid_thread(); i < places * job.width; i += grid_threads()) {
    const int64_t place = i / job.width, column = i % job.width;
    const int64_t row = job.chunks.row_begun_at(place);
    if (row < 0) continue;
    const Span span = job.chunks.row(row);
    const int64_t last = job.chunks.last_chunk(span), to = row * job.width + column;
    if (job.how == Reduce::kMax) {
      Found<T> best{job.partial[i], job.partial_arg[i]};
      for (int64_t chunk = place / 2 + 1; chunk <= last; ++chunk) {
        const int64_t at = 2 * chunk * job.width + column;
        take_larger(best, job.partial[at], job.partial_arg[at]);
      }
      job.out[to] = best.value;
      job.arg[to] = best.row;
      continue;
    }
    T sum = job.partial[i];
#pragma unroll 4
    for (int64_t chunk = place / 2 + 1; chunk <= last; ++chunk)
      sum += job.partial[2 * chunk * job.width + column];
    const bool divide = job.how == Reduce::kMean;
    job.out[to] = divide ? sum / static_cast<T>(span.length()) : sum;
  }
}

template <typename T>
__global__ void softmax_kernel(Job<T> job) {
  const int64_t count = job.chunks.rows * job.width;
  for (int64_t i = grid_thread(); i < count; i += grid_threads()) {
    const Span span = job.chunks.row(i / job.width);
    if (job.chunks.is_long(span)) continue;
    write(job, span, i % job.width, soften(job, span, i % job.width));
  }
}

template <typename T>
__global__ void softmax_pieces_kernel(Job<T> job, int64_t places) {
  for (int64_t i = grid_thread(); i < places * job.width; i += grid_threads()) {
    const int64_t place = i / job.width;
    const Span span = job.chunks.piece(place / 2, static_cast<int>(place % 2));
    if (span.length() <= 0) continue;
    const Soft<T> of = soften(job, span, i % job.width);
    job.partial[i] = of.top;
    job.partial_total[i] = of.sum;
  }
}

// Where a long segment begins, its pieces become the maximum and the sum of all of it.
template <typename T>
__global__ void softmax_join_kernel(Job<T> job, int64_t places) {
  for (int64_t i = grid_thread(); i < places * job.width; i += grid_threads()) {
    const int64_t place = i / job.width, column = i % job.width;
    const int64_t row = job.chunks.row_begun_at(place);
    if (row < 0) continue;
    const Span span = job.chunks.row(row);
    const int64_t last = job.chunks.last_chunk(span);
    T top = job.partial[i];
    for (int64_t chunk = place / 2 + 1; chunk <= last; ++chunk) {
      const T value = job.partial[2 * chunk * job.width + column];
      top = value > top ? value : top;
    }
    T sum = job.partial_total[i] * exp(job.partial[i] - top);
    for (int64_t chunk = place / 2 + 1; chunk <= last; ++chunk) {
      const int64_t at = 2 * chunk * job.width + column;
      sum += job.partial_total[at] * exp(job.partial[at] - top);
    }
    job.partial[i] = top;
    job.partial_total[i] = sum;
  }
}

template <typename T>
__global__ void softmax_write_kernel(Job<T> job, int64_t places) {
  for (int64_t i = grid_thread(); i < places * job.width; i += grid_threads()) {
    const int64_t place = i / job.width, column = i % job.width;
    const int in = static_cast<int>(place % 2);
    const int64_t row = job.chunks.row_at(place / 2, in);
    if (row < 0) continue;
    const int64_t first = job.chunks.first_place(job.chunks.row(row));
    const int64_t at = first * job.width + column;
    write(job, job.chunks.piece(place / 2, in), column,
          Soft<T>{job.partial[at], job.partial_total[at]});
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
Job<T> job_for(const Tensor& src, const Tensor& ptr, Tensor& out) {
  Job<T> job{};
  job.chunks = chunks_of(ptr, src.size(0));
  job.src = src.const_data_ptr<T>();
  job.out = out.mutable_data_ptr<T>();
  job.width = src.size(1);
  return job;
}

template <typename T>
void launch_reduce(const Tensor& src, const Tensor& ptr, Tensor& out, Tensor& arg,
                   Reduce how, cudaStream_t stream) {
  Job<T> job = job_for<T>(src, ptr, out);
  if (job.chunks.rows * job.width == 0) return;
  job.how = how;
  job.arg = arg.mutable_data_ptr<int64_t>();
  const int64_t places = job.chunks.places(), width = src.size(1);
  Tensor partial = torch::stable::new_empty(src, {places, width});
  Tensor rows =
      torch::stable::new_empty(arg, {how == Reduce::kMax ? places : 0, width});
  job.partial = partial.mutable_data_ptr<T>();
  job.partial_arg = rows.mutable_data_ptr<int64_t>();
  const unsigned grid = blocks_for(job.chunks.rows * job.width, kBlock);
  reduce_kernel<T><<<grid, kBlock, 0, stream>>>(job);
  check_launch("segment_reduce");
  if (places == 0) return;
  const unsigned few = blocks_for(places * job.width, kBlock);
  reduce_pieces_kernel<T><<<few, kBlock, 0, stream>>>(job, places);
  check_launch("segment_reduce");
  reduce_join_kernel<T><<<few, kBlock, 0, stream>>>(job, places);
  check_launch("segment_reduce");
}

template <typename T>
void launch_softmax(const Tensor& src, const Tensor& ptr, Tensor& out,
                    cudaStream_t stream) {
  Job<T> job = job_for<T>(src, ptr, out);
  if (job.chunks.rows * job.width == 0) return;
  const int64_t places = job.chunks.places(), width = src.size(1);
  Tensor tops = torch::stable::new_empty(src, {places, width});
  Tensor totals = torch::stable::new_empty(src, {places, width});
  job.partial = tops.mutable_data_ptr<T>();
  job.partial_total = totals.mutable_data_ptr<T>();
  const unsigned grid = blocks_for(job.chunks.rows * job.width, kBlock);
  softmax_kernel<T><<<grid, kBlock, 0, stream>>>(job);
  check_launch("segment_softmax");
  if (places == 0) return;
  const unsigned few = blocks_for(places * job.width, kBlock);
  for (auto* kernel :
       {softmax_pieces_kernel<T>, softmax_join_kernel<T>, softmax_write_kernel<T>}) {
    kernel<<<few, kBlock, 0, stream>>>(job, places);
    check_launch("segment_softmax");
  }
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
