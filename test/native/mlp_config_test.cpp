// The CUDA MLP GEMMs' configuration, on the limits of real devices; needs neither a GPU nor a toolkit.
#include "../../cuda/kernels/mlp_config.h"

#include <array>
#include <numeric>
#include <set>

#include "check.h"

using namespace polar::cuda::mlp;

namespace {

// {SMs, compute capability major, shared memory per block (opt-in), clusters of 0, 1, 2, ... blocks}
constexpr GemmDevice kH200{132, 9, 232448, {0, 132, 66, 39, 30, 22, 17}};
constexpr GemmDevice kNoClusters{132, 9, 232448};
constexpr GemmDevice kA100{108, 8, 166912};
constexpr GemmDevice kRtx4090{128, 8, 101376};

constexpr GemmShape opt66b(GemmOp op, int64_t batch, int64_t active) { return {op, batch, 9216, active, false}; }

}  // namespace

TEST("mlp config: OPT-66B up at M = 64, density 0.5 on an H200") {
  const GemmConfig c = choose_gemm_config(opt66b(GemmOp::kUp, 64, 18432), kH200);
  CHECK(c.path == GemmPath::kClusterSplit);
  CHECK_EQ(c.batch_tile, 64);
  CHECK_EQ(c.batch_tiles, 1);
  CHECK_EQ(c.split, 2);
  CHECK_EQ(c.workers, 66);    // clusters
  CHECK_EQ(c.row_tiles, 66);  // 279 or 280 rows each
  CHECK_EQ(c.blocks, 6);
  CHECK_EQ(c.slot_rows, 48);  // ceil(280 / 6) = 47, in sixteens
  CHECK_EQ(c.chunks, 36);     // 9216 / 256
  CHECK(c.aliased);
  CHECK_EQ(c.weight_slots, 6);  // 6 x (4 x 48 + 3) lines + 9 x 8 KB of input
  CHECK_EQ(c.input_slots, 9);
  CHECK_EQ(c.shared_bytes, 6 * 195 * 128 + 9 * 8192 + 1024 + kSplitBarrierBytes + 2 * 12 * 64);
}

TEST("mlp config: rows are dealt out evenly to the clusters, gate and up rows count twice") {
  const GemmConfig c = choose_gemm_config(opt66b(GemmOp::kUp, 16, 3686), kH200);
  CHECK_EQ(c.split, 4);
  CHECK_EQ(c.row_tiles, 30);  // 123 rows or 122
  CHECK_EQ(c.slot_rows, 64);
  CHECK(!c.aliased);  // two blocks: their parts have a place of their own
  const GemmConfig g = choose_gemm_config({GemmOp::kUp, 16, 4096, 3302, true}, kH200);
  CHECK_EQ(g.split, 2);
  CHECK_EQ(g.row_tiles, 66);  // 51 neurons or 50, 102 rows
  CHECK_EQ(g.slot_rows, 64);  // 51 rows and more, whole groups of 8 gate and 8 up rows
  CHECK_EQ(g.batch_tile, 16);
}

TEST("mlp config: many rows of a small batch have tiles of their own, with nothing to exchange") {
  const GemmConfig c = choose_gemm_config(opt66b(GemmOp::kUp, 64, 36864), kH200);
  CHECK_EQ(c.split, 1);
  CHECK_EQ(c.workers, 132);
  CHECK_EQ(c.row_tiles, 132);  // 279 or 280 rows each
  CHECK_EQ(c.slot_rows, 48);
  CHECK(c.aliased);  // no room for parts of others
}

TEST("mlp config: the down projection has a row tile per cluster and splits along the neurons") {
  const GemmConfig c = choose_gemm_config(opt66b(GemmOp::kDown, 64, 18432), kH200);
  CHECK_EQ(c.split, 4);
  CHECK_EQ(c.blocks, 5);  // 320 columns: 29 tiles for 30 clusters
  CHECK_EQ(c.row_tiles, 29);
  CHECK_EQ(c.workers, 29);
  CHECK_EQ(c.chunks, 288);  // 18432 / 64
  const GemmConfig few = choose_gemm_config(opt66b(GemmOp::kDown, 64, 3686), kH200);
  CHECK_EQ(few.split, 3);  // less to exchange: 256 columns, 36 tiles for 39 clusters
  CHECK_EQ(few.blocks, 4);
  CHECK_EQ(few.row_tiles, 36);
}

TEST("mlp config: a device with clusters takes cluster split for every row of whole lines") {
  for (const GemmOp op : {GemmOp::kUp, GemmOp::kDown}) {
    for (const int64_t batch : {1, 16, 64, 128, 512}) {
      for (const int64_t active : {1, 101, 3686, 36864}) {
        CHECK(choose_gemm_config(opt66b(op, batch, active), kH200).path == GemmPath::kClusterSplit);
      }
    }
  }
}

