// Filling device memory: random inputs (the bits that the host generates), poison, gathered columns.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace polar::cuda {

// dst [count], 16-bit `dtype`: element i = random_value(key, i, scale), rounded. dst is 16-byte aligned.
// Asynchronous on `stream`, like all of these.
void fill_random(void* dst, int64_t count, int32_t dtype, uint64_t key, float scale, cudaStream_t stream);

// KV cache dst [runs, capacity, head_dim]: random as above for positions below `length`, NaN from there on.
// head_dim is a multiple of 8.
void fill_cache(void* dst, int64_t runs, int64_t capacity, int64_t length, int64_t head_dim, int32_t dtype,
                uint64_t key, float scale, cudaStream_t stream);

// Every 16-bit element becomes a quiet NaN of both storage types.
void fill_nan(void* dst, int64_t count, cudaStream_t stream);

// dst [rows, num_columns] = src [rows, src_columns] at `columns`, 16-bit elements.
void gather_columns(void* dst, const void* src, int64_t rows, int64_t src_columns, const int32_t* columns,
                    int64_t num_columns, cudaStream_t stream);

// Adds the number of 16-bit elements that differ between a and b to *differences.
void count_differences(const void* a, const void* b, int64_t count, unsigned long long* differences,
                       cudaStream_t stream);

}  // namespace polar::cuda
