// SPDX-License-Identifier: Apache-2.0
// skipgram_train: one warp trains one walk at a time; windows are expanded and
// negatives drawn in the kernel, so that a walk of 41 ids is all that comes from the
// host.
//
// A lane holds the same columns of every row: four numbers, then those 128 further on.
// The head row stays in registers over its window; up to eight rows of the tail table
// see the same head, as on the CPU, so that their reads and sums overlap (fewer, where
// rows are wider than 256). Warps share the tables without locks: results vary with the
// order of warps, except for a single walk.
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
constexpr unsigned kAll = 0xffffffffu;
// Walks in flight may meet in a row; with few rows fewer walks run at a time.
constexpr int64_t kRowsPerWarp = 16;
constexpr int kReach = 128;  // columns of a row that a warp takes at a time

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

__device__ inline float4 load4(const float* from) {
  return *reinterpret_cast<const float4*>(from);
}
__device__ inline void store4(float* to, float4 v) {
  *reinterpret_cast<float4*>(to) = v;
}
__device__ inline float4 load4(const __nv_bfloat16* from) {
  const auto* pairs = reinterpret_cast<const __nv_bfloat162*>(from);
  const uint2 raw = *reinterpret_cast<const uint2*>(pairs);
  const float2 a = __bfloat1622float2(reinterpret_cast<const __nv_bfloat162&>(raw.x));
  const float2 b = __bfloat1622float2(reinterpret_cast<const __nv_bfloat162&>(raw.y));
  return {a.x, a.y, b.x, b.y};
}
__device__ inline void store4(__nv_bfloat16* to, float4 v) {
  const __nv_bfloat162 a = __floats2bfloat162_rn(v.x, v.y);
  const __nv_bfloat162 b = __floats2bfloat162_rn(v.z, v.w);
  uint2 raw;
  raw.x = reinterpret_cast<const uint32_t&>(a);
  raw.y = reinterpret_cast<const uint32_t&>(b);
  *reinterpret_cast<uint2*>(to) = raw;
}

// One lane's part of a row.
template <int kParts>
struct Row {
  float4 at[kParts];

  template <typename T>
  __device__ void load(const T* row, int64_t stride, int lane) {
#pragma unroll
    for (int p = 0; p < kParts; ++p) {
      const int column = p * kReach + 4 * lane;
      at[p] = column < stride ? load4(row + column) : float4{};
    }
  }
  template <typename T>
  __device__ void store(T* row, int64_t stride, int lane) const {
#pragma unroll
    for (int p = 0; p < kParts; ++p) {
      const int column = p * kReach + 4 * lane;
      if (column < stride) store4(row + column, at[p]);
    }
  }
  __device__ float dot(const Row& other) const {
    float sum = 0.0f;
#pragma unroll
    for (int p = 0; p < kParts; ++p) {
      sum += at[p].x * other.at[p].x + at[p].y * other.at[p].y +
             at[p].z * other.at[p].z + at[p].w * other.at[p].w;
    }
    return sum;
  }
  __device__ void scale(float by) {
#pragma unroll
    for (int p = 0; p < kParts; ++p) {
      at[p].x *= by, at[p].y *= by, at[p].z *= by, at[p].w *= by;
    }
  }
  // this * keep + other * g
  __device__ void mix(float keep, const Row& other, float g) {
#pragma unroll
    for (int p = 0; p < kParts; ++p) {
      at[p].x = at[p].x * keep + other.at[p].x * g;
      at[p].y = at[p].y * keep + other.at[p].y * g;
      at[p].z = at[p].z * keep + other.at[p].z * g;
      at[p].w = at[p].w * keep + other.at[p].w * g;
    }
  }
};

// Rows of the tail table that see the same head: lane t knows the row of term t.
struct Terms {
  int count = 0;
  int32_t node = -1;
  unsigned positive = 0;  // a bit for each term

  __device__ void add(int32_t row, bool is_positive, int lane) {
    if (lane == count) node = row;
    positive |= static_cast<unsigned>(is_positive) << count;
    ++count;
  }
};

