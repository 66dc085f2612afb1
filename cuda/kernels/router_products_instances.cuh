// Addresses of the product kernels of one storage type.
#pragma once

#include "router_hidden.cuh"
#include "router_scores.cuh"

namespace polar::cuda::router {

template <typename T>
const void* hidden_kernel_of(int columns) {
  const auto address = [](auto* kernel) { return reinterpret_cast<const void*>(kernel); };
  if (columns == 8) return address(router_hidden_kernel<8, T>);
  if (columns == 32) return address(router_hidden_kernel<32, T>);
  if (columns == 64) return address(router_hidden_kernel<64, T>);
  return address(router_hidden_kernel<128, T>);
}

template <typename T>
const void* scores_kernel_of(int columns) {
  const auto address = [](auto* kernel) { return reinterpret_cast<const void*>(kernel); };
  if (columns == 8) return address(router_scores_kernel<8, T>);
  if (columns == 32) return address(router_scores_kernel<32, T>);
  if (columns == 64) return address(router_scores_kernel<64, T>);
  return address(router_scores_kernel<128, T>);
}

}  // namespace polar::cuda::router
