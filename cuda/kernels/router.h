// The routers of Polar Sparsity as launchers: scores and selection, on the device, without a host synchronisation.
// src/native/abi.h ("Routers") defines what they compute; docs/kernels/router.md says how.
//
// Every launcher only enqueues on `stream` and can be captured in a graph. Equal inputs give equal bits in every run:
// all sums have a fixed order and no float is added atomically. Tensors are row-major, 16-bit storage in `dtype`, and
// start on 16 bytes; hidden_size and rank are multiples of 8.
#pragma once

#include "problem.h"

namespace polar::cuda {

// scores[b, g] = x[b] . weight[g]; index[b, :]: the top_k groups of each sequence, ties to the lower, ascending.
struct AttentionRouterArgs {
  const void* x;                                       // [B, d]
  const void* weight;                                  // [H_kv, d]
  int64_t batch_size, hidden_size, num_groups, top_k;  // num_groups at most kMaxRouterGroups
  float* scores;                                       // [B, H_kv]
  int32_t* index;                                      // [B, top_k]
  void* workspace;
};

// hidden = x down^T rounded to dtype; scores[n] = sum over b, ascending, of max(0, hidden[b] . up[n]); index: the top_k
// neurons, ties to the lower, ascending.
struct MlpRouterArgs {
  const void* x;                                              // [B, d]
  const void* down;                                           // [rank, d]
  const void* up;                                             // [D, rank]
  int64_t batch_size, hidden_size, rank, num_neurons, top_k;  // rank at most kMaxRouterRank
  float* scores;                                              // [D]
  int32_t* index;                                             // [top_k]
  void* workspace;
};

inline constexpr int64_t kMaxRouterGroups = 4096;
inline constexpr int64_t kMaxRouterRank = 1024;

// Bytes of workspace: 256-byte aligned, zeroed once when allocated; what a launch relies on it leaves zeroed. Pure
// functions of sizes and device; top_k and pointers do not count. Throw NativeError E_UNSUPPORTED for sizes beyond the
// limits above, as the launchers do.
size_t attention_router_workspace_bytes(const AttentionRouterArgs& args, const DeviceInfo& device);
size_t mlp_router_workspace_bytes(const MlpRouterArgs& args, const DeviceInfo& device);

// Function attributes of all router kernels of `dtype`; once per device before the first launch, outside any capture.
void prepare_routers(int32_t dtype, const DeviceInfo& device);

void launch_attention_router(int32_t dtype, const DeviceInfo& device, const AttentionRouterArgs& args,
                             cudaStream_t stream);
void launch_mlp_router(int32_t dtype, const DeviceInfo& device, const MlpRouterArgs& args, cudaStream_t stream);

// As prepare_routers(), which includes it, for selections alone.
void prepare_selections(const DeviceInfo& device);

// Bytes of workspace of a selection of any size: as above.
size_t select_workspace_bytes();

// index: the k positions of the largest of scores [n], ties to the lower position, ascending; 1 <= k <= n < 2^31.
void launch_top_k(const DeviceInfo& device, const float* scores, int64_t n, int64_t k, int32_t* index, void* workspace,
                  cudaStream_t stream);

// The union of everything above a threshold: index gets the ascending positions with scores[i] > threshold, *count (on
// the device) how many there are. `index` must have room for n. MLP kernels read the count as active_neurons_ptr.
void launch_select_above(const DeviceInfo& device, const float* scores, int64_t n, float threshold, int32_t* index,
                         int32_t* count, void* workspace, cudaStream_t stream);

}  // namespace polar::cuda
