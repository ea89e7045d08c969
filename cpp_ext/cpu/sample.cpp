// SPDX-License-Identifier: Apache-2.0
// neighbor_sample: all hops of one batch, relabelled.
//
// What bounds it: for each frontier node one cache line of `ptr`, one or more of `idx`
// (and of `edge_id`) at drawn positions, and for each edge one line of the node map,
// all at random places. So the frontier is walked in blocks, and three stages (draw,
// gather, relabel) run one block apart: each stage prefetches what the next one reads.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <tuple>
#include <vector>

#include "check.h"
#include "draw.h"
#include "relabel.h"
#include "sampling.h"

namespace graphlab {
namespace {

// Frontier nodes in a block: their lines of three stages fit the first-level cache.
constexpr int64_t kBlock = 64;
// Frontier nodes between a prefetch of `ptr` and its use.
constexpr int64_t kAhead = 24;
// Graphs up to this many nodes use the dense map: 64 MiB for a thread that samples.
constexpr int64_t kDenseNodes = int64_t{1} << 24;
// Scratch memory beyond this is given back at the end of a call.
constexpr int64_t kKeepBytes = int64_t{64} << 20;

using namespace sampling;

// Memory that a thread keeps from call to call.
struct Scratch {
  DenseMap dense;
  HashMap hash;
  PickSet picks;
  std::vector<int64_t> node, tree, begin, edge_begin, kept, row, col, e_id, weight;
  std::vector<uint32_t> degree;

  void trim() {
    if (dense.nbytes() > kKeepBytes) dense.release();
    if (hash.nbytes() > kKeepBytes) hash.release();
    int64_t bytes = 0;
    for (auto* v : vectors()) bytes += static_cast<int64_t>(v->capacity()) * 8;
    if (bytes <= kKeepBytes) return;
    for (auto* v : vectors()) v->clear(), v->shrink_to_fit();
    degree.clear(), degree.shrink_to_fit();
  }
  std::vector<std::vector<int64_t>*> vectors() {
    return {&node, &tree, &begin, &edge_begin, &kept, &row, &col, &e_id, &weight};
  }
};

// Grows to exactly `size` entries, where std::vector would double; never shrinks, since
// growing again would clear what is written anyway.
template <typename T>
void at_least(std::vector<T>& v, int64_t size) {
  if (static_cast<int64_t>(v.size()) >= size) return;
  v.reserve(size);
  v.resize(size);
}

Scratch& scratch() {
  static thread_local Scratch memory;
  return memory;
}

// Where the edges of one hop go: row, col (local), and the position in `idx`, which
// gather() turns into the id.
struct Edges {
  int64_t* row;
  int64_t* col;
  int64_t* e_id;
};

template <typename Idx, typename Map, bool kDisjoint>
class Sampler {
 public:
  Sampler(const Graph& graph, const Idx* idx, const Idx* source, Scratch& memory,
          Map& map)
      : g_(graph), m_(memory), map_(map), idx_(idx), source_(source) {
    map_.begin(g_.num_nodes);
  }

  // Also on the way out of an error: no entry of this call may outlive it.
  ~Sampler() { map_.end(num_nodes_); }

  // Takes the seeds in. Returns the place of the first seed that was there before, or
  // -1; disjoint trees never meet.
  int64_t seeds(const int64_t* seed, int64_t count) {
    room_for(count);
    for (int64_t i = 0; i < count; ++i) {
      GL_CHECK(seed[i] >= 0 && seed[i] < g_.num_nodes, "`seeds` out of range");
      if (kDisjoint) m_.tree[i] = i;
      m_.node[i] = seed[i];
      if (map_.insert(key_of(seed[i], i), i) != i) return i;
      ++num_nodes_;
    }
    return -1;
  }

