// One io_uring by raw system calls, reads in order through it, and the table of those
// that are open.
#pragma once

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "check.h"

#if defined(__linux__) && __has_include(<linux/io_uring.h>)
#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#define GL_URING 1

namespace graphlab {

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

  // Queue a read; `submit` hands it to the system.
  void push(int file, uint64_t offset, void* to, uint32_t length, uint64_t tag) {
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
  }

  // Hand the last `count` queued reads to the system: 0, or its error, which takes back
  // those that it did not accept.
  int submit(unsigned count) {
    while (count > 0) {
      const long taken = syscall(__NR_io_uring_enter, fd_, count, 0, 0, nullptr, 0);
      if (taken < 0 && errno != EINTR && errno != EAGAIN && errno != EBUSY) {
        uint32_t* tail = sq_.at<uint32_t>(params_.sq_off.tail);
        __atomic_store_n(tail, *tail - count, __ATOMIC_RELEASE);
        return errno;
      }
      if (taken <= 0) continue;
      in_flight_ += taken;
      count -= static_cast<unsigned>(taken);
    }
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

// A piece of a file: `span` bytes from an aligned `offset` on, of which `length` bytes
// behind `head` are wanted.
struct Piece {
  int file;
  uint64_t offset;
  uint32_t span, head, length;
};

// Pieces read into buffers of equal size, as many at once as there are buffers, and
// handed over in the order in which they were asked for.
class Reads {
 public:
  Reads(Uring& ring, int64_t buffers, int64_t segment)
      : ring_(ring), segment_(segment), got_(static_cast<size_t>(buffers)) {
    for (int64_t b = 0; b < buffers; ++b) vacant_.push_back(b);
    done_.resize(static_cast<size_t>(2 * buffers));
  }

  int64_t segment() const { return segment_; }
  bool idle() const { return pending_.empty() && asked_.empty(); }
  void ask(const Piece& piece) { asked_.push_back(piece); }

  // Hands reads to the system while there are buffers for them: 0, or its error.
  int pump(uint8_t* data) {
    unsigned queued = 0;
    while (!asked_.empty() && !vacant_.empty() && ring_.room() > queued) {
      const int64_t place = vacant_.front();
      const Piece& piece = asked_.front();
      ring_.push(piece.file, piece.offset, data + place * segment_, piece.span,
                 static_cast<uint64_t>(place));
      got_[static_cast<size_t>(place)] = kFlying;
      pending_.push_back({piece, place});
      vacant_.pop_front();
      asked_.pop_front();
      ++queued;
    }
    return queued > 0 ? ring_.submit(queued) : 0;
  }

  // Waits until the first piece is there: 0, or an error of the queue.
  int wait() {
    while (!pending_.empty() && got() == kFlying) {
      if (ring_.in_flight() == 0) return EIO;  // it was refused
      const int64_t found = ring_.wait(done_.data(), done_.size() / 2);
      if (found < 0) return static_cast<int>(-found);
      for (int64_t k = 0; k < found; ++k) {
        const size_t at = static_cast<size_t>(2 * k);
        got_[static_cast<size_t>(done_[at])] = done_[at + 1];
      }
    }
    return 0;
  }

  bool empty() const { return pending_.empty(); }
  const Piece& front() const { return pending_.front().piece; }
  int64_t place() const { return pending_.front().place; }
  // Bytes that arrived of the first piece, or a negative error.
  int64_t got() const { return got_[static_cast<size_t>(place())]; }
  bool whole() const { return got() >= int64_t{front().head} + front().length; }

  // Gives the first piece's buffer to the next read.
  void pop() {
    vacant_.push_back(place());
    pending_.pop_front();
  }

  // Forgets what was asked for, after what is in flight has landed.
  void drain() {
    asked_.clear();
    while (ring_.in_flight() > 0 && ring_.wait(done_.data(), done_.size() / 2) >= 0) {
    }
    while (!pending_.empty()) pop();
  }

 private:
  static constexpr int64_t kFlying = INT64_MIN;
  struct Pending {
    Piece piece;
    int64_t place;
  };
  Uring& ring_;
  int64_t segment_;
  std::deque<int64_t> vacant_;
  std::deque<Piece> asked_;
  std::deque<Pending> pending_;
  std::vector<int64_t> got_, done_;
};

struct OpenRing {
  OpenRing(int64_t buffers, int64_t segment) : reads(ring, buffers, segment) {}
  Uring ring;
  Reads reads;
};

struct OpenRings {
  std::mutex lock;
  std::map<int64_t, std::shared_ptr<OpenRing>> by_handle;
  int64_t last = 0;
};

inline OpenRings& open_rings() {
  static OpenRings rings;
  return rings;
}

inline std::shared_ptr<OpenRing> find_ring(int64_t handle) {
  OpenRings& rings = open_rings();
  const std::lock_guard<std::mutex> guard(rings.lock);
  const auto found = rings.by_handle.find(handle);
  GL_CHECK(found != rings.by_handle.end(), "`handle` is of no open ring");
  return found->second;
}

}  // namespace graphlab

#endif
