// What both backends know about a problem before any device is involved: sizes, scales, checks, index sets.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "../abi.h"
#include "random.h"

namespace polar {

inline bool is_attention(const PolarProblem& p) { return p.scope == POLAR_SCOPE_ATTENTION; }
// Layer or step: whole transformer layers.
inline bool is_block(const PolarProblem& p) { return p.scope == POLAR_SCOPE_LAYER || p.scope == POLAR_SCOPE_STEP; }
inline bool is_router(const PolarProblem& p) { return p.scope == POLAR_SCOPE_ROUTER; }
inline bool has_up(const PolarProblem& p) {
  return p.scope == POLAR_SCOPE_MLP || p.scope == POLAR_SCOPE_MLP_UP || is_block(p);
}
inline bool has_down(const PolarProblem& p) {
  return p.scope == POLAR_SCOPE_MLP || p.scope == POLAR_SCOPE_MLP_DOWN || is_block(p);
}
// Columns of the QKV projection's output: query heads, then key heads, then value heads.
inline int64_t qkv_columns(const PolarProblem& p) { return (p.num_qo_heads + 2 * p.num_kv_heads) * p.head_dim; }
inline int64_t group_size(const PolarProblem& p) { return p.num_qo_heads / p.num_kv_heads; }
// Rows of W1 that belong to one neuron: gate and up, or up alone.
inline int64_t up_rows(const PolarProblem& p) { return p.gated ? 2 : 1; }

// Elements of each tensor of one copy (layer and step: of one layer; norm and head of the step's end once); 0 where the
// problem has no such tensor.
int64_t tensor_elements(const PolarProblem& p, Tensor tensor);

// Standard deviation of each tensor's values, chosen so that scores, hidden values and outputs are of order 1:
// weights 1/sqrt(fan-in), biases 0.5, everything else 1.
float tensor_scale(const PolarProblem& p, Tensor tensor);

// The sizes that tell cells apart, "bf16 B=64 N=1920 H=72/72 d_h=128", for logs and profilers.
std::string problem_text(const PolarProblem& p);

// Output elements and output rows. A row is what verification judges on its own: (sequence, query head) for attention,
// a sequence for the MLP scopes. `active_neurons` counts for mlp-up, whose sparse output is [B, active_neurons].
struct OutputShape {
  int64_t rows;
  int64_t columns;
};
OutputShape output_shape(const PolarProblem& p, const PolarCandidate& candidate);

// Throws NativeError E_NATIVE naming the field if a size is out of range or inconsistent.
void check_problem(const PolarProblem& p);
// Likewise for a candidate: known kernel of the scope, counts in range, explicit indices ascending and in range.
void check_candidate(const PolarProblem& p, const PolarCandidate& candidate, const std::vector<std::string>& kernels);
void check_options(const PolarOptions& options);

// True for kernels that work on a subset: "…/selective…", "…/gather-dense", the routers, and in layers and steps the
// variants that say so: head-sparse and polar select groups, mlp-sparse and polar neurons.
bool selects_groups(const PolarProblem& p, const PolarCandidate& candidate);
bool selects_neurons(const PolarProblem& p, const PolarCandidate& candidate);

// Active neurons of layer `layer` of a layer or step candidate; D where it computes all.
int64_t layer_neurons(const PolarProblem& p, const PolarCandidate& candidate, int64_t layer);
// Active groups of that layer; H_kv where it computes all, as layer 0 of a step does.
int64_t layer_groups(const PolarProblem& p, const PolarCandidate& candidate, int64_t layer);

// The active KV groups of every sequence, [B, active_groups], ascending within a sequence; copy 0, 1, ... of the cold
// rotation have different random sets. Dense candidates get all groups.
std::vector<int32_t> group_index(const PolarProblem& p, const PolarCandidate& candidate, int64_t copy);
// The active neurons, [active_neurons], ascending. Dense candidates get all neurons.
std::vector<int32_t> neuron_index(const PolarProblem& p, const PolarCandidate& candidate, int64_t copy);

}  // namespace polar
