// Rows of very different lengths, of a CSR matrix or of segments: a row of more than
// `size` entries is long. Long rows are cut where multiples of `size` fall, so that
// nobody goes through more entries than that; what is found of the pieces, 2^16 at
// most, is joined in order afterwards, so results do not vary. A chunk of `size`
// entries holds pieces of at most two long rows: one that begins before it or with it,
// one that ends after it.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "cuda.cuh"

namespace graphlab {

// Entries of a row, or of a part of one.
struct Span {
  int64_t begin, end;
  __device__ int64_t length() const { return end - begin; }
};

struct Chunks {
  const int64_t* ptr;
  int64_t rows, entries, size;

  // A row's entries, cut to what exists: offsets that fall cannot lead outside.
  __device__ Span row(int64_t r) const { return {clip(ptr[r]), clip(ptr[r + 1])}; }
  __device__ bool is_long(Span span) const { return span.length() > size; }

  // The piece of a long row in a chunk's first (0) or second (1) place; empty if none.
  __device__ Span piece(int64_t chunk, int place) const {
    const Span all = entries_of(chunk);
    const Span first = row(row_of(all.begin));
    if (place == 0) {
      if (!is_long(first)) return {0, 0};
      return {all.begin, first.end < all.end ? first.end : all.end};
    }
    const Span last = row(row_of(all.end - 1));
    if (last.begin <= all.begin || !is_long(last)) return {0, 0};
    return {last.begin, all.end};
  }

  // The long row of a chunk's place; -1: none is there.
  __device__ int64_t row_at(int64_t chunk, int place) const {
    if (piece(chunk, place).length() <= 0) return -1;
    const Span all = entries_of(chunk);
    return row_of(place == 0 ? all.begin : all.end - 1);
  }

  // The long row whose first piece lies in a place; -1: none does.
  __device__ int64_t row_begun_at(int64_t place) const {
    const int64_t found = row_at(place / 2, static_cast<int>(place % 2));
    return found >= 0 && first_place(row(found)) == place ? found : -1;
  }

  // Where the first piece of a long row lies: 2 * chunk + place. The others follow in
  // the first places of the chunks up to `last_chunk`.
  __device__ int64_t first_place(Span span) const {
    const int64_t chunk = span.begin / size;
    return 2 * chunk + (span.begin > chunk * size);
  }
  __device__ int64_t last_chunk(Span span) const { return (span.end - 1) / size; }

  // The row of an entry: the last that begins at it or before.
  __device__ int64_t row_of(int64_t entry) const {
    int64_t low = 0, high = rows;  // ptr[low] <= entry < ptr[high]
    while (high - low > 1) {
      const int64_t middle = (low + high) / 2;
      (ptr[middle] <= entry ? low : high) = middle;
    }
    return low;
  }

  int64_t count() const { return (entries + size - 1) / size; }
  // Places of pieces of long rows, two for each chunk; none where no row can be long.
  int64_t places() const { return rows > 0 && entries > size ? 2 * count() : 0; }

 private:
  __device__ int64_t clip(int64_t offset) const {
    return offset < 0 ? 0 : (offset > entries ? entries : offset);
  }
  __device__ Span entries_of(int64_t chunk) const {
    const int64_t end = (chunk + 1) * size;
    return {chunk * size, end < entries ? end : entries};
  }
};

// At most 2^16 chunks, so that what is kept of each is at most 2^17 rows of results.
inline Chunks chunks_of(const Tensor& ptr, int64_t entries) {
  const int64_t least = std::max<int64_t>(256, (entries + 65535) / 65536);
  const auto size = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(least)));
  return {ptr.const_data_ptr<int64_t>(), ptr.size(0) - 1, entries, size};
}

}  // namespace graphlab
