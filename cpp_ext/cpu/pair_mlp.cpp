// SPDX-License-Identifier: Apache-2.0
// pair_mlp: the score of pairs of nodes by NCN's layers, block by block in the caches.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <optional>
#include <vector>

#include "check.h"

// Matrix products may fuse multiply and add: last bits then depend on the processor, as
// they do in every BLAS. Everything in this file but the checks is inlined below.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("fp-contract=fast")
#endif

#include "dense.h"
#include "simd.h"

namespace graphlab {
namespace {

// Rows of a block: its activations stay in L1 or L2 beside a panel of weights.
constexpr int64_t kBlock = 48;
// Rows and vectors of a tile of the product, held in registers.
constexpr int kTileRows = 6, kTileVectors = 2;
constexpr int64_t kPanel = kTileVectors * kLanes<float>;
constexpr double kEps = 1e-5;

enum Branch : int64_t { kCommon = 0, kPair = 1, kScore = 2 };

struct Layer {
  int64_t branch;
  bool acts;
  const float *norm_weight, *norm_bias;
  std::vector<float> panels, bias;  // [panels][width in][kPanel]; padded width
  Dropout dropout;
};

struct Job {
  int64_t width, padded, num_nodes, num_pairs;
  const float *h, *pooled;
  const int64_t *left, *right;
  std::vector<Layer> layers;
  const float* last;  // [width], then the bias, then beta
  bool drops;
  std::vector<float> of_nothing;  // the common branch of a sum of zeros
  float* out;
};

// A tile of y = x w + b: kRows rows, one panel. The order of additions is that of the
// columns of x for every row, wherever it lies.
template <int kRows>
[[gnu::always_inline]] inline void tile(const float* x, int64_t stride, const float* w,
                                        const float* bias, int64_t width, float* y) {
  Vector<float> sum[kRows][kTileVectors];
  for (int v = 0; v < kTileVectors; ++v) {
    Vector<float> start;
    std::memcpy(&start, bias + v * kLanes<float>, sizeof(start));
    for (int r = 0; r < kRows; ++r) sum[r][v] = start;
  }
  for (int64_t k = 0; k < width; ++k) {
    for (int v = 0; v < kTileVectors; ++v) {
      Vector<float> column;
      std::memcpy(&column, w + k * kPanel + v * kLanes<float>, sizeof(column));
      for (int r = 0; r < kRows; ++r) sum[r][v] += x[r * stride + k] * column;
    }
  }
  for (int r = 0; r < kRows; ++r)
    for (int v = 0; v < kTileVectors; ++v) {
      // Through a value of its own: a copy of the array would keep all of it in memory.
      const Vector<float> done = sum[r][v];
      std::memcpy(y + r * stride + v * kLanes<float>, &done, sizeof(done));
    }
}

// Rows are named by `name` in the stream of dropout.
[[gnu::always_inline]] inline void apply(const Job& job, const Layer& layer,
                                         const float* x, int64_t rows,
                                         const int64_t* name, float* y) {
  for (int64_t c = 0; c < job.padded; c += kPanel) {
    const float* w = layer.panels.data() + c * job.width;
    const float* bias = layer.bias.data() + c;
    int64_t r = 0;
    for (; r + kTileRows <= rows; r += kTileRows)
      tile<kTileRows>(x + r * job.padded, job.padded, w, bias, job.width,
                      y + r * job.padded + c);
    for (; r < rows; ++r)
      tile<1>(x + r * job.padded, job.padded, w, bias, job.width,
              y + r * job.padded + c);
  }
  if (!layer.acts) return;
  for (int64_t r = 0; r < rows; ++r) {
    float* row = y + r * job.padded;
    Moments m{};
    if (layer.norm_weight != nullptr) m = moments(row, job.width, kEps);
    for (int64_t c = 0; c < job.width; c += kDropoutValues)
      finish_piece(row, layer.norm_weight, layer.norm_bias, m, layer.dropout, name[r],
                   job.width, c, std::min(c + kDropoutValues, job.width), true, row);
  }
}

// All layers of a branch; the result is in `x` again.
[[gnu::always_inline]] inline void run(const Job& job, int64_t branch, int64_t rows,
                                       const int64_t* name, std::vector<float>& x,
                                       std::vector<float>& y) {
  for (const Layer& layer : job.layers) {
    if (layer.branch != branch) continue;
    apply(job, layer, x.data(), rows, name, y.data());
    x.swap(y);
  }
}

[[gnu::always_inline]] inline void score_block(const Job& job, int64_t lo, int64_t hi,
                                               std::vector<float>& x,
                                               std::vector<float>& y,
                                               std::vector<float>& z) {
  const int64_t width = job.width, padded = job.padded, rows = hi - lo;
  int64_t name[kBlock], full[kBlock];
  for (int64_t r = 0; r < rows; ++r) {
    const float *a = job.h + job.left[lo + r] * width,
                *b = job.h + job.right[lo + r] * width;
    if (lo + r + 8 < job.num_pairs) {
      const float* later[] = {job.h + job.left[lo + r + 8] * width,
                              job.h + job.right[lo + r + 8] * width};
      for (const float* row : later)
        for (int64_t c = 0; c < width; c += kLanes<float>) __builtin_prefetch(row + c);
    }
    float* to = x.data() + r * padded;
    for (int64_t c = 0; c < width; ++c) to[c] = a[c] * b[c];
    name[r] = lo + r;
  }
  run(job, kPair, rows, name, x, y);
  x.swap(z);
  if (job.pooled != nullptr) {
    // Without dropout all empty sums have the same values behind the branch.
    int64_t count = 0;
    for (int64_t r = 0; r < rows; ++r) {
      const float* from = job.pooled + (lo + r) * width;
      bool empty = !job.drops;
      if (empty) {
        float any = 0;
        for (int64_t c = 0; c < width; ++c) any = from[c] != 0 ? 1.0f : any;
        empty = any == 0;
      }
      if (empty) {
        float* to = z.data() + r * padded;
        for (int64_t c = 0; c < width; ++c) to[c] += job.of_nothing[c];
        continue;
      }
      std::copy(from, from + width, x.data() + count * padded);
      name[count] = lo + r;
      full[count++] = r;
    }
    run(job, kCommon, count, name, x, y);
    const float beta = job.last[width + 1];
    for (int64_t i = 0; i < count; ++i) {
      const float* from = x.data() + i * padded;
      float* to = z.data() + full[i] * padded;
      for (int64_t c = 0; c < width; ++c) to[c] += beta * from[c];
    }
  }
  for (int64_t r = 0; r < rows; ++r) name[r] = lo + r;
  x.swap(z);
  run(job, kScore, rows, name, x, y);
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = x.data() + r * padded;
    constexpr int kParts = 16;
    float sum[kParts] = {};
    int64_t c = 0;
    for (; c + kParts <= width; c += kParts)
      for (int k = 0; k < kParts; ++k) sum[k] += row[c + k] * job.last[c + k];
    float total = 0;
    for (; c < width; ++c) total += row[c] * job.last[c];
    for (int k = 0; k < kParts; ++k) total += sum[k];
    job.out[lo + r] = total + job.last[width];
  }
}

GL_MULTIVERSION void score_blocks(const Job& job, int64_t lo, int64_t hi,
                                  std::vector<float>& x, std::vector<float>& y,
                                  std::vector<float>& z) {
  for (; lo < hi; lo += kBlock)
    score_block(job, lo, std::min(lo + kBlock, hi), x, y, z);
}

GL_MULTIVERSION void common_of(const Job& job, const int64_t* name,
                               std::vector<float>& x, std::vector<float>& y) {
  run(job, kCommon, 1, name, x, y);
}

// Layers lie one after the other in `params`: matrix [out, in], bias, and where there
// is a norm its scale and shift; at the end the last vector, its bias and beta.
void read_layers(Job& job, const Tensor& params, const Tensor& plan, double p,
                 int64_t key) {
  const int64_t width = job.width, count = plan.size(0);
  const float* at = params.const_data_ptr<float>();
  const float* end = at + params.size(0);
  const int64_t* row = plan.const_data_ptr<int64_t>();
  const uint64_t stream = fold(0, static_cast<uint64_t>(key));
  for (int64_t l = 0; l < count; ++l, row += 3) {
    const bool norm = row[1] != 0;
    const int64_t size = width * width + (norm ? 3 : 1) * width;
    GL_CHECK(end - at >= size, "`params` is too short for `plan`");
    Layer layer{
        row[0],
        row[2] != 0,
        nullptr,
        nullptr,
        std::vector<float>(job.padded * width, 0.0f),
        std::vector<float>(job.padded, 0.0f),
        Dropout(p, static_cast<int64_t>(fold(stream, static_cast<uint64_t>(l))))};
    for (int64_t o = 0; o < width; ++o)
      for (int64_t i = 0; i < width; ++i)
        layer.panels[(o / kPanel * width + i) * kPanel + o % kPanel] =
            at[o * width + i];
    at += width * width;
    std::copy(at, at + width, layer.bias.begin());
    at += width;
    if (norm) {
      layer.norm_weight = at, layer.norm_bias = at + width;
      at += 2 * width;
    }
    job.layers.push_back(std::move(layer));
  }
  GL_CHECK(end - at == width + 2, "`params` does not fit `plan`");
  job.last = at;
}

Tensor pair_mlp(const Tensor& h, const Tensor& pairs, std::optional<Tensor> pooled,
                const Tensor& params, const Tensor& plan, double p, int64_t key) {
  GL_CHECK(h.dim() == 2 && h.scalar_type() == ScalarType::Float,
           "`h` must be [nodes, width], float32");
  check_contiguous(h, "h");
  GL_CHECK(
      pairs.dim() == 2 && pairs.size(0) == 2 && pairs.scalar_type() == ScalarType::Long,
      "`pairs` must be [2, pairs], int64");
  check_contiguous(pairs, "pairs");
  check_vector(params, ScalarType::Float, "params");
  GL_CHECK(
      plan.dim() == 2 && plan.size(1) == 3 && plan.scalar_type() == ScalarType::Long,
      "`plan` must be [layers, 3], int64");
  check_contiguous(plan, "plan");
  Job job{};
  job.width = h.size(1), job.num_nodes = h.size(0), job.num_pairs = pairs.size(1);
  job.padded = (job.width + kPanel - 1) / kPanel * kPanel;
  job.h = h.const_data_ptr<float>();
  job.left = pairs.const_data_ptr<int64_t>();
  job.right = job.left + job.num_pairs;
  bool good = true;
  for (int64_t i = 0; i < 2 * job.num_pairs; ++i)
    good &= static_cast<uint64_t>(job.left[i]) < static_cast<uint64_t>(job.num_nodes);
  GL_CHECK(good, "`pairs` must be in [0, nodes)");
  if (pooled.has_value()) {
    GL_CHECK(pooled->dim() == 2 && pooled->size(0) == job.num_pairs &&
                 pooled->size(1) == job.width &&
                 pooled->scalar_type() == ScalarType::Float,
             "`pooled` must be [pairs, width], float32");
    check_contiguous(*pooled, "pooled");
    job.pooled = pooled->const_data_ptr<float>();
  }
  read_layers(job, params, plan, p, key);
  job.drops = Dropout(p, 0).active();
  if (job.pooled != nullptr && !job.drops) {
    std::vector<float> x(job.padded, 0.0f), y(job.padded, 0.0f);
    const int64_t name = 0;
    common_of(job, &name, x, y);
    for (float& value : x) value *= job.last[job.width + 1];
    job.of_nothing = std::move(x);
  }
  Tensor out = torch::stable::new_empty(h, {job.num_pairs});
  job.out = out.mutable_data_ptr<float>();
  const int64_t each = 8 * kBlock, tasks = (job.num_pairs + each - 1) / each;
  const int64_t threads = std::min<int64_t>(torch::stable::get_num_threads(), tasks);
  std::atomic<int64_t> next{0};
  torch::stable::parallel_for(0, threads, 1, [&](int64_t, int64_t) {
    std::vector<float> x(kBlock * job.padded, 0.0f), y(x), z(x);
    for (int64_t task = next++; task < tasks; task = next++)
      score_blocks(job, task * each, std::min((task + 1) * each, job.num_pairs), x, y,
                   z);
  });
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(graphlab, CPU, m) {
  m.impl("pair_mlp", TORCH_BOX(&pair_mlp));
}

}  // namespace graphlab
