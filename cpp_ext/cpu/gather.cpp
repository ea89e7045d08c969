// SPDX-License-Identifier: Apache-2.0
// gather_rows: copy or decode rows of a matrix, which may be memory-mapped.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <optional>

#include "check.h"
#include "pages.h"
#include "simd.h"
#include "stream.h"

namespace graphlab {
namespace {

// One task covers about this many bytes: it amortises the hand-over to a thread.
constexpr int64_t kGrainBytes = 1 << 17;
// Bytes of later rows on their way from memory while a row is copied, and of one row:
// the rest of a long row is found by the hardware prefetcher.
constexpr int64_t kAheadBytes = 1 << 13;
constexpr int64_t kAheadRowBytes = 1 << 10;
constexpr int64_t kCacheLine = 64;
// A result larger than this leaves the caches before it is read again.
constexpr int64_t kStreamBytes = 1 << 24;

enum class Decode { kCopy, kStream, kHalf, kBfloat, kInt8 };

struct Job {
  const char* source;
  const float* scale;
  char* out;
  int64_t rows, stride, row_bytes, width;  // stride and row_bytes of the source
};

inline void copy_row(const char* from, char* to, int64_t bytes) {
  // Labels and ids: a call of memcpy costs more than the copy.
  if (bytes == 8) {
    std::memcpy(to, from, 8);
  } else if (bytes == 4) {
    std::memcpy(to, from, 4);
  } else {
    std::memcpy(to, from, bytes);
  }
}

inline void stream_row(const char* from, char* to, int64_t bytes) {
  char block[kCacheLine];
  int64_t i = 0;
  for (; i + kCacheLine <= bytes; i += kCacheLine) {
    std::memcpy(block, from + i, kCacheLine);
    stream(to + i, block);
  }
  std::memcpy(to + i, from + i, bytes - i);
}

// Without branches, so that loops of it become vector code.
inline float from_half(uint16_t half) {
  const uint32_t sign = (half & 0x8000u) << 16, rest = half & 0x7fffu;
  // Exponent 0 is a subnormal, an integer times 2^-24; exponent 31 is infinity or NaN.
  const uint32_t is_tiny = 0u - static_cast<uint32_t>(rest < 0x400u);
  const uint32_t is_top = 0u - static_cast<uint32_t>(rest >= 0x7c00u);
  const float tiny = static_cast<float>(static_cast<int32_t>(rest)) * 0x1p-24f;
  const uint32_t normal = (rest << 13) + (112u << 23) + (is_top & (112u << 23));
  const uint32_t bits = (is_tiny & std::bit_cast<uint32_t>(tiny)) | (~is_tiny & normal);
  return std::bit_cast<float>(sign | bits);
}

// Returns whether every index was in range; wrong ones are skipped.
template <Decode kHow, typename Index>
inline bool gather_range(const Job& job, const Index* index, int64_t lo, int64_t hi) {
  const int64_t ahead =
      std::clamp<int64_t>(kAheadBytes / std::max<int64_t>(job.row_bytes, 1), 2, 64);
  const int64_t fetch = std::min(job.row_bytes, kAheadRowBytes);
  const char* source = job.source;
  const int64_t rows = job.rows, stride = job.stride, width = job.width;
  const int64_t out_bytes =
      kHow == Decode::kCopy || kHow == Decode::kStream ? job.row_bytes : 4 * width;
  bool good = true;
  for (int64_t i = lo; i < hi; ++i) {
    if (i + ahead < hi) {
      const uint64_t later = index[i + ahead];
      if (later < static_cast<uint64_t>(rows)) {
        const char* row = source + later * stride;
        for (int64_t b = 0; b < fetch; b += kCacheLine) __builtin_prefetch(row + b);
      }
    }
    const int64_t id = index[i];
    if (static_cast<uint64_t>(id) >= static_cast<uint64_t>(rows)) {
      good = false;
      continue;
    }
    const char* from = source + id * stride;
    char* to = job.out + i * out_bytes;
    if constexpr (kHow == Decode::kCopy) {
      copy_row(from, to, out_bytes);
    } else if constexpr (kHow == Decode::kStream) {
      stream_row(from, to, out_bytes);
    } else {
      float* values = reinterpret_cast<float*>(to);
      if constexpr (kHow == Decode::kInt8) {
        const int8_t* code = reinterpret_cast<const int8_t*>(from);
        const float scale = job.scale == nullptr ? 1.0f : job.scale[id];
        for (int64_t j = 0; j < width; ++j)
          values[j] = static_cast<float>(code[j]) * scale;
      } else {
        const uint16_t* code = reinterpret_cast<const uint16_t*>(from);
        for (int64_t j = 0; j < width; ++j) {
          values[j] = kHow == Decode::kHalf
                          ? from_half(code[j])
                          : std::bit_cast<float>(static_cast<uint32_t>(code[j]) << 16);
        }
      }
    }
  }
  return good;
}

#define GL_GATHER(name, how)                                                       \
  GL_MULTIVERSION bool name##_32(const Job& job, const int32_t* index, int64_t lo, \
                                 int64_t hi) {                                     \
    return gather_range<how>(job, index, lo, hi);                                  \
  }                                                                                \
  GL_MULTIVERSION bool name##_64(const Job& job, const int64_t* index, int64_t lo, \
                                 int64_t hi) {                                     \
    return gather_range<how>(job, index, lo, hi);                                  \
  }                                                                                \
  inline bool name(const Job& job, const int32_t* index, int64_t lo, int64_t hi) { \
    return name##_32(job, index, lo, hi);                                          \
  }                                                                                \
  inline bool name(const Job& job, const int64_t* index, int64_t lo, int64_t hi) { \
    return name##_64(job, index, lo, hi);                                          \
  }

