// fp16 instantiations of the decode attention kernel; one file per storage type, so that they compile side by side.
#include "attention_decode.cuh"

namespace polar::cuda {

const void* attention_decode_kernel_fp16(int head_dim, int head_tiles, AttentionPipeline pipeline) {
  return attention::decode_kernel<__half>(head_dim, head_tiles, pipeline);
}

}  // namespace polar::cuda
