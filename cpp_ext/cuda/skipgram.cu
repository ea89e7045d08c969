// SPDX-License-Identifier: Apache-2.0
// skipgram_train: one warp trains one walk at a time; windows are expanded and
// negatives drawn in the kernel, so that a walk of 41 ids is all that comes from the
// host.
//
// The head row stays in shared memory over its window; up to eight rows of the tail
// table see the same head, as on the CPU, so that their sums overlap. Warps share the
// tables without locks: results vary with the order of warps, except for a single walk.
#include <cuda_bf16.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <cstdint>

#include "check.h"
#include "launch.cuh"
#include "skipgram.h"

namespace graphlab {
namespace {

using namespace skipgram;

constexpr int kWarps = 8;
constexpr int kGroup = 8;
constexpr unsigned kAll = 0xffffffffu;
// Walks in flight may meet in a row; with few rows fewer walks run at a time.
constexpr int64_t kRowsPerWarp = 16;

__device__ inline float to_float(float v) { return v; }
__device__ inline float to_float(__nv_bfloat16 v) { return __bfloat162float(v); }
__device__ inline void put(float& to, float v) { to = v; }
__device__ inline void put(__nv_bfloat16& to, float v) { to = __float2bfloat16_rn(v); }

template <typename T, typename Idx>
struct Work {
  T *head, *tail;
  int64_t head_rows, tail_rows, stride;
  NodeTable nodes;
  Setting s;
  const Idx* walks;
  int64_t row, count;
  double* tally;  // loss, pairs that it counts, pairs
  int32_t* bad;
};

// One step of the head in shared memory and `terms` rows, all from the same old head.
template <typename T>
__device__ void step(float* head, T* const* rows, const float* label,
                     const float* weight, int terms, int64_t stride, int lane,
                     float rate, float decay, double* loss) {
  float sum[kGroup] = {};
  for (int64_t k = lane; k < stride; k += 32) {
    const float h = head[k];
#pragma unroll
    for (int r = 0; r < kGroup; ++r)
      if (r < terms) sum[r] += h * to_float(rows[r][k]);
  }
  float g[kGroup] = {}, keep[kGroup] = {}, kept = 1.0f;
#pragma unroll
  for (int r = 0; r < kGroup; ++r) {
    if (r >= terms) continue;
    for (int offset = 16; offset > 0; offset /= 2)
      sum[r] += __shfl_xor_sync(kAll, sum[r], offset);
    const float x = fminf(fmaxf(sum[r], -87.0f), 87.0f);
    const float w = rate * weight[r];
    g[r] = w * (label[r] - 1.0f / (1.0f + expf(-x)));
    keep[r] = 1.0f - w * decay;
    kept -= w * decay;
    if (loss != nullptr && lane == 0) {
      const float z = label[r] > 0 ? -sum[r] : sum[r];
      *loss += weight[r] * (z > 30.0f ? z : log1pf(expf(z)));
    }
  }
  for (int64_t k = lane; k < stride; k += 32) {
    const float h = head[k];
    float change = 0.0f;
#pragma unroll
    for (int r = 0; r < kGroup; ++r) {
      if (r >= terms) continue;
      const float v = to_float(rows[r][k]);
      change += v * g[r];
      put(rows[r][k], v * keep[r] + h * g[r]);
    }
    head[k] = h * kept + change;
  }
  __syncwarp();
}

template <typename T, typename Idx>
__device__ void train_walk(const Work<T, Idx>& job, int64_t i, float* head, int lane,
                           double* loss, int64_t* counted, int64_t* pairs) {
  const Setting& s = job.s;
  const Idx* walk = job.walks + i * job.row;
  const uint64_t stream = fold(s.key, s.first + static_cast<uint64_t>(i));
  const float rate = s.rate_of(i, job.count);
  const bool counts = i % kLossEvery == 0;
  int64_t length = 0;
  while (length < job.row && walk[length] >= 0) ++length;
  T* rows[kGroup];
  float label[kGroup], weight[kGroup];
  int64_t drawn = 0;
  const int group = s.reference ? 1 : kGroup;
  for (int64_t j = 0; j < length; ++j) {
    const int64_t reach = s.reach(stream, j);
    const int64_t lo = s.forward ? j + 1 : (j > reach ? j - reach : 0);
    const int64_t end = j + reach + 1;
    const int64_t hi = length < end ? length : end;
    if (lo >= hi || (lo == j && hi == j + 1)) continue;
    T* row = job.head + static_cast<int64_t>(walk[j]) * job.stride;
    if (static_cast<uint64_t>(walk[j]) >= static_cast<uint64_t>(job.head_rows)) {
      *job.bad = 1;
      return;
    }
    for (int64_t k = lane; k < job.stride; k += 32) head[k] = to_float(row[k]);
    __syncwarp();
    int terms = 0;
    int64_t found = 0;
    double mine = 0;
    const auto flush = [&] {
      step(head, rows, label, weight, terms, job.stride, lane, rate, s.decay,
           counts ? &mine : nullptr);
      terms = 0;
    };
    for (int64_t c = lo; c < hi; ++c) {
      if (c == j) continue;
      for (int64_t k = 0; k <= s.negatives; ++k) {
        int64_t node;
        if (k < s.negatives) {
          const uint64_t number =
              static_cast<uint64_t>(s.pool > 0 ? drawn % s.pool : drawn);
          ++drawn;
          node = job.nodes.draw(stream, number);
          label[terms] = 0.0f, weight[terms] = s.weight;
        } else {
          node = static_cast<int64_t>(walk[c]);
          label[terms] = 1.0f, weight[terms] = 1.0f;
          ++found;
        }
        if (static_cast<uint64_t>(node) >= static_cast<uint64_t>(job.tail_rows)) {
          *job.bad = 1;
          return;
        }
        rows[terms++] = job.tail + node * job.stride;
        if (terms == group) flush();
      }
    }
    // What is left in groups of the CPU's sizes would split once more; one step does.
    if (terms > 0) flush();
    for (int64_t k = lane; k < job.stride; k += 32) put(row[k], head[k]);
    __syncwarp();
    *loss += mine;
    *pairs += found;
    if (counts) *counted += found;
  }
}

template <typename T, typename Idx>
__global__ void train_kernel(Work<T, Idx> job) {
  extern __shared__ float shared[];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  float* head = shared + warp * job.stride;
  const int64_t warps = static_cast<int64_t>(gridDim.x) * kWarps;
  double loss = 0;
  int64_t counted = 0, pairs = 0;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kWarps + warp; i < job.count;
       i += warps) {
    train_walk(job, i, head, lane, &loss, &counted, &pairs);
  }
  if (lane == 0) {
    atomicAdd(job.tally, loss);
    atomicAdd(job.tally + 1, static_cast<double>(counted));
    atomicAdd(job.tally + 2, static_cast<double>(pairs));
  }
}

Tensor skipgram_train(Tensor head, Tensor tail, const Tensor& walks,
                      const Tensor& threshold, const Tensor& alias, int64_t window,
                      bool forward, bool shrink, int64_t negatives, double weight,
                      int64_t pool, double rate, double rate_end, double decay,
                      bool reference, int64_t threads, int64_t key, int64_t first) {
  const ScalarType type = head.scalar_type();
  GL_CHECK(type == ScalarType::Float || type == ScalarType::BFloat16,
           "tables must be float32 or bfloat16");
  for (const Tensor* t : {&head, &tail}) {
    GL_CHECK(t->dim() == 2 && t->scalar_type() == type && t->is_contiguous() &&
                 t->size(1) % kRowLanes == 0 && t->size(1) > 0,
             "tables must be contiguous, rows padded to 16 numbers");
  }
  GL_CHECK(head.size(1) == tail.size(1), "tables must have rows of one length");
  const NodeTable nodes = read_table(threshold, alias);
  const Setting s = read_setting(window, forward, shrink, negatives, weight, pool, rate,
                                 rate_end, decay, reference, key, first);
  GL_CHECK(walks.dim() == 2 && walks.is_contiguous() && walks.size(1) > 0,
           "`walks` must be a matrix");
  const OnDevice device(head);
  const int64_t count = walks.size(0), stride = head.size(1);
  Tensor out = torch::stable::new_zeros(head, {int64_t{3}}, ScalarType::Double);
  Tensor bad = torch::stable::new_zeros(head, {int64_t{1}}, ScalarType::Int);
  // As many walks at a time as rows allow: stale rows cost quality on small graphs.
  const int64_t most = std::max<int64_t>(1, tail.size(0) / kRowsPerWarp / kWarps);
  const int64_t blocks = std::max<int64_t>(
      1, std::min<int64_t>({(count + kWarps - 1) / kWarps, most, int64_t{1} << 14}));
  const auto run = [&]<typename T, typename Idx>(T* h, T* t, const Idx* w) {
    const Work<T, Idx> job{h,
                           t,
                           head.size(0),
                           tail.size(0),
                           stride,
                           nodes,
                           s,
                           w,
                           walks.size(1),
                           count,
                           out.mutable_data_ptr<double>(),
                           bad.mutable_data_ptr<int32_t>()};
    const size_t shared = static_cast<size_t>(kWarps * stride) * sizeof(float);
    GL_CHECK(shared <= 48 * 1024, "rows of the tables must be at most 1536 wide");
    train_kernel<T, Idx>
        <<<static_cast<unsigned>(blocks), kWarps * 32, shared, device.stream()>>>(job);
    STD_CUDA_KERNEL_LAUNCH_CHECK();
  };
  const auto with_type = [&]<typename Idx>(const Idx* w) {
    if (type == ScalarType::Float) {
      run(head.mutable_data_ptr<float>(), tail.mutable_data_ptr<float>(), w);
    } else {
      run(static_cast<__nv_bfloat16*>(head.mutable_data_ptr()),
          static_cast<__nv_bfloat16*>(tail.mutable_data_ptr()), w);
    }
  };
  if (count > 0) {
    if (walks.scalar_type() == ScalarType::Int) {
      with_type(walks.const_data_ptr<int32_t>());
    } else {
      GL_CHECK(walks.scalar_type() == ScalarType::Long,
               "`walks` must be int32 or int64");
      with_type(walks.const_data_ptr<int64_t>());
    }
  }
  int32_t found = 0;
  STD_CUDA_CHECK(cudaMemcpyAsync(&found, bad.const_data_ptr<int32_t>(), sizeof(found),
                                 cudaMemcpyDeviceToHost, device.stream()));
  STD_CUDA_CHECK(cudaStreamSynchronize(device.stream()));
  GL_CHECK(found == 0, "`walks` and `alias` must hold rows of the tables");
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(graphlab, CUDA, m) {
  m.impl("skipgram_train", TORCH_BOX(&skipgram_train));
}

}  // namespace graphlab
