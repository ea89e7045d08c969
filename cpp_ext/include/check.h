// Memory-safety checks of kernels. Friendly messages live in Python
// (graphlab/check.py); what reaches a kernel wrongly is a bug of ours or a direct call
// of torch.ops.
#pragma once

#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#include <cstdint>

namespace graphlab {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

#define GL_CHECK(condition, ...) STD_TORCH_CHECK(condition, __VA_ARGS__)

inline void check_contiguous(const Tensor& t, const char* name) {
  GL_CHECK(t.is_contiguous(), "`", name, "` must be contiguous");
}

inline void check_vector(const Tensor& t, ScalarType type, const char* name) {
  GL_CHECK(t.dim() == 1, "`", name, "` must have one dimension");
  GL_CHECK(t.scalar_type() == type, "`", name, "` has the wrong dtype");
  check_contiguous(t, name);
}

// Offsets that start at 0, never fall, and end at `end`: the guard before any ptr walk.
inline void check_offsets(const int64_t* ptr, int64_t segments, int64_t end) {
  GL_CHECK(ptr[0] == 0 && ptr[segments] == end, "`ptr` must span its rows");
  bool falls = false;
  for (int64_t s = 0; s < segments; ++s) falls |= ptr[s] > ptr[s + 1];
  GL_CHECK(!falls, "`ptr` must never fall");
}

}  // namespace graphlab
