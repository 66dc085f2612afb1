# POLAR_CUDA_SOURCES: every file of libpolar_cuda.so. A new kernel is one line here.
set(POLAR_CUDA_SOURCES
  cuda/backend.cu
  cuda/candidates.cu
  cuda/executable.cu
  cuda/host_check.cpp
  cuda/inputs.cu
  cuda/reference_results.cu
  cuda/common/check.cpp
  cuda/device/ceiling_matrix.cu
  cuda/device/ceiling_read.cu
  cuda/device/device.cu
  cuda/device/fill.cu
  cuda/device/graph.cu
  cuda/device/nvml.cpp
  cuda/kernels/compare.cu
  cuda/kernels/reference_attention.cu
  cuda/kernels/reference_mlp.cu
  cuda/kernels/registry.cu
  # Attention
  cuda/kernels/attention_decode.cu
  cuda/kernels/attention_decode_bf16.cu
  cuda/kernels/attention_decode_fp16.cu
  cuda/kernels/attention_dense.cu
  cuda/kernels/attention_dense_per_query_head.cu
  cuda/kernels/attention_gather_dense.cu
  cuda/kernels/attention_selective_head.cu
  # MLP
  cuda/kernels/mlp_dense.cu
  cuda/kernels/mlp_down_dense.cu
  cuda/kernels/mlp_down_gather_dense.cu
  cuda/kernels/mlp_down_selective.cu
  cuda/kernels/mlp_gather_dense.cu
  cuda/kernels/mlp_gemm.cu
  cuda/kernels/mlp_gemm_down.cu
  cuda/kernels/mlp_gemm_up.cu
  cuda/kernels/mlp_launch.cu
  cuda/kernels/mlp_selective.cu
  cuda/kernels/mlp_up_dense.cu
  cuda/kernels/mlp_up_gather_dense.cu
  cuda/kernels/mlp_up_selective.cu
  # Libraries opened at run time
  cuda/library/cublaslt.cpp
  cuda/library/cublaslt_epilogue.cu
  cuda/library/cublaslt_kernels.cpp
  cuda/library/cublaslt_loader.cpp)
