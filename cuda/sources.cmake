# POLAR_CUDA_SOURCES: every file of libpolar_cuda.so. A new kernel is one line here.
set(POLAR_CUDA_SOURCES
  cuda/backend.cpp
  cuda/candidates.cpp
  cuda/executable.cpp
  cuda/host_check.cpp
  cuda/inputs.cpp
  cuda/reference_results.cpp
  cuda/rotation.cpp
  cuda/router_executable.cpp
  cuda/router_session.cpp
  cuda/common/check.cpp
  cuda/device/ceiling_matrix.cu
  cuda/device/ceiling_read.cu
  cuda/device/device.cpp
  cuda/device/fill.cu
  cuda/device/graph.cu
  cuda/device/nvml.cpp
  cuda/kernels/compare.cu
  cuda/kernels/reference_attention.cu
  cuda/kernels/reference_mlp.cu
  cuda/kernels/reference_router.cu
  cuda/kernels/registry.cpp
  # Attention
  cuda/kernels/attention_decode.cpp
  cuda/kernels/attention_decode_bf16.cu
  cuda/kernels/attention_decode_fp16.cu
  cuda/kernels/attention_dense.cpp
  cuda/kernels/attention_dense_per_query_head.cpp
  cuda/kernels/attention_gather_dense.cu
  cuda/kernels/attention_selective_head.cpp
  # MLP
  cuda/kernels/mlp_dense.cpp
  cuda/kernels/mlp_down_dense.cpp
  cuda/kernels/mlp_down_gather_dense.cpp
  cuda/kernels/mlp_down_selective.cpp
  cuda/kernels/mlp_gather_dense.cpp
  cuda/kernels/mlp_gemm.cu
  cuda/kernels/mlp_gemm_down.cu
  cuda/kernels/mlp_gemm_up.cu
  cuda/kernels/mlp_launch.cu
  cuda/kernels/mlp_selective.cpp
  cuda/kernels/mlp_up_dense.cpp
  cuda/kernels/mlp_up_gather_dense.cpp
  cuda/kernels/mlp_up_selective.cpp
  # Routers
  cuda/kernels/router.cu
  cuda/kernels/router_gemm_bf16.cu
  cuda/kernels/router_gemm_fp16.cu
  # Libraries opened at run time
  cuda/library/cublaslt.cpp
  cuda/library/cublaslt_epilogue.cu
  cuda/library/cublaslt_kernels.cpp
  cuda/library/cublaslt_loader.cpp)
