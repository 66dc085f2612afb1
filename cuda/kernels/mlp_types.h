// Vocabulary of the MLP GEMM configurations: mlp_split_config.h (cluster split) and mlp_config.h (stream-K).
#pragma once

#include <cstddef>
#include <cstdint>

namespace polar::cuda::mlp {

enum class GemmOp : int { kUp = 0, kDown = 1 };

// How work is cut and how weights reach shared memory. All write the same swizzled layout.
enum class GemmPath : int {
  kTensorCopy = 0,   // sm_90 and later: stream-K; one tensor copy (TMA) per weight row slice, mbarriers, mma.sync
  kAsyncCopy = 1,    // sm_80 and later: stream-K; 16-byte cp.async by all threads, mma.sync
  kClusterSplit = 2  // sm_90a: a cluster per row tile, k split among its blocks; tensor copies, wgmma
};

enum class GemmTile : int {
  kTall = 0,     // down only: 256 columns, slots of 64 neurons x 512 B
  kShort = 1,    // up: 128 rows, one slot of 128 x 256 B; down: 128 columns, slots of 128 neurons x 256 B
  kWide = 2,     // up only: 128 rows in two slots of 64 x 512 B
  kFlexible = 3  // cluster split: the height follows from the problem
};

struct GemmShape {
  GemmOp op;
  int64_t batch_size;
  int64_t hidden_size;
  int64_t active_neurons;
  bool gated;
};

inline constexpr int kMaxSplit = 6;  // blocks of a cluster

struct GemmDevice {
  int sm_count;
  int compute_major;
  size_t shared_bytes_per_block;  // opt-in limit
  // clusters[n]: clusters of n blocks, one block per SM, that run at the same time; 0 where there are none.
  int clusters[kMaxSplit + 1] = {};
};

struct GemmConfig {
  GemmPath path;
  GemmTile tile;
  int batch_tile;    // columns (sequences) of a tile
  int batch_tiles;   // of one launch
  int weight_slots;  // depth of the pipeline
  int input_slots;
  int row_tiles;
  int chunks;   // of one row tile
  int workers;  // blocks, or clusters, per batch tile; the grid is workers x split x batch_tiles
  int shared_bytes;
  // Cluster split only.
  int split;      // blocks of a cluster
  int lines;      // 128-byte lines of a weight row in one slot
  int slot_rows;  // weight rows in one slot
  int blocks;     // of at most 64 rows (up) or of 64 columns (down) in a row tile
  bool aliased;   // parts of other blocks are received in the weight slots, which the only row tile has left
};

inline constexpr int kLineBytes = 128;
inline constexpr int kLineElements = 64;
inline constexpr int kConsumerWarps = 8;
inline constexpr int kMaxBatchTiles = 8;  // batch tiles of one launch; a larger batch takes several

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace polar::cuda::mlp
