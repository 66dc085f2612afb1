// The routers with their selection (abi.h, "Routers").
#pragma once

#include "kernel.h"

namespace polar::cpu {

struct AttentionRouterArgs {
  const uint16_t* x;       // [B, d]
  const uint16_t* weight;  // [H_kv, d]
  int64_t top_k;
  float* scores;   // [B, H_kv]
  int32_t* index;  // [B, top_k]
};
size_t attention_router_workspace_bytes(const PolarProblem& p, int threads);
void attention_router(const Launch& launch, const AttentionRouterArgs& args, std::byte* workspace);

struct MlpRouterArgs {
  const uint16_t* x;     // [B, d]
  const uint16_t* down;  // [rank, d]
  const uint16_t* up;    // [D, rank]
  int64_t top_k;
  float* scores;   // [D]
  int32_t* index;  // [top_k]
};
size_t mlp_router_workspace_bytes(const PolarProblem& p, int threads);
void mlp_router(const Launch& launch, const MlpRouterArgs& args, std::byte* workspace);

}  // namespace polar::cpu
