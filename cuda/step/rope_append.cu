#include "../../src/native/common/problem.h"
#include "../common/check.h"
#include "../device/dependent.cuh"
#include "../device/half.cuh"
#include "kernels.h"

namespace polar::cuda::step {
namespace {

constexpr int kThreads = 256;
constexpr int kPiece = 4;  // elements of one half of a pair piece; d_h / 2 is a multiple of it

struct alignas(8) Piece {
  uint16_t bits[kPiece];
};

struct Shape {
  int64_t pieces;  // of the whole tensor
  int64_t kv_capacity;
  int64_t position;  // kv_len - 1
  int num_qo_heads;
  int num_kv_heads;
  int head_dim;
};

// A thread takes the elements i .. i + 3 and their partners i + d_h / 2 .. of one head of one sequence.
template <int32_t kDtype>
__global__ void __launch_bounds__(kThreads) rope_append_kernel(const Shape s, const RopeAppendArgs a) {
  const int64_t piece = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  wait_for_dependencies();
  allow_dependents();
  if (piece >= s.pieces) return;
  const int half = s.head_dim / 2, per_head = half / kPiece;
  const int heads = s.num_qo_heads + 2 * s.num_kv_heads;
  const int64_t row = piece / per_head;  // (sequence, head)
  const int i = static_cast<int>(piece % per_head) * kPiece;
  const int64_t batch = row / heads;
  const int head = static_cast<int>(row % heads);

  const uint16_t* from = static_cast<const uint16_t*>(a.qkv) + row * s.head_dim + i;
  Piece low = *reinterpret_cast<const Piece*>(from), high = *reinterpret_cast<const Piece*>(from + half);
  if (a.angles != nullptr && head < s.num_qo_heads + s.num_kv_heads) {
#pragma unroll
    for (int e = 0; e < kPiece; ++e) {
      const float2 angle = a.angles[i + e];
      const float x = half_bits_to_float(low.bits[e], kDtype), y = half_bits_to_float(high.bits[e], kDtype);
      low.bits[e] = float_to_half_bits(x * angle.x - y * angle.y, kDtype);
      high.bits[e] = float_to_half_bits(y * angle.x + x * angle.y, kDtype);
    }
  }
  uint16_t* to;
  if (head < s.num_qo_heads) {
    to = static_cast<uint16_t*>(a.q) + (batch * s.num_qo_heads + head) * s.head_dim;
  } else {
    const bool is_key = head < s.num_qo_heads + s.num_kv_heads;
    const int group = head - s.num_qo_heads - (is_key ? 0 : s.num_kv_heads);
    const int64_t position = (batch * s.num_kv_heads + group) * s.kv_capacity + s.position;
    to = static_cast<uint16_t*>(is_key ? a.k : a.v) + position * s.head_dim;
  }
  *reinterpret_cast<Piece*>(to + i) = low;
  *reinterpret_cast<Piece*>(to + i + half) = high;
}

}  // namespace

void launch_rope_append(const PolarProblem& p, const RopeAppendArgs& args, bool dependent, cudaStream_t stream) {
  const Shape shape{p.batch_size * qkv_columns(p) / (2 * kPiece),
                    p.kv_capacity,
                    p.kv_len - 1,
                    static_cast<int>(p.num_qo_heads),
                    static_cast<int>(p.num_kv_heads),
                    static_cast<int>(p.head_dim)};
  const unsigned blocks = static_cast<unsigned>((shape.pieces + kThreads - 1) / kThreads);
  const auto kernel = p.dtype == POLAR_BF16 ? rope_append_kernel<POLAR_BF16> : rope_append_kernel<POLAR_FP16>;
  launch_kernel(kernel, blocks, kThreads, 0, dependent, stream, shape, args);
}

}  // namespace polar::cuda::step
