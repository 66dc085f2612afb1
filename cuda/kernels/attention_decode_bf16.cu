// bf16 instantiations of the decode attention kernel; one file per storage type, so that they compile side by side.
#include "attention_decode.cuh"

namespace polar::cuda {

const void* attention_decode_kernel_bf16(int head_dim, int head_tiles, AttentionPipeline pipeline) {
  return attention::decode_kernel<__nv_bfloat16>(head_dim, head_tiles, pipeline);
}

}  // namespace polar::cuda
