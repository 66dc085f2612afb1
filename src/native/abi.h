/*
 * The C interface that a backend library (libpolar_cpu.so, libpolar_cuda.so) exports.
 *
 * One symbol, polar_backend_api(), returns a table of functions. Everything crosses as plain C: no C++ type, no
 * exception and no allocation changes owner, so the addon and a library may be built by different compilers.
 * Results leave through callbacks of PolarSink, on the thread that made the call.
 *
 * Rules for a library: it never prints, never exits, never aborts; every failure becomes a status with a code.
 */
#ifndef POLAR_ABI_H
#define POLAR_ABI_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Raised whenever a struct below or the meaning of a field changes. */
#define POLAR_ABI_VERSION 2
#define POLAR_BACKEND_SYMBOL "polar_backend_api"

/* What is computed. Order is part of the ABI. */
typedef enum PolarScope {
  POLAR_SCOPE_ATTENTION = 0, /* decode attention of one layer */
  POLAR_SCOPE_MLP = 1,       /* up (and gate), activation, down */
  POLAR_SCOPE_MLP_UP = 2,    /* up (and gate) with the activation fused */
  POLAR_SCOPE_MLP_DOWN = 3,  /* down projection alone */
  POLAR_SCOPE_ROUTER = 4,    /* scores and selection of one router */
  POLAR_SCOPE_LAYER = 5,     /* one transformer layer of a decode step */
  POLAR_SCOPE_STEP = 6       /* all layers, final norm, language-model head, greedy token */
} PolarScope;

typedef enum PolarDtype { POLAR_BF16 = 0, POLAR_FP16 = 1 } PolarDtype;

typedef enum PolarActivation {
  POLAR_RELU = 0,
  POLAR_GELU = 1,      /* exact, with erf */
  POLAR_GELU_TANH = 2, /* tanh approximation */
  POLAR_SILU = 3,
  POLAR_IDENTITY = 4 /* plain projections inside a layer; no problem of an MLP scope has it */
} PolarActivation;

typedef enum PolarNorm {
  POLAR_NORM_NONE = 0,
  POLAR_NORM_LAYER = 1, /* (x - mean) / sqrt(variance + epsilon) * scale + bias */
  POLAR_NORM_RMS = 2    /* x / sqrt(mean(x^2) + epsilon) * scale */
} PolarNorm;

/* How a candidate's index sets (active KV groups of each sequence, active neurons) are drawn. */
typedef enum PolarIndexPattern {
  POLAR_INDEX_RANDOM = 0, /* a new random set for every sequence and every rotated copy; ascending */
  POLAR_INDEX_FIRST = 1,
  POLAR_INDEX_LAST = 2,
  POLAR_INDEX_EVERY_SECOND = 3, /* 0, 2, 4, ... then the odd ones, sorted, if more are needed */
  POLAR_INDEX_EXPLICIT = 4      /* PolarCandidate.indices, the same set for every sequence; checked, never trusted */
} PolarIndexPattern;

typedef enum PolarMode {
  POLAR_MODE_MEASURE = 0, /* verify, then time */
  POLAR_MODE_VERIFY = 1   /* verify only: whole output, repeated runs compared bit by bit */
} PolarMode;

typedef enum PolarStatus { POLAR_OK = 0, POLAR_INCORRECT = 1, POLAR_FAILED = 2, POLAR_SKIPPED = 3 } PolarStatus;

/* Why sampling of a cell ended. */
typedef enum PolarStop {
  POLAR_STOP_PRECISE = 0, /* every interval is within max_noise */
  POLAR_STOP_MAX_TIME = 1,
  POLAR_STOP_MAX_SAMPLES = 2,
  POLAR_STOP_CANCELLED = 3,
  POLAR_STOP_NOT_TIMED = 4 /* verify mode, or no candidate was left to time */
} PolarStop;

