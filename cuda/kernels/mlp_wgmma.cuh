// The PTX of sm_90a that the cluster-split MLP kernel needs beside mlp_ptx.cuh: warpgroup matrix instructions, thread
// block clusters, programmatic dependent launch.
#pragma once

#include "mlp_ptx.cuh"

#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)

namespace polar::cuda::mlp::ptx {

// A B operand of 64 k x n sequences in shared memory: rows of 128 bytes with the 128-byte swizzle, 1024 bytes to every
// eight rows. Adding 2 moves on by 16 k.
__device__ __forceinline__ uint64_t wgmma_descriptor(uint32_t address) {
  return static_cast<uint64_t>((address & 0x3ffffu) >> 4) | uint64_t{1} << 16 | uint64_t{64} << 32 | uint64_t{1} << 62;
}

__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// Waits until at most `Pending` of the committed groups are still at work.
template <int Pending>
__device__ __forceinline__ void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(Pending) : "memory");
}

// Keeps the compiler from moving reads and writes of accumulators across this point.
template <int Fragments>
__device__ __forceinline__ void wgmma_hold(float (&d)[Fragments][4]) {
#pragma unroll
  for (int j = 0; j < Fragments; ++j) {
    asm volatile("" : "+f"(d[j][0]), "+f"(d[j][1]), "+f"(d[j][2]), "+f"(d[j][3])::"memory");
  }
}

#define POLAR_LIST(...) __VA_ARGS__
#define POLAR_D1(j) "+f"(d[j][0]), "+f"(d[j][1]), "+f"(d[j][2]), "+f"(d[j][3])
#define POLAR_D2(j) POLAR_D1(j), POLAR_D1(j + 1)
#define POLAR_D4(j) POLAR_D2(j), POLAR_D2(j + 2)
#define POLAR_D8(j) POLAR_D4(j), POLAR_D4(j + 4)
#define POLAR_D16(j) POLAR_D8(j), POLAR_D8(j + 8)
#define POLAR_A "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(1)
#define POLAR_R4 "%0,%1,%2,%3"
#define POLAR_R8 POLAR_R4 ",%4,%5,%6,%7"
#define POLAR_R16 POLAR_R8 ",%8,%9,%10,%11,%12,%13,%14,%15"
#define POLAR_R32 POLAR_R16 ",%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define POLAR_R64                                                                                         \
  POLAR_R32                                                                                               \
  ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56," \
  "%57,%58,%59,%60,%61,%62,%63"

// d[64, n] += a[64, 16] * b[16, n] by a warpgroup: a in registers as for m16n8k16 (warp w holds rows 16 w to 16 w +
// 15), b by descriptor, d as n / 8 fragments of m16n8.
#define POLAR_WGMMA(n, fragments, registers, outputs, a0, a1, a2, a3, descriptor, scale, type)                     \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #scale                                                         \
               ", 0;\n"                                                                                            \
               "wgmma.mma_async.sync.aligned.m64n" #n "k16.f32." type "." type " {" registers "}, {%" #a0 ",%" #a1 \
               ",%" #a2 ",%" #a3 "}, %" #descriptor ", p, 1, 1, 0;\n}"                                             \
               : POLAR_LIST outputs                                                                                \
               : POLAR_A                                                                                           \
               : "memory")
#define POLAR_WGMMA_OF(n, fragments, registers, outputs, a0, a1, a2, a3, descriptor, scale)     \
  if constexpr (Fragments == fragments) {                                                       \
    if constexpr (Bf16) {                                                                       \
      POLAR_WGMMA(n, fragments, registers, outputs, a0, a1, a2, a3, descriptor, scale, "bf16"); \
    } else {                                                                                    \
      POLAR_WGMMA(n, fragments, registers, outputs, a0, a1, a2, a3, descriptor, scale, "f16");  \
    }                                                                                           \
  }

template <bool Bf16, int Fragments>
__device__ __forceinline__ void wgmma(float (&d)[Fragments][4], const uint32_t (&a)[4], uint64_t b) {
  POLAR_WGMMA_OF(8, 1, POLAR_R4, (POLAR_D1(0)), 4, 5, 6, 7, 8, 9)
  POLAR_WGMMA_OF(16, 2, POLAR_R8, (POLAR_D2(0)), 8, 9, 10, 11, 12, 13)
  POLAR_WGMMA_OF(32, 4, POLAR_R16, (POLAR_D4(0)), 16, 17, 18, 19, 20, 21)
  POLAR_WGMMA_OF(64, 8, POLAR_R32, (POLAR_D8(0)), 32, 33, 34, 35, 36, 37)
  POLAR_WGMMA_OF(128, 16, POLAR_R64, (POLAR_D16(0)), 64, 65, 66, 67, 68, 69)
}

