// The cluster-split kernel of the MLP GEMMs (sm_90a). Grid: (clusters x split) x batch_tiles blocks. A cluster walks
// row tiles; its blocks take one part of k each. Two warpgroups multiply, eight warps load.
#pragma once

#include "mlp_split_load.cuh"
#include "mlp_split_multiply.cuh"
#include "mlp_split_reduce.cuh"

namespace polar::cuda::mlp {

#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)

template <class G, typename T>
__device__ __forceinline__ void split_consume(const GemmParams& p, const SplitPlan<G>& shared, const SplitWork<G>& work,
                                              int rank) {
  SplitMultiplier<G, T> multiplier(p, shared);
  SplitReducer<G, T> reducer(p, shared, work, rank);
  SplitBlock<G> acc[G::kMi];
  const int steps = work.steps();
  int pass = 0;
  for (int tile = work.cluster; tile < p.row_tiles; tile += p.workers, ++pass) {
    constexpr int kThreads = kConsumerWarps * 32;  // a block has up to 384 biases, each thread two
    const int thread = threadIdx.x;
    const float shift[2] = {reducer.read_shift(tile, thread), reducer.read_shift(tile, thread + kThreads)};
#pragma unroll
    for (int i = 0; i < G::kMi; ++i) {
#pragma unroll
      for (int j = 0; j < G::kFragments; ++j) acc[i][j][0] = acc[i][j][1] = acc[i][j][2] = acc[i][j][3] = 0.0f;
      ptx::wgmma_hold(acc[i]);
    }
    for (int s = 0; s < steps; ++s) {
      multiplier.multiply_step(acc, p.skip_unit == 0 && tile == 0 && s == 0 && rank == 0);
    }
#pragma unroll
    for (int i = 0; i < G::kMi; ++i) ptx::wgmma_hold(acc[i]);
    const uint32_t shifts = shared.shifts + (pass & 1) * shared.shift_bytes;
    for (int own = thread, i = 0; own * 4 < shared.shift_bytes; own += kThreads, ++i) {
      ptx::store_shared_float(shifts + own * 4, i == 0 ? shift[0] : shift[1]);
    }
    ptx::named_barrier<kConsumerWarps * 32>();
    if (pass == 0) ptx::cluster_wait();  // the barriers of the other blocks are ready
    if (p.split == 1) {
      reducer.store_tile(acc, tile, shifts);
    } else {
      reducer.exchange(acc, tile, shifts, tile + p.workers >= p.row_tiles);
    }
  }
}

#endif

template <class G, typename T>
__global__ void __launch_bounds__(kSplitThreads, 1)
    mlp_split_kernel(const __grid_constant__ GemmParams p, const __grid_constant__ CUtensorMap weight_map,
                     const __grid_constant__ CUtensorMap input_map) {
#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
  extern __shared__ uint8_t shared_base[];
  const SplitPlan<G> shared(shared_base, p);
  const int rank = static_cast<int>(ptx::cluster_rank());
  const SplitWork<G> work(p, rank);
  if (threadIdx.x >= kConsumerWarps * 32) {
    const int producer = __shfl_sync(0xffffffffu, static_cast<int>(threadIdx.x >> 5), 0) - kConsumerWarps;
    if (threadIdx.x == kConsumerWarps * 32) {
      ptx::tensor_prefetch(&weight_map);
      ptx::tensor_prefetch(&input_map);
    }
    SplitWeights<G> weights(p, &weight_map, shared, work, producer);
    ptx::block_barrier<kSplitThreads>();
    ptx::registers_decrease<kProducerRegisters>();
    ptx::cluster_arrive();
    ptx::launch_dependents();
    if (producer == 0) {
      SplitInput<G> input(p, &input_map, shared, work);
      weights.run(&input);
    } else {
      weights.run(nullptr);
    }
    ptx::cluster_wait();
  } else {
    init_split_barriers<G>(shared, p.split);
    ptx::block_barrier<kSplitThreads>();
    ptx::registers_increase<kConsumerRegisters>();
    ptx::cluster_arrive();
    split_consume<G, T>(p, shared, work, rank);
  }
#endif
}

}  // namespace polar::cuda::mlp
