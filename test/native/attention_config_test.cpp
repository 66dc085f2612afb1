// The CUDA attention kernel's configuration, on the limits of real devices; needs neither a GPU nor a toolkit.
#include "../../cuda/kernels/attention_config.h"

#include "check.h"

using namespace polar::cuda;

namespace {

// {SMs, compute capability major, shared memory per block (opt-in), per SM}
constexpr AttentionDevice kH200{132, 9, 232448, 233472};
constexpr AttentionDevice kA100{108, 8, 166912, 167936};
constexpr AttentionDevice kRtx4090{128, 8, 101376, 102400};

AttentionWork work(int64_t batch, int64_t kv_len, int head_dim, int heads, int64_t units) {
  return {batch, kv_len, head_dim, heads, units};
}

}  // namespace

TEST("attention config: OPT-66B at B = 64, N = 1920 on an H200") {
  const AttentionConfig c = choose_attention_config(work(64, 1920, 128, 1, 72), kH200);
  CHECK(c.pipeline == AttentionPipeline::kTma);
  CHECK_EQ(c.tile_keys, 64);  // 64 keys x 256 B = 16 KB
  CHECK_EQ(c.consumer_warps, 4);
  CHECK_EQ(c.head_tiles, 1);
  CHECK_EQ(c.blocks_per_sm, 2);
  CHECK_EQ(c.stages, 3);            // 3 x 2 x 16 KB = 96 KB of at most 113 KB
  CHECK_EQ(c.grid, 4608);           // a block per unit: 64 x 72 units are 17 waves of 264 blocks
  CHECK_EQ(c.tiles_per_unit, 30);   // 1920 / 64
  CHECK_EQ(c.total_tiles, 138240);  // 64 x 72 x 30
}

TEST("attention config: selective work counts the active units alone") {
  CHECK_EQ(choose_attention_config(work(64, 1920, 128, 1, 22), kH200).total_tiles, 42240);  // 64 x 22 x 30
}

TEST("attention config: few units get one block per SM with four stages, short ones two blocks with two") {
  const AttentionConfig few = choose_attention_config(work(64, 8192, 128, 4, 8), kH200);  // 512 units <= 4 x 132
  CHECK_EQ(few.blocks_per_sm, 1);
  CHECK_EQ(few.stages, 4);
  CHECK_EQ(few.grid, 132);
  const AttentionConfig brief = choose_attention_config(work(512, 128, 128, 1, 72), kH200);  // 2 tiles per unit
  CHECK_EQ(brief.blocks_per_sm, 2);
  CHECK_EQ(brief.stages, 2);
  CHECK_EQ(brief.grid, 264);
}

TEST("attention config: a batch of 1 fills the device, and no block is without a tile") {
  CHECK_EQ(choose_attention_config(work(1, 131072, 128, 4, 8), kH200).grid, 132);
  CHECK_EQ(choose_attention_config(work(1, 65, 128, 4, 1), kH200).grid, 2);  // two tiles: 64 keys and 1 key
  CHECK_EQ(choose_attention_config(work(1, 1, 128, 16, 1), kH200).grid, 1);
}

TEST("attention config: cp.async before compute capability 9, one block where shared memory is small") {
  const AttentionConfig a100 = choose_attention_config(work(64, 1920, 128, 1, 72), kA100);
  CHECK(a100.pipeline == AttentionPipeline::kCpAsync);
  CHECK_EQ(a100.blocks_per_sm, 2);
  CHECK_EQ(a100.stages, 2);
  const AttentionConfig ada = choose_attention_config(work(64, 1920, 128, 1, 72), kRtx4090);
  CHECK_EQ(ada.blocks_per_sm, 1);
  CHECK_EQ(ada.stages, 2);
}

TEST("attention config: every supported shape fits its device with at least two stages") {
  for (const AttentionDevice& device : {kH200, kA100, kRtx4090}) {
    for (const int head_dim : {64, 96, 128, 256}) {
      for (int heads = 1; heads <= 16; ++heads) {
        const AttentionConfig c = choose_attention_config(work(64, 1000, head_dim, heads, 8), device);
        CHECK(c.stages >= 2 && c.stages <= kAttentionMaxStages);
        CHECK(c.shared_bytes <= device.shared_bytes_per_block_optin);
        CHECK(c.blocks_per_sm * (c.shared_bytes + kReservedBytesPerBlock) <= device.shared_bytes_per_sm);
        CHECK_EQ(c.head_tiles, heads > 8 ? 2 : 1);
        CHECK_EQ(c.tile_keys % (16 * c.consumer_warps), 0);
        CHECK_EQ(attention_shared(head_dim, heads).slot_bytes % 1024, size_t{0});
        // The widest kernel keeps a copy of the queries in the merge buffer.
        if (heads > 8) CHECK(attention_shared(head_dim, heads).merge_bytes >= size_t(heads) * head_dim * 2);
      }
    }
  }
}