TEST("mlp config: without clusters a tensor copy device takes stream-K") {
  const GemmConfig c = choose_gemm_config(opt66b(GemmOp::kUp, 64, 18432), kNoClusters);
  CHECK(c.path == GemmPath::kTensorCopy && c.tile == GemmTile::kWide);
  CHECK_EQ(c.row_tiles, 144);  // 18432 / 128
  CHECK_EQ(c.chunks, 36);      // 9216 / 256
  CHECK_EQ(c.workers, 132);
  CHECK_EQ(c.weight_slots, 4);  // 4 x 259 lines + 2 x 32 KB of input
  CHECK_EQ(c.input_slots, 2);
  CHECK_EQ(c.shared_bytes, 4 * 259 * 128 + 2 * 32768 + kSharedReserve);
  const GemmConfig down = choose_gemm_config(opt66b(GemmOp::kDown, 16, 3686), kNoClusters);
  CHECK(down.tile == GemmTile::kTall);
  CHECK_EQ(down.row_tiles, 36);  // 9216 / 256 columns
  CHECK_EQ(down.chunks, 58);     // ceil(3686 / 64)
}

TEST("mlp config: stream-K, a large batch over few active neurons takes narrower column tiles in the down projection") {
  // 2 x 9216 bytes a neuron, 1 MiB for each of 132 SMs: up to 7509 neurons.
  CHECK(choose_stream_config(opt66b(GemmOp::kDown, 64, 3686), kH200).tile == GemmTile::kShort);
  CHECK(choose_stream_config(opt66b(GemmOp::kDown, 64, 7509), kH200).tile == GemmTile::kShort);
  CHECK(choose_stream_config(opt66b(GemmOp::kDown, 64, 7510), kH200).tile == GemmTile::kTall);
  CHECK(choose_stream_config(opt66b(GemmOp::kDown, 8, 3686), kH200).tile == GemmTile::kTall);
}

TEST("mlp config: stream-K, no more workers than units, and batch tiles share the SMs") {
  const GemmConfig one = choose_stream_config(opt66b(GemmOp::kDown, 1, 1), kH200);
  CHECK_EQ(one.workers, 36);  // 36 column tiles x 1 chunk
  const GemmConfig many = choose_stream_config(opt66b(GemmOp::kUp, 512, 36864), kH200);
  CHECK_EQ(many.batch_tile, 128);
  CHECK_EQ(many.batch_tiles, 4);
  CHECK_EQ(many.workers, 33);  // 132 / 4
}

TEST("mlp config: cluster split, batch tiles of 256 share the clusters, at most eight to a launch") {
  const GemmConfig two = choose_gemm_config(opt66b(GemmOp::kUp, 512, 36864), kH200);
  CHECK_EQ(two.batch_tile, 256);
  CHECK_EQ(two.batch_tiles, 2);
  CHECK_EQ(two.workers, 33);  // 66 / 2
  CHECK_EQ(choose_gemm_config(opt66b(GemmOp::kUp, 100000, 36864), kH200).batch_tiles, kMaxBatchTiles);
}

TEST("mlp config: rows that are no whole lines, and older devices, take cp.async") {
  CHECK(choose_gemm_config({GemmOp::kUp, 8, 72, 100, false}, kH200).path == GemmPath::kAsyncCopy);
  for (const GemmDevice& device : {kA100, kRtx4090}) {
    for (const GemmOp op : {GemmOp::kUp, GemmOp::kDown}) {
      const GemmConfig c = choose_gemm_config(opt66b(op, 512, 18432), device);
      CHECK(c.path == GemmPath::kAsyncCopy && c.tile == GemmTile::kShort);
      CHECK(c.batch_tile <= 64);
      CHECK(c.weight_slots >= 2 && c.weight_slots == c.input_slots);
    }
  }
}

TEST("mlp config: a device with too little shared memory is told apart") {
  CHECK_EQ(choose_gemm_config(opt66b(GemmOp::kUp, 64, 100), GemmDevice{8, 7, 49152}).weight_slots, 0);
}

// What the kernel relies on, for every configuration that it can be given and not only for the chosen ones.
TEST("mlp config: every cluster split fits, covers its rows and keeps slots to their warps") {
  for (const GemmOp op : {GemmOp::kUp, GemmOp::kDown}) {
    for (const int64_t batch : {1, 9, 17, 33, 65, 129, 512}) {
      for (const int64_t active : {1, 101, 3686, 36864}) {
        for (const bool gated : {false, true}) {
          const GemmShape shape{op, batch, 9216, active, gated && op == GemmOp::kUp};
          const int rows = shape.gated ? 2 : 1, most = kSplitGroups * split_blocks(split_batch_tile(batch));
          for (int split = 1; split <= kMaxSplit; ++split) {
            for (int blocks = op == GemmOp::kUp ? 2 : 1; blocks <= most; blocks += op == GemmOp::kUp ? 2 : 1) {
              const GemmConfig c = make_split_config(shape, kH200, split, blocks);
              if (c.weight_slots == 0) continue;  // such a tile does not fit, and is never chosen
              CHECK(static_cast<size_t>(c.shared_bytes) <= kH200.shared_bytes_per_block);
              CHECK(2 * (c.weight_slots + c.input_slots) * 8 + 16 <= kSplitBarrierBytes);
              CHECK_EQ(c.weight_slots % 2, 0);
              CHECK(c.slot_rows % 16 == 0 && c.slot_rows <= 64);
              CHECK(c.workers * c.batch_tiles <= kH200.clusters[split] || c.workers == 1);
              CHECK(split_owned(c.blocks, split) * 16 <= 512);  // two biases a thread
              if (op == GemmOp::kDown) {
                CHECK(c.row_tiles * c.blocks * 64 >= 9216 && c.lines <= 6);
                continue;
              }
              CHECK(ceil_div(active, c.row_tiles) * rows <= c.blocks * c.slot_rows);
              // The blocks of a chunk hold its input lines while the next are loaded.
              CHECK(c.blocks == kSplitGroups || c.input_slots >= c.lines);
            }
          }
        }
      }
    }
  }
}

