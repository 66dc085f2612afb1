// The two kernels of the MLP GEMMs. Grid: workers x batch_tiles blocks; block b is worker b / batch_tiles of batch tile
// b % batch_tiles, so the blocks that read the same weights run side by side and meet in L2.
#pragma once

#include "mlp_gemm.cuh"

namespace polar::cuda::mlp {

// A position in a ring of slots: index and the parity of the round.
struct RingPosition {
  int slot;
  uint32_t parity = 0;
  __device__ explicit RingPosition(int start) : slot(start) {}
  __device__ __forceinline__ void advance(int by, int slots) {
    slot += by;
    if (slot >= slots) {
      slot -= slots;
      parity ^= 1;
    }
  }
};

// Shared memory: input slots on 1024 bytes (the period of the swizzle), weight slots on any 128 bytes, then the
// barriers of the tensor copies.
template <class G>
struct SharedPlan {
  uint32_t weights, inputs, barriers;
  int weight_slots, input_slots;
  __device__ SharedPlan(const void* base, const GemmParams& p)
      : weight_slots(p.weight_slots), input_slots(p.input_slots) {
    inputs = (ptx::shared_address(base) + 1023u) & ~1023u;
    weights = inputs + input_slots * G::kInputSlotBytes;
    barriers = weights + weight_slots * G::kWeightSlotBytes;
  }
  __device__ uint32_t weight(int slot) const { return weights + slot * G::kWeightSlotBytes; }
  __device__ uint32_t input(int slot) const { return inputs + slot * G::kInputSlotBytes; }
  __device__ uint32_t weight_full(int slot) const { return barriers + slot * 8; }
  __device__ uint32_t weight_empty(int slot) const { return barriers + (weight_slots + slot) * 8; }
  __device__ uint32_t input_full(int slot) const { return barriers + (2 * weight_slots + slot) * 8; }
  __device__ uint32_t input_empty(int slot) const { return barriers + (2 * weight_slots + input_slots + slot) * 8; }
};

inline constexpr int kWeightWarps = 4;  // producers of weights: each owns a quarter of the rows of every slot
// 12 warps leave 168 registers to a thread; a 13th would cost 40 of them, so the first producer loads the input, too.
inline constexpr int kTensorThreads = (kConsumerWarps + kWeightWarps) * 32;
inline constexpr int kAsyncThreads = kConsumerWarps * 32;

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900

template <class G>
__device__ __forceinline__ void init_barriers(const SharedPlan<G>& shared) {
  for (int s = 0; s < shared.weight_slots; ++s) {
    ptx::mbarrier_init(shared.weight_full(s), kWeightWarps);
    ptx::mbarrier_init(shared.weight_empty(s), G::kGroupWarps);
  }
  for (int s = 0; s < shared.input_slots; ++s) {
    ptx::mbarrier_init(shared.input_full(s), 1);
    ptx::mbarrier_init(shared.input_empty(s), kConsumerWarps);
  }
  ptx::mbarrier_init_fence();
}

// Loads the input slots of units [unit, end), run by one whole warp. It never blocks: its warp has weights to load as
// well, and the consumers need both to go on. Sequences past the end are coordinates outside the tensor map: the copy
// engine writes zeros for them and reads nothing.
template <class G>
struct InputProducer {
  const CUtensorMap* map;
  const SharedPlan<G>& shared;
  int chunks, chunk, column;
  int64_t left;
  uint64_t policy;
  RingPosition input{0};

  __device__ InputProducer(const GemmParams& p, const CUtensorMap* input_map, const SharedPlan<G>& plan, int batch_tile,
                           int64_t unit, int64_t end)
      : map(input_map),
        shared(plan),
        chunks(p.chunks),
        chunk(static_cast<int>(unit % p.chunks)),
        column(batch_tile),
        left(end - unit),
        policy(ptx::policy_evict_last()) {}

