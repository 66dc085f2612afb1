// What a cell costs in device memory, as far as it is a pure function: needs neither a GPU nor a toolkit.
#include "../../cuda/library/cublaslt_shape.h"
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
