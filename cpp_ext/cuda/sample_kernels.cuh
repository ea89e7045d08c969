// Bodies of the kernels of sample.cu, in the order in which a hop runs them. Draws are
// those of draw.h, so that samples equal the CPU's bit for bit.
#pragma once

#include <cstdint>

#include "draw.h"
#include "sampling.h"

namespace graphlab::sampling {

// What the device tells the host, all unsigned 64-bit: faults found, the first repeated
// seed (all ones: none), weighted rows that need the fallback, and the sum of their
// degrees.
enum Note { kFaults, kRepeat, kUnfinished, kUnfinishedDegrees, kNotes };
enum Fault : uint64_t { kBadPtr = 1, kBadIdx = 2, kBadAlias = 4, kBadSeed = 8 };

using Word = unsigned long long;

__device__ inline int64_t source_at(const Graph& graph, int64_t position) {
  return graph.short_idx != nullptr ? graph.short_idx[position]
                                    : graph.long_idx[position];
}

__device__ inline int64_t id_at(const Graph& graph, int64_t position) {
  return graph.short_id != nullptr  ? graph.short_id[position]
         : graph.long_id != nullptr ? graph.long_id[position]
                                    : position;
}

// Open addressing; empty: all ones. A value is a local id, or in the middle of a hop,
// for a new node, the number of nodes before the hop plus the first edge that found it.
// So a new value is above every known one, and atomicMin keeps the right one.
struct Table {
  Word* key;
  Word* value;
  uint64_t mask;
  int shift;

  __device__ int64_t insert(int64_t wanted) const {
    const Word mine = static_cast<Word>(wanted);
    uint64_t at = (static_cast<uint64_t>(wanted) * kGolden) >> shift;
    for (;; at = (at + 1) & mask) {
      const Word found = atomicCAS(key + at, ~Word{0}, mine);
      if (found == ~Word{0} || found == mine) return static_cast<int64_t>(at);
    }
  }
};

// The nodes so far, and the hop at hand: its frontier is [first, first + count).
struct Hop {
  Graph graph;
  int64_t *node, *tree;
  int64_t first, count, k;
  uint64_t key;
  int64_t *begin, *degree, *edges, *edge_begin, *room;
  int32_t* drawn;
  Word* note;

  __device__ bool takes_all(int64_t i) const {
    return k < 0 || (degree[i] <= k &&
                     (graph.how == Draw::kUniform || graph.how == Draw::kLabor));
  }
  __device__ AliasRow row(int64_t i) const {
    return {graph.threshold + begin[i], graph.alias + begin[i],
            static_cast<uint32_t>(degree[i])};
  }
  __device__ uint64_t row_key(int64_t i) const {
    return fold(key, static_cast<uint64_t>(i));
  }
};

// One thread a seed.
struct InsertSeed {
  Graph graph;
  Table table;
  const int64_t* seed;
  int64_t *node, *tree, *slot;
  Word* note;

  __device__ void operator()(int64_t i) const {
    node[i] = seed[i];
    tree[i] = i;
    if (seed[i] < 0 || seed[i] >= graph.num_nodes) {
      atomicOr(note + kFaults, Word{kBadSeed});
      slot[i] = -1;
      return;
    }
    slot[i] = table.insert(graph.key_of(seed[i], i));
    atomicMin(table.value + slot[i], static_cast<Word>(i));
  }
};

struct CheckSeed {
  Table table;
  const int64_t* slot;
  Word* note;

  __device__ void operator()(int64_t i) const {
    if (slot[i] >= 0 && table.value[slot[i]] != static_cast<Word>(i)) {
      atomicMin(note + kRepeat, static_cast<Word>(i));
    }
  }
};

// One thread a known node: into a larger table.
struct Reinsert {
  Graph graph;
  Table table;
  const int64_t *node, *tree;

  __device__ void operator()(int64_t i) const {
    table.value[table.insert(graph.key_of(node[i], tree[i]))] = static_cast<Word>(i);
  }
};

// One thread a frontier node: its row, and how many edges it gives (an upper bound for
// weighted draws without replacement; LABOR counts in a pass of its own).
struct CountRow {
  Hop hop;

  __device__ void operator()(int64_t i) const {
    if (i == hop.count) {
      hop.edges[i] = 0;
      return;
    }
    const int64_t v = hop.node[hop.first + i];
    int64_t begin = hop.graph.ptr[v], degree = hop.graph.ptr[v + 1] - begin;
    if (begin < 0 || degree < 0 || begin + degree > hop.graph.num_edges ||
        degree > 0xFFFFFFFFLL) {
      atomicOr(hop.note + kFaults, Word{kBadPtr});
      begin = degree = 0;
    }
    hop.begin[i] = begin;
    hop.degree[i] = degree;
    int64_t count = degree < hop.k ? degree : hop.k;
    if (hop.takes_all(i)) {
      count = degree;
    } else if (hop.graph.how == Draw::kReplace) {
      count = degree == 0 ? 0 : hop.k;
    } else if (hop.graph.how == Draw::kAliasReplace) {
      count = degree == 0 || hop.row(i).empty() ? 0 : hop.k;
    }
    hop.edges[i] = count;
  }
};

// One warp a frontier node. With `out` absent it counts, else it writes positions at
// edge_begin; rows that are taken whole are left to GatherEdge.
struct Labor {
  Hop hop;
  int64_t* out;

