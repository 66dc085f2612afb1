// The warps of the cluster-split kernel that load: weights by one tensor copy per row, input by one per 64 k.
#pragma once

#include "mlp_split.cuh"

namespace polar::cuda::mlp {

#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)

// Loads the input lines, in the order in which they are multiplied.
template <class G>
struct SplitInput {
  const CUtensorMap* map;
  const SplitPlan<G>& shared;
  int start, column, pending = 0, line = 0, lines;
  bool ready;
  uint64_t policy;
  RingPosition input{0};

  __device__ SplitInput(const GemmParams& p, const CUtensorMap* input_map, const SplitPlan<G>& plan,
                        const SplitWork<G>& work)
      : map(input_map),
        shared(plan),
        column(work.column),
        lines(work.steps() * SplitWork<G>::kLines),
        ready(p.dependent == 0),
        policy(ptx::policy_evict_last()) {
    start = G::kOp == GemmOp::kUp ? work.begin * G::kUpLines * kLineElements : work.begin;
  }
  // The input may be read from here on; until then lines are only counted.
  __device__ __forceinline__ void await() {
    if (ready) return;
    ptx::wait_for_predecessor();
    ready = true;
  }
  // A large batch has so few input slots that waiting for one would hold back the weights: only lines with a free slot
  // are loaded then, and the others while weights wait for theirs. Elsewhere polling costs more than it brings.
  static constexpr bool kPolls = G::kBatch > 64;

  // Loads the lines that are due.
  __device__ __forceinline__ void load() {
    if (!ready) return;
#pragma unroll 1
    for (; pending > 0; --pending) {
      const uint32_t empty = shared.input_empty(input.slot);
      if constexpr (kPolls) {
        if (!ptx::mbarrier_test(empty, input.parity ^ 1)) return;
      } else {
        ptx::mbarrier_wait(empty, input.parity ^ 1);
      }
      const uint32_t full = shared.input_full(input.slot);
      if (ptx::elect_one()) {
        ptx::mbarrier_arrive_expect(full, G::kInputBytes);
        ptx::tensor_copy_2d(shared.input(input.slot), map, start + line * kLineElements, column * G::kBatch, full,
                            policy);
      }
      __syncwarp();
      input.advance(1, shared.input_slots);
      if (++line == lines) line = 0;
    }
  }
};

// One of eight warps that load weights, two teams of four: team t has every second slot, warp w of a team rows w,
// w + 4, ... of its slots, lane l knows the source of row w + 4 l. A row that does not exist has the source total_rows,
// outside the tensor map, and becomes zeros.
template <class G>
struct SplitWeights {
  static constexpr int kCopies = 4;  // issued together
  static constexpr int kAhead = 4;   // down: slots whose indices are read at once
  static constexpr int kSources = G::kOp == GemmOp::kUp ? G::kMi : kAhead;
  const GemmParams& p;
  const CUtensorMap* map;
  const SplitPlan<G>& shared;
  const SplitWork<G>& work;
  int team, warp, lane;
  int source[kSources];
  uint32_t first_byte, step_bytes;  // of row w in a slot, and from row to row
  uint64_t policy;
  RingPosition weight;
  int filled = 0;

  // Reads the first indices at once: nothing can be loaded before they are known.
  __device__ SplitWeights(const GemmParams& params, const CUtensorMap* weight_map, const SplitPlan<G>& plan,
                          const SplitWork<G>& its_work, int producer)
      : p(params),
        map(weight_map),
        shared(plan),
        work(its_work),
        team(producer >> 2),
        warp(producer & 3),
        lane(threadIdx.x & 31),
        weight(team) {
    if constexpr (G::kOp == GemmOp::kUp) {
      read_up(work.cluster);
    } else {
      read_down(source, team);
    }
    const int sets = params.lines & -params.lines;
    first_byte = split_row_line(warp, params.lines, params.slot_rows) * kLineBytes;
    step_bytes = 4 / sets * params.lines * kLineBytes;
    policy = params.batch_tiles > 1 ? ptx::policy_evict_normal() : ptx::policy_evict_first();
  }

  // Loads the rows of this warp up to the last that exists, in fours: a condition on a single copy would make ptxas
  // build a loop over the lanes around it.
  __device__ __forceinline__ void load_slot(int from_row, int rows, int line, SplitInput<G>* input) {
    const uint32_t full = shared.weight_full(weight.slot);
    const uint32_t slot = shared.weight(weight.slot) + first_byte;
    if (SplitInput<G>::kPolls && input != nullptr) {
      while (!ptx::mbarrier_test(shared.weight_empty(weight.slot), weight.parity ^ 1)) input->load();
    } else {
      ptx::mbarrier_wait(shared.weight_empty(weight.slot), weight.parity ^ 1);
    }
    if (lane == 0) ptx::mbarrier_arrive_expect(full, rows * p.lines * kLineBytes);
    __syncwarp();
#pragma unroll
    for (int group = 0; group < 16; group += kCopies) {
      int from[kCopies];
#pragma unroll
      for (int r = 0; r < kCopies; ++r) from[r] = __shfl_sync(0xffffffffu, from_row, group + r);
      if (group >= rows) continue;
      if (ptx::elect_one()) {
#pragma unroll
        for (int r = 0; r < kCopies; ++r) {
          ptx::tensor_copy_3d(slot + (group + r) * step_bytes, map, 0, line, from[r], full, policy);
        }
      }
      __syncwarp();
    }
    weight.advance(2, shared.weight_slots);
    ++filled;
  }

