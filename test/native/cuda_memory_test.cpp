// What a cell costs in device memory, as far as it is a pure function: needs neither a GPU nor a toolkit.
#include "../../cuda/library/cublaslt_shape.h"
#include "../../cuda/rotation.h"
#include "../../cuda/step/residency.h"
#include "check.h"

using namespace polar;
using namespace polar::cuda;

namespace {

PolarProblem mlp(int32_t scope, int64_t batch, int64_t hidden, int64_t intermediate) {
  PolarProblem p{};
  p.scope = scope;
  p.dtype = POLAR_BF16;
  p.batch_size = batch;
  p.hidden_size = hidden;
  p.intermediate_size = intermediate;
  p.activation = POLAR_RELU;
  return p;
}

// One query head per KV head.
PolarProblem attention(int64_t batch, int64_t kv_len, int64_t heads, int64_t head_dim) {
  PolarProblem p{};
  p.scope = POLAR_SCOPE_ATTENTION;
  p.batch_size = batch;
  p.kv_len = p.kv_capacity = kv_len;
  p.num_qo_heads = p.num_kv_heads = heads;
  p.head_dim = head_dim;
  return p;
}

PolarCandidate candidate(const char* kernel, int64_t groups = 0, int64_t neurons = 0) {
  PolarCandidate c{};
  c.kernel = kernel;
  c.active_groups = groups;
  c.active_neurons = neurons;
  return c;
}

PolarOptions cold() {
  PolarOptions o{};
  o.cold_cache = 1;
  return o;
}

constexpr size_t kL2 = 62914560;  // of an H200
constexpr int64_t kLibrary = int64_t{32} << 20;

}  // namespace

TEST("cublaslt workspace: a gated up projection holds gate and up values in float32") {
  PolarProblem p = mlp(POLAR_SCOPE_MLP_UP, 64, 4096, 11008);
  p.gated = 1;
  p.activation = POLAR_SILU;
  const lt::Workspace w = lt::workspace_layout(p);
  CHECK_EQ(w.product, kLibrary);                  // no hidden values: they are the output
  CHECK_EQ(w.bytes - w.product, 64 * 22016 * 4);  // 5 636 096, a multiple of 256
}

TEST("cublaslt workspace: the whole MLP shares one product buffer behind the hidden values") {
  PolarProblem p = mlp(POLAR_SCOPE_MLP, 3, 72, 100);
  p.mlp_bias = 1;
  const lt::Workspace w = lt::workspace_layout(p);
  CHECK_EQ(w.hidden, kLibrary);
  CHECK_EQ(w.product - w.hidden, 768);  // 3 x 100 x 2 = 600 bytes
  CHECK_EQ(w.bytes - w.product, 1280);  // up: 3 x 100 x 4 = 1200; down: 3 x 72 x 4 = 864
  p.intermediate_size = 8;              // now the down projection has the larger product
  CHECK_EQ(lt::workspace_layout(p).bytes - lt::workspace_layout(p).product, 1024);
}

TEST("cublaslt workspace: a bare product needs no float32 copy, a bias does even where the library can fuse it") {
  PolarProblem p = mlp(POLAR_SCOPE_MLP_DOWN, 64, 9216, 36864);
  CHECK_EQ(lt::workspace_layout(p).bytes, kLibrary);
  p.mlp_bias = 1;
  CHECK_EQ(lt::workspace_layout(p).bytes, kLibrary + 64 * 9216 * 4);
  CHECK(!lt::has_epilogue(lt::down_key(mlp(POLAR_SCOPE_MLP_DOWN, 1, 8, 8), 0)));
  CHECK(lt::has_epilogue(lt::up_key(mlp(POLAR_SCOPE_MLP_UP, 1, 8, 8), 0)));  // ReLU
}

TEST("cublaslt keys: gated columns are counted twice and halved in the output") {
  PolarProblem p = mlp(POLAR_SCOPE_MLP, 16, 4096, 14336);
  p.gated = 1;
  const lt::GemmKey up = lt::up_key(p, 2);
  CHECK_EQ(up.columns, 28672);
  CHECK_EQ(lt::out_columns(up), 14336);
  CHECK_EQ(up.k, 4096);
  CHECK_EQ(up.device, 2);
  const lt::GemmKey down = lt::down_key(p, 2);
  CHECK_EQ(down.columns, 4096);
  CHECK_EQ(down.k, 14336);
  CHECK_EQ(down.activation, -1);
  CHECK_EQ(down.gated, 0);
}

