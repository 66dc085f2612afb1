// Device code of the MLP GEMMs: multiply, fixed-order reduction of split tiles, epilogue. mlp_config.h explains tiles,
// slots and chunks; mlp_gemm_kernels.cuh has the two kernels that load slots and call this.
#pragma once

#include "mlp_config.h"
#include "mlp_ptx.cuh"

namespace polar::cuda::mlp {

struct GemmParams {
  const void* weights;        // [total_rows, hidden_size], row-major
  const void* input;          // [batch, input_stride]: up [*, hidden_size]; down [*, >= active]
  void* out;                  // [batch, out_stride]
  const void* bias;           // up [intermediate_size], down [hidden_size], or null
  const int32_t* index;       // [active] ascending, in range; null = 0, 1, 2, ...
  const int32_t* bias_index;  // up: [active] neurons behind the columns of `out`; null = 0, 1, 2, ...
  float* partial;             // [grid, 2, tile floats]
  unsigned* tickets;          // [row_tiles, batch_tiles, kConsumerWarps], zero between launches
  int64_t input_stride;       // elements; a multiple of 8
  int64_t out_stride;
  int64_t total_rows;  // rows of `weights`: intermediate_size, doubled where gated
  int hidden_size;
  int active;  // neurons
  int batch;   // sequences from batch tile 0 of this launch on
  int row_tiles;
  int chunks;
  int workers;
  int batch_tiles;
  int weight_slots;
  int input_slots;
  int activation;  // PolarActivation
  int gated;
  int skip_unit;  // planted fault: the multiply of this unit is left out; -1 = none
  // Cluster split only; mlp_types.h explains them.
  int split;
  int lines;
  int slot_rows;
  int blocks;  // of 64 rows (up) or columns (down) in a row tile
  int aliased;
  int tile_share, tile_rest;   // up: neurons of a row tile; the first tile_rest tiles have one more
  int k_share, k_rest, k_end;  // k of a block: chunks (up) or neurons (down); the first k_rest blocks have one more
  int dependent;               // the input comes from the kernel before, which may still be running
};

template <GemmOp Op, GemmTile Tile, int BatchTile>
struct Geometry {
  static constexpr GemmOp kOp = Op;
  static constexpr TileShape kShape = tile_shape(Op, Tile, BatchTile);
  static constexpr int kBatch = BatchTile;
  static constexpr int kSlotRows = kShape.slot_rows;
  static constexpr int kLines = kShape.lines;
  static constexpr int kGroups = kShape.slots_per_chunk;  // warp groups; group g multiplies slot g of every chunk
  static constexpr int kGroupWarps = kShape.warps_m * kShape.warps_n;
  static constexpr int kTileRows = tile_rows(Op, kShape);
  static constexpr int kChunk = chunk_k(Op, kShape);
  static constexpr int kInputLines = kChunk / kLineElements;
  static constexpr int kSteps = kChunk / 16;
  static constexpr int kMi = (Op == GemmOp::kUp ? kSlotRows : kTileRows) / (16 * kShape.warps_m);
  static constexpr int kNi = BatchTile / (8 * kShape.warps_n);
  static constexpr int kWeightSlotBytes = weight_slot_bytes(kShape);
  static constexpr int kInputSlotBytes = input_slot_bytes(Op, kShape, BatchTile);
  static constexpr int kWarpFloats = kMi * kNi * 128;
  static_assert(kGroups * kGroupWarps == kConsumerWarps);
  static_assert(kMi * 16 * kShape.warps_m == (Op == GemmOp::kUp ? kSlotRows : kTileRows));
  static_assert(kNi * 8 * kShape.warps_n == BatchTile && (kNi == 1 || kNi % 2 == 0));
  static_assert(kLines <= 8 && (kLines & (kLines - 1)) == 0 && kSlotRows % 8 == 0);