  // Reads degrees of the frontier [first, num_nodes) and returns how many edges the
  // hop has at most (exactly so for uniform draws).
  int64_t plan(int64_t first, int64_t k, uint64_t hop_key) {
    first_ = first, k_ = k, hop_key_ = hop_key;
    const Draw how = g_.how;
    count_ = num_nodes_ - first;
    at_least(m_.begin, count_);
    at_least(m_.degree, count_);
    at_least(m_.edge_begin, count_ + 1);
    if (how == Draw::kLabor) m_.kept.clear();
    const int64_t* ptr = g_.ptr;
    const int64_t* frontier = m_.node.data() + first;
    const bool on_disk = g_.on_disk;
    GL_CHECK(!on_disk || num_nodes_ <= g_.num_rows, "`rows` must hold every target");
    const int64_t* rows = on_disk ? g_.rows + 2 * first : nullptr;
    int64_t total = 0;
    bool bad = false;
    for (int64_t i = 0; i < count_; ++i) {
      if (!on_disk && i + kAhead < count_)
        __builtin_prefetch(ptr + frontier[i + kAhead]);
      const int64_t begin = on_disk ? rows[2 * i] : ptr[frontier[i]];
      const int64_t degree = on_disk ? rows[2 * i + 1] : ptr[frontier[i] + 1] - begin;
      bad |= begin < 0 || degree < 0 || degree > g_.num_edges - begin ||
             degree > std::numeric_limits<uint32_t>::max();
      m_.begin[i] = begin;
      m_.degree[i] = static_cast<uint32_t>(degree);
      m_.edge_begin[i] = total;
      if (how == Draw::kLabor) {
        GL_CHECK(!bad, "`ptr` must be offsets into `idx`");
        total += draw_labor(begin, degree);
      } else if (k < 0) {
        total += degree;
      } else if (how == Draw::kReplace || how == Draw::kAliasReplace) {
        total += degree == 0 ? 0 : k;
      } else {
        total += std::min(degree, k);
      }
    }
    GL_CHECK(!bad, "`ptr` must be offsets into `idx`");
    m_.edge_begin[count_] = total;
    return total;
  }

  // Samples the planned hop into `out`, which has room for what plan() returned, behind
  // `before` edges of other hops. Returns the number of edges.
  int64_t run(int64_t bound, int64_t before, const Edges& out) {
    before_ = before;
    // Sources that were not read yet: the edges are drawn, and lead nowhere.
    if (g_.on_disk && before + bound > g_.num_sources) {
      GL_CHECK(g_.num_sources <= before, "`sources` must end with a hop");
      int64_t edges = 0;
      for (int64_t i = 0; i < count_; ++i) edges = draw(i, i + 1, edges, out);
      std::fill(out.row, out.row + edges, int64_t{-1});
      return edges;
    }
    room_for(bound);
    int64_t edges = 0, gathered = 0, relabelled = 0;
    int64_t after_draw[2] = {0, 0};
    for (int64_t lo = 0; lo < count_ || relabelled < edges; lo += kBlock) {
      if (lo < count_) edges = draw(lo, std::min(lo + kBlock, count_), edges, out);
      gather(gathered, after_draw[0], out);
      relabel(relabelled, after_draw[1], out);
      relabelled = after_draw[1];
      after_draw[1] = gathered = after_draw[0];
      after_draw[0] = edges;
    }
    return edges;
  }

  int64_t num_nodes() const { return num_nodes_; }

 private:
  // A constant, so that the compiler drops the product where there are no trees.
  int64_t key_of(int64_t node, int64_t tree) const {
    return kDisjoint ? g_.key_of(node, tree) : node;
  }

  // Makes room for `more` nodes, and for one write past the last.
  void room_for(int64_t more) {
    int64_t nodes = num_nodes_ + more + 1;
    if (!kDisjoint) nodes = std::min(nodes, g_.num_nodes + 1);
    GL_CHECK(nodes < std::numeric_limits<int32_t>::max(),
             "a batch must have fewer nodes");
    map_.reserve(nodes, num_nodes_);
    at_least(m_.node, nodes);
    if (kDisjoint) at_least(m_.tree, nodes);
  }

