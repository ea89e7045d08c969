// SPDX-License-Identifier: Apache-2.0
// assemble_hits, assemble_rows, assemble_reads, assemble_sparse: the executor of a
// gather programme.
//
// A batch's rows come from slots in memory (hits) and from bytes that were just read
// from a pack (misses).
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string>

#include "codec.h"
#include "crc.h"
#include "parallel.h"
#include "simd.h"
#include "uring.h"

namespace graphlab {
namespace {

// Bytes of later rows on their way from memory while a row is copied, and of one row:
// the rest of a long row is found by the hardware prefetcher.
constexpr int64_t kAheadBytes = 1 << 14;
constexpr int64_t kAheadRowBytes = 1 << 10;
// One task covers about this many bytes: it amortises the hand-over to a thread.
constexpr int64_t kGrainBytes = 1 << 18;

int64_t grain_rows(int64_t row_bytes) {
  return std::max<int64_t>(1, kGrainBytes / std::max<int64_t>(1, row_bytes));
}

// Rows that are sorted into hits and others at a time.
constexpr int64_t kBlock = 1024;

// Copies hits of rows [lo, hi); notes for each pack row where it belongs. Returns false
// on a slot or a pack row that does not exist. Hits and others alternate at random, so
// they are told apart without a branch.
GL_MULTIVERSION bool copy_hits(const Codec& codec, const uint8_t* slots,
                               int64_t num_slots, const int32_t* source, int64_t lo,
                               int64_t hi, uint8_t* out, int32_t* dst,
                               int64_t num_packed) {
  const int64_t stored = codec.row_bytes;
  const int64_t ahead =
      std::clamp<int64_t>(kAheadBytes / std::max<int64_t>(stored, 1), 2, 64);
  const int64_t fetch = std::min(stored, kAheadRowBytes);
  int32_t hits[kBlock], others[kBlock];
  for (int64_t first = lo; first < hi; first += kBlock) {
    const int64_t size = std::min(kBlock, hi - first);
    int64_t hit = 0, other = 0;
    for (int64_t k = 0; k < size; ++k) {
      const bool there = source[first + k] >= 0;
      hits[hit] = static_cast<int32_t>(k);
      others[other] = static_cast<int32_t>(k);
      hit += there;
      other += !there;
    }
    for (int64_t k = 0; k < hit; ++k) {
      if (source[first + hits[k]] >= num_slots) return false;
    }
    for (int64_t k = 0; k < other; ++k) {
      const int64_t i = first + others[k];
      if (~source[i] >= num_packed) return false;
      dst[~source[i]] = static_cast<int32_t>(i);
    }
    for (int64_t k = 0; k < hit; ++k) {
      if (k + ahead < hit) {
        const uint8_t* later = slots + source[first + hits[k + ahead]] * stored;
        for (int64_t line = 0; line < fetch; line += 64)
          __builtin_prefetch(later + line);
      }
      const int64_t i = first + hits[k];
      place(codec, slots + source[i] * stored, out + i * codec.out_bytes);
    }
  }
  if (codec.stream) stream_end();
  return true;
}

// What is read: rows back to back, or at offsets.
struct Source {
  const uint8_t* bytes;
  int64_t size;
  const int64_t* offset;  // nullptr: back to back
};

// Slots that take rows as they are stored.
struct Keep {
  const int32_t* slot;  // of each row, or -1; nullptr: nothing is kept
  uint8_t* slots;
  int64_t num_slots;
  bool stream;
};

// Copies rows [lo, hi) of a read to their places, and into slots.
GL_MULTIVERSION bool copy_rows(const Codec& codec, const Source& source,
                               const int32_t* dst, const Keep& keep, int64_t lo,
                               int64_t hi, uint8_t* out, int64_t rows) {
  const int64_t stored = codec.row_bytes;
  int32_t kept[kBlock];
  for (int64_t first = lo; first < hi; first += kBlock) {
    const int64_t end = std::min(first + kBlock, hi);
    for (int64_t i = first; i < end; ++i) {
      const int64_t from = source.offset == nullptr ? i * stored : source.offset[i];
      if (from < 0 || from > source.size - stored) return false;
      if (dst[i] < 0 || dst[i] >= rows) return false;
      place(codec, source.bytes + from, out + dst[i] * codec.out_bytes);
    }
    if (keep.slot == nullptr) continue;
    int64_t count = 0;
    for (int64_t i = first; i < end; ++i) {
      kept[count] = static_cast<int32_t>(i - first);
      count += keep.slot[i] >= 0;
    }
    for (int64_t k = 0; k < count; ++k) {
      const int64_t i = first + kept[k];
      if (keep.slot[i] >= keep.num_slots) return false;
      const int64_t from = source.offset == nullptr ? i * stored : source.offset[i];
      uint8_t* slot = keep.slots + keep.slot[i] * stored;
      if (keep.stream) {
        stream_lines(slot, source.bytes + from, stored);
      } else {
        std::memcpy(slot, source.bytes + from, static_cast<size_t>(stored));
      }
    }
  }
  if (codec.stream || keep.stream) stream_end();
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
  const int32_t* from = source.const_data_ptr<int32_t>();
  const uint8_t* held = raw(slots);
  uint8_t* to = raw(out);
  const int64_t num_slots = slots.size(0), packed = dst.size(0);
  const bool fine =
      over_range(out.size(0), grain_rows(codec.out_bytes), [&](int64_t lo, int64_t hi) {
        return copy_hits(codec, held, num_slots, from, lo, hi, to, place_of, packed);
      });
  GL_CHECK(fine, "`source` names a slot or a pack row that does not exist");
  for (int64_t i = 0; i < dst.size(0); ++i) {
    GL_CHECK(place_of[i] >= 0, "`source` leaves out a pack row");
  }
}

// Where rows of a read go.
struct Sink {
  Codec codec;
  const int32_t* dst;
  Keep keep;
  uint8_t* out;
  int64_t rows;

