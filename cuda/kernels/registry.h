// The kernels of this library by id. A new kernel is one file that defines its object, one line here and one in
// registry.cu; src/core/catalog.ts lists the same ids and a test compares them.
#pragma once

#include <string>
#include <vector>

#include "problem.h"

namespace polar::cuda {

extern const AttentionKernel kAttentionDense;              // attention/dense
extern const AttentionKernel kAttentionDensePerQueryHead;  // attention/dense-per-query-head
extern const AttentionKernel kAttentionSelectiveHead;      // attention/selective-head
extern const AttentionKernel kAttentionGatherDense;        // attention/gather-dense

extern const MlpKernel kMlpDense;            // mlp/dense
extern const MlpKernel kMlpCublaslt;         // mlp/cublaslt
extern const MlpKernel kMlpSelective;        // mlp/selective
extern const MlpKernel kMlpGatherDense;      // mlp/gather-dense
extern const MlpKernel kMlpUpDense;          // mlp-up/dense
extern const MlpKernel kMlpUpCublaslt;       // mlp-up/cublaslt
extern const MlpKernel kMlpUpSelective;      // mlp-up/selective
extern const MlpKernel kMlpUpGatherDense;    // mlp-up/gather-dense
extern const MlpKernel kMlpDownDense;        // mlp-down/dense
extern const MlpKernel kMlpDownCublaslt;     // mlp-down/cublaslt
extern const MlpKernel kMlpDownSelective;    // mlp-down/selective
extern const MlpKernel kMlpDownGatherDense;  // mlp-down/gather-dense

// Null where no kernel of that op has this id.
const AttentionKernel* find_attention_kernel(const std::string& id);
const MlpKernel* find_mlp_kernel(const std::string& id);

// Every id, in the order of the catalog.
std::vector<std::string> kernel_ids();

}  // namespace polar::cuda
