#include "registry.h"

namespace polar::cuda {
namespace {

const AttentionKernel* const kAttention[] = {
    &kAttentionDense,
    &kAttentionDensePerQueryHead,
    &kAttentionSelectiveHead,
    &kAttentionGatherDense,
};

const MlpKernel* const kMlp[] = {
    &kMlpDense,       &kMlpCublaslt,      &kMlpSelective, &kMlpGatherDense,  &kMlpUpDense,       &kMlpUpCublaslt,
    &kMlpUpSelective, &kMlpUpGatherDense, &kMlpDownDense, &kMlpDownCublaslt, &kMlpDownSelective, &kMlpDownGatherDense,
};

// Launched by name: router.h.
const char* const kRouters[] = {"router/attention-topk", "router/mlp-topk"};

}  // namespace

const AttentionKernel* find_attention_kernel(const std::string& id) {
  for (const AttentionKernel* kernel : kAttention) {
    if (id == kernel->id) return kernel;
  }
  return nullptr;
}

const MlpKernel* find_mlp_kernel(const std::string& id) {
  for (const MlpKernel* kernel : kMlp) {
    if (id == kernel->id) return kernel;
  }
  return nullptr;
}

std::vector<std::string> kernel_ids() {
  std::vector<std::string> ids;
  for (const AttentionKernel* kernel : kAttention) ids.emplace_back(kernel->id);
  for (const MlpKernel* kernel : kMlp) ids.emplace_back(kernel->id);
  for (const char* id : kRouters) ids.emplace_back(id);
  return ids;
}

}  // namespace polar::cuda
