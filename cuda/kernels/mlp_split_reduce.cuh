// The reduction of the cluster-split kernel: the blocks of a cluster exchange their sums through distributed shared
// memory and add them up in block order, so that the result has the same bits in every run.
#pragma once

#include "mlp_split_multiply.cuh"

namespace polar::cuda::mlp {

#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)

// One test of the activation for two values: the end of the kernel is bound by the number of instructions.
__device__ __forceinline__ void activate_pair(int activation, float (&z)[2]) {
  if (activation == 0) {  // POLAR_RELU; NaN stays NaN
    z[0] = z[0] < 0.0f ? 0.0f : z[0];
    z[1] = z[1] < 0.0f ? 0.0f : z[1];
  } else {
    z[0] = activate(activation, z[0]);
    z[1] = activate(activation, z[1]);
  }
}

template <class G, typename T>
struct SplitReducer {
  using Block = SplitBlock<G>;
  const GemmParams& p;
  const SplitPlan<G>& shared;
  const SplitWork<G>& work;
  int rank, lane, group, warp, blocks;
  int block_parts, part_inverse;  // 16-row parts of a block; 65536 / block_parts, rounded up
  int exchanges = 0;              // rounds so far

  __device__ SplitReducer(const GemmParams& params, const SplitPlan<G>& plan, const SplitWork<G>& its_work,
                          int its_rank)
      : p(params),
        shared(plan),
        work(its_work),
        rank(its_rank),
        lane(threadIdx.x & 31),
        group(threadIdx.x >> 7),
        warp((threadIdx.x >> 5) & 3),
        blocks(params.blocks),
        block_parts(G::kOp == GemmOp::kUp ? params.slot_rows / 16 : 4),
        part_inverse(65536 / block_parts + 1) {}

  // 16-row parts of the tile are owned by the blocks of the cluster in turn: part t by block t % split. A 64-row block
  // has part_rows / 16 of them.
  __device__ __forceinline__ int owned(int parts) const { return (parts - rank + p.split - 1) / p.split; }

  // Output column (neuron position or hidden column) of the first row of a part. Gated: a part holds eight neurons.
  __device__ __forceinline__ int first_column(int tile, int part) const {
    const int block = part * part_inverse >> 16, row = (part - block * block_parts) * 16;
    if constexpr (G::kOp == GemmOp::kUp) {
      return first_neuron(p, tile) + ((block * p.slot_rows + row) >> (p.gated ? 1 : 0));
    } else {
      return (tile * p.lines + block) * kLineElements + row;
    }
  }
  __device__ __forceinline__ int column_end(int tile) const {
    return G::kOp == GemmOp::kUp ? first_neuron(p, tile + 1) : p.hidden_size;
  }

  // The bias of row `own` of the parts that this block reduces. Read early: it is two dependent cache misses.
  __device__ __forceinline__ float read_shift(int tile, int own) const {
    const T* bias = static_cast<const T*>(p.bias);
    const int row = own % 16;
    if (bias == nullptr || own >= owned(blocks * block_parts) * 16) return 0.0f;
    const int column = first_column(tile, own / 16 * p.split + rank) + row;
    if (column >= column_end(tile) || (p.gated && row >= 8)) return 0.0f;
    return to_float(bias[G::kOp == GemmOp::kUp && p.bias_index != nullptr ? p.bias_index[column] : column]);
  }

  // Hands this warp's fragments [round * kReduced, ...) of 64-row blocks [first, last) to the blocks that own them.
  __device__ __forceinline__ void send(const Block (&acc)[G::kMi], int first, int last, int round) const {
#pragma unroll
    for (int i = 0; i < G::kMi; ++i) {
      const int block = i * kSplitGroups + group;
      if (block < first || block >= last || warp >= block_parts) continue;
      const int part = block * block_parts + warp, owner = part % p.split;
      const int place = (part / p.split - (first * block_parts + p.split - 1 - owner) / p.split) * p.split + rank;
      const uint32_t here = shared.parts + place * G::kReduced * 512 + lane * 16;
      const uint32_t there = ptx::cluster_address(here, owner), full = ptx::cluster_address(shared.parts_full(), owner);
#pragma unroll
      for (int r = 0; r < G::kRounds; ++r) {
        if (r != round) continue;
        if (owner == rank) {
#pragma unroll
          for (int j = 0; j < G::kReduced; ++j) ptx::store_shared(here + j * 512, acc[i][r * G::kReduced + j]);
        } else {
#pragma unroll
          for (int j = 0; j < G::kReduced; ++j) ptx::store_async(there + j * 512, acc[i][r * G::kReduced + j], full);
        }
      }
    }
  }

  // Tells the other blocks of the cluster that the parts here have been read (or their place is free).
  __device__ __forceinline__ void tell_free() const {
    __syncwarp();
    if (lane < p.split && lane != rank) {
      ptx::mbarrier_arrive_remote(ptx::cluster_address(shared.parts_free(), lane));
    }
  }

  // Where a lane stores: two rows of each part, two sequences.
  struct Target {
    T* first;
    T* second;
    bool has_first, has_second;
  };