TEST("attention config: every unit is cut alike where that makes no block's range longer") {
  const AttentionConfig dense = choose_attention_config(work(1, 8192, 128, 4, 8), kH200);
  CHECK_EQ(dense.blocks_per_span, 16);  // 132 / 8; 128 / 16 = 8 tiles, as 1024 / 132 rounded up
  CHECK_EQ(dense.grid, 128);
  const AttentionConfig selective = choose_attention_config(work(1, 8192, 128, 4, 5), kH200);
  CHECK_EQ(selective.blocks_per_span, 26);  // 132 / 5; 128 / 26 = 4.9 tiles, 640 / 132 = 4.8
  CHECK_EQ(selective.grid, 130);
  const AttentionConfig long_units = choose_attention_config(work(1, 131072, 128, 4, 8), kH200);
  CHECK_EQ(long_units.blocks_per_span, 132);  // 2048 / 16 = 128 tiles against 16384 / 132 = 124.1
  CHECK_EQ(choose_attention_config(work(1, 1920, 128, 1, 72), kH200).blocks_per_span, 132);  // 72 blocks would be idle
  CHECK_EQ(choose_attention_config(work(64, 1920, 128, 1, 72), kH200).blocks_per_span, 1);   // a block per unit
}

TEST("attention config: blocks per unit") {
  CHECK_EQ(attention_blocks_per_unit(8, 128, 132), 16);
  CHECK_EQ(attention_blocks_per_unit(22, 30, 132), 6);   // 5 tiles each, as over all
  CHECK_EQ(attention_blocks_per_unit(1, 3, 132), 3);     // not more blocks than tiles
  CHECK_EQ(attention_blocks_per_unit(132, 30, 132), 1);  // uncut
  CHECK_EQ(attention_blocks_per_unit(100, 30, 132), 0);  // 30 tiles against 23
  CHECK_EQ(attention_blocks_per_unit(200, 30, 132), 0);  // more units than blocks
}

TEST("attention config: workspace parts do not overlap and start aligned") {
  const AttentionWork w = work(1, 131072, 128, 4, 8);
  const AttentionConfig c = choose_attention_config(w, kH200);
  const AttentionWorkspace ws = attention_workspace(w, c);
  CHECK_EQ(ws.log2_offset, size_t{132 * 4 * 128 * 4});         // a slot of 4 rows of 128 floats per block
  CHECK_EQ(ws.bytes, ws.log2_offset + size_t{132 * 4 * 128});  // 4 bytes for every 4 elements
}

TEST("attention config: no partial results where every block has a unit of its own") {
  const AttentionWork w = work(64, 1920, 128, 1, 72);
  CHECK_EQ(attention_workspace(w, choose_attention_config(w, kH200)).bytes, size_t{0});
}

TEST("attention config: the part that a block keeps takes the place of query slots that cp.async leaves empty") {
  constexpr AttentionDevice kSmallTma{170, 12, 101376, 102400};
  CHECK_EQ(choose_attention_config(work(1, 1000, 256, 8, 8), kSmallTma).stages, 2);
  CHECK_THROWS(choose_attention_config(work(1, 1000, 256, 9, 8), kSmallTma), "E_UNSUPPORTED");
  CHECK_EQ(choose_attention_config(work(1, 1000, 256, 16, 8), kRtx4090).stages, 2);
  for (const int heads : {1, 3, 16}) {
    const AttentionShared s = attention_shared(96, heads);
    CHECK(2 * s.query_bytes >= s.own_bytes);
  }
}

TEST("attention config: what the kernel is not built for is refused") {
  CHECK_THROWS(choose_attention_config(work(1, 1, 80, 1, 1), kH200), "E_UNSUPPORTED");
  CHECK_THROWS(choose_attention_config(work(1, 1, 128, 17, 1), kH200), "E_UNSUPPORTED");
  CHECK_THROWS(choose_attention_config(work(1, 1, 128, 0, 1), kH200), "E_UNSUPPORTED");
  CHECK_THROWS(choose_attention_config(work(1, 1, 256, 16, 1), {16, 7, 65536, 65536}), "E_UNSUPPORTED");
  CHECK_THROWS(choose_attention_config(work(int64_t{1} << 20, int64_t{1} << 24, 128, 1, 64), kH200), "E_UNSUPPORTED");
}
