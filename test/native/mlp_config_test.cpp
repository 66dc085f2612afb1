// The CUDA MLP GEMMs' configuration, on the limits of real devices; needs neither a GPU nor a toolkit.
#include "../../cuda/kernels/mlp_config.h"

#include <array>
#include <set>

#include "check.h"

using namespace polar::cuda::mlp;

namespace {

// {SMs, compute capability major, shared memory per block (opt-in)}
constexpr GemmDevice kH200{132, 9, 232448};
constexpr GemmDevice kA100{108, 8, 166912};
constexpr GemmDevice kRtx4090{128, 8, 101376};

constexpr GemmShape opt66b(GemmOp op, int64_t batch, int64_t active) { return {op, batch, 9216, active, false}; }

}  // namespace

TEST("mlp config: OPT-66B up at M = 64, density 0.5 on an H200") {
  const GemmConfig c = choose_gemm_config(opt66b(GemmOp::kUp, 64, 18432), kH200);
  CHECK(c.path == GemmPath::kTensorCopy);
  CHECK(c.tile == GemmTile::kWide);
  CHECK_EQ(c.batch_tile, 64);
  CHECK_EQ(c.batch_tiles, 1);
  CHECK_EQ(c.row_tiles, 144);    // 18432 / 128
  CHECK_EQ(c.chunks, 36);        // 9216 / 256
  CHECK_EQ(c.workers, 132);
  CHECK_EQ(c.weight_slots, 4);   // 4 x 259 lines + 2 x 32 KB of input
  CHECK_EQ(c.input_slots, 2);
  CHECK_EQ(c.shared_bytes, 4 * 259 * 128 + 2 * 32768 + kSharedReserve);
}

TEST("mlp config: rows are rounded up to tiles, gate and up rows count twice") {
  const GemmConfig c = choose_gemm_config(opt66b(GemmOp::kUp, 64, 3686), kH200);
  CHECK(c.tile == GemmTile::kWide);
  CHECK_EQ(c.row_tiles, 29);  // ceil(3686 / 128)
  const GemmConfig g = choose_gemm_config({GemmOp::kUp, 16, 4096, 3302, true}, kH200);
  CHECK_EQ(g.row_tiles, 52);  // ceil(6604 / 128)
  CHECK_EQ(g.batch_tile, 32);
}

TEST("mlp config: the down projection splits along the neurons") {
  const GemmConfig c = choose_gemm_config(opt66b(GemmOp::kDown, 16, 3686), kH200);
  CHECK(c.tile == GemmTile::kTall);
  CHECK_EQ(c.row_tiles, 36);  // 9216 / 256 columns
  CHECK_EQ(c.chunks, 58);     // ceil(3686 / 64)
  CHECK_EQ(c.workers, 132);
}

TEST("mlp config: a large batch over few active neurons takes narrower column tiles in the down projection") {
  // 2 x 9216 bytes a neuron, 1 MiB for each of 132 SMs: up to 7509 neurons.
  CHECK(choose_gemm_config(opt66b(GemmOp::kDown, 64, 3686), kH200).tile == GemmTile::kShort);
  CHECK(choose_gemm_config(opt66b(GemmOp::kDown, 64, 7509), kH200).tile == GemmTile::kShort);
  CHECK(choose_gemm_config(opt66b(GemmOp::kDown, 64, 7510), kH200).tile == GemmTile::kTall);
  CHECK(choose_gemm_config(opt66b(GemmOp::kDown, 8, 3686), kH200).tile == GemmTile::kTall);
}

TEST("mlp config: no more workers than units, and batch tiles share the SMs") {
  const GemmConfig one = choose_gemm_config(opt66b(GemmOp::kDown, 1, 1), kH200);
  CHECK_EQ(one.workers, 36);  // 36 column tiles x 1 chunk
  const GemmConfig many = choose_gemm_config(opt66b(GemmOp::kUp, 512, 36864), kH200);
  CHECK_EQ(many.batch_tile, 128);
  CHECK_EQ(many.batch_tiles, 4);
  CHECK_EQ(many.workers, 33);  // 132 / 4
  const GemmConfig huge = choose_gemm_config(opt66b(GemmOp::kUp, 100000, 36864), kH200);
  CHECK_EQ(huge.batch_tiles, kMaxBatchTiles);
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

TEST("mlp config: every choice fits, and slots keep to their warp group") {
  for (const GemmDevice& device : {kH200, kA100, kRtx4090}) {
    for (const GemmOp op : {GemmOp::kUp, GemmOp::kDown}) {
      for (const int64_t batch : {1, 8, 9, 32, 33, 64, 65, 128, 512}) {
        for (const int64_t active : {1, 101, 3686, 36864}) {
          const GemmConfig c = choose_gemm_config(opt66b(op, batch, active), device);
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
  for (const GemmDevice& device : {kH200, kA100, kRtx4090, kB200, kRtx5090}) {
    for (const GemmOp op : {GemmOp::kUp, GemmOp::kDown}) {
      for (const int64_t batch : {1, 8, 9, 32, 33, 64, 65, 128, 512}) {
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
  for (const auto& [rows, lines] : {std::array{128, 2}, std::array{64, 4}}) {
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
