// SPDX-License-Identifier: Apache-2.0
// uring_open, uring_read, uring_wait, uring_close: reads in flight through io_uring, by
// raw system calls. Where the system has none or forbids it, uring_open says so and the
// caller reads with threads instead.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>

#include "check.h"

#if defined(__linux__) && __has_include(<linux/io_uring.h>)
#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#define GL_URING 1
#endif

namespace graphlab {
namespace {

#ifdef GL_URING

// A mapped region of the ring's descriptor.
class Region {
 public:
  Region() = default;
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;
  ~Region() {
    if (data_ != nullptr) munmap(data_, size_);
  }
  bool map(int fd, size_t size, uint64_t place) {
    void* found = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
                       fd, static_cast<off_t>(place));
    if (found == MAP_FAILED) return false;
    data_ = found;
    size_ = size;
    return true;
  }
  template <typename T>
  T* at(uint32_t offset) const {
    return reinterpret_cast<T*>(static_cast<char*>(data_) + offset);
  }

 private:
  void* data_ = nullptr;
  size_t size_ = 0;
};

// One submission and one completion queue. One caller at a time.
class Uring {
 public:
  ~Uring() {
    if (fd_ >= 0) close(fd_);
  }

  // 0, or the error of the system call that failed.
  int open(unsigned depth) {
    std::memset(&params_, 0, sizeof(params_));
    fd_ = static_cast<int>(syscall(__NR_io_uring_setup, depth, &params_));
    if (fd_ < 0) return errno;
    const size_t sq = params_.sq_off.array + params_.sq_entries * sizeof(uint32_t);
    const size_t cq =
        params_.cq_off.cqes + params_.cq_entries * sizeof(struct io_uring_cqe);
    if (!sq_.map(fd_, sq, IORING_OFF_SQ_RING) ||
        !cq_.map(fd_, cq, IORING_OFF_CQ_RING) ||
        !sqes_.map(fd_, params_.sq_entries * sizeof(struct io_uring_sqe),
                   IORING_OFF_SQES)) {
      return errno;
    }
    return 0;
  }

  int64_t in_flight() const { return in_flight_; }
  int64_t room() const { return params_.sq_entries - in_flight_; }

  // Queue a read and hand it to the system: 0, or its error.
  int read(int file, uint64_t offset, void* to, uint32_t length, uint64_t tag) {
    uint32_t* tail = sq_.at<uint32_t>(params_.sq_off.tail);
    const uint32_t mask = *sq_.at<uint32_t>(params_.sq_off.ring_mask);
    const uint32_t at = *tail & mask;
    struct io_uring_sqe* entry = sqes_.at<struct io_uring_sqe>(0) + at;
    std::memset(entry, 0, sizeof(*entry));
    entry->opcode = IORING_OP_READ;
    entry->fd = file;
    entry->off = offset;
    entry->addr = reinterpret_cast<uint64_t>(to);
    entry->len = length;
    entry->user_data = tag;
    sq_.at<uint32_t>(params_.sq_off.array)[at] = at;
    __atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
    for (;;) {
      const long taken = syscall(__NR_io_uring_enter, fd_, 1, 0, 0, nullptr, 0);
      if (taken == 1) break;
      if (taken < 0 && errno != EINTR && errno != EAGAIN && errno != EBUSY) {
        __atomic_store_n(tail, *tail - 1, __ATOMIC_RELEASE);
        return errno;
      }
    }
    ++in_flight_;
    return 0;
  }

  // Completions into (tag, result) pairs, one at least; 0 where a signal came first.
  int64_t wait(int64_t* done, int64_t most) {
    if (in_flight_ == 0) return 0;
    uint32_t* head = cq_.at<uint32_t>(params_.cq_off.head);
    const uint32_t* tail = cq_.at<uint32_t>(params_.cq_off.tail);
    const uint32_t mask = *cq_.at<uint32_t>(params_.cq_off.ring_mask);
    if (*head == __atomic_load_n(tail, __ATOMIC_ACQUIRE)) {
      const long ok =
          syscall(__NR_io_uring_enter, fd_, 0, 1, IORING_ENTER_GETEVENTS, nullptr, 0);
      if (ok < 0 && errno != EINTR && errno != EAGAIN) return -errno;
    }
    const struct io_uring_cqe* entries =
        cq_.at<struct io_uring_cqe>(params_.cq_off.cqes);
    uint32_t at = *head;
    const uint32_t end = __atomic_load_n(tail, __ATOMIC_ACQUIRE);
    int64_t count = 0;
    for (; at != end && count < most; ++at, ++count) {
      done[2 * count] = static_cast<int64_t>(entries[at & mask].user_data);
      done[2 * count + 1] = entries[at & mask].res;
    }
    __atomic_store_n(head, at, __ATOMIC_RELEASE);
    in_flight_ -= count;
    return count;
  }

 private:
  struct io_uring_params params_;
  int fd_ = -1;
  Region sq_, cq_, sqes_;
  int64_t in_flight_ = 0;
};

std::mutex lock;
std::map<int64_t, std::shared_ptr<Uring>> rings;

std::shared_ptr<Uring> find(int64_t handle) {
  const std::lock_guard<std::mutex> guard(lock);
  const auto found = rings.find(handle);
  GL_CHECK(found != rings.end(), "`handle` is of no open ring");
  return found->second;
}

// `buffer` is where reads of the ring land; it also tells the dispatcher the device.
int64_t uring_open(const Tensor& buffer, int64_t depth) {
  check_vector(buffer, ScalarType::Byte, "buffer");
  GL_CHECK(depth > 0 && depth <= 4096, "`depth` must be in [1, 4096]");
  auto ring = std::make_shared<Uring>();
  const int error = ring->open(static_cast<unsigned>(depth));
  if (error != 0) return -error;
  const std::lock_guard<std::mutex> guard(lock);
  static int64_t last = 0;
  rings[++last] = std::move(ring);
  return last;
}

int64_t uring_read(Tensor buffer, int64_t handle, int64_t file, int64_t offset,
                   int64_t begin, int64_t length, int64_t tag) {
  const auto ring = find(handle);
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
  const auto ring = find(handle);
  GL_CHECK(
      done.dim() == 2 && done.size(1) == 2 && done.scalar_type() == ScalarType::Long,
      "`done` must be int64 [most, 2]");
  check_contiguous(done, "done");
  return ring->wait(done.mutable_data_ptr<int64_t>(), done.size(0));
}

void uring_close(const Tensor& buffer, int64_t handle) {
  const std::lock_guard<std::mutex> guard(lock);
  const auto found = rings.find(handle);
  if (found == rings.end()) return;
  GL_CHECK(found->second->in_flight() == 0, "a read may still land in its buffer");
  rings.erase(found);
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