  __device__ void operator()(int64_t i, int lane) const {
    if (hop.takes_all(i)) return;
    const int64_t begin = hop.begin[i], degree = hop.degree[i];
    int64_t kept = 0;
    for (int64_t base = 0; base < degree; base += 32) {
      bool keep = false;
      if (base + lane < degree) {
        const int64_t source = source_at(hop.graph, begin + base + lane);
        const uint64_t r = bits(hop.key, static_cast<uint64_t>(source)) >> 32;
        keep = r * static_cast<uint64_t>(degree) < static_cast<uint64_t>(hop.k) << 32;
      }
      const unsigned vote = __ballot_sync(~0u, keep);
      if (out != nullptr && keep) {
        const int before = __popc(vote & ((1u << lane) - 1));
        out[hop.edge_begin[i] + kept + before] = begin + base + lane;
      }
      kept += __popc(vote);
    }
    if (out == nullptr && lane == 0) hop.edges[i] = kept;
  }
};

// One thread a frontier node: alias draws until k are distinct, into drawn[room[i]
// ...]. Rows that give up, or are short, are listed for FinishWeighted.
struct DrawWeighted {
  Hop hop;
  int64_t *unfinished, *scratch_at;

  __device__ void operator()(int64_t i) const {
    if (hop.takes_all(i)) return;
    const AliasRow row = hop.row(i);
    int64_t count = 0;
    if (hop.k > 0 && !row.empty()) {
      int32_t* out = hop.drawn + hop.room[i];
      if (row.degree > hop.k) {
        const int64_t most = most_alias_draws(hop.k);
        const uint64_t key = hop.row_key(i);
        for (int64_t number = 0; number < most && count < hop.k; ++number) {
          const int32_t pick = static_cast<int32_t>(row.draw(key, number));
          if (static_cast<uint32_t>(pick) >= row.degree) {
            atomicOr(hop.note + kFaults, Word{kBadAlias});
            break;
          }
          bool taken = false;
          for (int64_t c = 0; c < count; ++c) taken |= out[c] == pick;
          if (!taken) out[count++] = pick;
        }
      }
      if (count < hop.k) {
        const Word at = atomicAdd(hop.note + kUnfinished, Word{1});
        unfinished[at] = i;
        scratch_at[at] = static_cast<int64_t>(
            atomicAdd(hop.note + kUnfinishedDegrees, static_cast<Word>(row.degree)));
      }
    }
    hop.edges[i] = count;
  }
};

// One warp a listed row: the integer weights into `scratch` (zeroed before), then picks
// from those left. Sums of integers do not depend on their order.
struct FinishWeighted {
  Hop hop;
  const int64_t *unfinished, *scratch_at;
  Word* scratch;

  __device__ void operator()(int64_t u, int lane) const {
    const int64_t i = unfinished[u];
    const AliasRow row = hop.row(i);
    Word* weight = scratch + scratch_at[u];
    int32_t* out = hop.drawn + hop.room[i];
    for (uint32_t j = lane; j < row.degree; j += 32) {
      atomicAdd(weight + j, static_cast<Word>(row.threshold[j]));
      const uint32_t other = static_cast<uint32_t>(row.alias[j]);
      if (other < row.degree) {
        atomicAdd(weight + other, static_cast<Word>(kAliasOne - row.threshold[j]));
      } else {
        atomicOr(hop.note + kFaults, Word{kBadAlias});
      }
    }
    __syncwarp();
    int64_t count = hop.edges[i];
    if (row.degree <= hop.k) {
      for (uint32_t base = 0; base < row.degree; base += 32) {
        const bool keep = base + lane < row.degree && __ldcg(weight + base + lane) > 0;
        const unsigned vote = __ballot_sync(~0u, keep);
        if (keep) {
          out[count + __popc(vote & ((1u << lane) - 1))] =
              static_cast<int32_t>(base + lane);
        }
        count += __popc(vote);
      }
      if (lane == 0) hop.edges[i] = count;
      return;
    }
    for (int64_t c = lane; c < count; c += 32) __stcg(weight + out[c], Word{0});
    __syncwarp();
    Word total = 0;
    for (uint32_t j = lane; j < row.degree; j += 32) total += __ldcg(weight + j);
    for (int step = 16; step > 0; step /= 2) {
      total += __shfl_xor_sync(~0u, total, step);
    }
    const uint64_t key = hop.row_key(i);
    const int64_t most = most_alias_draws(hop.k);
    for (; count < hop.k && total > 0; ++count) {
      const Word left = bounded_wide(key, 2 * most + count, total);
      const uint32_t pick = find(weight, row.degree, left, lane);
      // Nowhere only with tables that are not of this graph; the fault is noted above.
      if (pick >= row.degree) break;
      total -= __ldcg(weight + pick);
      __syncwarp();
      if (lane == 0) {
        out[count] = static_cast<int32_t>(pick);
        __stcg(weight + pick, Word{0});
      }
      __syncwarp();
    }
    if (lane == 0) hop.edges[i] = count;
  }