  // Byte offset of a weight row within a slot, before the swizzle.
  __host__ __device__ static constexpr int row_offset(int row) {
    return ((row % kLines) * (kSlotRows + 1) + row / kLines * kLines) * kLineBytes;
  }
};

// The 128-byte swizzle of tensor copies, on a shared address whose 128-byte lines start at multiples of 128.
__device__ __forceinline__ uint32_t swizzled(uint32_t address) { return address ^ ((address >> 3) & 0x70u); }

// Where a warp stands in its tile.
template <class G>
struct WarpPlace {
  int lane, warp, group, warp_m, warp_n;
  __device__ explicit WarpPlace(int thread)
      : lane(thread & 31),
        warp(thread >> 5),
        group(warp / G::kGroupWarps),
        warp_m(warp % G::kGroupWarps % G::kShape.warps_m),
        warp_n(warp % G::kGroupWarps / G::kShape.warps_m) {}
};

template <class G>
using Accumulators = float[G::kMi][G::kNi][4];

// The weight row (of `weights`) behind row `row` of a row tile of the up projection; total_rows where there is none.
// Gated: every 16 rows hold the gate rows of eight neurons, then their up rows, so that both meet in one thread.
template <class G>
__device__ __forceinline__ int64_t up_weight_row(const GemmParams& p, int tile, int row) {
  if (!p.gated) {
    const int position = tile * G::kTileRows + row;
    if (position >= p.active) return p.total_rows;
    return p.index != nullptr ? __ldg(p.index + position) : position;
  }
  const int position = tile * (G::kTileRows / 2) + (row >> 4) * 8 + (row & 7);
  if (position >= p.active) return p.total_rows;
  return 2 * static_cast<int64_t>(p.index != nullptr ? __ldg(p.index + position) : position) + ((row >> 3) & 1);
}

template <class G>
__device__ __forceinline__ int64_t down_weight_row(const GemmParams& p, int position) {
  if (position >= p.active) return p.total_rows;
  return p.index != nullptr ? __ldg(p.index + position) : position;
}

// Reads fragments of one slot. Lane-dependent parts of all addresses are computed once per warp; adding multiples of
// 2048 and toggling bits 5 and 6 leave the swizzle of an address as it is.
template <class G>
struct FragmentReader {
  uint32_t weight_offset[G::kOp == GemmOp::kUp ? 1 : G::kMi];
  uint32_t input_offset;

  __device__ explicit FragmentReader(const WarpPlace<G>& at) {
    const int low = at.lane & 7, middle = (at.lane >> 3) & 1, high = at.lane >> 4;
    if constexpr (G::kOp == GemmOp::kUp) {  // matrices: rows 0-7, rows 8-15, then the same at k + 8
      weight_offset[0] = G::row_offset(at.warp_m * G::kMi * 16 + middle * 8 + low) + (high << 4);
    } else {  // stored [k][m], read transposed: k 0-7 at m 0-7 and m 8-15, then k 8-15
#pragma unroll
      for (int i = 0; i < G::kMi; ++i) {
        const int piece = (at.warp_m * G::kMi + i) * 2 + middle;
        weight_offset[i] = G::row_offset(high * 8 + low) + (piece >> 3) * kLineBytes + ((piece & 7) << 4);
      }
    }
    const int column = at.warp_n * G::kNi * 8 + (G::kNi == 1 ? 0 : high * 8) + low;
    input_offset = column * kLineBytes + ((middle ^ low) << 4);
  }

  __device__ __forceinline__ void weights(uint32_t (&a)[G::kMi][4], uint32_t slot, int step) const {
#pragma unroll
    for (int i = 0; i < G::kMi; ++i) {
      if constexpr (G::kOp == GemmOp::kUp) {
        const uint32_t line = swizzled(slot + weight_offset[0] + (step >> 2) * kLineBytes);
        ptx::ldmatrix_x4(a[i], (line ^ ((step & 3) << 5)) + i * 16 * kLineBytes);
      } else {
        ptx::ldmatrix_x4_trans(a[i], swizzled(slot + weight_offset[i]) + step * 16 * kLineBytes);
      }
    }
  }

