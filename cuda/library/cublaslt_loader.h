// cuBLASLt opened at run time. The toolkit's header is not needed to build: the few types, values and prototypes that
// are used stand here, from the public cuBLAS documentation; they have not changed between CUDA 11 and 13.
#pragma once

#include <cuda_runtime.h>
#include <library_types.h>

#include <cstddef>
#include <cstdint>
#include <string>

namespace polar::cuda::lt {

// Opaque objects of the library.
using Handle = struct HandleStruct*;
using MatmulDesc = struct MatmulDescStruct*;
using MatrixLayout = struct MatrixLayoutStruct*;
using Preference = struct PreferenceStruct*;

using Status = int;  // cublasStatus_t
inline constexpr Status kSuccess = 0;
inline constexpr Status kNotSupported = 15;  // CUBLAS_STATUS_NOT_SUPPORTED: no algorithm for this combination

struct Algo {  // cublasLtMatmulAlgo_t
  uint64_t data[8];
};

struct HeuristicResult {  // cublasLtMatmulHeuristicResult_t
  Algo algo;
  size_t workspace_bytes;
  Status state;  // kSuccess: the algorithm can run
  float waves;
  int reserved[4];
};

inline constexpr int kCompute32F = 68;  // CUBLAS_COMPUTE_32F

enum class Op : int32_t { kN = 0, kT = 1 };  // cublasOperation_t

// cublasLtMatmulDescAttributes_t
inline constexpr int kDescTransA = 3;         // Op
inline constexpr int kDescTransB = 4;         // Op
inline constexpr int kDescEpilogue = 7;       // Epilogue
inline constexpr int kDescBiasPointer = 8;    // const void*: one value per row of D (column-major D)
inline constexpr int kDescBiasDataType = 26;  // int32_t, cudaDataType

// cublasLtEpilogue_t. GELU is the tanh approximation.
enum class Epilogue : int32_t { kNone = 1, kRelu = 2, kBias = 4, kReluBias = 6, kGelu = 32, kGeluBias = 36 };

// cublasLtMatrixLayoutAttribute_t
inline constexpr int kLayoutOrder = 1;               // int32_t: 0 column-major (default), 1 row-major
inline constexpr int kLayoutBatchCount = 5;          // int32_t
inline constexpr int kLayoutStridedBatchOffset = 6;  // int64_t, elements

// cublasLtMatmulPreferenceAttributes_t
inline constexpr int kPreferenceMaxWorkspaceBytes = 1;  // uint64_t
inline constexpr int kPreferenceReductionMask = 3;      // uint32_t, cublasLtReductionScheme_t values ored
// Partial sums of a split product kept in the compute type (float32). The other schemes keep them in the output's type.
inline constexpr uint32_t kReductionInComputeType = 2;

struct Api {
  size_t (*version)();  // 10000 major + 100 minor + patch (CUDA 13: 130000 and more)
  const char* (*status_name)(Status);
  Status (*create)(Handle*);
  Status (*destroy)(Handle);
  Status (*matmul_desc_create)(MatmulDesc*, int compute_type, cudaDataType_t scale_type);
  Status (*matmul_desc_destroy)(MatmulDesc);
  Status (*matmul_desc_set)(MatmulDesc, int attribute, const void* value, size_t bytes);
  Status (*layout_create)(MatrixLayout*, cudaDataType_t type, uint64_t rows, uint64_t columns, int64_t ld);
  Status (*layout_destroy)(MatrixLayout);
  Status (*layout_set)(MatrixLayout, int attribute, const void* value, size_t bytes);
  Status (*preference_create)(Preference*);
  Status (*preference_destroy)(Preference);
  Status (*preference_set)(Preference, int attribute, const void* value, size_t bytes);
  Status (*heuristic)(Handle, MatmulDesc, MatrixLayout a, MatrixLayout b, MatrixLayout c, MatrixLayout d, Preference,
                      int requested, HeuristicResult* results, int* returned);
  // D = alpha op(A) op(B) + beta C; alpha and beta are host pointers of the scale type.
  Status (*matmul)(Handle, MatmulDesc, const void* alpha, const void* a, MatrixLayout, const void* b, MatrixLayout,
                   const void* beta, const void* c, MatrixLayout, void* d, MatrixLayout, const Algo*, void* workspace,
                   size_t workspace_bytes, cudaStream_t);
};

// The library, opened on first use and kept. Tried in order: the file that POLAR_BENCH_CUBLASLT names, then
// libcublasLt.so.13, .12 and .so by the loader's search path, then the toolkit's usual folders.
// Throws NativeError E_UNSUPPORTED with what was tried where none opens or a symbol is missing. Thread-safe.
const Api& api();

// Null where the library is there, else why it is not; never throws.
const char* unavailable_reason();

// Throws NativeError E_CUBLAS, or the sticky E_CUDA where the device is lost; `call` names the failing function.
void check(Status status, const char* call);

}  // namespace polar::cuda::lt

#define CHECK_CUBLASLT(call) ::polar::cuda::lt::check((call), #call)