/*
 * One problem. Tensors (row-major, 16-bit storage in `dtype`):
 *   attention: Q [B, H, d_h], K and V [B, H_kv, kv_capacity, d_h], output [B, H, d_h]; softmax(q K^T / sqrt(d_h)) V
 * over the first kv_len positions; positions kv_len .. kv_capacity-1 hold NaN and must not be read into a result mlp:
 * X [B, d], W1 [D, d] (gated: [D, 2, d], gate row then up row of a neuron), b1 [D], W2 [D, d], b2 [d], hidden [B, D]
 * (selective: [B, active_neurons]), output [B, d]; biases exist only where mlp_bias != 0 router:    X [B, d]; see
 * "Routers" below layer:     X [B, d] -> [B, d]; see "Layers and steps" below step:      X [B, d], the embedded tokens
 * -> logits [B, V] and the greedy token of each sequence All counts are > 0. num_qo_heads is a multiple of
 * num_kv_heads, head_dim a multiple of 8 and at most 256, hidden_size a multiple of 8. mlp fields are 0 in attention
 * problems and the other way round; router, layer and step problems have both.
 *
 * Routers. Both read the normed input X of a block; weights have no biases.
 *   router/attention-topk: scores[b, g] = X[b] . R[g] in float32, R [H_kv, d]; index [B, active_groups]: the groups
 * with the largest scores of each sequence, ties to the lower index, ascending. router/mlp-topk: hidden = X R1^T
 * rounded to `dtype`, R1 [rank, d]; logits = hidden R2^T in float32, R2 [D, rank]; scores[n] = sum over b, in ascending
 * order, of max(0, logits[b, n]); index [active_neurons]: the neurons with the largest scores, ties to the lower index,
 * ascending. Scores are outputs too: verification compares them with the reference and the index set with the scores,
 * exactly.
 *
 * Layers and steps. N = kv_len counts the new token, whose key and value the layer writes at position N - 1 of every KV
 * head, active or not; RoPE (half-split pairs i and i + d_h/2) turns q and the new k by the angles of position N - 1.
 *   a = norm1(x); q, k, v = a Wqkv^T + bqkv, Wqkv [(H + 2 H_kv) d_h, d], rows of q, then k, then v
 *   y = x + attention(q, K, V) Wo^T + bo, Wo [d, H d_h]
 *   out = y + mlp(norm2(y))
 * Values that pass from one kernel to the next (a, q, k, v, attention, y, norm2(y), hidden, out) are rounded to
 * `dtype`. Selective variants choose the groups by the attention router on a, the neurons by the MLP router on a. In a
 * step, layer 0 computes all groups. Then logits = norm(x) Whead^T, Whead [V, d], token = the largest logit, lowest on
 * ties.
 */
typedef struct PolarProblem {
  int32_t scope;
  int32_t dtype;
  int64_t batch_size;        /* B */
  int64_t kv_len;            /* N */
  int64_t kv_capacity;       /* >= kv_len: stride of the KV cache in positions */
  int64_t num_qo_heads;      /* H */
  int64_t num_kv_heads;      /* H_kv */
  int64_t head_dim;          /* d_h */
  int64_t hidden_size;       /* d */
  int64_t intermediate_size; /* D */
  int32_t activation;
  int32_t gated;    /* 0 or 1: act(gate) * up */
  int32_t mlp_bias; /* 0 or 1 */
  int32_t norm;     /* PolarNorm; layer and step only, as all that follows up to seed */
  int32_t qkv_bias; /* 0 or 1 */
  int32_t out_bias; /* 0 or 1: bias of the output projection */
  int32_t rope;     /* 0 or 1 */
  int32_t reserved;
  double rope_theta;       /* > 0 where rope is 1 */
  double norm_epsilon;     /* > 0 */
  int64_t num_layers;      /* L; 1 in a layer problem */
  int64_t vocab_size;      /* V; step only */
  int64_t mlp_router_rank; /* width between the two matrices of the MLP router; router, layer and step */
  uint64_t seed;
} PolarProblem;

/* A kernel with its densities. Fields that the kernel does not use are 0. */
typedef struct PolarCandidate {
  const char* kernel;     /* catalog id, "attention/selective-head" */
  int64_t active_groups;  /* KV groups per sequence, 1 .. num_kv_heads (MHA: heads) */
  int64_t active_neurons; /* 1 .. intermediate_size */
  int32_t index_pattern;  /* PolarIndexPattern */
  int32_t dense;          /* 1: may be the baseline of the cell's speedups */
  const int32_t* indices; /* POLAR_INDEX_EXPLICIT only, else null */
  int64_t num_indices;
  /* layer and step: active neurons of each layer [num_layers], null = active_neurons in every layer. */
  const int64_t* layer_active_neurons;
} PolarCandidate;

typedef struct PolarOptions {
  int32_t mode;         /* PolarMode */
  int32_t device;       /* ordinal of the device; 0 for the CPU */
  int32_t threads;      /* CPU: threads to use, 0 = all that this process may run on */
  int32_t cold_cache;   /* 1: rotate over copies beyond 5x the last-level cache; 0: one copy */
  int32_t min_samples;  /* rounds at least, >= 3 */
  int32_t max_samples;  /* rounds at most, >= min_samples */
  int32_t warmup;       /* untimed samples of each candidate, >= 1 */
  int32_t repeats;      /* verification runs compared bit by bit, >= 1 */
  double max_noise;     /* relative half-width at which sampling stops, 0.005 = 0.5 % */
  double max_time_s;    /* time limit of sampling for the whole cell */
  double min_sample_us; /* a sample holds as many runs as reach this duration */
  int64_t verify_rows;  /* output rows compared in measure mode, 0 = all */
  int32_t breakdown;    /* 1: report the parts of each ok candidate of a step problem */
  int32_t reserved;
} PolarOptions;

typedef struct PolarVerification {
  double max_abs_err;    /* over all compared rows; NaN when an output was NaN or infinite where it must not be */
  double max_rel_err;    /* max|error| / max|reference| */
  double tolerance_used; /* largest share of its tolerance that a row used; passes at <= 1 */
  int64_t rows_checked;
  int64_t rows_failed;
  int64_t worst_row;     /* index of the row with the largest share, -1 if none */
  int32_t repeats_equal; /* 1: all repeats gave the same bits */
  int32_t passed;
} PolarVerification;

