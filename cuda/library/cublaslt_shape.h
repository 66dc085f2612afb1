// Which GEMMs a problem needs of cuBLASLt and how the kernel's workspace is laid out: pure functions, so that sizes are
// tested without a device.
#pragma once

#include <algorithm>
#include <compare>
#include <cstddef>
#include <cstdint>

#include "../../src/native/common/problem.h"

namespace polar::cuda::lt {

inline constexpr size_t kWorkspaceBytes = size_t{32} << 20;  // what the library itself may use

// out[B, columns] = epilogue(input[B, k] * weights^T or weights), all row-major.
struct GemmKey {
  int32_t dtype;
  int32_t transposed;  // 1: weights [columns, k] (up); 0: weights [k, columns] (down)
  int64_t batch_size;
  int64_t columns;
  int64_t k;
  int32_t activation;  // PolarActivation, or -1 for none
  int32_t gated;       // 1: columns hold gate and up in turn; the post step halves them
  int32_t bias;
  int32_t device;
  auto operator<=>(const GemmKey&) const = default;
};

inline GemmKey up_key(const PolarProblem& p, int32_t device) {
  return {p.dtype, 1,          p.batch_size, p.intermediate_size * up_rows(p), p.hidden_size, p.activation,
          p.gated, p.mlp_bias, device};
}

inline GemmKey down_key(const PolarProblem& p, int32_t device) {
  return {p.dtype, 0, p.batch_size, p.hidden_size, p.intermediate_size, -1, 0, p.mlp_bias, device};
}

inline int64_t align_256(int64_t bytes) { return (bytes + 255) / 256 * 256; }

inline int64_t out_columns(const GemmKey& key) { return key.gated ? key.columns / 2 : key.columns; }

// Whether something is left to do behind the bare product. Where the library fuses it, the faster of both ways is
// chosen by timing, so memory for the unfused one is needed all the same.
inline bool has_epilogue(const GemmKey& key) { return key.gated || key.bias || key.activation >= 0; }

// Bytes of the float32 product [B, columns] that our own epilogue reads: rounding happens once, behind the epilogue.
inline int64_t product_bytes(const GemmKey& key) {
  return has_epilogue(key) ? align_256(key.batch_size * key.columns * 4) : 0;
}

// Byte offsets, each a multiple of 256, which the library's default alignment of operands asks for.
struct Workspace {
  int64_t hidden;   // [B, intermediate_size] 16-bit, scope mlp only
  int64_t product;  // float32, shared by both GEMMs: they run one after the other
  int64_t bytes;
};

inline Workspace workspace_layout(const PolarProblem& p) {
  Workspace w{};
  w.hidden = static_cast<int64_t>(kWorkspaceBytes);
  w.product = w.hidden + (p.scope == POLAR_SCOPE_MLP ? align_256(p.batch_size * p.intermediate_size * 2) : 0);
  w.bytes = w.product +
            std::max(has_up(p) ? product_bytes(up_key(p, 0)) : 0, has_down(p) ? product_bytes(down_key(p, 0)) : 0);
  return w;
}

}  // namespace polar::cuda::lt
