// SPDX-License-Identifier: Apache-2.0
// next_use, belady_schedule: which rows stay in memory from batch to batch.
//
// A row in a slot waits in the bucket of its key (Belady: the batch that uses it next),
// so the row to give up is in the highest bucket that is not empty. A tree of 64-bit
// words finds that bucket in a few steps: O(accesses) in all, without a heap.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <bit>

#include "check.h"

namespace graphlab {
namespace {

// What is known of a slot, one row of `links`.
struct Slot {
  int32_t node;   // whose row it holds
  int32_t key;    // its bucket, -1: free
  int32_t prev;   // neighbours in the bucket's list
  int32_t next;   // free slots are chained through this
  int32_t owner;  // access that filled it, if that was in the batch at hand
};

// A set of small numbers that knows its largest: a bit each, and a bit for each word.
class Bits {
 public:
  Bits(uint64_t* words, int64_t size) {
    do {
      size = (size + 63) / 64;
      level_[depth_++] = words;
      words += size;
    } while (size > 1);
  }
  static int64_t words(int64_t size) {
    int64_t total = 0;
    do {
      size = (size + 63) / 64;
      total += size;
    } while (size > 1);
    return total;
  }
  void insert(int64_t i) {
    for (int d = 0; d < depth_; ++d, i /= 64)
      level_[d][i / 64] |= uint64_t{1} << i % 64;
  }
  void erase(int64_t i) {
    for (int d = 0; d < depth_; ++d, i /= 64) {
      level_[d][i / 64] &= ~(uint64_t{1} << i % 64);
      if (level_[d][i / 64] != 0) return;
    }
  }
  // The largest member, or -1.
  int64_t max() const {
    if (level_[depth_ - 1][0] == 0) return -1;
    int64_t i = 0;
    for (int d = depth_ - 1; d >= 0; --d) {
      i = i * 64 + 63 - std::countl_zero(level_[d][i]);
    }
    return i;
  }

 private:
  static constexpr int kDepth = 6;  // 64^6 > 2^32
  uint64_t* level_[kDepth];
  int depth_ = 0;
};

// Slots in buckets.
class Buckets {
 public:
  Buckets(Slot* slots, int32_t* heads, int64_t keys, uint64_t* words)
      : slots_(slots), heads_(heads), free_(heads + keys), bits_(words, keys) {}

  void push(int32_t s, int32_t key) {
    slots_[s].key = key;
    slots_[s].prev = -1;
    slots_[s].next = heads_[key];
    if (heads_[key] >= 0) {
      slots_[heads_[key]].prev = s;
    } else {
      bits_.insert(key);
    }
    heads_[key] = s;
  }
  void remove(int32_t s) {
    const Slot& slot = slots_[s];
    if (slot.next >= 0) slots_[slot.next].prev = slot.prev;
    if (slot.prev >= 0) {
      slots_[slot.prev].next = slot.next;
    } else {
      heads_[slot.key] = slot.next;
      if (slot.next < 0) bits_.erase(slot.key);
    }
  }
  void give_back(int32_t s) {
    slots_[s].key = -1;
    slots_[s].next = *free_;
    *free_ = s;
  }
  int32_t take_free() {
    const int32_t s = *free_;
    if (s >= 0) *free_ = slots_[s].next;
    return s;
  }
  int64_t worst() const { return bits_.max(); }
  int32_t first_of(int64_t key) const { return heads_[key]; }

