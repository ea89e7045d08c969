// SPDX-License-Identifier: Apache-2.0
// uring_open, uring_read, uring_wait, uring_close: reads in flight through io_uring, by
// raw system calls. Where the system has none or forbids it, uring_open says so and the
// caller reads with threads instead.
#include "uring.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

namespace graphlab {
namespace {

#ifdef GL_URING

// `buffer` is where reads of the ring land; it also tells the dispatcher the device.
int64_t uring_open(const Tensor& buffer, int64_t depth) {
  check_vector(buffer, ScalarType::Byte, "buffer");
  GL_CHECK(depth > 0 && depth <= 4096, "`depth` must be in [1, 4096]");
  auto ring = std::make_shared<Uring>();
  const int error = ring->open(static_cast<unsigned>(depth));
  if (error != 0) return -error;
  OpenRings& rings = open_rings();
  const std::lock_guard<std::mutex> guard(rings.lock);
  rings.by_handle[++rings.last] = std::move(ring);
  return rings.last;
}

int64_t uring_read(Tensor buffer, int64_t handle, int64_t file, int64_t offset,
                   int64_t begin, int64_t length, int64_t tag) {
  const auto ring = find_ring(handle);
  check_vector(buffer, ScalarType::Byte, "buffer");
  GL_CHECK(begin >= 0 && length >= 0 && begin <= buffer.size(0) - length,
           "the read reaches past the end of `buffer`");
  GL_CHECK(length < (int64_t{1} << 31) && offset >= 0, "`length` or `offset` is wrong");
  GL_CHECK(ring->room() > 0, "more reads than the ring is deep");
  uint8_t* to = buffer.mutable_data_ptr<uint8_t>() + begin;
  return -ring->read(static_cast<int>(file), static_cast<uint64_t>(offset), to,
                     static_cast<uint32_t>(length), static_cast<uint64_t>(tag));
}

int64_t uring_wait(Tensor done, int64_t handle) {
  const auto ring = find_ring(handle);
  GL_CHECK(
      done.dim() == 2 && done.size(1) == 2 && done.scalar_type() == ScalarType::Long,
      "`done` must be int64 [most, 2]");
  check_contiguous(done, "done");
  return ring->wait(done.mutable_data_ptr<int64_t>(), done.size(0));
}

void uring_close(const Tensor& buffer, int64_t handle) {
  OpenRings& rings = open_rings();
  const std::lock_guard<std::mutex> guard(rings.lock);
  const auto found = rings.by_handle.find(handle);
  if (found == rings.by_handle.end()) return;
  GL_CHECK(found->second->in_flight() == 0, "a read may still land in its buffer");
  rings.by_handle.erase(found);
}

#else

int64_t uring_open(const Tensor& buffer, int64_t depth) { return -ENOSYS; }
int64_t uring_read(Tensor buffer, int64_t handle, int64_t file, int64_t offset,
                   int64_t begin, int64_t length, int64_t tag) {
  return -ENOSYS;
}
int64_t uring_wait(Tensor done, int64_t handle) { return -ENOSYS; }
void uring_close(const Tensor& buffer, int64_t handle) {}

#endif

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(graphlab_io, CPU, m) {
  m.impl("uring_open", TORCH_BOX(&uring_open));
  m.impl("uring_read", TORCH_BOX(&uring_read));
  m.impl("uring_wait", TORCH_BOX(&uring_wait));
  m.impl("uring_close", TORCH_BOX(&uring_close));
}

}  // namespace graphlab