  // Loads the next slot if it is free.
  __device__ __forceinline__ void poll() {
    if (left == 0 || !ptx::mbarrier_test(shared.input_empty(input.slot), input.parity ^ 1)) return;
    const uint32_t full = shared.input_full(input.slot), slot = shared.input(input.slot);
    if (ptx::elect_one()) {
      ptx::mbarrier_arrive_expect(full, G::kInputSlotBytes);
#pragma unroll
      for (int line = 0; line < G::kInputLines; ++line) {
        ptx::tensor_copy_2d(slot + line * G::kBatch * kLineBytes, map, chunk * G::kChunk + line * kLineElements,
                            column * G::kBatch, full, policy);
      }
    }
    __syncwarp();
    input.advance(1, shared.input_slots);
    if (++chunk == chunks) chunk = 0;
    --left;
  }
};

// Loads the weight slots of one producer warp: lane l knows the source of row first_row + l, one lane issues all
// copies. Rows past the end are outside the tensor map, too.
template <class G>
struct WeightProducer {
  static constexpr int kRows = G::kSlotRows / kWeightWarps;  // of a slot, per warp
  static_assert(kRows <= 32 && kRows % 8 == 0);
  const GemmParams& p;
  const CUtensorMap* map;
  const SharedPlan<G>& shared;
  InputProducer<G>* input;  // null in all warps but the first
  int first_row, lane_row;
  uint64_t policy;
  RingPosition weight{0};

  __device__ WeightProducer(const GemmParams& params, const CUtensorMap* weight_map, const SharedPlan<G>& plan,
                            int warp, InputProducer<G>* input_producer)
      : p(params),
        map(weight_map),
        shared(plan),
        input(input_producer),
        first_row(warp * kRows),
        lane_row(warp * kRows + static_cast<int>(threadIdx.x & 31) % kRows),
        // Several batch tiles: neighbouring blocks read the same rows at about the same time.
        policy(params.batch_tiles > 1 ? ptx::policy_evict_normal() : ptx::policy_evict_first()) {}

  __device__ __forceinline__ void wait_empty() {
    const uint32_t empty = shared.weight_empty(weight.slot), parity = weight.parity ^ 1;
    if (input == nullptr) {
      ptx::mbarrier_wait(empty, parity);
      return;
    }
    do {
      input->poll();
    } while (!ptx::mbarrier_test(empty, parity));
  }

  __device__ __forceinline__ void load_slot(int source, int line) {
    const uint32_t full = shared.weight_full(weight.slot);
    // first_row is a multiple of kLines, so the offset of row first_row + r is the sum of both offsets.
    const uint32_t slot = shared.weight(weight.slot) + G::row_offset(first_row);
    wait_empty();
#pragma unroll
    for (int group = 0; group < kRows; group += 8) {
      int rows[8];
#pragma unroll
      for (int r = 0; r < 8; ++r) rows[r] = __shfl_sync(0xffffffffu, source, group + r);
      if (ptx::elect_one()) {
        if (group == 0) ptx::mbarrier_arrive_expect(full, kRows * G::kLines * kLineBytes);
#pragma unroll
        for (int r = 0; r < 8; ++r) {
          ptx::tensor_copy_3d(slot + G::row_offset(group + r), map, 0, line, rows[r], full, policy);
        }
      }
      __syncwarp();
    }
    weight.advance(1, shared.weight_slots);
  }

  // Chunks [first, stop) of a row tile. The rows of an up tile stay the same.
  __device__ __forceinline__ void load_up(int tile, int first, int stop) {
    int source[G::kGroups];
#pragma unroll
    for (int g = 0; g < G::kGroups; ++g) {
      source[g] = static_cast<int>(up_weight_row<G>(p, tile, g * G::kSlotRows + lane_row));
    }
    for (int chunk = first; chunk < stop; ++chunk) {
#pragma unroll
      for (int g = 0; g < G::kGroups; ++g) load_slot(source[g], chunk * G::kLines);
    }
  }

  // Every chunk of a down tile has rows of its own: indices are read kAhead chunks at a time, the next batch while the
  // current one loads, so that no slot waits for an index.
  static constexpr int kAhead = 4;
  __device__ __forceinline__ void read_rows(int (&rows)[kAhead], int chunk) const {
#pragma unroll
    for (int c = 0; c < kAhead; ++c) {
      rows[c] = static_cast<int>(down_weight_row<G>(p, (chunk + c) * G::kChunk + lane_row));
    }
  }
  __device__ __forceinline__ void load_down(int tile, int first, int stop) {
    int now[kAhead], next[kAhead];
    read_rows(now, first);
    for (int chunk = first; chunk < stop; chunk += kAhead) {
      read_rows(next, chunk + kAhead);
#pragma unroll
      for (int c = 0; c < kAhead; ++c) {
        if (chunk + c < stop) load_slot(now[c], tile * G::kLines);
      }
#pragma unroll
      for (int c = 0; c < kAhead; ++c) now[c] = next[c];
    }
  }

