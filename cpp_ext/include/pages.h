// Large buffers on large pages: fewer page faults and TLB misses where memory is
// written for the first time or visited at random.
#pragma once

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <cstdint>

namespace graphlab {

// Ask for huge pages in a fresh buffer, before its first write. A hint: without huge
// pages nothing changes. Buffers under 4 MiB are left alone.
inline void prefer_huge_pages(void* data, int64_t bytes) {
#if defined(__linux__)
  constexpr uintptr_t kPage = 4096;
  if (bytes < (4 << 20)) return;
  const uintptr_t begin =
      (reinterpret_cast<uintptr_t>(data) + kPage - 1) & ~(kPage - 1);
  const uintptr_t end = (reinterpret_cast<uintptr_t>(data) + bytes) & ~(kPage - 1);
  madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

}  // namespace graphlab
