// The tensors of a transformer layer and of the end of a decode step, as both backends and the references see them.
#pragma once

#include <cstdint>

#include "random.h"

namespace polar {

// One layer (abi.h, "Layers and steps"). Pointers are null where the problem has no such tensor.
struct LayerTensors {
  const uint16_t* norm1_scale;       // [d]
  const uint16_t* norm1_bias;        // [d]
  const uint16_t* wqkv;              // [(H + 2 H_kv) d_h, d]
  const uint16_t* bqkv;              // [(H + 2 H_kv) d_h]
  const uint16_t* wo;                // [d, H d_h]
  const uint16_t* bo;                // [d]
  const uint16_t* norm2_scale;       // [d]
  const uint16_t* norm2_bias;        // [d]
  const uint16_t* w1;                // [D, d], gated [D, 2, d]
  const uint16_t* b1;                // [D]
  const uint16_t* w2;                // [D, d]
  const uint16_t* b2;                // [d]
  const uint16_t* attention_router;  // [H_kv, d]
  const uint16_t* mlp_router_down;   // [rank, d]
  const uint16_t* mlp_router_up;     // [D, rank]
  uint16_t* k_cache;                 // [B, H_kv, kv_capacity, d_h]; the layer writes position N - 1
  uint16_t* v_cache;
};

// Final norm and language-model head.
struct EndTensors {
  const uint16_t* norm_scale;  // [d]
  const uint16_t* norm_bias;   // [d]
  const uint16_t* head;        // [V, d]
};

// The weights of a layer by the names of PolarTensors.
struct LayerField {
  const char* name;
  Tensor tensor;
  const uint16_t* LayerTensors::* member;
};
inline constexpr LayerField kLayerFields[] = {
    {"norm1_scale", Tensor::kNorm1Scale, &LayerTensors::norm1_scale},
    {"norm1_bias", Tensor::kNorm1Bias, &LayerTensors::norm1_bias},
    {"wqkv", Tensor::kQkv, &LayerTensors::wqkv},
    {"bqkv", Tensor::kQkvBias, &LayerTensors::bqkv},
    {"wo", Tensor::kOut, &LayerTensors::wo},
    {"bo", Tensor::kOutBias, &LayerTensors::bo},
    {"norm2_scale", Tensor::kNorm2Scale, &LayerTensors::norm2_scale},
    {"norm2_bias", Tensor::kNorm2Bias, &LayerTensors::norm2_bias},
    {"w1", Tensor::kUp, &LayerTensors::w1},
    {"b1", Tensor::kUpBias, &LayerTensors::b1},
    {"w2", Tensor::kDown, &LayerTensors::w2},
    {"b2", Tensor::kDownBias, &LayerTensors::b2},
    {"attention_router", Tensor::kAttentionRouter, &LayerTensors::attention_router},
    {"mlp_router_down", Tensor::kMlpRouterDown, &LayerTensors::mlp_router_down},
    {"mlp_router_up", Tensor::kMlpRouterUp, &LayerTensors::mlp_router_up},
};

struct EndField {
  const char* name;
  Tensor tensor;
  const uint16_t* EndTensors::* member;
};
inline constexpr EndField kEndFields[] = {
    {"final_norm_scale", Tensor::kFinalNormScale, &EndTensors::norm_scale},
    {"final_norm_bias", Tensor::kFinalNormBias, &EndTensors::norm_bias},
    {"lm_head", Tensor::kHead, &EndTensors::head},
};

}  // namespace polar
