// How the CUDA routers cut their work, on the limits of real devices; needs neither a GPU nor a toolkit.
#include "../../cuda/kernels/router_config.h"

#include "../../cuda/kernels/router_products_config.h"
#include "../../cuda/kernels/router_select_config.h"

#include "check.h"

using namespace polar::cuda::router;

namespace {

struct Device {
  int sms;
  size_t shared;
};
constexpr Device kH200{132, 232448}, kA100{108, 166912}, kRtx4090{128, 101376};

GemmPlan hidden(int64_t d, int64_t rank, int64_t batch, const Device& device) {
  return plan_split_k(rank, d, batch, device.sms, device.shared, kHiddenLeastK);
}

}  // namespace

TEST("router config: OPT-66B's hidden layer at B = 64 on an H200") {
  // 9 splits of 1024 x 14 blocks of at most 5 tiles: 126 of 132 SMs.
  const GemmPlan p = hidden(9216, 1024, 64, kH200);
  CHECK_EQ(p.k_block, 1024);
  CHECK_EQ(p.splits, 9);
  CHECK_EQ(p.row_blocks, 14);
  CHECK_EQ(p.row_tiles, 64);
  CHECK_EQ(p.stage_bytes, 16 * 1024 * 2);
  CHECK(p.stages >= 5);  // all tiles of a block in flight
}

TEST("router config: OPT-66B's score layer streams whole rows of 2 KB") {
  const GemmPlan p = plan_whole_k(36864, 1024, 64, kH200.sms, kH200.shared);
  CHECK_EQ(p.splits, 1);
  CHECK_EQ(p.k_block, 1024);
  CHECK_EQ(p.row_tiles, 2304);
  CHECK_EQ(p.row_blocks, 132);
  CHECK_EQ(p.buffers, 3);
  CHECK_EQ(p.stages, 5);  // (232448 - 3 x 17408 - 384) / 32768 = 5.49
  // 99 KB: a third buffer would leave one tile in flight; two leave (101376 - 2 x 17408 - 384) / 32768 = 2.02.
  const GemmPlan small = plan_whole_k(36864, 1024, 64, kRtx4090.sms, kRtx4090.shared);
  CHECK_EQ(small.buffers, 2);
  CHECK_EQ(small.stages, 2);
}

TEST("router config: a batch takes tiles of 8, 32 or 64 sequences") {
  CHECK_EQ(batch_tile_of(1), 8);
  CHECK_EQ(batch_tile_of(8), 8);
  CHECK_EQ(batch_tile_of(9), 32);
  CHECK_EQ(batch_tile_of(33), 64);
  CHECK_EQ(plan_whole_k(100, 64, 65, 132, kH200.shared).batch_tiles, 2);
  CHECK_EQ(plan_whole_k(100, 64, 512, 132, kH200.shared).batch_tiles, 8);
}

TEST("router config: every split has work, covers k, and two tiles fit on devices down to 99 KB") {
  for (const Device& device : {kH200, kA100, kRtx4090}) {
    for (const int64_t batch : {1, 16, 64, 512}) {
      for (const int64_t k : {8, 64, 72, 1000, 1024, 1032, 4096, 9216, 16384}) {
        for (const int64_t rows : {1, 8, 17, 72, 1024, 4096}) {
          for (const int least : {kAttentionLeastK, kHiddenLeastK}) {
            const GemmPlan p = plan_split_k(rows, k, batch, device.sms, device.shared, least);
            CHECK(p.k_block % kLine == 0 && p.k_block <= kMaxBlockK);
            CHECK(static_cast<int64_t>(p.splits) * p.k_block >= k);
            CHECK(static_cast<int64_t>(p.splits - 1) * p.k_block < k);
            CHECK(p.row_blocks >= 1 && p.row_blocks <= p.row_tiles);
            CHECK(p.stages >= 2 && p.stages <= kMaxStages);
            CHECK(static_cast<size_t>(p.shared_bytes) <= device.shared);
          }
        }
      }
    }
    for (const int64_t rank : {8, 72, 1024}) {
      const GemmPlan p = plan_whole_k(36864, rank, 64, device.sms, device.shared);
      CHECK(p.stages >= 2);
      CHECK(static_cast<size_t>(p.shared_bytes) <= device.shared);
    }
  }
}

TEST("router config: kernels know k where every split has all 1024, or whole lines") {
  CHECK(depth_of(9216, 1024) == Depth::kFull);
  CHECK(depth_of(1024, 1024) == Depth::kFull);
  CHECK(depth_of(4160, 1024) == Depth::kLines);  // 65 lines: the last split is shorter
  CHECK(depth_of(9216, 512) == Depth::kLines);
  CHECK(depth_of(1032, 1024) == Depth::kAny);
}

TEST("router config: a device with 48 KB of shared memory is seen to be too small") {
  CHECK(plan_whole_k(36864, 1024, 64, 80, 49152).stages < 2);
}

