// A layer or step candidate made ready, and what the candidates of a cell share.
#pragma once

#include <memory>
#include <vector>

#include "../../common/backend.h"
#include "../buffer.h"
#include "../isa.h"
#include "program.h"

namespace polar::cpu {

struct BlockShared {
  PolarProblem p;
  Isa isa;
  ThreadPool& pool;
  bool breakdown;
  int32_t warmup;  // samples of each candidate that do not count
  BlockConstants constants;
  const Reporter* reporter = nullptr;
  std::vector<LayerTensors> layers{};  // the resident ones
  int64_t next_layer = 0;  // all candidates walk through the same layers, so none finds what another has just read
  EndTensors end{};
  const uint16_t* x = nullptr;  // [B, d]
  // One workspace for all candidates: where a buffer lies changes the speed by tenths of a per cent.
  Buffer workspace{};
};

std::unique_ptr<Executable> make_block_executable(BlockShared& shared, const PolarCandidate& candidate);

}  // namespace polar::cpu