TEST("cuda inputs: every tensor is rounded up to 256 bytes, the cache counts to its capacity") {
  PolarProblem p = attention(1, 2, 1, 8);
  p.num_qo_heads = 2;
  p.kv_capacity = 20;
  CHECK_EQ(input_bytes(p), size_t{256 + 2 * 512});  // Q 32 bytes, K and V 320 each
  PolarProblem m = mlp(POLAR_SCOPE_MLP, 3, 72, 100);
  m.mlp_bias = 1;
  CHECK_EQ(input_bytes(m), size_t{512 + 2 * 14592 + 2 * 256});  // X 432, W1 and W2 14400, biases 200 and 144 bytes
  m.scope = POLAR_SCOPE_MLP_DOWN;
  CHECK_EQ(input_bytes(m), size_t{14592 + 256 + 768});  // W2, its bias, hidden values of 600 bytes
  CHECK_EQ(tensor_bytes(m, Tensor::kQuery), size_t{0});
}

TEST("cuda rotation: distinct bytes exceed five caches for the candidate that reads least") {
  const PolarProblem p = attention(1, 8192, 8, 128);  // 33 554 432 bytes of K and V
  const PolarCandidate dense = candidate("attention/dense");
  const PolarCandidate one = candidate("attention/selective-head", 1);
  CHECK_EQ(streamed_bytes(p, dense), 33554432.0);
  CHECK_EQ(streamed_bytes(p, one), 4194304.0);
  CHECK_EQ(plan_rotation(p, {dense}, cold(), kL2, 1000).copies, 10);       // 5 x 60 MiB / 32 MiB = 9.4
  CHECK_EQ(plan_rotation(p, {dense, one}, cold(), kL2, 1000).copies, 75);  // 5 x 60 MiB / 4 MiB
  CHECK(plan_rotation(p, {dense, one}, cold(), kL2, 75).complete);
}

TEST("cuda rotation: weights of the active neurons count, gate rows too") {
  PolarProblem p = mlp(POLAR_SCOPE_MLP, 16, 4096, 11008);
  p.gated = 1;
  CHECK_EQ(streamed_bytes(p, candidate("mlp/selective", 0, 100)), 100.0 * 3 * 4096 * 2);
  CHECK_EQ(streamed_bytes(p, candidate("mlp/dense", 0, 100)), 11008.0 * 3 * 4096 * 2);
  p.scope = POLAR_SCOPE_MLP_UP;
  CHECK_EQ(streamed_bytes(p, candidate("mlp-up/gather-dense", 0, 100)), 100.0 * 2 * 4096 * 2);
  p.scope = POLAR_SCOPE_MLP_DOWN;
  CHECK_EQ(streamed_bytes(p, candidate("mlp-down/selective", 0, 100)), 100.0 * 4096 * 2);
}

TEST("cuda rotation: memory and the limit of graph nodes cut it short, and it says so") {
  const PolarProblem p = attention(1, 8192, 8, 128);
  const PolarCandidate dense = candidate("attention/dense");
  const Rotation tight = plan_rotation(p, {dense}, cold(), kL2, 4);
  CHECK_EQ(tight.copies, 4);
  CHECK(!tight.complete);
  CHECK_EQ(plan_rotation(p, {dense}, cold(), kL2, 0).copies, 1);
  const Rotation tiny = plan_rotation(attention(1, 1, 1, 8), {dense}, cold(), kL2, 1 << 30);
  CHECK_EQ(tiny.copies, 1024);
  CHECK(!tiny.complete);
}

TEST("cuda rotation: one copy with a hot cache, for verification, and where nothing is read") {
  const PolarProblem p = attention(1, 8192, 8, 128);
  const std::vector<PolarCandidate> dense{candidate("attention/dense")};
  PolarOptions hot = cold();
  hot.cold_cache = 0;
  CHECK_EQ(plan_rotation(p, dense, hot, kL2, 1000).copies, 1);
  PolarOptions verify = cold();
  verify.mode = POLAR_MODE_VERIFY;
  CHECK_EQ(plan_rotation(p, dense, verify, kL2, 1000).copies, 1);
  const PolarCandidate spin = candidate("instrument/spin");
  CHECK_EQ(least_streamed_bytes(p, {spin}), 0.0);
  CHECK_EQ(plan_rotation(p, {spin}, cold(), kL2, 1000).copies, 1);
  CHECK_EQ(least_streamed_bytes(p, {spin, dense[0]}), 33554432.0);
}

