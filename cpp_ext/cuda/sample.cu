// SPDX-License-Identifier: Apache-2.0
// neighbor_sample: all hops of one batch, relabelled; the same samples as on the CPU.
//
// A hop: count the edges of each row, scan, draw positions, then one thread an edge
// looks up its source in a hash table. A new node takes the least edge that found it,
// and the order of those edges is the order of discovery. The host waits twice a hop,
// for the number of edges and of new nodes, and sizes all memory exactly.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cub/device/device_scan.cuh>
#include <limits>
#include <optional>
#include <tuple>
#include <vector>

#include "check.h"
#include "launch.cuh"
#include "sample_kernels.cuh"

namespace graphlab {
namespace {

using namespace sampling;

class Sampler {
 public:
  Sampler(const Graph& graph, const Tensor& like)
      : graph_(graph), like_(like), device_(like), note_(words(kNotes)) {
    zero(note_);
    // All ones: no seed is repeated.
    STD_CUDA_CHECK(cudaMemsetAsync(at(note_) + kRepeat, 0xFF, sizeof(Word), stream()));
  }

  // Takes the seeds in. Returns the place of the first that was there before, or -1.
  int64_t seeds(const Tensor& seeds) {
    const int64_t count = seeds.size(0);
    // Repeated seeds are listed too before they are found.
    room_for(count);
    Tensor slot = words(count);
    for_each(count, stream(),
             InsertSeed{graph_, table_, seeds.const_data_ptr<int64_t>(), at(node_),
                        at(tree_), at(slot), note()});
    if (!graph_.disjoint)
      for_each(count, stream(), CheckSeed{table_, at(slot), note()});
    num_nodes_ = count;
    read_note();
    return static_cast<int64_t>(told_[kRepeat]);
  }

  // Samples one hop for the nodes from `first` on.
  void hop(int64_t first, int64_t k, uint64_t key) {
    const Draw how = graph_.how;
    const int64_t count = num_nodes_ - first;
    Tensor begin = words(count), degree = words(count), edges = words(count + 1);
    Tensor edge_begin = words(count + 1), room, drawn;
    Hop h{graph_,    at(node_),  at(tree_), first,          count,   k,       key,
          at(begin), at(degree), at(edges), at(edge_begin), nullptr, nullptr, note()};
    for_each(count + 1, stream(), CountRow{h});
    if (how == Draw::kLabor) for_each_warp(count, stream(), Labor{h, nullptr});
    if (how == Draw::kAlias && k >= 0) {
      room = words(count + 1);
      h.room = at(room);
      scan(edges, room);
      drawn = torch::stable::new_empty(like_, {last(room)}, ScalarType::Int);
      h.drawn = drawn.mutable_data_ptr<int32_t>();
      draw_weighted(h);
    }
    scan(edges, edge_begin);
    const int64_t total = last(edge_begin);
    Tensor row = words(total), col = words(total), e_id = words(total);
    if (how == Draw::kLabor) for_each_warp(count, stream(), Labor{h, at(e_id)});
    if (how == Draw::kUniform && k >= 0) {
      if (k <= kLinearPicks) {
        for_each(count, stream(), DrawFew{h, at(e_id)});
      } else {
        for_each_warp(count, stream(), DrawMany{h, at(e_id)});
      }
    }
    const int64_t most = num_nodes_ + total;
    room_for(graph_.disjoint ? most : std::min(most, graph_.num_nodes));
    h.node = at(node_), h.tree = at(tree_);
    Tensor slot = words(total), is_new = words(total + 1), rank = words(total + 1);
    zero(is_new);
    for_each(total, stream(),
             GatherEdge{h, table_, num_nodes_, at(row), at(col), at(e_id), at(slot)});
    for_each(total, stream(), MarkNew{table_, num_nodes_, at(slot), at(is_new)});
    scan(is_new, rank);
    for_each(total, stream(),
             NumberNew{h, table_, num_nodes_, at(slot), at(is_new), at(rank), at(row),
                       at(col)});
    for_each(total, stream(), Relabel{table_, at(slot), at(row)});
    num_nodes_ += last(rank);
    hops_.push_back({row, col, e_id});
  }

