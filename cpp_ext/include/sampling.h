// The arguments of neighbor_sample, checked, as its CPU and CUDA kernels use them.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "check.h"
#include "rng.h"

namespace graphlab::sampling {

enum class Draw { kUniform, kReplace, kAlias, kAliasReplace, kLabor };

// In-edges by target, and what is drawn from them. Of each pair short/long at most one
// is there; without ids an edge's id is its position.
struct Graph {
  const int64_t* ptr = nullptr;
  const int32_t* short_idx = nullptr;
  const int64_t* long_idx = nullptr;
  const int32_t* short_id = nullptr;
  const int64_t* long_id = nullptr;
  const int32_t* threshold = nullptr;
  const int32_t* alias = nullptr;
  // Where `on_disk`, in place of ptr and idx: first edge and degree of each target in
  // local order; sources of the edges of all hops that were read.
  bool on_disk = false;
  const int64_t* rows = nullptr;
  const int32_t* short_source = nullptr;
  const int64_t* long_source = nullptr;
  int64_t num_nodes = 0, num_edges = 0, num_rows = 0, num_sources = 0;
  Draw how = Draw::kUniform;
  bool disjoint = false;

  // What names a node in the map from nodes to local ids.
  GL_HOST_DEVICE int64_t key_of(int64_t node, int64_t tree) const {
    return disjoint ? tree * num_nodes + node : node;
  }
};

inline void read_index(const Tensor& t, const char* name, const int32_t*& short_values,
                       const int64_t*& long_values) {
  check_vector(t, t.scalar_type(), name);
  if (t.scalar_type() == ScalarType::Int) {
    short_values = t.const_data_ptr<int32_t>();
  } else {
    GL_CHECK(t.scalar_type() == ScalarType::Long, "`", name,
             "` must be int32 or int64");
    long_values = t.const_data_ptr<int64_t>();
  }
}

inline Graph read_arguments(const Tensor& ptr, const Tensor& idx,
                            const std::optional<Tensor>& edge_id, const Tensor& seeds,
                            const std::vector<int64_t>& num_neighbors, bool replace,
                            const std::optional<Tensor>& threshold,
                            const std::optional<Tensor>& alias, bool disjoint,
                            bool labor) {
  check_vector(ptr, ScalarType::Long, "ptr");
  check_vector(seeds, ScalarType::Long, "seeds");
  Graph graph;
  graph.ptr = ptr.const_data_ptr<int64_t>();
  graph.num_nodes = ptr.size(0) - 1;
  graph.num_edges = idx.size(0);
  graph.disjoint = disjoint;
  GL_CHECK(graph.num_nodes >= 0, "`ptr` must not be empty");
  read_index(idx, "idx", graph.short_idx, graph.long_idx);
  if (edge_id.has_value()) {
    read_index(*edge_id, "edge_id", graph.short_id, graph.long_id);
    GL_CHECK(edge_id->size(0) == graph.num_edges, "`edge_id` must be as long as `idx`");
  }
  graph.how = labor ? Draw::kLabor : replace ? Draw::kReplace : Draw::kUniform;
  GL_CHECK(threshold.has_value() == alias.has_value(), "`alias` needs `threshold`");
  if (alias.has_value()) {
    check_vector(*threshold, ScalarType::Int, "threshold");
    check_vector(*alias, ScalarType::Int, "alias");
    GL_CHECK(threshold->size(0) == graph.num_edges && alias->size(0) == graph.num_edges,
             "alias tables must be as long as `idx`");
    GL_CHECK(!labor, "`labor` takes no weights");
    graph.threshold = threshold->const_data_ptr<int32_t>();
    graph.alias = alias->const_data_ptr<int32_t>();
    graph.how = replace ? Draw::kAliasReplace : Draw::kAlias;
  }
  for (int64_t k : num_neighbors) {
    GL_CHECK(k >= -1 && k <= std::numeric_limits<int32_t>::max(),
             "`num_neighbors` out of range");
  }
  // Keys of disjoint trees must not overflow.
  GL_CHECK(!disjoint || seeds.size(0) <=
                            std::numeric_limits<int64_t>::max() / (graph.num_nodes + 1),
           "too many seeds");
  return graph;
}

}  // namespace graphlab::sampling