/* What is known of a candidate once its timing ended. NaN for "not available". */
typedef struct PolarTiming {
  int64_t runs_per_sample;
  int64_t rotation_copies;
  double rotation_bytes;     /* distinct bytes that the rotation touches */
  int64_t samples_discarded; /* taken while the device was throttled */
  double energy_mj;          /* per run, from the device's energy counter */
  int64_t resident_layers;   /* layer and step: distinct layers (weights and KV) that runs cycle through; else 0 */
  double setup_s;
} PolarTiming;

/* Receives results while a call runs. Strings are valid only during the callback. */
typedef struct PolarSink {
  void* context;
  /* A fact by name: describe() and measure_ceilings() use nothing else; measure_cell() for cell-wide facts. */
  void (*text)(void* context, const char* name, const char* value);
  void (*number)(void* context, const char* name, double value);
  /* Sign of life at least once a second, with the phase ("fill", "verify", "sample"). Returns 1 if the call shall end.
   */
  int32_t (*heartbeat)(void* context, const char* phase, double fraction);
  void (*verified)(void* context, int32_t candidate, const PolarVerification* result);
  /* One sample: `ns` per run. clock_mhz is NaN where there is none. Discarded samples are not reported. */
  void (*sample)(void* context, int32_t candidate, int32_t round, double ns, double clock_mhz);
  void (*timed)(void* context, int32_t candidate, const PolarTiming* timing);
  /* With options.breakdown: nanoseconds per run that a part of the step takes, measured inside the step. Parts:
   * "attention", "qkv", "out-proj", "mlp", "routers", "other"; each once per candidate. */
  void (*part)(void* context, int32_t candidate, const char* name, double ns);
  void (*warning)(void* context, int32_t candidate, const char* message); /* candidate -1: the cell */
  /* The candidate's end, exactly once each; code and reason are "" on POLAR_OK. */
  void (*finished)(void* context, int32_t candidate, int32_t status, const char* code, const char* reason);
} PolarSink;

/* The answer of every call. On POLAR_FAILED code is one of E_CUDA, E_CUBLAS, E_OUT_OF_MEMORY, E_UNSUPPORTED, E_NATIVE,
 * E_BACKEND_UNAVAILABLE. */
typedef struct PolarResult {
  int32_t status;
  int32_t stop; /* PolarStop, measure_cell only */
  char code[32];
  char message[512];
} PolarResult;

/* Tensors that go in and out of evaluate(). Names of inputs: "x" [B, d], "lm_head", "final_norm_scale",
 * "final_norm_bias" with layer 0; per layer "norm1_scale", "norm1_bias", "wqkv", "bqkv", "k_cache" and "v_cache" [B,
 * H_kv, kv_capacity, d_h] (position N - 1 is overwritten), "wo", "bo", "norm2_scale", "norm2_bias", "w1", "b1", "w2",
 * "b2", "attention_router", "mlp_router_down" [rank, d], "mlp_router_up" [D, rank]. Outputs, as float: "layer_output"
 * [B, d] per layer, and of a step "logits" [B, V] and "token" [B]. */
typedef struct PolarTensors {
  void* context;
  /* Fills dst [count] in the problem's dtype and returns 1, or returns 0: then the tensor is random as in a
   * measurement. */
  int32_t (*read)(void* context, const char* name, int64_t layer, uint16_t* dst, int64_t count);
  void (*write)(void* context, const char* name, int64_t layer, const float* values, int64_t count);
} PolarTensors;

typedef struct PolarBackendApi {
  uint32_t abi_version;
  uint32_t struct_size;
  const char* name; /* "cpu", "cuda" */
  /* Facts about one device: see docs/native.md for the names. POLAR_FAILED with E_BACKEND_UNAVAILABLE where there is
   * no usable device; the message says whether driver, device or library is missing. */
  void (*describe)(int32_t device, const PolarSink* sink, PolarResult* result);
  /* Calls text(context, "kernel", id) for every kernel of the library. Needs no device. */
  void (*list_kernels)(const PolarSink* sink, PolarResult* result);
  /* Read and matrix ceilings of a device; facts "read_gb_per_s", "matrix_tflop_per_s" and one per pattern tried. */
  void (*measure_ceilings)(int32_t dtype, const PolarOptions* options, const PolarSink* sink, PolarResult* result);
  /* Verifies and times the candidates of one problem. */
  void (*measure_cell)(const PolarProblem* problem, const PolarCandidate* candidates, int32_t num_candidates,
                       const PolarOptions* options, const PolarSink* sink, PolarResult* result);
  /* Runs one candidate of a layer or step problem once, on tensors of the caller, and hands out what it computed. */
  void (*evaluate)(const PolarProblem* problem, const PolarCandidate* candidate, const PolarOptions* options,
                   const PolarTensors* tensors, const PolarSink* sink, PolarResult* result);
} PolarBackendApi;

typedef const PolarBackendApi* (*PolarBackendApiFn)(void);

#ifdef __cplusplus
}
#endif

#endif