  // LABOR-0: a source's number is the same for every target of the hop. All of a row
  // is looked at, so this is O(degree); picks are kept until run() copies them.
  int64_t draw_labor(int64_t begin, int64_t degree) {
    const size_t before = m_.kept.size();
    for (int64_t e = begin; e < begin + degree; ++e) {
      if (k_ >= 0 && degree > k_) {
        const uint64_t r = bits(hop_key_, static_cast<uint64_t>(idx_[e])) >> 32;
        if (r * static_cast<uint64_t>(degree) >= static_cast<uint64_t>(k_) << 32) {
          continue;
        }
      }
      m_.kept.push_back(e);
    }
    return static_cast<int64_t>(m_.kept.size() - before);
  }

  int64_t draw(int64_t lo, int64_t hi, int64_t edges, const Edges& out) {
    for (int64_t i = lo; i < hi; ++i) {
      const int64_t got = draw_row(i, out.e_id + edges);
      for (int64_t e = edges; e < edges + got; ++e) {
        if (!g_.on_disk) __builtin_prefetch(idx_ + out.e_id[e]);
        if (g_.short_id != nullptr) __builtin_prefetch(g_.short_id + out.e_id[e]);
        if (g_.long_id != nullptr) __builtin_prefetch(g_.long_id + out.e_id[e]);
        out.col[e] = first_ + i;
      }
      edges += got;
    }
    return edges;
  }

  int64_t draw_row(int64_t i, int64_t* out) {
    const int64_t begin = m_.begin[i];
    const uint32_t degree = m_.degree[i];
    if (g_.how == Draw::kLabor) {
      const int64_t* from = m_.kept.data() + m_.edge_begin[i];
      const int64_t count = m_.edge_begin[i + 1] - m_.edge_begin[i];
      std::copy(from, from + count, out);
      return count;
    }
    if (degree == 0) return 0;
    const bool all = k_ < 0 || (degree <= k_ && g_.how == Draw::kUniform);
    if (all) {
      for (uint32_t j = 0; j < degree; ++j) out[j] = begin + j;
      return degree;
    }
    const uint64_t key = fold(hop_key_, i);
    if (g_.how == Draw::kUniform) {
      draw_distinct(key, degree, k_, begin, out, m_.picks);
      return k_;
    }
    if (g_.how == Draw::kReplace) {
      draw_with_replacement(key, degree, k_, begin, out);
      return k_;
    }
    const AliasRow row{g_.threshold + begin, g_.alias + begin, degree};
    int64_t count = 0;
    if (g_.how == Draw::kAlias) {
      count = draw_weighted_distinct(key, row, k_, begin, out, m_.picks, m_.weight);
    } else if (!row.empty()) {
      for (; count < k_; ++count) out[count] = begin + row.draw(key, count);
    }
    bool bad = false;
    for (int64_t j = 0; j < count; ++j)
      bad |= out[j] < begin || out[j] >= begin + degree;
    GL_CHECK(!bad, "`alias` must point inside its row");
    return count;
  }

  void gather(int64_t lo, int64_t hi, const Edges& out) {
    bool bad = false;
    for (int64_t e = lo; e < hi; ++e) {
      const Idx found = g_.on_disk ? source_[before_ + e] : idx_[out.e_id[e]];
      const int64_t source = static_cast<int64_t>(found);
      bad |= static_cast<uint64_t>(source) >= static_cast<uint64_t>(g_.num_nodes);
      out.row[e] = source;
      map_.prefetch(key_of(source, kDisjoint ? m_.tree[out.col[e]] : 0));
    }
    GL_CHECK(!bad, "`idx` must hold node ids");
    if (g_.short_id != nullptr) {
      for (int64_t e = lo; e < hi; ++e) out.e_id[e] = g_.short_id[out.e_id[e]];
    } else if (g_.long_id != nullptr) {
      for (int64_t e = lo; e < hi; ++e) out.e_id[e] = g_.long_id[out.e_id[e]];
    }
  }