  // Copies of this warp in a slot whose rows are `from_row` of its lanes: all up to the last row that exists.
  __device__ __forceinline__ int rows_of(int from_row) const {
    const unsigned exist = __ballot_sync(0xffffffffu, from_row < p.total_rows && lane < 16);
    return (32 - __clz(exist) + kCopies - 1) / kCopies * kCopies;
  }

  // Up: starts reading the rows of a tile. settle_up() makes sources of them, so that the reads may take their time.
  __device__ __forceinline__ void read_up(int tile) {
    const int first = first_neuron(p, tile), last = first_neuron(p, tile + 1), in_slot = warp + 4 * lane;
#pragma unroll
    for (int i = 0; i < kSources; ++i) {
      const int row = (team + 2 * i) * p.slot_rows + in_slot;
      const int position = first + (p.gated ? (row >> 4) * 8 + (row & 7) : row);
      const bool exists = in_slot < p.slot_rows && team + 2 * i < p.blocks && position < last;
      source[i] = exists ? position : -1;
      if (exists && p.index != nullptr) source[i] = __ldg(p.index + position);
    }
  }
  __device__ __forceinline__ void settle_up() {
    const int up_row = p.gated ? ((warp + 4 * lane) >> 3) & 1 : 0;  // slots hold whole groups of 16 rows
#pragma unroll
    for (int i = 0; i < kSources; ++i) {
      source[i] = source[i] < 0 ? static_cast<int>(p.total_rows) : (source[i] << (p.gated ? 1 : 0)) + up_row;
    }
  }

  // Down: rows of slots s, s + 2, ... of a row tile. Past the end they become zeros, since they meet every output.
  __device__ __forceinline__ void read_down(int (&rows)[kSources], int s) const {
#pragma unroll
    for (int c = 0; c < kSources; ++c) {
      const int position = work.begin + (s + 2 * c) * 64 + warp + 4 * (lane & 15);
      rows[c] = position < work.end ? position : static_cast<int>(p.total_rows);
      if (position < work.end && p.index != nullptr) rows[c] = __ldg(p.index + position);
    }
  }

  // The ring is full of weights: nothing else is left to do before the input exists.
  __device__ __forceinline__ void feed(SplitInput<G>* input, int lines) {
    if (input == nullptr) return;
    if (2 * filled >= shared.weight_slots) input->await();
    input->pending += lines;
    input->load();
  }

  __device__ __forceinline__ void load_up(int tile, SplitInput<G>* input) {
    settle_up();
    int rows[kSources];
#pragma unroll
    for (int i = 0; i < kSources; ++i) rows[i] = rows_of(source[i]);
#pragma unroll 1
    for (int chunk = work.begin; chunk < work.end; ++chunk) {
      feed(input, G::kUpLines);
#pragma unroll 1
      for (int i = 0; team + 2 * i < p.blocks; ++i) {
        int from = source[0], count = rows[0];
#pragma unroll
        for (int other = 1; other < kSources; ++other) {
          if (i == other) from = source[other], count = rows[other];
        }
        load_slot(from, count, chunk * G::kUpLines, input);
      }
    }
    if (tile + p.workers < p.row_tiles) read_up(tile + p.workers);
  }

  // Slots of this team are those whose number since the start of the kernel, `before` at the first of the tile, has
  // its parity. Indices are read kAhead slots at a time, the next batch while the current one loads.
  __device__ __forceinline__ void load_down(int tile, int before, SplitInput<G>* input) {
    const int slots = work.steps(), first = (team + before) & 1;
    if (before > 0) read_down(source, first);
    int next[kSources];
#pragma unroll 1
    for (int s = first; s < slots; s += 2 * kAhead) {
      read_down(next, s + 2 * kAhead);
#pragma unroll 1
      for (int c = 0; c < kAhead && s + 2 * c < slots; ++c) {
        int from = source[0];
#pragma unroll
        for (int other = 1; other < kAhead; ++other) {
          if (c == other) from = source[other];
        }
        feed(input, s + 2 * c == first ? min(first + 2, slots) : min(2, slots - s - 2 * c));
        load_slot(from, 16, tile * p.lines, input);
      }
#pragma unroll
      for (int c = 0; c < kAhead; ++c) source[c] = next[c];
    }
    if (first >= slots) feed(input, slots);
  }

  __device__ __forceinline__ void run(SplitInput<G>* input) {
    int before = 0;
    for (int tile = work.cluster; tile < p.row_tiles; tile += p.workers) {
      if constexpr (G::kOp == GemmOp::kUp) {
        load_up(tile, input);
      } else {
        load_down(tile, before, input);
        before += work.steps();
      }
    }
    if (input == nullptr) return;
    input->await();
    while (input->pending > 0) input->load();
  }
};

#endif

}  // namespace polar::cuda::mlp
