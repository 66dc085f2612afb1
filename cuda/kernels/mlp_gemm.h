// Host side of the MLP GEMM kernels: what a launch needs, without device code.
#pragma once

#include <cuda_runtime.h>

#include "mlp_config.h"
#include "problem.h"

namespace polar::cuda::mlp {

struct GemmParams;

// A compiled kernel: its address for the runtime, and its block size.
struct GemmKernel {
  const void* function;
  int threads;
};

// The kernel of a configuration; mlp_gemm_up.cu and mlp_gemm_down.cu hold the instances of their op.
// Throws NativeError E_NATIVE for a combination that choose_gemm_config never returns.
GemmKernel up_kernel(const GemmConfig& config, int32_t dtype);
GemmKernel down_kernel(const GemmConfig& config, int32_t dtype);

// One GEMM. Device pointers, row-major, 16-bit storage in `dtype`; weights and input start on 16 bytes.
struct GemmCall {
  GemmShape shape;
  int32_t dtype;
  const void* weights;  // [weight_rows, hidden_size]; up and gated: [weight_rows / 2, 2, hidden_size]
  int64_t weight_rows;
  const int32_t* index;       // [active_neurons] rows of `weights`, ascending; null = the first active_neurons
  const void* input;          // up: [B, hidden_size]; down: [B, input_stride], the first active_neurons columns count
  int64_t input_stride;       // elements, a multiple of 8
  void* out;                  // up: [B, active_neurons]; down: [B, hidden_size]
  int64_t out_stride;         // elements
  const void* bias;           // up: [intermediate_size], added before the activation; down: [hidden_size]; or null
  const int32_t* bias_index;  // up: neuron of each output column; null = identity
  int32_t activation;         // up only
  unsigned* tickets;          // tickets_bytes, zeroed once
  float* partial;             // partial_bytes
  bool skip_tile;             // planted fault
  bool dependent;             // the input comes from the launch before on the same stream: may start before it ends
};

// Workspace of one GEMM. Tickets are zero before and after every launch; partial sums need no initial value.
int64_t tickets_bytes(const GemmShape& shape, const GemmConfig& config);
int64_t partial_bytes(const GemmShape& shape, const GemmConfig& config);

GemmDevice gemm_device(const DeviceInfo& device);

// Raises the kernel's shared memory limit; once per process and kernel, outside a capture.
// Throws NativeError E_UNSUPPORTED where no tile fits the device.
void prepare_gemm(const GemmShape& shape, const GemmConfig& config, int32_t dtype);

// Enqueues the GEMM: one launch per kMaxBatchTiles batch tiles. Does not synchronise; safe inside a capture.
void launch_gemm(const GemmCall& call, const GemmConfig& config, cudaStream_t stream);

}  // namespace polar::cuda::mlp
