// What a launcher gets and the registry of launchers. Tensors are row-major with the layouts of abi.h; all pointers are
// host memory. A launcher returns when its output is complete and allocates nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "../../abi.h"
#include "../inner/inner.h"
#include "../threads.h"

namespace polar::cpu {

struct Launch {
  const PolarProblem& problem;
  const Inner& inner;
  ThreadPool& pool;
  std::byte* workspace;  // workspace_bytes of the kernel, 64-byte aligned, contents arbitrary
  bool skip_tile;        // planted fault; always false outside a POLAR_FAULTS build
};

struct AttentionArgs {
  const uint16_t* q;           // [B, H, d_h]
  const uint16_t* k;           // [B, H_kv, kv_capacity, d_h]
  const uint16_t* v;           // [B, H_kv, kv_capacity, d_h]
  uint16_t* out;               // [B, H, d_h]; rows of unselected groups become zero
  const int32_t* group_index;  // [B, active_groups] ascending, checked
  int64_t active_groups;       // num_kv_heads for dense kernels
};

struct MlpArgs {
  const uint16_t* x;            // [B, d]; null for mlp-down
  const uint16_t* w1;           // [D, d], gated [D, 2, d]; null for mlp-down
  const uint16_t* b1;           // [D] or null
  const uint16_t* w2;           // [D, d]; null for mlp-up
  const uint16_t* b2;           // [d] or null
  const uint16_t* hidden_in;    // mlp-down: [B, active_neurons]
  uint16_t* out;                // mlp-up: [B, active_neurons]; mlp, mlp-down: [B, d]
  const int32_t* neuron_index;  // [active_neurons] ascending, checked; null = all
  int64_t active_neurons;       // D for dense kernels
  const uint16_t* residual;     // [B, d] or null: added to the output of the down projection before it is rounded
};

struct Kernel {
  const char* id;
  int32_t scope;  // PolarScope
  // `active`: active_groups or active_neurons of the candidate, all of them for dense kernels.
  size_t (*workspace_bytes)(const PolarProblem& p, int64_t active, int threads);
  // At most one of the two is set. Routers, layers and steps have neither: they are programs of several kernels, which
  // sessions of their own run (router_session.h, block/).
  void (*attention)(const Launch& launch, const AttentionArgs& args);
  void (*mlp)(const Launch& launch, const MlpArgs& args);
};

// All kernels, in the order of the catalog.
const std::vector<Kernel>& kernel_registry();

// Hands out pieces of a workspace, 64-byte aligned. With a null base it only counts.
class Carver {
 public:
  explicit Carver(std::byte* base) : base_(base) {}
  std::byte* take(size_t bytes) {
    std::byte* piece = base_ == nullptr ? nullptr : base_ + used_;
    used_ += (bytes + 63) / 64 * 64;
    return piece;
  }
  size_t used() const { return used_; }

 private:
  std::byte* base_;
  size_t used_ = 0;
};

// The launchers, one file each.
#define POLAR_ATTENTION_KERNEL(name)                                                        \
  size_t name##_workspace_bytes(const PolarProblem& p, int64_t active_groups, int threads); \
  void launch_##name(const Launch& launch, const AttentionArgs& args)
POLAR_ATTENTION_KERNEL(attention_dense);
POLAR_ATTENTION_KERNEL(attention_dense_per_query_head);
POLAR_ATTENTION_KERNEL(attention_selective_head);
POLAR_ATTENTION_KERNEL(attention_gather_dense);
#undef POLAR_ATTENTION_KERNEL

#define POLAR_MLP_KERNEL(name)                                                               \
  size_t name##_workspace_bytes(const PolarProblem& p, int64_t active_neurons, int threads); \
  void launch_##name(const Launch& launch, const MlpArgs& args)
POLAR_MLP_KERNEL(mlp_dense);
POLAR_MLP_KERNEL(mlp_selective);
POLAR_MLP_KERNEL(mlp_gather_dense);
POLAR_MLP_KERNEL(mlp_up_dense);
POLAR_MLP_KERNEL(mlp_up_selective);
POLAR_MLP_KERNEL(mlp_up_gather_dense);
POLAR_MLP_KERNEL(mlp_down_dense);
POLAR_MLP_KERNEL(mlp_down_selective);
POLAR_MLP_KERNEL(mlp_down_gather_dense);
#undef POLAR_MLP_KERNEL

}  // namespace polar::cpu