// One step of the head and of up to kGroup rows, all from the same old head.
template <typename T, int kParts, int kGroup>
__device__ void step(Row<kParts>& head, Terms& terms, T* tail, int64_t stride, int lane,
                     float rate, float negative_weight, float decay, double* loss) {
  const int count = terms.count;
  Row<kParts> rows[kGroup];
#pragma unroll
  for (int r = 0; r < kGroup; ++r) {
    if (r >= count) break;
    const int64_t node = __shfl_sync(kAll, terms.node, r);
    rows[r].load(tail + node * stride, stride, lane);
  }
  // Terms whose row an earlier term has, too: they change what that one has written.
  const unsigned same = __match_any_sync(kAll, lane < count ? terms.node : -1 - lane);
  const bool again = lane < count && (same & ((1u << lane) - 1)) != 0;
  const unsigned repeated = __ballot_sync(kAll, again);
  float sum[kGroup];
#pragma unroll
  for (int r = 0; r < kGroup; ++r) {
    if (r >= count) break;
    sum[r] = head.dot(rows[r]);
  }
  float g[kGroup], keep[kGroup], kept = 1.0f;
#pragma unroll
  for (int r = 0; r < kGroup; ++r) {
    if (r >= count) break;
    for (int offset = 16; offset > 0; offset /= 2)
      sum[r] += __shfl_xor_sync(kAll, sum[r], offset);
    const bool positive = terms.positive >> r & 1u;
    const float weight = positive ? 1.0f : negative_weight;
    const float x = fminf(fmaxf(sum[r], -87.0f), 87.0f);
    const float w = rate * weight;
    g[r] = w * ((positive ? 1.0f : 0.0f) - 1.0f / (1.0f + expf(-x)));
    keep[r] = 1.0f - w * decay;
    kept -= w * decay;
    if (loss != nullptr && lane == 0) {
      const float z = positive ? -sum[r] : sum[r];
      *loss += weight * (z > 30.0f ? z : log1pf(expf(z)));
    }
  }
  const Row<kParts> old = head;
  head.scale(kept);
#pragma unroll
  for (int r = 0; r < kGroup; ++r) {
    if (r >= count) break;
    const int64_t node = __shfl_sync(kAll, terms.node, r);
    T* row = tail + node * stride;
    if (repeated >> r & 1u) rows[r].load(row, stride, lane);
    head.mix(1.0f, rows[r], g[r]);
    rows[r].mix(keep[r], old, g[r]);
    rows[r].store(row, stride, lane);
  }
  terms = Terms{};
}

