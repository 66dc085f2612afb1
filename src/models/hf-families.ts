import type { Activation, ModelFamily } from '../core/model-shape.js';

/** How one Hugging Face `model_type` writes down its dimensions. */
export interface HfFamily {
  readonly modelType: string;
  readonly family: ModelFamily;
  readonly gated: boolean;
  /** Key of D */
  readonly intermediateKey: string;
  readonly activationKey: string;
  /** Activation where the key is absent or null; null: the key is required. */
  readonly activationFallback: string | null;
  /** d_h where the key is absent, as the architecture defines it; null: hidden_size / num_attention_heads. */
  readonly headDimFallback: number | null;
  /** Key that switches the MLP's biases on, with its value where it is absent; null: the MLP has none. */
  readonly biasKey: { readonly key: string; readonly fallback: boolean } | null;
  /** Key that switches the biases of the attention projections on, as biasKey; null: never or always, see below. */
  readonly attentionBiasKey: { readonly key: string; readonly fallback: boolean } | null;
  /** true: q, k and v always have biases and the output projection never has (Qwen2) */
  readonly qkvBiasOnly: boolean;
  /** Base of the rotary angles where the file says none; null: positions are learned. */
  readonly ropeThetaFallback: number | null;
  /** Key of the epsilon and its value where the key is absent; null: LayerNorm with torch's 1e-5. */
  readonly epsilonKey: { readonly key: string; readonly fallback: number } | null;
  /** What a layer of the architecture has that scopes layer and step do not compute; null: nothing. */
  readonly unmodelledBlock: string | null;
  /** false: every query head has its own KV head and the architecture knows no head_dim key. */
  readonly grouped: boolean;
}

const llama: HfFamily = {
  modelType: 'llama',
  family: 'llama',
  gated: true,
  intermediateKey: 'intermediate_size',
  activationKey: 'hidden_act',
  activationFallback: null,
  headDimFallback: null,
  biasKey: { key: 'mlp_bias', fallback: false },
  attentionBiasKey: { key: 'attention_bias', fallback: false },
  qkvBiasOnly: false,
  ropeThetaFallback: 10_000,
  epsilonKey: { key: 'rms_norm_eps', fallback: 1e-6 },
  unmodelledBlock: null,
  grouped: true,
};

/** Gemma widens its heads beyond hidden_size / heads and always computes the tanh form of GELU. */
const gemma: HfFamily = {
  ...llama,
  modelType: 'gemma',
  activationKey: 'hidden_activation',
  activationFallback: 'gelu_pytorch_tanh',
  headDimFallback: 256,
  biasKey: null,
};

const opt: HfFamily = {
  modelType: 'opt',
  family: 'opt',
  gated: false,
  intermediateKey: 'ffn_dim',
  activationKey: 'activation_function',
  activationFallback: null,
  headDimFallback: null,
  biasKey: { key: 'enable_bias', fallback: true },
  attentionBiasKey: { key: 'enable_bias', fallback: true },
  qkvBiasOnly: false,
  ropeThetaFallback: null,
  epsilonKey: null,
  unmodelledBlock: null,
  grouped: false,
};

export const HF_FAMILIES: readonly HfFamily[] = [
  opt,
  llama,
  { ...llama, modelType: 'mistral', biasKey: null, attentionBiasKey: null },
  { ...llama, modelType: 'qwen2', biasKey: null, attentionBiasKey: null, qkvBiasOnly: true },
  {
    ...llama,
    modelType: 'qwen3',
    biasKey: null,
    headDimFallback: 128,
    unmodelledBlock: 'it normalises queries and keys',
  },
  gemma,
  {
    ...gemma,
    modelType: 'gemma2',
    unmodelledBlock: 'it has four norms in a layer and caps its attention scores',
  },
  {
    ...gemma,
    modelType: 'gemma3_text',
    ropeThetaFallback: 1_000_000,
    unmodelledBlock: 'it has four norms in a layer and normalises queries and keys',
  },
  { ...llama, modelType: 'phi3', biasKey: null, attentionBiasKey: null },
];

/** Activation names of Hugging Face; a name that is not here (quick_gelu, relu2, ...) is another function. */
export const HF_ACTIVATIONS: Readonly<Record<string, Activation>> = {
  relu: 'relu',
  gelu: 'gelu',
  gelu_python: 'gelu',
  gelu_new: 'gelu-tanh',
  gelu_fast: 'gelu-tanh',
  gelu_pytorch_tanh: 'gelu-tanh',
  silu: 'silu',
  swish: 'silu',
};

/** Keys whose presence says that the MLP is split into experts. */
export const EXPERT_KEYS = [
  'num_experts',
  'num_local_experts',
  'n_routed_experts',
  'moe_intermediate_size',
  'num_experts_per_tok',
  'moe_num_experts',
] as const;

/** Keys whose presence says that keys and values are stored in a compressed form. */
export const LATENT_ATTENTION_KEYS = ['kv_lora_rank', 'q_lora_rank'] as const;

/** Model types that are mixtures of experts whatever their keys say. */
export const EXPERT_MODEL_TYPE =
  /moe|mixtral|deepseek_v|dbrx|jamba|arctic|grok|llama4|gpt_oss|switch_transformers/i;
