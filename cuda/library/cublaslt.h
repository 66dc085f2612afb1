// MLP GEMMs by cuBLASLt: the strongest dense baseline that a library gives. The library's own first choice is not
// always its fastest, so every heuristic candidate is timed with cold weights and the best one is kept for the run.
#pragma once

#include <cstdint>

#include "../kernels/problem.h"
#include "cublaslt_loader.h"
#include "cublaslt_shape.h"

namespace polar::cuda::lt {

struct GemmBuffers {
  const void* weights;
  const void* input;
  const void* bias;  // null without bias
  float* product;    // [B, columns], product_bytes(key); may be null where has_epilogue(key) is false
  void* out;         // [B, columns], gated: [B, columns / 2]
  void* workspace;   // kWorkspaceBytes
};

// A timed choice; its descriptors live as long as the process.
struct GemmPlan {
  GemmKey key{};
  MatmulDesc desc = nullptr;
  MatrixLayout a = nullptr, b = nullptr, d = nullptr;
  bool weights_first = true;  // the weights are operand A of the library's column-major view, else B of a row-major one
  Epilogue epilogue = Epilogue::kNone;
  Algo algo{};
  size_t workspace_bytes = 0;
  int candidates = 0;  // how many were timed
  double best_us = 0;
};

// The plan of `key`, timed on first use (seconds; allocates and frees scratch; outside any capture), then remembered.
// Throws NativeError E_UNSUPPORTED without the library, E_CUBLAS where no candidate runs, E_OUT_OF_MEMORY.
const GemmPlan& plan_gemm(const GemmKey& key, const DeviceInfo& device);

// Enqueues the product and, where the library's epilogue does not cover it, our own elementwise step, which reads the
// product in float32: the output is rounded to the storage type once. Capturable.
void run_gemm(const GemmPlan& plan, const GemmBuffers& buffers, cudaStream_t stream);

}  // namespace polar::cuda::lt