TEST("cuda memory: what is spare after the first copy holds the others") {
  CHECK_EQ(copies_that_fit(100, 40, 10), 7);
  CHECK_EQ(copies_that_fit(109, 40, 10), 7);
  CHECK_EQ(copies_that_fit(40, 40, 10), 1);
  CHECK_EQ(copies_that_fit(10, 40, 10), 1);  // the cell is skipped then
}

namespace {

// OPT-66B as a step problem: 72 heads of 128, 64 layers.
PolarProblem opt_66b(int64_t batch, int64_t kv_len) {
  PolarProblem p = attention(batch, kv_len, 72, 128);
  p.scope = POLAR_SCOPE_STEP;
  p.hidden_size = 9216;
  p.intermediate_size = 36864;
  p.norm = POLAR_NORM_LAYER;
  p.qkv_bias = p.out_bias = p.mlp_bias = 1;
  p.num_layers = 64;
  p.vocab_size = 50272;
  p.mlp_router_rank = 1024;
  return p;
}

}  // namespace

TEST("resident layers: a layer of OPT-66B holds weights, KV cache and routers") {
  const int64_t kv = int64_t{2} * 2 * 64 * 72 * 1920 * 128;  // 4 529 848 320
  const int64_t weights = 2 * (int64_t{27648} * 9216 + 9216 * 9216 + int64_t{2} * 36864 * 9216);
  const int64_t routers = 2 * (72 * 9216 + 1024 * 9216 + 36864 * 1024);
  const int64_t vectors = 2 * (4 * 9216 + 27648 + 9216 + 36864 + 9216);  // norms and biases
  CHECK_EQ(static_cast<int64_t>(step::layer_bytes(opt_66b(64, 1920))), kv + weights + routers + vectors);
}

TEST(
    "resident layers: a model that does not fit keeps as many layers as fit, a small one whole copies beyond the "
    "cache") {
  const std::vector<PolarCandidate> dense = {candidate("step/dense")};
  const step::Residency large = step::plan_residency(opt_66b(64, 1920), dense, cold(), kL2, 21);
  CHECK_EQ(large.layers, 21);
  CHECK_EQ(large.complete, true);
  PolarProblem small = opt_66b(1, 64);
  small.num_qo_heads = small.num_kv_heads = 4;
  small.head_dim = 64;
  small.hidden_size = 256;
  small.intermediate_size = 1024;
  small.num_layers = 3;
  // A layer reads 2 (2 * 4 * 64 * 64 + (768 + 256) * 256 + 2 * 1024 * 256) = 1 638 400 bytes: 192 layers are 5 x L2.
  CHECK_EQ(step::plan_residency(small, dense, cold(), kL2, 100000).layers, 192);
  CHECK_EQ(step::plan_residency(small, dense, cold(), kL2, 100).layers, 99);  // whole models
  CHECK_EQ(step::plan_residency(small, dense, cold(), kL2, 100).complete, false);
  CHECK_EQ(step::runs_per_sample(small, 192, 1), 64);
  CHECK_EQ(step::runs_per_sample(small, 192, 65), 128);
}

TEST("resident layers: hot cache and verification keep one model") {
  const std::vector<PolarCandidate> dense = {candidate("step/dense")};
  PolarOptions options = cold();
  options.cold_cache = 0;
  CHECK_EQ(step::plan_residency(opt_66b(1, 64), dense, options, kL2, 100000).layers, 64);
}

TEST("resident layers: the leanest layer of the leanest candidate counts, the first layer attends to all heads") {
  PolarCandidate sparse = candidate("step/polar", 21, 3686);
  const std::vector<int64_t> neurons = {36864, 3686};
  sparse.layer_active_neurons = neurons.data();
  PolarProblem p = opt_66b(1, 1920);
  p.num_layers = 2;
  const double lean = 2.0 * (2.0 * 21 * 1920 * 128 + 36864.0 * 9216 + 2.0 * 3686 * 9216);
  CHECK_EQ(step::least_layer_bytes(p, {candidate("step/dense"), sparse}), lean);
}