  __device__ __forceinline__ void run(int64_t unit, int64_t end) {
    while (unit < end) {
      const int tile = static_cast<int>(unit / p.chunks);
      const int first = static_cast<int>(unit - static_cast<int64_t>(tile) * p.chunks);
      const int64_t left = end - unit;
      const int stop = left < p.chunks - first ? first + static_cast<int>(left) : p.chunks;
      if constexpr (G::kOp == GemmOp::kUp) {
        load_up(tile, first, stop);
      } else {
        load_down(tile, first, stop);
      }
      unit += stop - first;
    }
  }
};

// What the warps behind the consumers do.
template <class G>
__device__ __forceinline__ void produce(const GemmParams& p, const CUtensorMap* weight_map,
                                        const CUtensorMap* input_map, const SharedPlan<G>& shared, int column,
                                        int64_t unit, int64_t end) {
  const int warp = __shfl_sync(0xffffffffu, static_cast<int>(threadIdx.x >> 5), 0) - kConsumerWarps;
  if (warp > 0) {
    WeightProducer<G>(p, weight_map, shared, warp, nullptr).run(unit, end);
    return;
  }
  InputProducer<G> input(p, input_map, shared, column, unit, end);
  WeightProducer<G>(p, weight_map, shared, warp, &input).run(unit, end);
  while (input.left > 0) input.poll();
}

template <class G, typename T>
__device__ __forceinline__ void consume(const GemmParams& p, const SharedPlan<G>& shared, int worker, int column,
                                        int64_t unit, int64_t end) {
  const WarpPlace<G> at(threadIdx.x);
  const FragmentReader<G> reader(at);
  RingPosition weight(at.group), input(0);
  Accumulators<G> acc;
  while (unit < end) {
    const int tile = static_cast<int>(unit / p.chunks);
    const int64_t tile_end = static_cast<int64_t>(tile + 1) * p.chunks;
    const int64_t stop = tile_end < end ? tile_end : end;
    clear<G>(acc);
    for (; unit < stop; ++unit) {
      ptx::mbarrier_wait(shared.input_full(input.slot), input.parity);
      ptx::mbarrier_wait(shared.weight_full(weight.slot), weight.parity);
      if (unit != p.skip_unit) {
        multiply_slot<G, T>(acc, reader, shared.weight(weight.slot), shared.input(input.slot));
      }
      __syncwarp();
      if (at.lane == 0) {
        ptx::mbarrier_arrive(shared.weight_empty(weight.slot));
        ptx::mbarrier_arrive(shared.input_empty(input.slot));
      }
      weight.advance(G::kGroups, shared.weight_slots);
      input.advance(1, shared.input_slots);
    }
    if (reduce_parts<G>(p, acc, at, worker, column, tile)) store_tile<G, T>(p, acc, at, column, tile);
  }
}

#endif

// sm_90 and later: warps 0-7 multiply, the others keep the ring of slots full with tensor copies.
template <class G, typename T>
__global__ void __launch_bounds__(kTensorThreads, 1)
    mlp_gemm_tensor_copy_kernel(const __grid_constant__ GemmParams p, const __grid_constant__ CUtensorMap weight_map,
                                const __grid_constant__ CUtensorMap input_map) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
  extern __shared__ uint8_t shared_base[];
  const SharedPlan<G> shared(shared_base, p);
  if (threadIdx.x == 0) init_barriers<G>(shared);
  if (threadIdx.x == kConsumerWarps * 32) {
    ptx::tensor_prefetch(&weight_map);
    ptx::tensor_prefetch(&input_map);
  }
  __syncthreads();
  const int column = blockIdx.x % p.batch_tiles, worker = blockIdx.x / p.batch_tiles;
  const int64_t units = static_cast<int64_t>(p.row_tiles) * p.chunks;
  const int64_t begin = first_unit(units, worker, p.workers), end = first_unit(units, worker + 1, p.workers);
  if (threadIdx.x >= kConsumerWarps * 32) {
    produce<G>(p, &weight_map, &input_map, shared, column, begin, end);
  } else {
    consume<G, T>(p, shared, worker, column, begin, end);
  }
#endif
}

