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

// Copy whole cache lines past the caches; `to` must be aligned for 16 bytes.
inline void stream_lines(void* to, const void* from, int64_t bytes) {
#if defined(__SSE2__)
  const __m128i* source = static_cast<const __m128i*>(from);
  __m128i* target = static_cast<__m128i*>(to);
  for (int64_t i = 0; i < bytes / 16; i += 4) {
    const __m128i a = _mm_loadu_si128(source + i), b = _mm_loadu_si128(source + i + 1);
    const __m128i c = _mm_loadu_si128(source + i + 2);
    const __m128i d = _mm_loadu_si128(source + i + 3);
    _mm_stream_si128(target + i, a);
    _mm_stream_si128(target + i + 1, b);
    _mm_stream_si128(target + i + 2, c);
    _mm_stream_si128(target + i + 3, d);
  }
#else
  std::memcpy(to, from, static_cast<size_t>(bytes));
#endif
}

inline void stream_end() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

}  // namespace graphlab
