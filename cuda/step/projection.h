// One dense matrix product of a step: our kernel or cuBLASLt, whichever was faster with cold weights. All variants of a
// cell share the choice, so that their ratio says something about sparsity and nothing about libraries.
#pragma once

#include <cstdint>
#include <string>

#include "../../src/native/common/backend.h"
#include "../kernels/mlp_gemm.h"
#include "../library/cublaslt.h"

namespace polar::cuda::step {

// out[B, columns] = act(input[B, k] * weights + bias). kUp: weights [columns, k], gated [columns, 2, k], the activation
// fused; kDown: weights [k, columns], no activation.
struct ProjectionShape {
  mlp::GemmOp op;
  int32_t dtype;
  int64_t batch_size;
  int64_t columns;
  int64_t k;
  int32_t activation;  // POLAR_IDENTITY: none
  bool gated;
  bool bias;
};

// What all products of a step share; they run one after the other. Each at least as large as projection_need() says.
struct GemmWorkspace {
  unsigned* tickets;  // zero between launches
  float* partial;
  float* product;
  void* library;
};
struct GemmNeed {
  int64_t tickets = 0, partial = 0, product = 0;  // bytes
  void cover(const GemmNeed& other);
};

// Our kernel's need for a product, dense or over `index`; a pure function.
GemmNeed gemm_need(const mlp::GemmShape& shape, const DeviceInfo& device);
// That of a dense projection, whoever computes it.
GemmNeed projection_need(const ProjectionShape& shape, const DeviceInfo& device);

struct ProjectionArgs {
  const void* weights;
  const void* bias;
  const void* input;
  int64_t input_stride;  // elements; ours alone can differ from k
  void* out;
  int64_t out_stride;
};

class Projection {
 public:
  // Times both on first use of a shape in this process (seconds, with scratch memory of its own) and remembers.
  // Throws NativeError E_UNSUPPORTED or E_CUBLAS where neither can run, E_OUT_OF_MEMORY.
  Projection(const ProjectionShape& shape, const DeviceInfo& device);

  // Enqueues only.
  void launch(const ProjectionArgs& args, const GemmWorkspace& workspace, cudaStream_t stream) const;

  bool by_library() const { return choice_.plan != nullptr; }
  double ours_us() const { return choice_.ours_us; }        // NaN where it cannot run
  double library_us() const { return choice_.library_us; }  // NaN where library_refusal() says why
  const std::string& library_refusal() const { return choice_.refusal; }

 private:
  struct Choice {
    const lt::GemmPlan* plan = nullptr;  // null: ours
    double ours_us = 0, library_us = 0;
    std::string refusal{};  // why cuBLASLt was not timed
  };
  static Choice choose(const ProjectionShape& shape, const DeviceInfo& device);

  ProjectionShape shape_;
  mlp::GemmConfig config_;
  Choice choice_;
};

}  // namespace polar::cuda::step