// Issues the copies of one unit into slot `slot`; whatever lies past an edge becomes zero.
template <class G>
__device__ __forceinline__ void load_slot_async(const GemmParams& p, const SharedPlan<G>& shared, int column,
                                                int64_t unit, int slot) {
  constexpr int kPieces = G::kLines * 8;
  const int tile = static_cast<int>(unit / p.chunks);
  const int chunk = static_cast<int>(unit - static_cast<int64_t>(tile) * p.chunks);
  const int first_line = (G::kOp == GemmOp::kUp ? chunk : tile) * G::kLines;
  const auto* weights = static_cast<const uint16_t*>(p.weights);
#pragma unroll 4
  for (int q = threadIdx.x; q < G::kSlotRows * kPieces; q += kAsyncThreads) {
    const int row = q / kPieces, piece = q % kPieces, line = piece >> 3;
    const int64_t source =
        G::kOp == GemmOp::kUp ? up_weight_row<G>(p, tile, row) : down_weight_row<G>(p, chunk * G::kChunk + row);
    const int element = first_line * kLineElements + piece * 8;
    const bool inside = source < p.total_rows && element < p.hidden_size;
    ptx::cp_async_16(swizzled(shared.weight(slot) + G::row_offset(row) + line * kLineBytes + ((piece & 7) << 4)),
                     inside ? weights + source * p.hidden_size + element : weights, inside ? 16 : 0);
  }
  const auto* input = static_cast<const uint16_t*>(p.input);
  const int k = G::kOp == GemmOp::kUp ? p.hidden_size : p.active;
  for (int q = threadIdx.x; q < G::kBatch * G::kInputLines * 8; q += kAsyncThreads) {
    const int sequence = q / (G::kInputLines * 8), piece = q % (G::kInputLines * 8), line = piece >> 3;
    const int element = chunk * G::kChunk + piece * 8;
    const int left = column * G::kBatch + sequence < p.batch ? (k - element) * 2 : 0;
    const int bytes = left < 0 ? 0 : left > 16 ? 16 : left;
    ptx::cp_async_16(swizzled(shared.input(slot) + (line * G::kBatch + sequence) * kLineBytes + ((piece & 7) << 4)),
                     bytes > 0 ? input + (column * G::kBatch + sequence) * p.input_stride + element : input, bytes);
  }
}

// Every architecture: all threads copy, then multiply. weight_slots == input_slots, 2 to 4.
template <class G, typename T>
__global__ void __launch_bounds__(kAsyncThreads, 1) mlp_gemm_async_copy_kernel(const __grid_constant__ GemmParams p) {
  static_assert(G::kGroups == 1);
  extern __shared__ uint8_t shared_base[];
  const SharedPlan<G> shared(shared_base, p);
  const int column = blockIdx.x % p.batch_tiles, worker = blockIdx.x / p.batch_tiles;
  const int64_t units = static_cast<int64_t>(p.row_tiles) * p.chunks;
  const int64_t begin = first_unit(units, worker, p.workers), end = first_unit(units, worker + 1, p.workers);
  const WarpPlace<G> at(threadIdx.x);
  const FragmentReader<G> reader(at);
  Accumulators<G> acc;
  clear<G>(acc);
  for (int s = 0; s < shared.weight_slots - 1; ++s) {
    if (begin + s < end) load_slot_async<G>(p, shared, column, begin + s, s);
    ptx::cp_async_commit();  // also when empty: the count of groups stays uniform
  }
  int slot = 0, load_slot = shared.weight_slots - 1;
  for (int64_t unit = begin; unit < end; ++unit) {
    if (shared.weight_slots == 2) {
      ptx::cp_async_wait<0>();
    } else if (shared.weight_slots == 3) {
      ptx::cp_async_wait<1>();
    } else {
      ptx::cp_async_wait<2>();
    }
    __syncthreads();  // the slot has landed for all threads, and all are done with the slot that is loaded next
    const int64_t ahead = unit + shared.weight_slots - 1;
    if (ahead < end) load_slot_async<G>(p, shared, column, ahead, load_slot);
    ptx::cp_async_commit();
    if (unit != p.skip_unit) multiply_slot<G, T>(acc, reader, shared.weight(slot), shared.input(slot));
    if (++slot == shared.weight_slots) slot = 0;
    if (++load_slot == shared.weight_slots) load_slot = 0;
    const int tile = static_cast<int>(unit / p.chunks);
    if (unit + 1 == end || (unit + 1) % p.chunks == 0) {
      if (reduce_parts<G>(p, acc, at, worker, column, tile)) store_tile<G, T>(p, acc, at, column, tile);
      clear<G>(acc);
    }
  }
}

}  // namespace polar::cuda::mlp