GL_GATHER(gather_copy, Decode::kCopy)
GL_GATHER(gather_stream, Decode::kStream)
GL_GATHER(gather_half, Decode::kHalf)
GL_GATHER(gather_bfloat, Decode::kBfloat)
GL_GATHER(gather_int8, Decode::kInt8)

template <typename Index>
bool gather(const Job& job, Decode how, const Index* index, int64_t count) {
  const int64_t bytes = std::max<int64_t>({job.row_bytes, 4 * job.width, 1});
  std::atomic<bool> good{true};
  torch::stable::parallel_for(0, count, std::max<int64_t>(1, kGrainBytes / bytes),
                              [&](int64_t lo, int64_t hi) {
                                bool fine = true;
                                switch (how) {
                                  case Decode::kCopy:
                                    fine = gather_copy(job, index, lo, hi);
                                    break;
                                  case Decode::kStream:
                                    fine = gather_stream(job, index, lo, hi);
                                    stream_end();
                                    break;
                                  case Decode::kHalf:
                                    fine = gather_half(job, index, lo, hi);
                                    break;
                                  case Decode::kBfloat:
                                    fine = gather_bfloat(job, index, lo, hi);
                                    break;
                                  case Decode::kInt8:
                                    fine = gather_int8(job, index, lo, hi);
                                    break;
                                }
                                if (!fine) good = false;
                              });
  return good;
}

void gather_rows(const Tensor& source, const Tensor& index, std::optional<Tensor> scale,
                 Tensor out) {
  const ScalarType type = source.scalar_type(), to = out.scalar_type();
  GL_CHECK(source.dim() >= 1 && out.dim() == source.dim(), "`source` must have rows");
  check_contiguous(out, "out");
  check_vector(index, index.scalar_type(), "index");
  const int64_t count = index.size(0);
  GL_CHECK(out.size(0) == count, "`out` must have a row for each index");
  Job job{};
  job.width = 1;
  for (int64_t d = source.dim() - 1; d >= 1; --d) {
    GL_CHECK(source.size(d) == out.size(d),
             "`out` must have rows like those of `source`");
    GL_CHECK(source.size(d) == 1 || source.stride(d) == job.width,
             "`source` must have contiguous rows");
    job.width *= source.size(d);
  }
  const int64_t bytes = static_cast<int64_t>(source.element_size());
  job.source = static_cast<const char*>(source.const_data_ptr());
  job.out = static_cast<char*>(out.mutable_data_ptr());
  job.rows = source.size(0);
  job.stride = source.stride(0) * bytes;
  job.row_bytes = job.width * bytes;
  Decode how = Decode::kCopy;
  if (type == to && !scale.has_value()) {
    const bool aligned = reinterpret_cast<uintptr_t>(job.out) % kCacheLine == 0 &&
                         job.row_bytes % kCacheLine == 0;
    if (aligned && count * job.row_bytes > kStreamBytes) how = Decode::kStream;
  } else {
    GL_CHECK(to == ScalarType::Float, "`out` must be float32 or the dtype of `source`");
    GL_CHECK(type == ScalarType::Half || type == ScalarType::BFloat16 ||
                 type == ScalarType::Char,
             "`source` must be float16, bfloat16 or int8 to be decoded");
    how = type == ScalarType::Half       ? Decode::kHalf
          : type == ScalarType::BFloat16 ? Decode::kBfloat
                                         : Decode::kInt8;
  }
  if (scale.has_value()) {
    GL_CHECK(how == Decode::kInt8, "`scale` is for int8 rows");
    check_vector(*scale, ScalarType::Float, "scale");
    GL_CHECK(scale->size(0) == job.rows, "`scale` must have a value for each row");
    job.scale = scale->const_data_ptr<float>();
  }
  prefer_huge_pages(job.out,
                    count * job.width * static_cast<int64_t>(out.element_size()));
  if (index.scalar_type() == ScalarType::Int) {
    const bool good = gather(job, how, index.const_data_ptr<int32_t>(), count);
    GL_CHECK(good, "`index` must be in [0, rows)");
  } else {
    GL_CHECK(index.scalar_type() == ScalarType::Long, "`index` must be int32 or int64");
    const bool good = gather(job, how, index.const_data_ptr<int64_t>(), count);
    GL_CHECK(good, "`index` must be in [0, rows)");
  }
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(graphlab, CPU, m) {
  m.impl("gather_rows", TORCH_BOX(&gather_rows));
}

}  // namespace graphlab