TEST("router products: OPT-66B's hidden layer takes 64 SMs") {
  const HiddenPlan p = plan_hidden(1024, 9216, 64, kH200.shared);
  CHECK_EQ(p.columns, 64);
  CHECK_EQ(p.batch_tiles, 1);
  CHECK_EQ(p.row_tiles, 8);
  CHECK_EQ(p.slices, 144);
  // 64 fragments of 512 bytes from each of 8 blocks, an eighth of them here: 32 KB; (232448 - 32768 - 264) / 24576
  // = 8.1.
  CHECK_EQ(hidden_part_bytes(64), 32768);
  CHECK_EQ(p.slots, 8);
  CHECK_EQ(hidden_part_bytes(8), 8 * 512);
}

TEST("router products: OPT-66B's score layer gives every SM of an H200 280 rows at once") {
  const ScoresPlan p = plan_scores(36864, 1024, 64, kH200.sms, kH200.shared);
  CHECK_EQ(p.warpgroups, 5);
  CHECK_EQ(p.warpgroup_rows, 56);  // 36864 / 132 = 279.3
  CHECK_EQ(p.passes, 1);
  CHECK_EQ(p.blocks, 132);
  CHECK_EQ(p.slices, 16);
  CHECK_EQ(p.slots, 5);  // (232448 - 424) / ((280 + 64) * 128) = 5.3
  const ScoresPlan small = plan_scores(16384, 1024, 64, kH200.sms, kH200.shared);
  CHECK_EQ(small.warpgroups, 2);
  CHECK_EQ(small.warpgroup_rows, 64);
  CHECK_EQ(small.blocks, 128);
  const ScoresPlan large = plan_scores(200000, 8, 2, kH200.sms, kH200.shared);
  CHECK_EQ(large.passes, 5);  // of 304 rows, 64 for each of 5 warpgroups
  CHECK_EQ(large.blocks, 125);
}

TEST("router products: rows are covered once, slots hold a multiplication, two of them fit") {
  for (const int64_t batch : {1, 8, 9, 33, 64, 65, 512}) {
    for (const int64_t neurons : {1, 15, 64, 65, 1000, 11008, 14336, 36864, 65536, 200000}) {
      for (const int sms : {66, 114, 132}) {
        const ScoresPlan p = plan_scores(neurons, 1024, batch, sms, kH200.shared);
        const int rows = p.warpgroups * p.warpgroup_rows;
        CHECK(p.columns * p.batch_tiles >= batch && p.columns * (p.batch_tiles - 1) < batch);
        CHECK(p.warpgroups >= 1 && p.warpgroups <= most_warpgroups(p.columns));
        CHECK(p.warpgroup_rows % 8 == 0 && p.warpgroup_rows > 0 && p.warpgroup_rows <= kWarpgroupRows);
        CHECK(p.slot_rows >= kWarpgroupRows && p.slot_rows >= rows);
        CHECK(p.blocks <= sms);
        CHECK(static_cast<int64_t>(p.blocks) * p.passes * rows >= neurons);
        CHECK(static_cast<int64_t>(p.blocks - 1) * p.passes * rows < neurons);
        CHECK(p.slots >= 2 && p.slots <= kMostSlots);
        CHECK(static_cast<size_t>(p.shared_bytes) <= kH200.shared);
      }
    }
    for (const int64_t rank : {8, 64, 72, 1024}) {
      const HiddenPlan p = plan_hidden(rank, 9216, batch, kH200.shared);
      CHECK(p.slots >= 2 && p.slots <= kMostSlots);
      CHECK(static_cast<size_t>(p.shared_bytes) <= kH200.shared);
      CHECK(static_cast<int64_t>(p.row_tiles) * kHiddenRows >= rank);
    }
  }
}

TEST("router products: a thread's columns are neighbouring sequences") {
  for (const int columns : {8, 32, 64, 128}) {
    for (int sequence = 0; sequence < columns; ++sequence) {
      // Thread q of a row's four holds columns 8 j + 2 q and the next.
      const int column = column_of(sequence, columns), thread = column % 8 / 2, place = column / 8 * 2 + column % 2;
      CHECK_EQ(thread * (columns / 4) + place, sequence);
    }
  }
}

TEST("router config: a selection takes two scores per thread and at most one block per SM") {
  CHECK_EQ(plan_select(36864, 132).blocks, 36);
  CHECK_EQ(plan_select(36864, 132).per_thread, 2);
  CHECK_EQ(plan_select(1, 132).blocks, 1);
  CHECK_EQ(plan_select(36864, 20).blocks, 18);
  CHECK_EQ(plan_select(36864, 20).per_thread, 4);
  for (const int sms : {1, 20, 108, 132, 200}) {
    for (const int64_t n : {1, 511, 512, 513, 11008, 36864, 65536, 65537, 300007, 2147483647}) {
      const SelectPlan p = plan_select(n, sms);
      CHECK(p.blocks >= 1 && p.blocks <= sms && p.blocks <= kMaxSelectBlocks);
      const int64_t block = int64_t{kSelectThreads} * p.per_thread;
      CHECK(block * p.blocks >= n);
      CHECK(block * (p.blocks - 1) < n);
    }
  }
}
