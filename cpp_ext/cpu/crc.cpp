// SPDX-License-Identifier: Apache-2.0
// crc32c: Castagnoli checksum of a byte buffer; SSE4.2 where the processor has it.
#include "crc.h"

#include <torch/csrc/stable/library.h>

#include <array>
#include <cstring>

#include "check.h"

namespace graphlab {
namespace {

// Castagnoli polynomial, bit-reflected (RFC 3720, appendix B.4).
constexpr uint32_t kPolynomial = 0x82F63B78u;

// Slicing by 8: tables[k][b] is the checksum of byte b followed by k zero bytes.
using Slices = std::array<std::array<uint32_t, 256>, 8>;

constexpr Slices make_slices() {
  Slices tables{};
  for (uint32_t b = 0; b < 256; ++b) {
    uint32_t crc = b;
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc >> 1) ^ ((crc & 1) ? kPolynomial : 0);
    }
    tables[0][b] = crc;
  }
  for (uint32_t b = 0; b < 256; ++b) {
    for (size_t k = 1; k < 8; ++k) {
      const uint32_t before = tables[k - 1][b];
      tables[k][b] = (before >> 8) ^ tables[0][before & 255];
    }
  }
  return tables;
}

constexpr Slices kSlices = make_slices();

uint32_t crc_portable(uint32_t crc, const uint8_t* data, size_t size) {
  while (size >= 8) {
    uint32_t low, high;
    std::memcpy(&low, data, 4);
    std::memcpy(&high, data + 4, 4);
    low ^= crc;
    crc = kSlices[7][low & 255] ^ kSlices[6][(low >> 8) & 255] ^
          kSlices[5][(low >> 16) & 255] ^ kSlices[4][low >> 24] ^
          kSlices[3][high & 255] ^ kSlices[2][(high >> 8) & 255] ^
          kSlices[1][(high >> 16) & 255] ^ kSlices[0][high >> 24];
    data += 8;
    size -= 8;
  }
  while (size-- > 0) crc = (crc >> 8) ^ kSlices[0][(crc ^ *data++) & 255];
  return crc;
}

#if defined(__x86_64__)

// The crc32 instruction takes 3 cycles but starts every cycle, so three independent
// streams keep it busy (Gopal et al. 2011; M. Adler's crc32c.c joins them the same
// way). Each stream covers kLong bytes, then kShort, so that short buffers gain as
// well.
constexpr size_t kLong = 8192;
constexpr size_t kShort = 256;

// Appending `size` zero bytes is linear in the checksum: four tables of 256 entries.
struct Shift {
  std::array<std::array<uint32_t, 256>, 4> tables;

  explicit Shift(size_t size) {
    std::array<uint32_t, 32> column;
    const std::array<uint8_t, 256> zeros{};
    for (int bit = 0; bit < 32; ++bit) {
      uint32_t crc = 1u << bit;
      for (size_t left = size; left > 0;) {
        const size_t step = left < zeros.size() ? left : zeros.size();
        crc = crc_portable(crc, zeros.data(), step);
        left -= step;
      }
      column[bit] = crc;
    }
    for (uint32_t b = 0; b < 256; ++b) {
      for (int k = 0; k < 4; ++k) {
        uint32_t sum = 0;
        for (int bit = 0; bit < 8; ++bit) {
          if ((b >> bit) & 1) sum ^= column[8 * k + bit];
        }
        tables[k][b] = sum;
      }
    }
  }

  uint32_t operator()(uint32_t crc) const {
    return tables[0][crc & 255] ^ tables[1][(crc >> 8) & 255] ^
           tables[2][(crc >> 16) & 255] ^ tables[3][crc >> 24];
  }
};

template <size_t kBlock>
__attribute__((target("sse4.2"))) inline void three_streams(uint64_t& crc,
                                                            const uint8_t*& data,
                                                            size_t& size,
                                                            const Shift& shift) {
  while (size >= 3 * kBlock) {
    uint64_t second = 0, third = 0;
    for (size_t i = 0; i < kBlock; i += 8) {
      uint64_t a, b, c;
      std::memcpy(&a, data + i, 8);
      std::memcpy(&b, data + kBlock + i, 8);
      std::memcpy(&c, data + 2 * kBlock + i, 8);
      crc = __builtin_ia32_crc32di(crc, a);
      second = __builtin_ia32_crc32di(second, b);
      third = __builtin_ia32_crc32di(third, c);
    }
    crc = shift(static_cast<uint32_t>(crc)) ^ second;
    crc = shift(static_cast<uint32_t>(crc)) ^ third;
    data += 3 * kBlock;
    size -= 3 * kBlock;
  }
}

__attribute__((target("sse4.2"))) uint32_t crc_sse42(uint32_t start,
                                                     const uint8_t* data, size_t size) {
  static const Shift shift_long(kLong);
  static const Shift shift_short(kShort);
  uint64_t crc = start;
  three_streams<kLong>(crc, data, size, shift_long);
  three_streams<kShort>(crc, data, size, shift_short);
  for (; size >= 8; data += 8, size -= 8) {
    uint64_t word;
    std::memcpy(&word, data, 8);
    crc = __builtin_ia32_crc32di(crc, word);
  }
  uint32_t rest = static_cast<uint32_t>(crc);
  for (; size > 0; ++data, --size) rest = __builtin_ia32_crc32qi(rest, *data);
  return rest;
}

uint32_t crc_update(uint32_t crc, const uint8_t* data, size_t size) {
  static const bool fast = __builtin_cpu_supports("sse4.2") != 0;
  return fast ? crc_sse42(crc, data, size) : crc_portable(crc, data, size);
}

#else

uint32_t crc_update(uint32_t crc, const uint8_t* data, size_t size) {
  return crc_portable(crc, data, size);
}

#endif

int64_t crc32c(const Tensor& bytes, int64_t crc) {
  check_vector(bytes, ScalarType::Byte, "bytes");
  GL_CHECK(crc >= 0 && crc <= 0xFFFFFFFFLL, "`crc` must have 32 bits");
  const uint8_t* data = bytes.const_data_ptr<uint8_t>();
  return crc32c_after(static_cast<uint32_t>(crc), data, bytes.numel());
}

}  // namespace

uint32_t crc32c_after(uint32_t before, const uint8_t* data, size_t size) {
  return ~crc_update(~before, data, size);
}

STABLE_TORCH_LIBRARY_IMPL(graphlab_io, CPU, m) { m.impl("crc32c", TORCH_BOX(&crc32c)); }

}  // namespace graphlab
