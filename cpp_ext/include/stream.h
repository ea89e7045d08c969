// Stores past the caches, for memory that is not read again soon.
#pragma once

#include <cstdint>
#include <cstring>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace graphlab {

// Copy a small array past the caches where `to` is aligned for it. Call stream_end()
// before another thread reads it.
template <typename T, int kCount>
inline void stream(T* to, const T (&from)[kCount]) {
#if defined(__SSE2__)
  if (reinterpret_cast<uintptr_t>(to) % 16 == 0 && sizeof(from) % 16 == 0) {
    const __m128i* source = reinterpret_cast<const __m128i*>(from);
    for (size_t i = 0; i < sizeof(from) / 16; ++i)
      _mm_stream_si128(reinterpret_cast<__m128i*>(to) + i, _mm_loadu_si128(source + i));
    return;
  }
#endif
  std::memcpy(to, from, sizeof(from));
}

inline void stream_end() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

}  // namespace graphlab
