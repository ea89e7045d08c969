// SPDX-License-Identifier: Apache-2.0
// assemble_hits, assemble_rows, assemble_sparse, keep_rows: the executor of a gather
// programme.
//
// A batch's rows come from slots in memory (hits) and from bytes that were just read
// from a pack (misses). One thread each: the loader assembles while the caller's own
// threads compute.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>

#include "codec.h"
#include "simd.h"

namespace graphlab {
namespace {

// Rows ahead to ask the memory for: about the latency of one row's first lines.
constexpr int64_t kAhead = 8;

// Copies hits; notes for each pack row where it belongs. Returns false on a slot or a
// pack row that does not exist.
GL_MULTIVERSION bool copy_hits(const Codec& codec, const uint8_t* slots,
                               int64_t num_slots, const int32_t* source, int64_t rows,
                               uint8_t* out, int32_t* dst, int64_t num_packed) {
  for (int64_t i = 0; i < rows; ++i) {
    if (i + kAhead < rows && source[i + kAhead] >= 0) {
      const uint8_t* next = slots + source[i + kAhead] * codec.row_bytes;
      for (int64_t line = 0; line < 256 && line < codec.row_bytes; line += 64) {
        __builtin_prefetch(next + line);
      }
    }
    const int64_t from = source[i];
    if (from >= 0) {
      if (from >= num_slots) return false;
      place(codec, slots + from * codec.row_bytes, out + i * codec.out_bytes);
    } else {
      if (~from >= num_packed) return false;
      dst[~from] = static_cast<int32_t>(i);
    }
  }
  return true;
}

// Copies rows of a read to their places; offset == nullptr: rows stand back to back.
GL_MULTIVERSION bool copy_rows(const Codec& codec, const uint8_t* bytes, int64_t size,
                               const int64_t* offset, const int32_t* dst, int64_t count,
                               uint8_t* out, int64_t rows) {
  for (int64_t i = 0; i < count; ++i) {
    const int64_t from = offset == nullptr ? i * codec.row_bytes : offset[i];
    if (from < 0 || from > size - codec.row_bytes) return false;
    if (dst[i] < 0 || dst[i] >= rows) return false;
    place(codec, bytes + from, out + dst[i] * codec.out_bytes);
  }
  return true;
}

template <int64_t kItem>
bool scatter_sparse(const uint8_t* bytes, int64_t size, const int64_t* begin,
                    const int64_t* end, const int32_t* dst, int64_t count, uint8_t* out,
                    int64_t rows, int64_t width) {
  for (int64_t i = 0; i < count; ++i) {
    if (begin[i] < 0 || begin[i] > end[i] || end[i] > size) return false;
    if (dst[i] < 0 || dst[i] >= rows) return false;
    uint8_t* row = out + dst[i] * width * kItem;
    std::memset(row, 0, static_cast<size_t>(width * kItem));
    const int64_t entries = (end[i] - begin[i]) / (4 + kItem);
    const uint8_t* column = bytes + begin[i];
    const uint8_t* value = column + 4 * entries;
    for (int64_t k = 0; k < entries; ++k) {
      int32_t j;
      std::memcpy(&j, column + 4 * k, sizeof(j));
      if (j < 0 || j >= width) return false;
      std::memcpy(row + j * kItem, value + k * kItem, kItem);
    }
  }
  return true;
}

void assemble_hits(const Tensor& slots, const Tensor& source, std::string decode,
                   Tensor out, Tensor dst) {
  const Codec codec = codec_for(out, decode);
  GL_CHECK(slots.dim() == 2 && slots.scalar_type() == ScalarType::Byte,
           "`slots` must be uint8 [slots, row bytes]");
  check_contiguous(slots, "slots");
  GL_CHECK(slots.size(1) == codec.row_bytes, "`slots` has the wrong row size");
  check_vector(source, ScalarType::Int, "source");
  check_vector(dst, ScalarType::Int, "dst");
  GL_CHECK(source.size(0) == out.size(0), "`source` must have one entry per row");
  int32_t* place_of = dst.mutable_data_ptr<int32_t>();
  std::fill(place_of, place_of + dst.size(0), -1);
  const bool fine =
      copy_hits(codec, raw(slots), slots.size(0), source.const_data_ptr<int32_t>(),
                source.size(0), raw(out), place_of, dst.size(0));
  if (codec.stream) stream_end();
  GL_CHECK(fine, "`source` names a slot or a pack row that does not exist");
  for (int64_t i = 0; i < dst.size(0); ++i) {
    GL_CHECK(place_of[i] >= 0, "`source` leaves out a pack row");
  }
}

void assemble_rows(const Tensor& bytes, std::optional<Tensor> offset, const Tensor& dst,
                   std::string decode, Tensor out) {
  const Codec codec = codec_for(out, decode);
  check_vector(bytes, ScalarType::Byte, "bytes");
  check_vector(dst, ScalarType::Int, "dst");
  const int64_t* starts = nullptr;
  if (offset.has_value()) {
    check_vector(*offset, ScalarType::Long, "offset");
    GL_CHECK(offset->size(0) == dst.size(0), "`offset` must be as long as `dst`");
    starts = offset->const_data_ptr<int64_t>();
  }
  const bool fine =
      copy_rows(codec, raw(bytes), bytes.size(0), starts, dst.const_data_ptr<int32_t>(),
                dst.size(0), raw(out), out.size(0));
  if (codec.stream) stream_end();
  GL_CHECK(fine, "`offset` or `dst` reaches past the end");
}

void keep_rows(const Tensor& bytes, const Tensor& keep, Tensor slots) {
  GL_CHECK(slots.dim() == 2 && slots.scalar_type() == ScalarType::Byte,
           "`slots` must be uint8 [slots, row bytes]");
  check_contiguous(slots, "slots");
  check_vector(bytes, ScalarType::Byte, "bytes");
  check_vector(keep, ScalarType::Int, "keep");
  const int64_t count = keep.size(0), size = slots.size(1), places = slots.size(0);
  GL_CHECK(bytes.size(0) >= count * size, "`bytes` is shorter than `keep` says");
  const int32_t* slot = keep.const_data_ptr<int32_t>();
  const uint8_t* from = raw(bytes);
  uint8_t* to = raw(slots);
  // A kept row is read batches later: it need not pass through the caches.
  const bool lines = size > 0 && size % 64 == 0 &&
                     reinterpret_cast<uintptr_t>(to) % 16 == 0 &&
                     places * size > kStreamBytes;
  for (int64_t i = 0; i < count; ++i) {
    GL_CHECK(slot[i] < places, "`keep` names a slot that does not exist");
    if (slot[i] < 0) continue;
    if (lines) {
      stream_lines(to + slot[i] * size, from + i * size, size);
    } else {
      std::memcpy(to + slot[i] * size, from + i * size, static_cast<size_t>(size));
    }
  }
  if (lines) stream_end();
}

void assemble_sparse(const Tensor& bytes, const Tensor& begin, const Tensor& end,
                     const Tensor& dst, Tensor out) {
  GL_CHECK(out.dim() == 2, "`out` must be [rows, width]");
  check_contiguous(out, "out");
  check_vector(bytes, ScalarType::Byte, "bytes");
  check_vector(begin, ScalarType::Long, "begin");
  check_vector(end, ScalarType::Long, "end");
  check_vector(dst, ScalarType::Int, "dst");
  const int64_t count = dst.size(0), width = out.size(1);
  GL_CHECK(begin.size(0) == count && end.size(0) == count,
           "`begin` and `end` must be as long as `dst`");
  const int64_t item = item_bytes(out);
  auto scatter = item == 1   ? scatter_sparse<1>
                 : item == 2 ? scatter_sparse<2>
                 : item == 4 ? scatter_sparse<4>
                             : scatter_sparse<8>;
  const bool fine =
      scatter(raw(bytes), bytes.size(0), begin.const_data_ptr<int64_t>(),
              end.const_data_ptr<int64_t>(), dst.const_data_ptr<int32_t>(), count,
              raw(out), out.size(0), width);
  GL_CHECK(fine, "a sparse row reaches past the end");
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(graphlab_io, CPU, m) {
  m.impl("assemble_hits", TORCH_BOX(&assemble_hits));
  m.impl("assemble_rows", TORCH_BOX(&assemble_rows));
  m.impl("assemble_sparse", TORCH_BOX(&assemble_sparse));
  m.impl("keep_rows", TORCH_BOX(&keep_rows));
}

}  // namespace graphlab
