// How a stored row becomes an output row.
#pragma once

#include <bit>
#include <cstring>
#include <string>

#include "check.h"
#include "stream.h"

namespace graphlab {

enum class Decode { kCopy, kFloat16, kBfloat16, kInt8 };

// An output of more bytes than this leaves the caches before it is read.
constexpr int64_t kStreamBytes = int64_t{1} << 22;

// How a stored row becomes an output row.
struct Codec {
  Decode how;
  int64_t width;        // values in a row
  int64_t row_bytes;    // stored
  int64_t out_bytes;    // in the output
  bool stream = false;  // rows are whole cache lines of an output that no cache holds
};

inline float half_to_float(uint16_t half) {
  const uint32_t magnitude = half & 0x7fffu;
  // 2^112 moves the exponent bias from 15 to 127; the product is exact.
  const float scaled =
      std::bit_cast<float>(magnitude << 13) * std::bit_cast<float>(0x77800000u);
  uint32_t bits = std::bit_cast<uint32_t>(scaled);
  bits |= magnitude >= 0x7c00u ? 0x7f800000u : 0u;
  return std::bit_cast<float>(bits | (static_cast<uint32_t>(half & 0x8000u) << 16));
}

inline void place(const Codec& codec, const uint8_t* from, uint8_t* to) {
  if (codec.stream) {
    stream_lines(to, from, codec.out_bytes);
    return;
  }
  if (codec.how == Decode::kCopy) {
    std::memcpy(to, from, static_cast<size_t>(codec.out_bytes));
    return;
  }
  float* out = reinterpret_cast<float*>(to);
  if (codec.how == Decode::kInt8) {
    float scale;
    std::memcpy(&scale, from, sizeof(scale));
    const int8_t* value = reinterpret_cast<const int8_t*>(from + sizeof(scale));
    for (int64_t j = 0; j < codec.width; ++j) {
      out[j] = static_cast<float>(value[j]) * scale;
    }
    return;
  }
  for (int64_t j = 0; j < codec.width; ++j) {
    uint16_t value;
    std::memcpy(&value, from + 2 * j, sizeof(value));
    out[j] = codec.how == Decode::kFloat16
                 ? half_to_float(value)
                 : std::bit_cast<float>(static_cast<uint32_t>(value) << 16);
  }
}

inline int64_t item_bytes(const Tensor& t) {
  return static_cast<int64_t>(t.element_size());
}

inline Codec codec_for(const Tensor& out, const std::string& decode) {
  GL_CHECK(out.dim() == 2, "`out` must be [rows, width]");
  check_contiguous(out, "out");
  const int64_t width = out.size(1), out_bytes = width * item_bytes(out);
  if (decode == "copy") {
    const bool lines = out_bytes > 0 && out_bytes % 64 == 0 &&
                       reinterpret_cast<uintptr_t>(out.const_data_ptr()) % 16 == 0;
    const bool large = out.size(0) * out_bytes > kStreamBytes;
    return {Decode::kCopy, width, out_bytes, out_bytes, lines && large};
  }
  GL_CHECK(out.scalar_type() == ScalarType::Float, "`out` must be float32");
  if (decode == "float16") return {Decode::kFloat16, width, 2 * width, out_bytes};
  if (decode == "bfloat16") return {Decode::kBfloat16, width, 2 * width, out_bytes};
  GL_CHECK(decode == "int8", "`decode` is unknown");
  return {Decode::kInt8, width, width + 4, out_bytes};
}

inline uint8_t* raw(const Tensor& t) { return static_cast<uint8_t*>(t.data_ptr()); }

}  // namespace graphlab
