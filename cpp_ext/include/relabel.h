// Maps from node to local id (its place in order of discovery) for the sampler. Both
// kinds are cleared in O(1): an entry holds base + local id and counts only if that is
// at least the base of the current call, which moves past all entries of earlier calls.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <memory>
#include <new>

#include "rng.h"

namespace graphlab {

// Zeroed lazily by the system: pages that no node falls into are never touched.
template <typename T>
class ZeroedArray {
 public:
  void reset(int64_t size) {
    data_.reset(static_cast<T*>(std::calloc(static_cast<size_t>(size), sizeof(T))));
    if (data_ == nullptr && size > 0) throw std::bad_alloc();
    size_ = size;
  }
  void release() { data_.reset(), size_ = 0; }
  T* data() { return data_.get(); }
  int64_t size() const { return size_; }
  int64_t nbytes() const { return size_ * static_cast<int64_t>(sizeof(T)); }

 private:
  struct Free {
    void operator()(T* p) const { std::free(p); }
  };
  std::unique_ptr<T[], Free> data_;
  int64_t size_ = 0;
};

// The base of the current call. 0 is below every base, so fresh memory is empty.
class Stamp {
 public:
  uint32_t base() const { return base_; }
  // Whether `count` more entries fit before the 32-bit stamps run out.
  bool fits(int64_t count) const {
    return count < static_cast<int64_t>(std::numeric_limits<uint32_t>::max()) - base_;
  }
  void advance(int64_t count) { base_ += static_cast<uint32_t>(count); }
  void restart() { base_ = 1; }

 private:
  uint32_t base_ = 1;
};

// One 32-bit entry a node: a single cache line is touched for each look-up.
class DenseMap {
 public:
  // Starts a call over keys in [0, keys); at most `keys` of them get a local id.
  void begin(int64_t keys) {
    if (table_.size() < keys || !stamp_.fits(keys)) {
      table_.reset(std::max(keys, table_.size()));
      stamp_.restart();
    }
    entry_ = table_.data();
    base_ = stamp_.base();
  }
  void reserve(int64_t, int64_t) {}
  void end(int64_t count) { stamp_.advance(count); }
  void release() { table_.release(); }
  int64_t nbytes() const { return table_.nbytes(); }

  void prefetch(int64_t key) const { __builtin_prefetch(entry_ + key, 1); }

  // The local id of `key`, which is `count` if it was not there before. Without a
  // branch: new and known nodes alternate in no order that a predictor could learn.
  int64_t insert(int64_t key, int64_t count) {
    const uint32_t known = entry_[key] - base_;
    const uint32_t fresh = static_cast<uint32_t>(count);
    const uint32_t local = known < fresh ? known : fresh;
    entry_[key] = base_ + local;
    return local;
  }

 private:
  ZeroedArray<uint32_t> table_;
  Stamp stamp_;
  uint32_t* entry_ = nullptr;
  uint32_t base_ = 1;
};

// Open addressing with linear probes, at most half full. For graphs too large for one
// entry a node, and for disjoint trees, whose keys are (tree, node) pairs.
class HashMap {
 public:
  void begin(int64_t) {
    if (slots_.size() == 0) grow(kSmallest, 0);
    use();
  }
  // Makes room for `count` entries, of which `present` are there already.
  void reserve(int64_t count, int64_t present) {
    if (!stamp_.fits(count)) {
      grow(slots_.size(), present);
    }
    int64_t size = slots_.size();
    while (size < 2 * count) size *= 2;
    if (size > slots_.size()) grow(size, present);
  }
  void end(int64_t count) { stamp_.advance(count); }
  void release() { slots_.release(); }
  int64_t nbytes() const { return slots_.nbytes(); }

  void prefetch(int64_t key) const { __builtin_prefetch(slot_ + place(key), 1); }

  int64_t insert(int64_t key, int64_t count) {
    const uint32_t fresh = static_cast<uint32_t>(count);
    uint64_t at = place(key);
    for (;; at = (at + 1) & mask_) {
      const uint32_t known = slot_[at].entry - base_;
      if (known >= fresh) break;
      if (slot_[at].key == key) return known;
    }
    slot_[at] = {key, base_ + fresh};
    return count;
  }

 private:
  struct Slot {
    int64_t key;
    uint32_t entry;
  };
  static constexpr int64_t kSmallest = 1 << 12;

  uint64_t place(int64_t key) const {
    return (static_cast<uint64_t>(key) * kGolden) >> shift_;
  }
  void use() {
    slot_ = slots_.data();
    mask_ = static_cast<uint64_t>(slots_.size()) - 1;
    shift_ = __builtin_clzll(mask_);
    base_ = stamp_.base();
  }
  // A new table of `size` slots with the `present` entries of the current call.
  void grow(int64_t size, int64_t present) {
    ZeroedArray<Slot> old;
    std::swap(old, slots_);
    const uint32_t base = base_;
    slots_.reset(size);
    stamp_.restart();
    use();
    for (int64_t i = 0; i < old.size(); ++i) {
      const uint32_t local = old.data()[i].entry - base;
      if (local >= static_cast<uint32_t>(present)) continue;
      uint64_t at = place(old.data()[i].key);
      while (slot_[at].entry != 0) at = (at + 1) & mask_;
      slot_[at] = {old.data()[i].key, base_ + local};
    }
  }

  ZeroedArray<Slot> slots_;
  Stamp stamp_;
  Slot* slot_ = nullptr;
  uint64_t mask_ = 0;
  int shift_ = 0;
  uint32_t base_ = 1;
};

}  // namespace graphlab