 private:
  // The first position whose weight, with all before it, exceeds `left`.
  static __device__ uint32_t find(const Word* weight, uint32_t degree, Word left,
                                  int lane) {
    Word before = 0;
    for (uint32_t base = 0; base < degree; base += 32) {
      Word sum = base + lane < degree ? __ldcg(weight + base + lane) : Word{0};
      for (int step = 1; step < 32; step *= 2) {
        const Word other = __shfl_up_sync(~0u, sum, step);
        if (lane >= step) sum += other;
      }
      const unsigned vote = __ballot_sync(~0u, before + sum > left);
      if (vote != 0) return base + __ffs(vote) - 1;
      before += __shfl_sync(~0u, sum, 31);
    }
    return degree;
  }
};

// One thread a frontier node, k <= kLinearPicks.
struct DrawFew {
  Hop hop;
  int64_t* out;

  __device__ void operator()(int64_t i) const {
    if (hop.takes_all(i)) return;
    draw_distinct_few(hop.row_key(i), static_cast<uint32_t>(hop.degree[i]), hop.k,
                      hop.begin[i], out + hop.edge_begin[i]);
  }
};

// One warp a frontier node, larger k: the lanes share the search for a repeat.
struct DrawMany {
  Hop hop;
  int64_t* out;

  __device__ void operator()(int64_t i, int lane) const {
    if (hop.takes_all(i)) return;
    const uint64_t key = hop.row_key(i);
    const int64_t begin = hop.begin[i];
    int64_t* mine = out + hop.edge_begin[i];
    for (int64_t t = 0; t < hop.k; ++t) {
      const uint32_t last = static_cast<uint32_t>(hop.degree[i] - (hop.k - t));
      uint32_t pick = bounded(key, t, last + 1);
      bool taken = false;
      for (int64_t c = lane; c < t; c += 32) taken |= mine[c] == begin + pick;
      if (__any_sync(~0u, taken)) pick = last;
      if (lane == 0) mine[t] = begin + pick;
      __syncwarp();
    }
  }
};

// One thread an edge: its row (the last that begins at or before it), its position
// where that is not drawn yet, its source, and the source's place in the table.
struct GatherEdge {
  Hop hop;
  Table table;
  int64_t nodes;
  int64_t *row, *col, *e_id, *slot;

  __device__ void operator()(int64_t e) const {
    int64_t low = 0, high = hop.count;
    while (high - low > 1) {
      const int64_t middle = low + (high - low) / 2;
      (hop.edge_begin[middle] <= e ? low : high) = middle;
    }
    const int64_t i = low, j = e - hop.edge_begin[i], begin = hop.begin[i];
    const uint32_t degree = static_cast<uint32_t>(hop.degree[i]);
    int64_t position = e_id[e];
    if (hop.takes_all(i)) {
      position = begin + j;
    } else if (hop.graph.how == Draw::kReplace) {
      position = begin + bounded(hop.row_key(i), j, degree);
    } else if (hop.graph.how == Draw::kAliasReplace) {
      position = begin + hop.row(i).draw(hop.row_key(i), j);
    } else if (hop.graph.how == Draw::kAlias) {
      position = begin + static_cast<uint32_t>(hop.drawn[hop.room[i] + j]);
    }
    if (position < begin || position >= begin + degree) {
      atomicOr(hop.note + kFaults, Word{kBadAlias});
      position = begin;
    }
    int64_t source = source_at(hop.graph, position);
    if (source < 0 || source >= hop.graph.num_nodes) {
      atomicOr(hop.note + kFaults, Word{kBadIdx});
      source = 0;
    }
    const int64_t target = hop.first + i;
    row[e] = source;
    col[e] = target;
    e_id[e] = id_at(hop.graph, position);
    slot[e] = table.insert(hop.graph.key_of(source, hop.tree[target]));
    atomicMin(table.value + slot[e], static_cast<Word>(nodes + e));
  }
};

// One thread an edge: did it find its source first?
struct MarkNew {
  Table table;
  int64_t nodes;
  const int64_t* slot;
  int64_t* is_new;

  __device__ void operator()(int64_t e) const {
    is_new[e] = table.value[slot[e]] == static_cast<Word>(nodes + e);
  }
};

// One thread an edge: new nodes get the next ids, in the order of their first edges.
struct NumberNew {
  Hop hop;
  Table table;
  int64_t nodes;
  const int64_t *slot, *is_new, *rank, *row, *col;

  __device__ void operator()(int64_t e) const {
    if (is_new[e] == 0) return;
    const int64_t local = nodes + rank[e];
    hop.node[local] = row[e];
    hop.tree[local] = hop.tree[col[e]];
    table.value[slot[e]] = static_cast<Word>(local);
  }
};

// One thread an edge.
struct Relabel {
  Table table;
  const int64_t* slot;
  int64_t* row;

  __device__ void operator()(int64_t e) const {
    row[e] = static_cast<int64_t>(table.value[slot[e]]);
  }
};

}  // namespace graphlab::sampling