template <typename T, typename Idx, int kParts, int kGroup>
__device__ void train_walk(const Work<T, Idx>& job, int64_t i, int lane, double* loss,
                           int64_t* counted, int64_t* pairs) {
  const Setting& s = job.s;
  const Idx* walk = job.walks + i * job.row;
  const uint64_t stream = fold(s.key, s.first + static_cast<uint64_t>(i));
  const float rate = s.rate_of(i, job.count);
  const bool counts = i % kLossEvery == 0;
  int length = 0;
  for (unsigned ended = 0; ended == 0 && length < job.row;) {
    const int at = length + lane;
    ended = __ballot_sync(kAll, at >= job.row || walk[at] < 0);
    length += ended == 0 ? 32 : __ffs(static_cast<int>(ended)) - 1;
  }
  const int64_t most = s.most_pairs(length) * s.negatives;
  const int group = s.reference ? 1 : kGroup;
  int64_t drawn = 0;
  int32_t ahead = 0;  // lane l holds the l-th of 32 draws
  for (int j = 0; j < length; ++j) {
    const int reach = static_cast<int>(s.reach(stream, j));
    const int lo = s.forward ? j + 1 : (j > reach ? j - reach : 0);
    const int hi = length < j + reach + 1 ? length : j + reach + 1;
    if (lo >= hi || (lo == j && hi == j + 1)) continue;
    const auto mine = static_cast<int64_t>(walk[j]);
    if (mine >= job.head_rows) {
      *job.bad = 1;
      return;
    }
    T* row = job.head + mine * job.stride;
    Row<kParts> head;
    head.load(row, job.stride, lane);
    Terms terms;
    int found = 0;
    double here = 0;
    const auto take = [&](int64_t node, bool positive) {
      if (static_cast<uint64_t>(node) >= static_cast<uint64_t>(job.tail_rows)) {
        *job.bad = 1;
        return false;
      }
      terms.add(static_cast<int32_t>(node), positive, lane);
      if (terms.count == group)
        step<T, kParts, kGroup>(head, terms, job.tail, job.stride, lane, rate, s.weight,
                                s.decay, counts ? &here : nullptr);
      return true;
    };
    for (int c = lo; c < hi; ++c) {
      if (c == j) continue;
      for (int k = 0; k < s.negatives; ++k, ++drawn) {
        if (drawn % 32 == 0 && drawn + lane < most) {
          const int64_t number = drawn + lane;
          ahead = static_cast<int32_t>(job.nodes.draw(
              stream, static_cast<uint64_t>(s.pool > 0 ? number % s.pool : number)));
        }
        if (!take(__shfl_sync(kAll, ahead, static_cast<int>(drawn % 32)), false))
          return;
      }
      if (!take(static_cast<int64_t>(walk[c]), true)) return;
      ++found;
    }
    // The CPU splits a rest into 4, 2 and 1; here it is one step.
    if (terms.count > 0)
      step<T, kParts, kGroup>(head, terms, job.tail, job.stride, lane, rate, s.weight,
                              s.decay, counts ? &here : nullptr);
    head.store(row, job.stride, lane);
    *loss += here;
    *pairs += found;
    if (counts) *counted += found;
  }
}

// What bounds registers lets more warps run where heads have few terms; with eight rows
// in registers it would spill them.
template <typename T, typename Idx, int kParts, int kGroup>
__global__ void __launch_bounds__(kWarps * 32, kParts == 1 && kGroup == 4 ? 3 : 1)
    train_kernel(Work<T, Idx> job) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int64_t warps = static_cast<int64_t>(gridDim.x) * kWarps;
  double loss = 0;
  int64_t counted = 0, pairs = 0;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kWarps + warp; i < job.count;
       i += warps) {
    train_walk<T, Idx, kParts, kGroup>(job, i, lane, &loss, &counted, &pairs);
    __syncwarp();
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
  GL_CHECK(tail.size(0) <= INT32_MAX, "`tail` must have at most 2^31 - 1 rows");
  const NodeTable nodes = read_table(threshold, alias);
  const Setting s = read_setting(window, forward, shrink, negatives, weight, pool, rate,
                                 rate_end, decay, reference, key, first);
  GL_CHECK(walks.dim() == 2 && walks.is_contiguous() && walks.size(1) > 0 &&
               walks.size(1) < (int64_t{1} << 30),
           "`walks` must be a matrix of less than 2^30 columns");
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
    const uintptr_t both =
        reinterpret_cast<uintptr_t>(h) | reinterpret_cast<uintptr_t>(t);
    GL_CHECK(both % 16 == 0, "tables must begin at multiples of 16 bytes");
    GL_CHECK(stride <= 12 * kReach, "rows of the tables must be at most 1536 wide");
    const auto launch = [&]<int kParts, int kGroup>() {
      train_kernel<T, Idx, kParts, kGroup>
          <<<static_cast<unsigned>(blocks), kWarps * 32, 0, device.stream()>>>(job);
    };
    // Pairs of two nodes need few registers, so that more warps run at a time.
    const int64_t terms = s.most_pairs(1) * (1 + s.negatives);
    if (stride <= kReach && terms <= 4) {
      launch.template operator()<1, 4>();
    } else if (stride <= kReach) {
      launch.template operator()<1, 8>();
    } else if (stride <= 2 * kReach) {
      launch.template operator()<2, 8>();
    } else if (stride <= 4 * kReach) {
      launch.template operator()<4, 4>();
    } else {
      launch.template operator()<12, 1>();
    }
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