  int64_t num_nodes() const { return num_nodes_; }
  int64_t num_edges(size_t hop) const { return hops_[hop][0].size(0); }

  // Rows (0), columns (1) or edge ids (2) of all hops, one after the other.
  Tensor joined(int which) const {
    int64_t total = 0;
    for (const auto& hop : hops_) total += hop[which].size(0);
    Tensor all = words(total);
    int64_t done = 0;
    for (const auto& hop : hops_) {
      copy(hop[which], at(all) + done, hop[which].size(0));
      done += hop[which].size(0);
    }
    return all;
  }
  Tensor nodes() const { return first_of(node_, num_nodes_); }
  Tensor trees() const { return first_of(tree_, graph_.disjoint ? num_nodes_ : 0); }

 private:
  cudaStream_t stream() const { return device_.stream(); }
  Tensor words(int64_t count) const {
    return torch::stable::new_empty(like_, {count}, ScalarType::Long);
  }
  static int64_t* at(const Tensor& t) {
    return const_cast<int64_t*>(t.const_data_ptr<int64_t>());
  }
  Word* note() const { return reinterpret_cast<Word*>(at(note_)); }
  void zero(const Tensor& t) const {
    if (t.size(0) == 0) return;
    STD_CUDA_CHECK(cudaMemsetAsync(at(t), 0, t.size(0) * sizeof(int64_t), stream()));
  }
  void copy(const Tensor& from, int64_t* to, int64_t count) const {
    if (count == 0) return;
    STD_CUDA_CHECK(cudaMemcpyAsync(to, at(from), count * sizeof(int64_t),
                                   cudaMemcpyDeviceToDevice, stream()));
  }
  Tensor first_of(const Tensor& t, int64_t count) const {
    Tensor part = words(count);
    copy(t, at(part), count);
    return part;
  }

  // to[i] = from[0] + ... + from[i - 1]
  void scan(const Tensor& from, const Tensor& to) const {
    size_t bytes = 0;
    STD_CUDA_CHECK(cub::DeviceScan::ExclusiveSum(nullptr, bytes, at(from), at(to),
                                                 from.size(0), stream()));
    Tensor work = words(static_cast<int64_t>(bytes / sizeof(int64_t) + 1));
    STD_CUDA_CHECK(cub::DeviceScan::ExclusiveSum(at(work), bytes, at(from), at(to),
                                                 from.size(0), stream()));
  }

  // The last entry of a scan; faults that were found before it are raised here.
  int64_t last(const Tensor& t) {
    int64_t value = 0;
    STD_CUDA_CHECK(cudaMemcpyAsync(&value, at(t) + t.size(0) - 1, sizeof(value),
                                   cudaMemcpyDeviceToHost, stream()));
    read_note();
    return value;
  }
  void read_note() {
    STD_CUDA_CHECK(cudaMemcpyAsync(told_.data(), at(note_), kNotes * sizeof(Word),
                                   cudaMemcpyDeviceToHost, stream()));
    STD_CUDA_CHECK(cudaStreamSynchronize(stream()));
    const Word faults = told_[kFaults];
    GL_CHECK((faults & kBadSeed) == 0, "`seeds` out of range");
    GL_CHECK((faults & kBadPtr) == 0, "`ptr` must be offsets into `idx`");
    GL_CHECK((faults & kBadIdx) == 0, "`idx` must hold node ids");
    GL_CHECK((faults & kBadAlias) == 0, "`alias` must point inside its row");
  }

  void draw_weighted(const Hop& h) {
    Tensor unfinished = words(h.count), scratch_at = words(h.count);
    STD_CUDA_CHECK(
        cudaMemsetAsync(note() + kUnfinished, 0, 2 * sizeof(Word), stream()));
    for_each(h.count, stream(), DrawWeighted{h, at(unfinished), at(scratch_at)});
    read_note();
    const int64_t rows = static_cast<int64_t>(told_[kUnfinished]);
    Tensor scratch = words(static_cast<int64_t>(told_[kUnfinishedDegrees]));
    zero(scratch);
    for_each_warp(rows, stream(),
                  FinishWeighted{h, at(unfinished), at(scratch_at),
                                 reinterpret_cast<Word*>(at(scratch))});
  }

