#include "../common/check.h"
#include "../device/half.cuh"
#include "reference.h"

namespace polar::cuda {
namespace {

constexpr int kThreads = 256;

__device__ double max_of_block(double mine) {
  __shared__ double values[kThreads];
  __syncthreads();
  values[threadIdx.x] = mine;
  for (int half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (static_cast<int>(threadIdx.x) < half)
      values[threadIdx.x] = fmax(values[threadIdx.x], values[threadIdx.x + half]);
  }
  __syncthreads();
  return values[0];
}

__global__ void __launch_bounds__(kThreads)
    compare_rows_kernel(int32_t dtype, const uint16_t* out, int64_t columns, const double* exact, const float* naive,
                        int64_t reference_columns, const int32_t* column_index, const uint8_t* row_active,
                        RowError* errors) {
  const int64_t row = blockIdx.x;
  const bool active = row_active == nullptr || row_active[row] != 0;
  double error = 0, naive_error = 0, reference = 0;
  for (int64_t c = threadIdx.x; c < columns; c += kThreads) {
    const int64_t at = row * reference_columns + (column_index != nullptr ? column_index[c] : c);
    const double want = active ? exact[at] : 0.0;
    const double got = half_bits_to_float(out[row * columns + c], dtype);
    const double distance = fabs(got - want);
    error = fmax(error, isfinite(distance) ? distance : INFINITY);  // fmax alone would drop a NaN
    if (active) naive_error = fmax(naive_error, fabs(static_cast<double>(naive[at]) - want));
    reference = fmax(reference, fabs(want));
  }
  error = max_of_block(error);
  naive_error = max_of_block(naive_error);
  reference = max_of_block(reference);
  if (threadIdx.x == 0) errors[row] = RowError{error, naive_error, reference};
}

}  // namespace

void launch_compare_rows(int32_t dtype, const void* out, int64_t rows, int64_t columns, const double* exact,
                         const float* naive, int64_t reference_columns, const int32_t* column_index,
                         const uint8_t* row_active, RowError* errors, cudaStream_t stream) {
  compare_rows_kernel<<<static_cast<unsigned>(rows), kThreads, 0, stream>>>(dtype, static_cast<const uint16_t*>(out),
                                                                            columns, exact, naive, reference_columns,
                                                                            column_index, row_active, errors);
  CHECK_LAUNCH("compare_rows");
}

}  // namespace polar::cuda
