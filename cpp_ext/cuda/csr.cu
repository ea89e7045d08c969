// SPDX-License-Identifier: Apache-2.0
// csr_build: stable radix sort of (row, edge id), see cpp_ext/cpu/csr.cpp.
#include <bit>
#include <cub/device/device_radix_sort.cuh>
#include <tuple>

#include "cuda.cuh"

namespace graphlab {
namespace {

// One thread for each edge: sort key and payload, and whether both ids are in range.
template <typename In, typename Key, typename Eid>
__global__ void prepare_kernel(const In* row, const In* col, Key* key, Eid* edge_id,
                               int32_t* bad, int64_t edges, int64_t rows,
                               int64_t cols) {
  for (int64_t e = grid_thread(); e < edges; e += grid_threads()) {
    const int64_t r = row[e], c = col[e];
    // All writers write the same value.
    if (r < 0 || r >= rows || c < 0 || c >= cols) *bad = 1;
    key[e] = static_cast<Key>(r);
    edge_id[e] = static_cast<Eid>(e);
  }
}

// One thread for each sorted edge: its column, and the offsets of the rows that end
// before it: those from the row of the edge before to its own.
template <typename In, typename Key, typename Idx, typename Eid>
__global__ void place_kernel(const In* col, const Key* key, const Eid* edge_id,
                             Idx* idx, int64_t* ptr, int64_t edges, int64_t rows) {
  for (int64_t p = grid_thread(); p < edges; p += grid_threads()) {
    idx[p] = static_cast<Idx>(col[edge_id[p]]);
    const int64_t first = p == 0 ? 0 : static_cast<int64_t>(key[p - 1]) + 1;
    for (int64_t r = first; r <= static_cast<int64_t>(key[p]); ++r) ptr[r] = p;
    if (p == edges - 1) {
      for (int64_t r = static_cast<int64_t>(key[p]) + 1; r <= rows; ++r) ptr[r] = edges;
    }
  }
}

template <typename Key>
constexpr ScalarType kKeyType = sizeof(Key) == 4 ? ScalarType::Int : ScalarType::Long;

// Deterministic: the radix sort is stable, and every value is written once.
template <typename In, typename Key, typename Idx, typename Eid>
void build(const Tensor& row, const Tensor& col, int64_t rows, int64_t cols,
           Tensor& ptr, Tensor& idx, Tensor& edge_id, cudaStream_t stream) {
  const int64_t edges = row.size(0);
  Tensor key = torch::stable::new_empty(row, {edges}, kKeyType<Key>);
  Tensor sorted = torch::stable::new_empty(row, {edges}, kKeyType<Key>);
  Tensor given = torch::stable::new_empty(edge_id, {edges});
  Tensor bad = torch::stable::new_zeros(row, {1}, ScalarType::Int);
  Key* keys = static_cast<Key*>(key.mutable_data_ptr());
  Key* sorted_keys = static_cast<Key*>(sorted.mutable_data_ptr());
  Eid* ids = given.mutable_data_ptr<Eid>();
  Eid* sorted_ids = edge_id.mutable_data_ptr<Eid>();
  const unsigned blocks = blocks_for(edges, kBlock);
  prepare_kernel<<<blocks, kBlock, 0, stream>>>(
      row.const_data_ptr<In>(), col.const_data_ptr<In>(), keys, ids,
      bad.mutable_data_ptr<int32_t>(), edges, rows, cols);
  check_launch("csr_build");
  int32_t wrong = 0;
  check_cuda(cudaMemcpyAsync(&wrong, bad.const_data_ptr<int32_t>(), sizeof(wrong),
                             cudaMemcpyDeviceToHost, stream),
             "csr_build");
  check_cuda(cudaStreamSynchronize(stream), "csr_build");
  GL_CHECK(wrong == 0, "ids must be in [0, num_rows) and [0, num_cols)");
  const int bits = std::max<int>(1, std::bit_width(static_cast<uint64_t>(rows - 1)));
  size_t bytes = 0;
  check_cuda(cub::DeviceRadixSort::SortPairs(nullptr, bytes, keys, sorted_keys, ids,
                                             sorted_ids, edges, 0, bits, stream),
             "csr_build");
  Tensor scratch = torch::stable::new_empty(
      row, {static_cast<int64_t>(std::max<size_t>(bytes, 1))}, ScalarType::Byte);
  check_cuda(cub::DeviceRadixSort::SortPairs(scratch.mutable_data_ptr(), bytes, keys,
                                             sorted_keys, ids, sorted_ids, edges, 0,
                                             bits, stream),
             "csr_build");
  place_kernel<<<blocks, kBlock, 0, stream>>>(
      col.const_data_ptr<In>(), sorted_keys, sorted_ids, idx.mutable_data_ptr<Idx>(),
      ptr.mutable_data_ptr<int64_t>(), edges, rows);
  check_launch("csr_build");
}

template <typename In>
void dispatch(const Tensor& row, const Tensor& col, int64_t rows, int64_t cols,
              Tensor& ptr, Tensor& idx, Tensor& edge_id, cudaStream_t stream) {
  const bool narrow_idx = idx.scalar_type() == ScalarType::Int;
  GL_CHECK(edge_id.scalar_type() == ScalarType::Int, "over 2^31 edges: use the CPU");
  if (rows <= (int64_t{1} << 32)) {
    if (narrow_idx) {
      build<In, uint32_t, int32_t, int32_t>(row, col, rows, cols, ptr, idx, edge_id,
                                            stream);
    } else {
      build<In, uint32_t, int64_t, int32_t>(row, col, rows, cols, ptr, idx, edge_id,
                                            stream);
    }
  } else if (narrow_idx) {
    build<In, uint64_t, int32_t, int32_t>(row, col, rows, cols, ptr, idx, edge_id,
                                          stream);
  } else {
    build<In, uint64_t, int64_t, int32_t>(row, col, rows, cols, ptr, idx, edge_id,
                                          stream);
  }
}

std::tuple<Tensor, Tensor, Tensor> csr_build(const Tensor& row, const Tensor& col,
                                             int64_t num_rows, int64_t num_cols) {
  const ScalarType type = row.scalar_type();
  GL_CHECK(type == ScalarType::Int || type == ScalarType::Long,
           "`row` must be int32 or int64");
  check_vector(row, type, "row");
  check_vector(col, type, "col");
  GL_CHECK(row.size(0) == col.size(0), "`row` and `col` must have equal lengths");
  GL_CHECK(num_rows >= 0, "`num_rows` is out of range");
  GL_CHECK(num_rows > 0 || row.size(0) == 0, "ids must be in [0, num_rows)");
  const OnDevice on(row);
  const int64_t edges = row.size(0);
  const auto index_type = [](int64_t size) {
    return size < (int64_t{1} << 31) ? ScalarType::Int : ScalarType::Long;
  };
  Tensor idx = torch::stable::new_empty(row, {edges}, index_type(num_cols));
  Tensor edge_id = torch::stable::new_empty(row, {edges}, index_type(edges));
  if (edges == 0) {
    return {torch::stable::new_zeros(row, {num_rows + 1}, ScalarType::Long), idx,
            edge_id};
  }
  Tensor ptr = torch::stable::new_empty(row, {num_rows + 1}, ScalarType::Long);
  if (type == ScalarType::Int) {
    dispatch<int32_t>(row, col, num_rows, num_cols, ptr, idx, edge_id, on.stream());
  } else {
    dispatch<int64_t>(row, col, num_rows, num_cols, ptr, idx, edge_id, on.stream());
  }
  return {ptr, idx, edge_id};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(graphlab, CUDA, m) {
  m.impl("csr_build", TORCH_BOX(&csr_build));
}

}  // namespace graphlab
