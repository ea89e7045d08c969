// CRC32C over bytes that come piece by piece.
#pragma once

#include <cstddef>
#include <cstdint>

namespace graphlab {

// The checksum of what gave `before` followed by `data`.
uint32_t crc32c_after(uint32_t before, const uint8_t* data, size_t size);

}  // namespace graphlab