  __device__ __forceinline__ void store(const Target& to, const float4& sum, float2 shift, int column, int end) const {
    const float values[4] = {sum.x, sum.y, sum.z, sum.w};
    const bool up = G::kOp == GemmOp::kUp, pairs = up && p.gated;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      if (column + half * 8 >= end || (pairs && half == 1)) continue;  // gated: the up row is the other factor
      const float add = half == 0 ? shift.x : shift.y;
      float result[2] = {values[half * 2] + add, values[half * 2 + 1] + add};
      if (up) activate_pair(p.activation, result);
      if (pairs) result[0] *= values[2], result[1] *= values[3];
      if (to.has_first) to.first[column + half * 8] = from_float<T>(result[0]);
      if (to.has_second) to.second[column + half * 8] = from_float<T>(result[1]);
    }
  }

  // A tile that no other block has a part of: stored from the accumulators.
  __device__ __forceinline__ void store_tile(const Block (&acc)[G::kMi], int tile, uint32_t shifts) const {
    if (warp >= block_parts) return;
    const int row = lane >> 2, end = column_end(tile);
#pragma unroll
    for (int i = 0; i < G::kMi; ++i) {
      const int block = i * kSplitGroups + group;
      if (block >= blocks) continue;
      const int part = block * block_parts + warp, column = first_column(tile, part) + row;
      const uint32_t at = shifts + (part * 16 + row) * 4;
      const float2 shift = make_float2(ptx::load_shared_float(at), ptx::load_shared_float(at + 32));
#pragma unroll
      for (int j = 0; j < G::kFragments; ++j) {
        const int sequence = work.column * G::kBatch + j * 8 + (lane & 3) * 2;
        T* out = static_cast<T*>(p.out) + sequence * p.out_stride;
        const Target to{out, out + p.out_stride, sequence < p.batch, sequence + 1 < p.batch};
        store(to, make_float4(acc[i][j][0], acc[i][j][1], acc[i][j][2], acc[i][j][3]), shift, column, end);
      }
    }
  }

  // Adds up the parts that this block owns, from its own part `first` on, in block order, and stores the outputs. A
  // warp keeps to one fragment, so to the same sequences; two parts at a time, for their latencies to overlap.
  __device__ __forceinline__ void receive(int tile, int first, int count, int round, uint32_t shifts) const {
    constexpr int kStep = kConsumerWarps / G::kReduced;
    const int thread_warp = threadIdx.x >> 5, j = thread_warp % G::kReduced, row = lane >> 2, end = column_end(tile);
    const int sequence = work.column * G::kBatch + (round * G::kReduced + j) * 8 + (lane & 3) * 2;
    T* out = static_cast<T*>(p.out) + sequence * p.out_stride;
    const Target to{out, out + p.out_stride, sequence < p.batch, sequence + 1 < p.batch};
    for (int part = thread_warp / G::kReduced; part < count; part += 2 * kStep) {
      float4 sum[2];
      float2 shift[2];
#pragma unroll
      for (int q = 0; q < 2; ++q) {
        const int mine = part + q * kStep;
        if (mine >= count) continue;
        const uint32_t from = shared.parts + (mine * p.split * G::kReduced + j) * 512 + lane * 16;
        sum[q] = ptx::load_shared(from);
#pragma unroll 3
        for (int r = 1; r < p.split; ++r) {
          const float4 v = ptx::load_shared(from + r * G::kReduced * 512);
          sum[q].x += v.x, sum[q].y += v.y, sum[q].z += v.z, sum[q].w += v.w;
        }
        const uint32_t at = shifts + ((first + mine) * 16 + row) * 4;
        shift[q] = make_float2(ptx::load_shared_float(at), ptx::load_shared_float(at + 32));
      }
#pragma unroll
      for (int q = 0; q < 2; ++q) {
        const int mine = part + q * kStep;
        if (mine < count) {
          store(to, sum[q], shift[q], first_column(tile, (first + mine) * p.split + rank) + row, end);
        }
      }
    }
  }

  // Reduces a tile: all its 64-row blocks at once where the parts may lie in the weight slots, else two at a time.
  __device__ __forceinline__ void exchange(const Block (&acc)[G::kMi], int tile, uint32_t shifts, bool last_tile) {
    const int step = p.aliased ? blocks : kSplitGroups;
    if (p.aliased) tell_free();
#pragma unroll 1
    for (int first = 0; first < blocks; first += step) {
      const int end = min(blocks, first + step), before = owned(first * block_parts);
      const int count = owned(end * block_parts) - before;
#pragma unroll 1
      for (int round = 0; round < G::kRounds; ++round, ++exchanges) {
        // Parts of this block are ordered by barriers of its threads, those of others by parts_full and parts_free.
        if (first > 0 || round > 0) ptx::named_barrier<kConsumerWarps * 32>();
        if (threadIdx.x == 0) {
          ptx::mbarrier_arrive_expect(shared.parts_full(), count * (p.split - 1) * G::kReduced * 512);
        }
        const int free = p.aliased ? exchanges : exchanges - 1;  // phase that frees the place of this round
        if (free >= 0) ptx::mbarrier_wait(shared.parts_free(), free & 1);
        send(acc, first, end, round);
        ptx::named_barrier<kConsumerWarps * 32>();
        ptx::mbarrier_wait(shared.parts_full(), exchanges & 1);
        receive(tile, before, count, round, shifts);
        if (!last_tile || end < blocks || round + 1 < G::kRounds) tell_free();
      }
    }
  }
};

#endif

}  // namespace polar::cuda::mlp