  void relabel(int64_t lo, int64_t hi, const Edges& out) {
    int64_t* node = m_.node.data();
    int64_t count = num_nodes_;
    for (int64_t e = lo; e < hi; ++e) {
      const int64_t source = out.row[e];
      const int64_t tree = kDisjoint ? m_.tree[out.col[e]] : 0;
      const int64_t local = map_.insert(key_of(source, tree), count);
      out.row[e] = local;
      // Written also for a known node: the next new one overwrites it.
      node[count] = source;
      if (kDisjoint) m_.tree[count] = tree;
      count += local == count;
    }
    num_nodes_ = count;
  }

  const Graph& g_;
  Scratch& m_;
  Map& map_;
  const Idx* idx_;
  const Idx* source_;
  int64_t num_nodes_ = 0;
  // The hop at hand.
  int64_t first_ = 0, count_ = 0, before_ = 0, k_ = 0;
  uint64_t hop_key_ = 0;
};

using Outputs = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

Tensor fresh(const Tensor& like, int64_t size) {
  return torch::stable::new_empty(like, {size}, ScalarType::Long);
}

Tensor first_of(const Tensor& t, int64_t size) {
  return size == t.size(0) ? t
                           : torch::stable::narrow(const_cast<Tensor&>(t), 0, 0, size);
}

template <typename Idx, typename Map, bool kDisjoint>
Outputs sample(const Graph& graph, const Idx* idx, const Idx* source, Map& map,
               const Tensor& ptr, const Tensor& seeds,
               const std::vector<int64_t>& fanouts, uint64_t key) {
  Scratch& memory = scratch();
  Sampler<Idx, Map, kDisjoint> sampler(graph, idx, source, memory, map);
  const int64_t hops = static_cast<int64_t>(fanouts.size());
  Tensor num_nodes = fresh(ptr, hops + 1), num_edges = fresh(ptr, hops);
  int64_t* nodes_at = num_nodes.mutable_data_ptr<int64_t>();
  int64_t* edges_at = num_edges.mutable_data_ptr<int64_t>();
  const int64_t repeated =
      sampler.seeds(seeds.const_data_ptr<int64_t>(), seeds.size(0));
  if (repeated >= 0) {
    // No result: num_nodes[0] < 0 tells Python which seed to name.
    map.end(sampler.num_nodes());
    std::fill(nodes_at, nodes_at + hops + 1, -1 - repeated);
    std::fill(edges_at, edges_at + hops, int64_t{0});
    return {fresh(ptr, 0), fresh(ptr, 0), fresh(ptr, 0), fresh(ptr, 0),
            fresh(ptr, 0), num_nodes,     num_edges};
  }
  nodes_at[0] = sampler.num_nodes();

  // Hops but the last go to scratch memory; then the size of the whole is known, and
  // the last and largest is written in place.
  int64_t first = 0, total = 0, bound = 0;
  for (int64_t h = 0; h < hops; ++h) {
    bound = sampler.plan(first, fanouts[h], fold(key, h));
    if (h + 1 == hops) break;
    for (auto* v : {&memory.row, &memory.col, &memory.e_id}) {
      at_least(*v, total + bound);
    }
    first = sampler.num_nodes();
    edges_at[h] = sampler.run(bound, total,
                              {memory.row.data() + total, memory.col.data() + total,
                               memory.e_id.data() + total});
    total += edges_at[h];
    nodes_at[h + 1] = sampler.num_nodes() - first;
  }
  Tensor row = fresh(ptr, total + bound), col = fresh(ptr, total + bound),
         e_id = fresh(ptr, total + bound);
  int64_t* out[] = {row.mutable_data_ptr<int64_t>(), col.mutable_data_ptr<int64_t>(),
                    e_id.mutable_data_ptr<int64_t>()};
  std::copy(memory.row.data(), memory.row.data() + total, out[0]);
  std::copy(memory.col.data(), memory.col.data() + total, out[1]);
  std::copy(memory.e_id.data(), memory.e_id.data() + total, out[2]);
  if (hops > 0) {
    first = sampler.num_nodes();
    edges_at[hops - 1] =
        sampler.run(bound, total, {out[0] + total, out[1] + total, out[2] + total});
    total += edges_at[hops - 1];
    nodes_at[hops] = sampler.num_nodes() - first;
  }
  const int64_t count = sampler.num_nodes();
  Tensor n_id = fresh(ptr, count), batch = fresh(ptr, kDisjoint ? count : 0);
  std::copy_n(memory.node.data(), count, n_id.mutable_data_ptr<int64_t>());
  if (kDisjoint) {
    std::copy_n(memory.tree.data(), count, batch.mutable_data_ptr<int64_t>());
  }
  return {first_of(row, total),
          first_of(col, total),
          n_id,
          first_of(e_id, total),
          batch,
          num_nodes,
          num_edges};
}

template <typename Idx>
Outputs sample_from(const Graph& graph, const Idx* idx, const Idx* source,
                    const Tensor& ptr, const Tensor& seeds,
                    const std::vector<int64_t>& fanouts, uint64_t key) {
  Scratch& memory = scratch();
  struct Trim {
    Scratch& memory;
    ~Trim() { memory.trim(); }
  } trim{memory};
  if (graph.disjoint) {
    return sample<Idx, HashMap, true>(graph, idx, source, memory.hash, ptr, seeds,
                                      fanouts, key);
  }
  if (graph.num_nodes > kDenseNodes) {
    return sample<Idx, HashMap, false>(graph, idx, source, memory.hash, ptr, seeds,
                                       fanouts, key);
  }
  return sample<Idx, DenseMap, false>(graph, idx, source, memory.dense, ptr, seeds,
                                      fanouts, key);
}

Outputs neighbor_sample(const Tensor& ptr, const Tensor& idx,
                        std::optional<Tensor> edge_id, const Tensor& seeds,
                        std::vector<int64_t> num_neighbors, bool replace,
                        std::optional<Tensor> threshold, std::optional<Tensor> alias,
                        bool disjoint, bool labor, int64_t key,
                        std::optional<Tensor> rows, std::optional<Tensor> sources) {
  Graph graph = read_arguments(ptr, idx, edge_id, seeds, num_neighbors, replace,
                               threshold, alias, disjoint, labor);
  GL_CHECK(rows.has_value() == sources.has_value(), "`rows` needs `sources`");
  if (rows.has_value()) {
    GL_CHECK(graph.how == Draw::kUniform || graph.how == Draw::kReplace,
             "graphs on disk are drawn from uniformly");
    GL_CHECK(!edge_id.has_value(), "`edge_id` stays on disk, too");
    GL_CHECK(rows->dim() == 2 && rows->size(1) == 2 &&
                 rows->scalar_type() == ScalarType::Long,
             "`rows` must be int64 [targets, 2]");
    check_contiguous(*rows, "rows");
    check_vector(*sources, idx.scalar_type(), "sources");
    graph.on_disk = true;
    graph.rows = rows->const_data_ptr<int64_t>();
    graph.num_rows = rows->size(0);
    graph.num_sources = sources->size(0);
    read_index(*sources, "sources", graph.short_source, graph.long_source);
  }
  const uint64_t stream = static_cast<uint64_t>(key);
  return idx.scalar_type() == ScalarType::Int
             ? sample_from(graph, graph.short_idx, graph.short_source, ptr, seeds,
                           num_neighbors, stream)
             : sample_from(graph, graph.long_idx, graph.long_source, ptr, seeds,
                           num_neighbors, stream);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(graphlab, CPU, m) {
  m.impl("neighbor_sample", TORCH_BOX(&neighbor_sample));
}

}  // namespace graphlab
