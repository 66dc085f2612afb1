// What a launcher gets. Pointers are device pointers; tensors are row-major with the layouts of src/native/abi.h.
// A launcher only enqueues work on `stream`: it neither allocates nor synchronises, so it can be captured in a graph.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "../../src/native/abi.h"

namespace polar::cuda {

inline constexpr int kMostClusterBlocks = 6;

// Facts that configuration choices depend on; filled once per device.
struct DeviceInfo {
  int ordinal = 0;
  int sm_count = 0;
  int compute_major = 0;
  int compute_minor = 0;
  size_t shared_bytes_per_block_optin = 0;
  size_t shared_bytes_per_sm = 0;
  size_t l2_bytes = 0;
  // clusters[n]: clusters of n blocks, one block per SM, that run at the same time; 0 where there are none.
  int clusters[kMostClusterBlocks + 1] = {};
};

// One attention launch over copy c of the inputs.
struct AttentionArgs {
  const void* q;               // [B, H, d_h]
  const void* k;               // [B, H_kv, kv_capacity, d_h]
  const void* v;               // [B, H_kv, kv_capacity, d_h]
  void* out;                   // [B, H, d_h]; rows of unselected groups are written as zeros by the kernel
  const int32_t* group_index;  // [B, active_groups] ascending, in range (checked on the host); null = all groups
  int64_t active_groups;       // num_kv_heads where group_index is null
  void* workspace;             // workspace_bytes of the entry, 256-byte aligned; zeroed once when allocated, and left
                               // zeroed where the kernel relies on it (tickets reset themselves)
};

// One MLP launch over copy c of the weights.
struct MlpArgs {
  const void* x;                      // [B, d]; null for mlp-down
  const void* w1;                     // [D, d], gated: [D, 2, d]
  const void* b1;                     // [D] or null
  const void* w2;                     // [D, d]
  const void* b2;                     // [d] or null
  const void* hidden_in;              // mlp-down: [B, active_neurons] (dense: [B, D])
  void* out;                          // mlp-up: [B, active_neurons] (dense: [B, D]); mlp, mlp-down: [B, d]
  const int32_t* neuron_index;        // [active_neurons] ascending, checked on the host; null = all
  const int32_t* active_neurons_ptr;  // device copy of the count, for kernels that read it there
  int64_t active_neurons;
  void* workspace;
};

struct LaunchContext {
  const PolarProblem& problem;
  const DeviceInfo& device;
  cudaStream_t stream;
  bool dependent = false;  // attention: a programmatic dependent launch (device/dependent.cuh)
};

// A kernel of the registry. `workspace_bytes` is a pure function of its arguments. `prepare` (may be null) runs once
// per candidate before the first launch, outside any capture: function attributes, library plans.
struct AttentionKernel {
  const char* id;
  size_t (*workspace_bytes)(const PolarProblem&, const PolarCandidate&, const DeviceInfo&);
  void (*prepare)(const PolarProblem&, const PolarCandidate&, const DeviceInfo&);
  void (*launch)(const LaunchContext&, const AttentionArgs&);
};

struct MlpKernel {
  const char* id;
  size_t (*workspace_bytes)(const PolarProblem&, const PolarCandidate&, const DeviceInfo&);
  void (*prepare)(const PolarProblem&, const PolarCandidate&, const DeviceInfo&);
  void (*launch)(const LaunchContext&, const MlpArgs&);
};

}  // namespace polar::cuda