 private:
  Slot* slots_;
  int32_t* heads_;
  int32_t* free_;
  Bits bits_;
};

void next_use(const Tensor& n_id, int64_t batch, Tensor last, Tensor next) {
  check_vector(n_id, ScalarType::Long, "n_id");
  check_vector(last, ScalarType::Int, "last");
  check_vector(next, ScalarType::Int, "next");
  const int64_t count = n_id.size(0), nodes = last.size(0);
  GL_CHECK(next.size(0) == count, "`next` must be as long as `n_id`");
  const int64_t* node = n_id.const_data_ptr<int64_t>();
  int32_t* seen = last.mutable_data_ptr<int32_t>();
  int32_t* out = next.mutable_data_ptr<int32_t>();
  for (int64_t i = 0; i < count; ++i) {
    GL_CHECK(node[i] >= 0 && node[i] < nodes, "`n_id` is out of range");
    out[i] = seen[node[i]];
  }
  // Afterwards, so that a node that a batch holds twice has no use inside the batch.
  for (int64_t i = 0; i < count; ++i) seen[node[i]] = static_cast<int32_t>(batch);
}

int64_t belady_schedule(const Tensor& n_id, const Tensor& key, int64_t first,
                        Tensor slot, Tensor links, Tensor heads, Tensor words,
                        Tensor source, Tensor keep) {
  check_vector(n_id, ScalarType::Long, "n_id");
  check_vector(key, ScalarType::Int, "key");
  check_vector(slot, ScalarType::Int, "slot");
  check_vector(heads, ScalarType::Int, "heads");
  check_vector(words, ScalarType::Long, "words");
  check_vector(source, ScalarType::Int, "source");
  check_vector(keep, ScalarType::Int, "keep");
  GL_CHECK(
      links.dim() == 2 && links.size(1) == 5 && links.scalar_type() == ScalarType::Int,
      "`links` must be int32 [slots, 5]");
  check_contiguous(links, "links");
  const int64_t count = n_id.size(0), nodes = slot.size(0), keys = heads.size(0) - 1;
  GL_CHECK(key.size(0) == count && source.size(0) == count && keep.size(0) == count,
           "`key`, `source` and `keep` must be as long as `n_id`");
  GL_CHECK(keys > 0 && words.size(0) >= Bits::words(keys),
           "`words` is too short for `heads`");

  const int64_t* node = n_id.const_data_ptr<int64_t>();
  const int32_t* wanted = key.const_data_ptr<int32_t>();
  int32_t* slot_of = slot.mutable_data_ptr<int32_t>();
  Slot* slots = reinterpret_cast<Slot*>(links.mutable_data_ptr<int32_t>());
  Buckets buckets(slots, heads.mutable_data_ptr<int32_t>(), keys,
                  reinterpret_cast<uint64_t*>(words.mutable_data_ptr<int64_t>()));
  int32_t* from = source.mutable_data_ptr<int32_t>();
  int32_t* into = keep.mutable_data_ptr<int32_t>();

  const int32_t base = static_cast<int32_t>(first);
  int64_t misses = 0;
  for (int64_t i = 0; i < count; ++i) {
    GL_CHECK(node[i] >= 0 && node[i] < nodes, "`n_id` is out of range");
    GL_CHECK(wanted[i] < keys, "`key` is out of range");
    from[i] = slot_of[node[i]];
    into[i] = -1;
    misses += from[i] < 0;
  }
  for (int64_t i = 0; i < count; ++i) {
    // Rows that stay for good have no bucket. A node that stands twice in the batch may
    // have left its slot already.
    if (from[i] < base || slot_of[node[i]] < 0) continue;
    const int32_t s = from[i] - base;
    buckets.remove(s);
    if (wanted[i] >= 0) {
      buckets.push(s, wanted[i]);
    } else {
      slot_of[node[i]] = -1;
      buckets.give_back(s);
    }
  }
  for (int64_t i = 0; i < count; ++i) {
    if (from[i] >= 0 || wanted[i] < 0 || slot_of[node[i]] >= 0) continue;
    int32_t s = buckets.take_free();
    if (s < 0) {
      const int64_t worst = buckets.worst();
      // Ties stay: a move that gains nothing costs a copy.
      if (worst <= wanted[i]) continue;
      s = buckets.first_of(worst);
      const Slot& old = slots[s];
      if (old.owner < count && into[old.owner] == base + s &&
          node[old.owner] == old.node) {
        into[old.owner] = -1;  // came and went within this batch
      }
      slot_of[old.node] = -1;
      buckets.remove(s);
    }
    slots[s].node = static_cast<int32_t>(node[i]);
    slots[s].owner = static_cast<int32_t>(i);
    slot_of[node[i]] = base + s;
    into[i] = base + s;
    buckets.push(s, wanted[i]);
  }
  return misses;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(graphlab_io, CPU, m) {
  m.impl("next_use", TORCH_BOX(&next_use));
  m.impl("belady_schedule", TORCH_BOX(&belady_schedule));
}

}  // namespace graphlab