  __device__ __forceinline__ void input(uint32_t (&b)[G::kNi][2], uint32_t slot, int step) const {
    const uint32_t address =
        (slot + input_offset + (step >> 2) * G::kBatch * kLineBytes) ^ static_cast<uint32_t>((step & 3) << 5);
    if constexpr (G::kNi == 1) {
      ptx::ldmatrix_x2(b[0][0], b[0][1], address);
    } else {
#pragma unroll
      for (int j = 0; j < G::kNi; j += 2) {
        uint32_t r[4];
        ptx::ldmatrix_x4(r, address + j * 8 * kLineBytes);
        b[j][0] = r[0], b[j][1] = r[1], b[j + 1][0] = r[2], b[j + 1][1] = r[3];
      }
    }
  }
};

// acc += slot of weights * slot of input. The fragments of the next step are read while this one multiplies.
template <class G, typename T>
__device__ __forceinline__ void multiply_slot(Accumulators<G>& acc, const FragmentReader<G>& reader,
                                              uint32_t weight_slot, uint32_t input_slot) {
  uint32_t a[2][G::kMi][4], b[2][G::kNi][2];
  reader.weights(a[0], weight_slot, 0);
  reader.input(b[0], input_slot, 0);
#pragma unroll
  for (int step = 0; step < G::kSteps; ++step) {
    const int now = step & 1, next = now ^ 1;
    if (step + 1 < G::kSteps) {
      reader.weights(a[next], weight_slot, step + 1);
      reader.input(b[next], input_slot, step + 1);
    }
#pragma unroll
    for (int i = 0; i < G::kMi; ++i) {
#pragma unroll
      for (int j = 0; j < G::kNi; ++j) ptx::mma_m16n8k16<T>(acc[i][j], a[now][i], b[now][j][0], b[now][j][1]);
    }
  }
}

template <class G>
__device__ __forceinline__ void clear(Accumulators<G>& acc) {
#pragma unroll
  for (int i = 0; i < G::kMi; ++i) {
#pragma unroll
    for (int j = 0; j < G::kNi; ++j) acc[i][j][0] = acc[i][j][1] = acc[i][j][2] = acc[i][j][3] = 0.0f;
  }
}

// Units are dealt out as floor(units * w / workers); the worker of a unit is the largest w whose share starts at or
// before it.
__device__ __forceinline__ int64_t first_unit(int64_t units, int worker, int workers) {
  return units * worker / workers;
}
__device__ __forceinline__ int worker_of(int64_t units, int64_t unit, int workers) {
  return static_cast<int>(((unit + 1) * workers - 1) / units);
}

// Adds up the parts of a tile that several workers computed. Each warp does this for its own fragments: it stores them,
// takes a ticket, and the warp that takes the last one reads all parts in ascending worker order, whoever came last,
// so the result has the same bits in every run. Returns whether this warp now holds the sum. Resets the ticket.
template <class G>
__device__ bool reduce_parts(const GemmParams& p, Accumulators<G>& acc, const WarpPlace<G>& at, int worker, int column,
                             int tile) {
  const int64_t units = static_cast<int64_t>(p.row_tiles) * p.chunks;
  const int64_t start = static_cast<int64_t>(tile) * p.chunks;
  const int first = worker_of(units, start, p.workers);
  const int last = worker_of(units, start + p.chunks - 1, p.workers);
  if (first == last) return true;

  // A share touches at most two incomplete tiles: slot 0 is the tile it starts in, slot 1 the one it ends in.
  const auto part = [&](int w) {
    const int slot = first_unit(units, w, p.workers) / p.chunks == tile ? 0 : 1;
    const int64_t block = (static_cast<int64_t>(w) * p.batch_tiles + column) * 2 + slot;
    return reinterpret_cast<float4*>(p.partial + (block * kConsumerWarps + at.warp) * G::kWarpFloats) + at.lane;
  };
  float4* mine = part(worker);
#pragma unroll
  for (int i = 0; i < G::kMi; ++i) {
#pragma unroll
    for (int j = 0; j < G::kNi; ++j) {
      __stcg(mine + (i * G::kNi + j) * 32, make_float4(acc[i][j][0], acc[i][j][1], acc[i][j][2], acc[i][j][3]));
    }
  }
  __threadfence();
  __syncwarp();
  unsigned* ticket = p.tickets + (static_cast<int64_t>(tile) * p.batch_tiles + column) * kConsumerWarps + at.warp;
  unsigned arrived = 0;
  if (at.lane == 0) arrived = atomicAdd(ticket, 1u);
  arrived = __shfl_sync(0xffffffffu, arrived, 0);
  if (arrived != static_cast<unsigned>(last - first)) return false;
  if (at.lane == 0) *ticket = 0;
  __threadfence();
  clear<G>(acc);
  constexpr int kPartsAhead = G::kMi * G::kNi <= 8 ? 2 : 1;  // as many loads in flight as registers allow
#pragma unroll kPartsAhead
  for (int w = first; w <= last; ++w) {
    const float4* theirs = part(w);
#pragma unroll
    for (int i = 0; i < G::kMi; ++i) {
#pragma unroll
      for (int j = 0; j < G::kNi; ++j) {
        const float4 v = __ldcg(theirs + (i * G::kNi + j) * 32);
        acc[i][j][0] += v.x, acc[i][j][1] += v.y, acc[i][j][2] += v.z, acc[i][j][3] += v.w;
      }
    }
  }
  return true;
}

__device__ __forceinline__ float activate(int activation, float z) {
  switch (activation) {
    case 0:  // POLAR_RELU; NaN stays NaN
      return z < 0.0f ? 0.0f : z;
    case 1:  // POLAR_GELU
      return 0.5f * z * (1.0f + erff(z * 0.70710678118654752f));
    case 2:  // POLAR_GELU_TANH
      return 0.5f * z * (1.0f + tanhf(0.79788456080286536f * (z + 0.044715f * z * z * z)));
    case 4:  // POLAR_IDENTITY: the plain projections of a layer
      return z;
    default:  // POLAR_SILU
      return z / (1.0f + __expf(-z));
  }
}

template <typename T>
__device__ __forceinline__ float to_float(T value) {
  return static_cast<float>(value);
}
template <typename T>
__device__ __forceinline__ T from_float(float value);
template <>
__device__ __forceinline__ __half from_float<__half>(float value) {
  return __float2half_rn(value);
}
template <>
__device__ __forceinline__ __nv_bfloat16 from_float<__nv_bfloat16>(float value) {
  return __float2bfloat16_rn(value);
}

// Bias, activation and store of a finished tile. A lane holds two rows (r, r + 8) and two sequences of each fragment.
template <class G, typename T>
__device__ __forceinline__ void store_tile(const GemmParams& p, const Accumulators<G>& acc, const WarpPlace<G>& at,
                                           int column, int tile) {
  T* out = static_cast<T*>(p.out);
  const T* bias = static_cast<const T*>(p.bias);
  const bool up = G::kOp == GemmOp::kUp;
  const int warp_row = (up ? at.group * G::kSlotRows : 0) + at.warp_m * G::kMi * 16;
  const int sequence0 = column * G::kBatch + at.warp_n * G::kNi * 8 + (at.lane & 3) * 2;
  const int columns = up ? p.active : p.hidden_size;
  const bool pairs = up && p.gated;
#pragma unroll
  for (int i = 0; i < G::kMi; ++i) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      if (pairs && half == 1) continue;  // its row was used as the other factor
      const int row = warp_row + i * 16;
      const int position = pairs ? tile * (G::kTileRows / 2) + row / 2 + (at.lane >> 2)
                                 : tile * G::kTileRows + row + half * 8 + (at.lane >> 2);
      if (position >= columns) continue;
      float shift = 0.0f;
      if (bias != nullptr) shift = to_float(bias[up && p.bias_index != nullptr ? p.bias_index[position] : position]);
#pragma unroll
      for (int j = 0; j < G::kNi; ++j) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          const int sequence = sequence0 + j * 8 + e;
          if (sequence >= p.batch) continue;
          float value = acc[i][j][half * 2 + e] + shift;
          if (up) value = activate(p.activation, value);
          if (pairs) value *= acc[i][j][2 + e];
          out[sequence * p.out_stride + position] = from_float<T>(value);
        }
      }
    }
  }
}

}  // namespace polar::cuda::mlp