  // Room for `nodes` nodes in the lists, and in the table at half full.
  void room_for(int64_t nodes) {
    GL_CHECK(nodes < std::numeric_limits<int32_t>::max(),
             "a batch must have fewer nodes");
    if (capacity_ < nodes) {
      Tensor node = words(nodes), tree = words(nodes);
      if (num_nodes_ > 0) {
        copy(node_, at(node), num_nodes_);
        copy(tree_, at(tree), num_nodes_);
      }
      node_ = node, tree_ = tree, capacity_ = nodes;
    }
    int64_t slots = 1024;
    while (slots < 2 * nodes) slots *= 2;
    if (slots <= slots_) return;
    slots_ = slots;
    keys_ = words(slots), values_ = words(slots);
    for (const Tensor& t : {keys_, values_}) {
      STD_CUDA_CHECK(cudaMemsetAsync(at(t), 0xFF, slots * sizeof(Word), stream()));
    }
    const uint64_t mask = static_cast<uint64_t>(slots) - 1;
    table_ = {reinterpret_cast<Word*>(at(keys_)), reinterpret_cast<Word*>(at(values_)),
              mask, __builtin_clzll(mask)};
    for_each(num_nodes_, stream(), Reinsert{graph_, table_, at(node_), at(tree_)});
  }

  Graph graph_;
  Tensor like_;
  OnDevice device_;
  Tensor note_, node_, tree_, keys_, values_;
  std::array<Word, kNotes> told_{};
  Table table_{};
  int64_t num_nodes_ = 0, capacity_ = 0, slots_ = 0;
  std::vector<std::array<Tensor, 3>> hops_;
};

using Outputs = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

Outputs neighbor_sample(const Tensor& ptr, const Tensor& idx,
                        std::optional<Tensor> edge_id, const Tensor& seeds,
                        std::vector<int64_t> num_neighbors, bool replace,
                        std::optional<Tensor> threshold, std::optional<Tensor> alias,
                        bool disjoint, bool labor, int64_t key,
                        std::optional<Tensor> rows, std::optional<Tensor> sources) {
  GL_CHECK(!rows.has_value() && !sources.has_value(),
           "graphs on disk are sampled on the CPU");
  const Graph graph = read_arguments(ptr, idx, edge_id, seeds, num_neighbors, replace,
                                     threshold, alias, disjoint, labor);
  const auto on_host = [&](int64_t size) {
    return torch::stable::new_empty(
        ptr, {size}, ScalarType::Long, std::nullopt,
        torch::stable::Device(torch::headeronly::DeviceType::CPU));
  };
  const int64_t hops = static_cast<int64_t>(num_neighbors.size());
  Tensor num_nodes = on_host(hops + 1), num_edges = on_host(hops);
  int64_t* nodes_at = num_nodes.mutable_data_ptr<int64_t>();
  int64_t* edges_at = num_edges.mutable_data_ptr<int64_t>();
  Sampler sampler(graph, ptr);
  const int64_t repeated = sampler.seeds(seeds);
  if (repeated >= 0) {
    // No result: num_nodes[0] < 0 tells Python which seed to name.
    std::fill(nodes_at, nodes_at + hops + 1, -1 - repeated);
    std::fill(edges_at, edges_at + hops, int64_t{0});
    const auto none = [&] {
      return torch::stable::new_empty(ptr, {int64_t{0}}, ScalarType::Long);
    };
    return {none(), none(), none(), none(), none(), num_nodes, num_edges};
  }
  nodes_at[0] = sampler.num_nodes();
  int64_t first = 0;
  for (int64_t h = 0; h < hops; ++h) {
    const int64_t before = sampler.num_nodes();
    sampler.hop(first, num_neighbors[h],
                fold(static_cast<uint64_t>(key), static_cast<uint64_t>(h)));
    first = before;
    nodes_at[h + 1] = sampler.num_nodes() - before;
    edges_at[h] = sampler.num_edges(h);
  }
  return {sampler.joined(0), sampler.joined(1), sampler.nodes(), sampler.joined(2),
          sampler.trees(),   num_nodes,         num_edges};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(graphlab, CUDA, m) {
  m.impl("neighbor_sample", TORCH_BOX(&neighbor_sample));
}

}  // namespace graphlab
