// SPDX-License-Identifier: Apache-2.0
// uring_open, uring_ask, uring_next, uring_release, uring_drain, uring_close: reads in
// flight through io_uring, by raw system calls. Where the system has none or forbids
// it, uring_open says so and the caller reads with threads instead.
#include "uring.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

namespace graphlab {
namespace {

#ifdef GL_URING

// `buffer` is where reads of the ring land; it also tells the dispatcher the device.
int64_t uring_open(const Tensor& buffer, int64_t depth, int64_t segment) {
  check_vector(buffer, ScalarType::Byte, "buffer");
  GL_CHECK(depth > 0 && depth <= 4096, "`depth` must be in [1, 4096]");
  GL_CHECK(segment > 0 && segment <= buffer.size(0), "`buffer` must hold a segment");
  auto open = std::make_shared<OpenRing>(buffer.size(0) / segment, segment);
  const int error = open->ring.open(static_cast<unsigned>(depth));
  if (error != 0) return -error;
  OpenRings& rings = open_rings();
  const std::lock_guard<std::mutex> guard(rings.lock);
  rings.by_handle[++rings.last] = std::move(open);
  return rings.last;
}

// requests: file, aligned offset, bytes to read, first wanted one of them, their
// number.
int64_t uring_ask(Tensor buffer, int64_t handle, const Tensor& requests) {
  const auto open = find_ring(handle);
  const int64_t segment = open->reads.segment();
  check_vector(buffer, ScalarType::Byte, "buffer");
  GL_CHECK(requests.dim() == 2 && requests.size(1) == 5 &&
               requests.scalar_type() == ScalarType::Long,
           "`requests` must be int64 [requests, 5]");
  check_contiguous(requests, "requests");
  const int64_t* at = requests.const_data_ptr<int64_t>();
  const int64_t count = requests.size(0);
  for (int64_t r = 0; r < count; ++r) {
    const int64_t offset = at[5 * r + 1], span = at[5 * r + 2];
    const int64_t head = at[5 * r + 3], length = at[5 * r + 4];
    GL_CHECK(offset >= 0 && span >= 0 && span <= segment && head >= 0 && length >= 0 &&
                 head + length <= span && span < (int64_t{1} << 31),
             "a request does not fit a segment");
  }
  for (int64_t r = 0; r < count; ++r) {
    open->reads.ask({static_cast<int>(at[5 * r]), static_cast<uint64_t>(at[5 * r + 1]),
                     static_cast<uint32_t>(at[5 * r + 2]),
                     static_cast<uint32_t>(at[5 * r + 3]),
                     static_cast<uint32_t>(at[5 * r + 4])});
  }
  return -open->reads.pump(buffer.mutable_data_ptr<uint8_t>());
}

// The buffer of the first piece, and bytes that arrived or a negative error; buffer -1:
// nothing was asked for.
int64_t uring_next(Tensor buffer, int64_t handle, Tensor found) {
  const auto open = find_ring(handle);
  check_vector(found, ScalarType::Long, "found");
  GL_CHECK(found.size(0) == 2, "`found` must have two entries");
  int64_t* to = found.mutable_data_ptr<int64_t>();
  int error = open->reads.pump(buffer.mutable_data_ptr<uint8_t>());
  if (error == 0) error = open->reads.wait();
  if (error != 0) return -error;
  const bool none = open->reads.empty();
  to[0] = none ? -1 : open->reads.place();
  to[1] = none ? 0 : open->reads.got();
  return 0;
}

int64_t uring_release(Tensor buffer, int64_t handle) {
  const auto open = find_ring(handle);
  GL_CHECK(!open->reads.empty(), "no piece was handed over");
  open->reads.pop();
  return -open->reads.pump(buffer.mutable_data_ptr<uint8_t>());
}

void uring_drain(Tensor buffer, int64_t handle) { find_ring(handle)->reads.drain(); }

void uring_close(const Tensor& buffer, int64_t handle) {
  OpenRings& rings = open_rings();
  const std::lock_guard<std::mutex> guard(rings.lock);
  const auto found = rings.by_handle.find(handle);
  if (found == rings.by_handle.end()) return;
  GL_CHECK(found->second->ring.in_flight() == 0, "a read may still land in its buffer");
  rings.by_handle.erase(found);
}

#else

int64_t uring_open(const Tensor& buffer, int64_t depth, int64_t segment) {
  return -ENOSYS;
}
int64_t uring_ask(Tensor buffer, int64_t handle, const Tensor& requests) {
  return -ENOSYS;
}
int64_t uring_next(Tensor buffer, int64_t handle, Tensor found) { return -ENOSYS; }
int64_t uring_release(Tensor buffer, int64_t handle) { return -ENOSYS; }
void uring_drain(Tensor buffer, int64_t handle) {}
void uring_close(const Tensor& buffer, int64_t handle) {}

#endif

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(graphlab_io, CPU, m) {
  m.impl("uring_open", TORCH_BOX(&uring_open));
  m.impl("uring_ask", TORCH_BOX(&uring_ask));
  m.impl("uring_next", TORCH_BOX(&uring_next));
  m.impl("uring_release", TORCH_BOX(&uring_release));
  m.impl("uring_drain", TORCH_BOX(&uring_drain));
  m.impl("uring_close", TORCH_BOX(&uring_close));
}

}  // namespace graphlab