  // Places `count` rows, of which the first has number `first`.
  bool put(const Source& source, int64_t first, int64_t count) const {
    Keep kept = keep;
    if (kept.slot != nullptr) kept.slot += first;
    return over_range(count, grain_rows(codec.out_bytes), [&](int64_t lo, int64_t hi) {
      return copy_rows(codec, source, dst + first, kept, lo, hi, out, rows);
    });
  }
};

Sink sink_for(const Tensor& dst, const std::string& decode, const Tensor& out,
              const std::optional<Tensor>& keep, const std::optional<Tensor>& slots) {
  Sink sink{codec_for(out, decode), nullptr, {}, raw(out), out.size(0)};
  check_vector(dst, ScalarType::Int, "dst");
  sink.dst = dst.const_data_ptr<int32_t>();
  if (!keep.has_value()) return sink;
  const int64_t stored = sink.codec.row_bytes;
  check_vector(*keep, ScalarType::Int, "keep");
  GL_CHECK(keep->size(0) == dst.size(0), "`keep` must be as long as `dst`");
  GL_CHECK(slots.has_value() && slots->scalar_type() == ScalarType::Byte &&
               slots->dim() == 2 && slots->size(1) == stored,
           "`slots` must be uint8 [slots, row bytes]");
  check_contiguous(*slots, "slots");
  // A kept row is read batches later: it need not pass through the caches.
  const bool stream = stored > 0 && stored % 64 == 0 &&
                      reinterpret_cast<uintptr_t>(raw(*slots)) % 16 == 0 &&
                      slots->size(0) * stored > kStreamBytes;
  sink.keep = {keep->const_data_ptr<int32_t>(), raw(*slots), slots->size(0), stream};
  return sink;
}

void assemble_rows(const Tensor& bytes, std::optional<Tensor> offset, const Tensor& dst,
                   std::string decode, Tensor out, std::optional<Tensor> keep,
                   std::optional<Tensor> slots) {
  check_vector(bytes, ScalarType::Byte, "bytes");
  const Sink sink = sink_for(dst, decode, out, keep, slots);
  Source source{raw(bytes), bytes.size(0), nullptr};
  if (offset.has_value()) {
    check_vector(*offset, ScalarType::Long, "offset");
    GL_CHECK(offset->size(0) == dst.size(0), "`offset` must be as long as `dst`");
    source.offset = offset->const_data_ptr<int64_t>();
  }
  GL_CHECK(sink.put(source, 0, dst.size(0)),
           "`offset`, `dst` or `keep` reaches past the end");
}

#ifdef GL_URING

// found: pieces, rows, bytes moved, and the checksum after them.
int64_t assemble_reads(Tensor buffer, int64_t handle, int64_t pieces, const Tensor& dst,
                       std::string decode, Tensor out, std::optional<Tensor> keep,
                       std::optional<Tensor> slots, int64_t crc, Tensor found) {
  const auto open = find_ring(handle);
  Reads& reads = open->reads;
  const Sink sink = sink_for(dst, decode, out, keep, slots);
  check_vector(buffer, ScalarType::Byte, "buffer");
  check_vector(found, ScalarType::Long, "found");
  GL_CHECK(found.size(0) == 4, "`found` must have four entries");
  uint8_t* data = buffer.mutable_data_ptr<uint8_t>();
  int64_t* told = found.mutable_data_ptr<int64_t>();
  const int64_t stored = std::max<int64_t>(1, sink.codec.row_bytes);
  int64_t piece = 0, rows = 0, moved = 0;
  int error = reads.pump(data);
  for (; piece < pieces && error == 0; ++piece) {
    error = reads.wait();
    // What ended short, or failed, is the caller's to read again.
    if (error != 0 || reads.empty() || !reads.whole()) break;
    const uint8_t* from = data + reads.place() * reads.segment() + reads.front().head;
    const int64_t length = reads.front().length, count = length / stored;
    GL_CHECK(rows + count <= dst.size(0), "`dst` is shorter than what was read");
    if (crc >= 0) crc = crc32c_after(static_cast<uint32_t>(crc), from, length);
    GL_CHECK(sink.put({from, length, nullptr}, rows, count),
             "`dst` or `keep` reaches past the end");
    rows += count;
    moved += reads.got();
    reads.pop();
    error = reads.pump(data);
  }
  told[0] = piece;
  told[1] = rows;
  told[2] = moved;
  told[3] = crc;
  return -error;
}

#else

int64_t assemble_reads(Tensor buffer, int64_t handle, int64_t pieces, const Tensor& dst,
                       std::string decode, Tensor out, std::optional<Tensor> keep,
                       std::optional<Tensor> slots, int64_t crc, Tensor found) {
  return -ENOSYS;
}

#endif

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
  m.impl("assemble_reads", TORCH_BOX(&assemble_reads));
  m.impl("assemble_sparse", TORCH_BOX(&assemble_sparse));
}

}  // namespace graphlab