#undef POLAR_WGMMA_OF
#undef POLAR_WGMMA
#undef POLAR_R64
#undef POLAR_R32
#undef POLAR_R16
#undef POLAR_R8
#undef POLAR_R4
#undef POLAR_A
#undef POLAR_D16
#undef POLAR_D8
#undef POLAR_D4
#undef POLAR_D2
#undef POLAR_D1
#undef POLAR_LIST

template <int Registers>
__device__ __forceinline__ void registers_increase() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(Registers));
}
template <int Registers>
__device__ __forceinline__ void registers_decrease() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(Registers));
}

__device__ __forceinline__ uint32_t cluster_rank() {
  uint32_t rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}
__device__ __forceinline__ int cluster_index() {
  int index;
  asm("mov.u32 %0, %%clusterid.x;" : "=r"(index));
  return index;
}
// Relaxed: what must be seen by then are initialised barriers, and those have a fence of their own. A release would
// wait for every load and store of the block first.
__device__ __forceinline__ void cluster_arrive() {
  asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
}
__device__ __forceinline__ void cluster_wait() { asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory"); }

// The address of the same place in the shared memory of block `rank` of the cluster.
__device__ __forceinline__ uint32_t cluster_address(uint32_t address, int rank) {
  uint32_t remote;
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(remote) : "r"(address), "r"(rank));
  return remote;
}
// Stores 16 bytes in another block and adds 16 to the transaction count of a barrier there.
__device__ __forceinline__ void store_async(uint32_t remote, const float (&v)[4], uint32_t remote_barrier) {
  asm volatile(
      "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v4.f32 [%0], {%1, %2, %3, %4}, [%5];" ::"r"(remote),
      "f"(v[0]), "f"(v[1]), "f"(v[2]), "f"(v[3]), "r"(remote_barrier)
      : "memory");
}
// Without `.release.cluster`, which ptxas turns into MEMBAR.ALL.GPU before the arrival (0.7 to 0.9 us each time): what
// is told is that shared memory has been read, and the results of those reads have been used by then.
__device__ __forceinline__ void mbarrier_arrive_remote(uint32_t remote) {
  asm volatile("mbarrier.arrive.shared::cluster.b64 _, [%0];" ::"r"(remote) : "memory");
}

__device__ __forceinline__ void store_shared(uint32_t address, const float (&v)[4]) {
  asm volatile("st.shared.v4.f32 [%0], {%1, %2, %3, %4};" ::"r"(address), "f"(v[0]), "f"(v[1]), "f"(v[2]), "f"(v[3])
               : "memory");
}
__device__ __forceinline__ float4 load_shared(uint32_t address) {
  float4 v;
  asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
               : "r"(address)
               : "memory");
  return v;
}
__device__ __forceinline__ float load_shared_float(uint32_t address) {
  float v;
  asm volatile("ld.shared.f32 %0, [%1];" : "=f"(v) : "r"(address) : "memory");
  return v;
}
__device__ __forceinline__ void store_shared_float(uint32_t address, float v) {
  asm volatile("st.shared.f32 [%0], %1;" ::"r"(address), "f"(v) : "memory");
}

// Barrier of the first `Threads` threads of the block, the others staying out.
template <int Threads>
__device__ __forceinline__ void named_barrier() {
  asm volatile("bar.sync 1, %0;" ::"n"(Threads) : "memory");
}
// Barrier of all threads of the block, which may stand in different branches.
template <int Threads>
__device__ __forceinline__ void block_barrier() {
  asm volatile("bar.sync 0, %0;" ::"n"(Threads) : "memory");
}

// Programmatic dependent launch: lets the next kernel of the stream start, waits for the one before to end.
__device__ __forceinline__ void launch_dependents() { asm volatile("griddepcontrol.launch_dependents;" ::: "memory"); }
__device__ __forceinline__ void wait_for_predecessor() { asm volatile("griddepcontrol.wait;" ::: "memory"); }

}  // namespace polar::cuda::mlp::ptx

#endif
