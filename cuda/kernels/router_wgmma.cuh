// Warpgroup multiplications with both operands in shared memory, and the ring of slots that feeds them (sm_90a).
#pragma once

#include "mlp_wgmma.cuh"
#include "router_products_config.h"

#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)

namespace polar::cuda::router {

namespace hopper = mlp::ptx;

// Writes of ordinary stores that this thread has observed become visible to its copies.
__device__ __forceinline__ void fence_before_copies() { asm volatile("fence.proxy.async.global;" ::: "memory"); }

// The slots of a ring: rows of 128 bytes of weights, then of input, both with the 128-byte swizzle. Barriers lie behind
// the slots: full and empty of each.
struct Slots {
  uint32_t base, barriers;
  int count, weight_bytes, slot_bytes;
  __device__ Slots(uint32_t address, uint32_t barrier_address, int slots, int weight_rows, int columns)
      : base(address),
        barriers(barrier_address),
        count(slots),
        weight_bytes(weight_rows * kSliceBytes),
        slot_bytes((weight_rows + columns) * kSliceBytes) {}
  __device__ uint32_t weights(int slot) const { return base + slot * slot_bytes; }
  __device__ uint32_t input(int slot) const { return base + slot * slot_bytes + weight_bytes; }
  __device__ uint32_t full(int slot) const { return barriers + slot * 8; }
  __device__ uint32_t empty(int slot) const { return barriers + (kMostSlots + slot) * 8; }
  __device__ uint32_t extra_barrier() const { return barriers + 2 * kMostSlots * 8; }
  // `readers`: warps that give a slot back.
  __device__ void init(int readers) const {
    for (int i = 0; i < count; ++i) {
      hopper::mbarrier_init(full(i), 1);
      hopper::mbarrier_init(empty(i), readers);
    }
  }
};

// A place in the ring. For who fills slots, `parity` is that of the use before; the first wait returns at once.
struct SlotPlace {
  int slot = 0;
  uint32_t parity = 0;
  __device__ __forceinline__ void advance(int slots) {
    if (++slot == slots) slot = 0, parity ^= 1;
  }
};

#define POLAR_D(j) "+f"(d[j][0]), "+f"(d[j][1]), "+f"(d[j][2]), "+f"(d[j][3])
#define POLAR_D4(j) POLAR_D(j), POLAR_D(j + 1), POLAR_D(j + 2), POLAR_D(j + 3)
#define POLAR_D8(j) POLAR_D4(j), POLAR_D4(j + 4)
#define POLAR_R4 "%0,%1,%2,%3"
#define POLAR_R16 POLAR_R4 ",%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15"
#define POLAR_R32 POLAR_R16 ",%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define POLAR_R64                                                                                         \
  POLAR_R32                                                                                               \
  ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56," \
  "%57,%58,%59,%60,%61,%62,%63"
#define POLAR_WGMMA(n, type, registers, a_operand, b_operand, ...)                                     \
  asm volatile(                                                                                        \
      "{\n.reg .pred p;\nsetp.eq.u32 p, 0, 0;\n"                                                       \
      "wgmma.mma_async.sync.aligned.m64n" #n "k16.f32." type "." type " {" registers "}, %" #a_operand \
      ", %" #b_operand ", p, 1, 1, 0, 0;\n}"                                                           \
      : __VA_ARGS__                                                                                    \
      : "l"(a), "l"(b)                                                                                 \
      : "memory")
#define POLAR_WGMMA_OF(n, registers, a_operand, b_operand, ...)             \
  if constexpr (Columns == n) {                                             \
    if constexpr (Bf16) {                                                   \
      POLAR_WGMMA(n, "bf16", registers, a_operand, b_operand, __VA_ARGS__); \
    } else {                                                                \
      POLAR_WGMMA(n, "f16", registers, a_operand, b_operand, __VA_ARGS__);  \
    }                                                                       \
  }

// d[64, Columns] += a[64, 16] * b[Columns, 16]^T by a warpgroup, both by descriptor; d as fragments of m16n8.
template <bool Bf16, int Columns>
__device__ __forceinline__ void wgmma_shared(float (&d)[Columns / 8][4], uint64_t a, uint64_t b) {
  POLAR_WGMMA_OF(8, POLAR_R4, 4, 5, POLAR_D(0))
  POLAR_WGMMA_OF(32, POLAR_R16, 16, 17, POLAR_D4(0))
  POLAR_WGMMA_OF(64, POLAR_R32, 32, 33, POLAR_D8(0))
  POLAR_WGMMA_OF(128, POLAR_R64, 64, 65, POLAR_D8(0), POLAR_D8(8))
}

#undef POLAR_WGMMA_OF
#undef POLAR_WGMMA
#undef POLAR_R64
#undef POLAR_R32
#undef POLAR_R16
#undef POLAR_R4
#undef POLAR_D8
#undef POLAR_D4
#undef POLAR_D

template <int Columns>
__device__ __forceinline__ void clear(float (&d)[Columns / 8][4]) {
#pragma unroll
  for (int j = 0; j < Columns / 8; ++j) d[j][0] = d[j][1] = d[j][2] = d[j][3] = 0.0f;
  hopper::wgmma_hold(d);
}

// Multiplies `slices` slots, as they fill, by the 64 rows from `row` of each, and gives them back. Called by a whole
// warpgroup; every warp arrives once per slot.
template <typename T, int Columns>
__device__ __forceinline__ void multiply_slices(float (&d)[Columns / 8][4], const Slots& slots, SlotPlace& place,
                                                int slices, int row) {
  constexpr bool kBf16 = std::is_same_v<T, __nv_bfloat16>;
  for (int s = 0; s < slices; ++s) {
    hopper::mbarrier_wait(slots.full(place.slot), place.parity);
    const uint64_t a = hopper::wgmma_descriptor(slots.weights(place.slot) + row * kSliceBytes);
    const uint64_t b = hopper::wgmma_descriptor(slots.input(place.slot));
    hopper::wgmma_fence();
#pragma unroll
    for (int step = 0; step < kSliceK / 16; ++step) wgmma_shared<kBf16, Columns>(d, a + step * 2, b + step * 2);
    hopper::wgmma_commit();
    hopper::wgmma_wait<0>();
    if ((threadIdx.x & 31) == 0) hopper::mbarrier_arrive(slots.empty(place.slot));
    place.advance(slots.count);
  }
  hopper::wgmma_hold(d);
}

}  // namespace polar::cuda::router

#endif