TEST("mlp config: every stream-K choice fits, and slots keep to their warp group") {
  for (const GemmDevice& device : {kH200, kA100, kRtx4090}) {
    for (const GemmOp op : {GemmOp::kUp, GemmOp::kDown}) {
      for (const int64_t batch : {1, 8, 9, 32, 33, 64, 65, 128, 512}) {
        for (const int64_t active : {1, 101, 3686, 36864}) {
          const GemmConfig c = choose_stream_config(opt66b(op, batch, active), device);
          const TileShape s = tile_shape(op, c.tile, c.batch_tile);
          CHECK(c.weight_slots >= 2);
          CHECK_EQ(c.weight_slots % s.slots_per_chunk, 0);
          CHECK(c.input_slots >= 2);
          CHECK(static_cast<size_t>(c.shared_bytes) <= device.shared_bytes_per_block);
          CHECK(2 * (c.weight_slots + c.input_slots) * 8 <= 256);  // barriers
          CHECK(static_cast<int64_t>(c.workers) * c.batch_tiles <= device.sm_count);
          CHECK(static_cast<int64_t>(c.workers) <= static_cast<int64_t>(c.row_tiles) * c.chunks);
          CHECK(static_cast<int64_t>(c.batch_tiles) * c.batch_tile >= batch);
        }
      }
    }
  }
}

TEST("mlp config: what is compiled is what can be chosen, no less and no more") {
  constexpr GemmDevice kB200{148, 10, 232448};
  constexpr GemmDevice kRtx5090{170, 12, 101376};
  std::set<size_t> chosen;
  for (const GemmDevice& device : {kH200, kNoClusters, kA100, kRtx4090, kB200, kRtx5090}) {
    for (const GemmOp op : {GemmOp::kUp, GemmOp::kDown}) {
      for (const int64_t batch : {1, 8, 9, 16, 32, 33, 64, 65, 128, 512}) {
        for (const int64_t hidden : {72, 4096, 9216}) {
          for (const int64_t active : {1, 3686, 7510, 36864}) {
            const GemmConfig c = choose_gemm_config({op, batch, hidden, active, false}, device);
            size_t found = 0;
            while (found < kGemmInstanceCount && !runs(kGemmInstances[found], op, c)) ++found;
            CHECK(found < kGemmInstanceCount);
            chosen.insert(found);
          }
        }
      }
    }
  }
  CHECK_EQ(chosen.size(), kGemmInstanceCount);
}

// The kernel's formula, written out again: rows r, r + lines, ... back to back, each set one line later.
TEST("mlp config: rows of a slot are disjoint, and eight neighbours fall on eight line positions") {
  for (const auto& [rows, lines] : {std::array{128, 2}, std::array{64, 4}, std::array{16, 4}, std::array{48, 2}}) {
    std::set<int> used;
    for (int row = 0; row < rows; ++row) {
      const int first = row % lines * (rows + 1) + row / lines * lines;
      for (int line = 0; line < lines; ++line) CHECK(used.insert(first + line).second);
      std::set<int> positions;
      for (int r = row / 8 * 8; r < row / 8 * 8 + 8; ++r) {
        positions.insert((r % lines * (rows + 1) + r / lines * lines) % 8);
      }
      CHECK_EQ(positions.size(), size_t{8});
    }
    CHECK(*used.rbegin() * kLineBytes < weight_slot_bytes({rows, lines, 1, 1, 1}));
  }
}

// Cluster split has any number of lines: sets of gcd(lines, 8) rows.
TEST("mlp config: cluster split, the same for one to six lines") {
  for (int lines = 1; lines <= 6; ++lines) {
    for (const int rows : {16, 48, 64}) {
      const int sets = std::gcd(lines, 8);
      std::set<int> used;
      for (int row = 0; row < rows; ++row) {
        const int first = row % sets * (rows / sets * lines + 1) + row / sets * lines;
        for (int line = 0; line < lines; ++line) CHECK(used.insert(first + line).second);
        std::set<int> positions;
        for (int r = row / 8 * 8; r < row / 8 * 8 + 8; ++r) {
          positions.insert((r % sets * (rows / sets * lines + 1) + r / sets * lines) % 8);
        }
        CHECK_EQ(positions.size(), size_t{8});
      }
      CHECK(*used.rbegin() < split_slot_lines(lines, rows));
    }
  }
}
