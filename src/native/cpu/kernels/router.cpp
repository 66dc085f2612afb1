#include "router.h"

#include "decoder.h"
#include "linear.h"

namespace polar::cpu {
namespace {

uint64_t* take_order(Carver& carver, int64_t count) {
  return reinterpret_cast<uint64_t*>(carver.take(static_cast<size_t>(count) * sizeof(uint64_t)));
}

}  // namespace

size_t attention_router_workspace_bytes(const PolarProblem& p, int threads) {
  Carver carver(nullptr);
  take_order(carver, p.batch_size * p.num_kv_heads);
  carver.take(linear_workspace_bytes(p.batch_size, p.hidden_size, threads));
  return carver.used();
}

void attention_router(const Launch& launch, const AttentionRouterArgs& args, std::byte* workspace) {
  const PolarProblem& p = launch.problem;
  const int threads = launch.pool.size();
  Carver carver(workspace);
  uint64_t* order = take_order(carver, p.batch_size * p.num_kv_heads);
  LinearArgs product{};
  product.x = args.x;
  product.batch = p.batch_size;
  product.in_features = p.hidden_size;
  product.w = args.weight;
  product.count = p.num_kv_heads;
  product.activation = POLAR_IDENTITY;
  product.out_float = args.scores;
  linear(launch, product, carver.take(linear_workspace_bytes(p.batch_size, p.hidden_size, threads)));
  launch.pool.run([&](int t) {
    const Span rows = share(p.batch_size, t, threads);
    for (int64_t b = rows.begin; b < rows.end; ++b) {
      top_k(args.scores + b * p.num_kv_heads, p.num_kv_heads, args.top_k, order + b * p.num_kv_heads,
            args.index + b * args.top_k);
    }
  });
}

size_t mlp_router_workspace_bytes(const PolarProblem& p, int threads) {
  Carver carver(nullptr);
  take_order(carver, p.intermediate_size);
  carver.take(static_cast<size_t>(p.batch_size * p.mlp_router_rank) * sizeof(uint16_t));
  carver.take(linear_workspace_bytes(p.batch_size, p.hidden_size, threads));
  carver.take(linear_workspace_bytes(p.batch_size, p.mlp_router_rank, threads));
  return carver.used();
}

// The logits [B, D] are summed over the batch where they come into being and never stored.
void mlp_router(const Launch& launch, const MlpRouterArgs& args, std::byte* workspace) {
  const PolarProblem& p = launch.problem;
  const int threads = launch.pool.size();
  Carver carver(workspace);
  uint64_t* order = take_order(carver, p.intermediate_size);
  auto* hidden = reinterpret_cast<uint16_t*>(
      carver.take(static_cast<size_t>(p.batch_size * p.mlp_router_rank) * sizeof(uint16_t)));
  LinearArgs first{};
  first.x = args.x;
  first.batch = p.batch_size;
  first.in_features = p.hidden_size;
  first.w = args.down;
  first.count = p.mlp_router_rank;
  first.activation = POLAR_IDENTITY;
  first.out = hidden;
  linear(launch, first, carver.take(linear_workspace_bytes(p.batch_size, p.hidden_size, threads)));
  LinearArgs second{};
  second.x = hidden;
  second.batch = p.batch_size;
  second.in_features = p.mlp_router_rank;
  second.w = args.up;
  second.count = p.intermediate_size;
  second.activation = POLAR_IDENTITY;
  second.batch_sum = args.scores;
  linear(launch, second, carver.take(linear_workspace_bytes(p.batch_size, p.mlp_router_rank, threads)));
  top_k(args.scores, p.intermediate_size, args.top_k, order, args.index);
}

}  // namespace polar::cpu
