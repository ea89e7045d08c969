// SPDX-License-Identifier: Apache-2.0
// uring_rows: rows of a file that lie apart, read through io_uring and put where they
// belong as they arrive, with no step per request outside of this loop.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "codec.h"
#include "uring.h"

namespace graphlab {
namespace {

#ifdef GL_URING

// Where the rows of one call go.
struct Sink {
  Codec codec;
  int64_t stored;        // bytes of a row in the file
  const float* scale;    // of each row, where the file holds it elsewhere
  const int64_t* begin;  // first byte of each row in the file
  const int32_t* dst;
  uint8_t* out;
  int64_t out_rows;
  const int32_t* keep;  // slot of each row, or -1; nullptr: nothing is kept
  uint8_t* slots;
  int64_t num_slots;
  std::vector<uint8_t> row;  // a row behind its scale

  bool put(int64_t i, const uint8_t* from) {
    if (scale != nullptr) {
      std::memcpy(row.data(), scale + i, sizeof(float));
      std::memcpy(row.data() + sizeof(float), from, static_cast<size_t>(stored));
      from = row.data();
    }
    if (dst[i] >= out_rows || (keep != nullptr && keep[i] >= num_slots)) return false;
    if (dst[i] >= 0) place(codec, from, out + dst[i] * codec.out_bytes);
    if (keep != nullptr && keep[i] >= 0) {
      std::memcpy(slots + keep[i] * codec.row_bytes, from,
                  static_cast<size_t>(codec.row_bytes));
    }
    return true;
  }
};

// requests: offset and length of each read, and the first of its rows.
int64_t uring_rows(Tensor buffer, int64_t handle, int64_t file, const Tensor& requests,
                   const Tensor& begin, const Tensor& dst, std::optional<Tensor> scale,
                   std::string decode, Tensor out, std::optional<Tensor> keep,
                   std::optional<Tensor> slots, Tensor failed) {
  const auto open = find_ring(handle);
  Uring* ring = &open->ring;
  check_vector(buffer, ScalarType::Byte, "buffer");
  GL_CHECK(requests.dim() == 2 && requests.size(1) == 3 &&
               requests.scalar_type() == ScalarType::Long,
           "`requests` must be int64 [requests, 3]");
  check_contiguous(requests, "requests");
  check_vector(begin, ScalarType::Long, "begin");
  check_vector(dst, ScalarType::Int, "dst");
  check_vector(failed, ScalarType::Bool, "failed");
  const int64_t rows = dst.size(0), count = requests.size(0);
  GL_CHECK(begin.size(0) == rows && failed.size(0) == count, "lengths differ");
  GL_CHECK(ring->in_flight() == 0 && open->reads.idle(), "a read is in flight");
  Sink sink{};
  sink.codec = codec_for(out, decode);
  sink.stored = sink.codec.row_bytes;
  if (scale.has_value()) {
    check_vector(*scale, ScalarType::Float, "scale");
    GL_CHECK(scale->size(0) == rows && decode == "int8", "`scale` does not match");
    sink.scale = scale->const_data_ptr<float>();
    sink.stored -= static_cast<int64_t>(sizeof(float));
    sink.row.resize(static_cast<size_t>(sink.codec.row_bytes));
  }
  sink.begin = begin.const_data_ptr<int64_t>();
  sink.dst = dst.const_data_ptr<int32_t>();
  sink.out = raw(out);
  sink.out_rows = out.size(0);
  if (keep.has_value()) {
    GL_CHECK(slots.has_value() && slots->scalar_type() == ScalarType::Byte &&
                 slots->dim() == 2 && slots->size(1) == sink.codec.row_bytes,
             "`slots` must be uint8 [slots, row bytes]");
    check_contiguous(*slots, "slots");
    check_vector(*keep, ScalarType::Int, "keep");
    GL_CHECK(keep->size(0) == rows, "`keep` must be as long as `dst`");
    sink.keep = keep->const_data_ptr<int32_t>();
    sink.slots = raw(*slots);
    sink.num_slots = slots->size(0);
  }
  const int64_t* request = requests.const_data_ptr<int64_t>();
  bool* wrong = failed.mutable_data_ptr<bool>();
  int64_t longest = 0;
  for (int64_t r = 0; r < count; ++r) {
    const int64_t first = request[3 * r + 2];
    const int64_t last = r + 1 < count ? request[3 * r + 5] : rows;
    GL_CHECK(0 <= first && first <= last && last <= rows && request[3 * r] >= 0 &&
                 request[3 * r + 1] >= 0,
             "`requests` are out of order");
    for (int64_t i = first; i < last; ++i) {
      GL_CHECK(sink.begin[i] >= request[3 * r] &&
                   sink.begin[i] + sink.stored <= request[3 * r] + request[3 * r + 1],
               "a row is not in its request");
    }
    longest = std::max(longest, request[3 * r + 1]);
    wrong[r] = false;
  }
  if (count == 0) return 0;
  GL_CHECK(longest <= buffer.size(0) && longest < (int64_t{1} << 31),
           "a request is longer than the buffer");
  // Equal pieces of the buffer, so that a free one takes any request.
  const int64_t pieces = std::min<int64_t>(
      longest > 0 ? buffer.size(0) / longest : ring->room(), ring->room());
  uint8_t* data = buffer.mutable_data_ptr<uint8_t>();
  std::vector<int64_t> vacant, of_piece(static_cast<size_t>(pieces));
  for (int64_t p = 0; p < pieces; ++p) vacant.push_back(p);
  std::vector<int64_t> done(static_cast<size_t>(2 * pieces));
  int64_t next = 0, moved = 0;
  int error = 0;
  bool fine = true;
  while (ring->in_flight() > 0 || (next < count && error == 0 && fine)) {
    unsigned queued = 0;
    while (next < count && !vacant.empty() && error == 0 && fine) {
      const int64_t piece = vacant.back();
      vacant.pop_back();
      of_piece[static_cast<size_t>(piece)] = next;
      ring->push(static_cast<int>(file), static_cast<uint64_t>(request[3 * next]),
                 data + piece * longest, static_cast<uint32_t>(request[3 * next + 1]),
                 static_cast<uint64_t>(piece));
      ++queued;
      ++next;
    }
    if (queued > 0) error = ring->submit(queued);
    if (ring->in_flight() == 0) continue;
    const int64_t found = ring->wait(done.data(), pieces);
    // What is in flight may land in the buffer: nothing may be thrown before it has.
    for (int64_t k = 0; k < found; ++k) {
      const int64_t piece = done[static_cast<size_t>(2 * k)];
      const int64_t got = done[static_cast<size_t>(2 * k + 1)];
      const int64_t r = of_piece[static_cast<size_t>(piece)];
      const int64_t last = r + 1 < count ? request[3 * r + 5] : rows;
      const uint8_t* from = data + piece * longest;
      moved += std::max<int64_t>(got, 0);
      for (int64_t i = request[3 * r + 2]; i < last && fine; ++i) {
        const int64_t at = sink.begin[i] - request[3 * r];
        if (at + sink.stored > got) {
          wrong[r] = true;
          break;
        }
        fine = sink.put(i, from + at);
      }
      vacant.push_back(piece);
    }
  }
  if (sink.codec.stream) stream_end();
  GL_CHECK(fine, "`dst` or `keep` reaches past the end");
  return error != 0 ? -error : moved;
}

#else

int64_t uring_rows(Tensor buffer, int64_t handle, int64_t file, const Tensor& requests,
                   const Tensor& begin, const Tensor& dst, std::optional<Tensor> scale,
                   std::string decode, Tensor out, std::optional<Tensor> keep,
                   std::optional<Tensor> slots, Tensor failed) {
  return -ENOSYS;
}

#endif

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(graphlab_io, CPU, m) {
  m.impl("uring_rows", TORCH_BOX(&uring_rows));
}

}  // namespace graphlab
