#include "mlp_phases.h"

#include <algorithm>
#include <cstring>

#include "../../common/problem.h"
#include "linear.h"

namespace polar::cpu {
namespace {

// Batch rows whose partial sums stay in the second-level cache together while W2 streams past.
int64_t down_batch_block(const PolarProblem& p) {
  const int64_t row = round_up(p.hidden_size, kRowPadding) * 4;
  const int64_t rows = (int64_t{1} << 20) / row / 8 * 8;
  return std::min(p.batch_size, std::max<int64_t>(8, rows));
}

struct GatherSpace {
  uint16_t* w1;
  uint16_t* b1;
  uint16_t* w2;
  std::byte* direct;
};

GatherSpace carve_gather(Carver& carver, const PolarProblem& p, int64_t active, int threads) {
  const auto half = [&](int64_t elements) {
    return reinterpret_cast<uint16_t*>(carver.take(static_cast<size_t>(elements) * sizeof(uint16_t)));
  };
  GatherSpace s{};
  if (has_up(p)) {
    s.w1 = half(active * up_rows(p) * p.hidden_size);
    if (p.mlp_bias) s.b1 = half(active);
  }
  if (has_down(p)) s.w2 = half(active * p.hidden_size);
  s.direct = carver.take(mlp_direct_workspace_bytes(p, active, threads));
  return s;
}

void gather_rows(const PolarProblem& p, const MlpArgs& args, const GatherSpace& s, Span neurons) {
  const size_t row = static_cast<size_t>(p.hidden_size) * sizeof(uint16_t);
  const size_t up_row = row * static_cast<size_t>(up_rows(p));
  for (int64_t i = neurons.begin; i < neurons.end; ++i) {
    const int64_t n = args.neuron_index[i];
    if (s.w1) std::memcpy(s.w1 + i * up_rows(p) * p.hidden_size, args.w1 + n * up_rows(p) * p.hidden_size, up_row);
    if (s.b1) s.b1[i] = args.b1[n];
    if (s.w2) std::memcpy(s.w2 + i * p.hidden_size, args.w2 + n * p.hidden_size, row);
  }
}

}  // namespace

size_t mlp_up_workspace_bytes(const PolarProblem& p, int threads) {
  return linear_workspace_bytes(p.batch_size, p.hidden_size, threads);
}

void mlp_up_phase(const Launch& launch, const MlpArgs& args, std::byte* workspace, uint16_t* out) {
  const PolarProblem& p = launch.problem;
  LinearArgs up{};
  up.x = args.x;
  up.batch = p.batch_size;
  up.in_features = p.hidden_size;
  up.w = args.w1;
  up.bias = args.b1;
  up.rows = args.neuron_index;
  up.count = args.active_neurons;
  up.gated = p.gated != 0;
  up.activation = p.activation;
  up.out = out;
  linear(launch, up, workspace);
}

size_t mlp_down_workspace_bytes(const PolarProblem& p, int threads) {
  const int64_t block = down_batch_block(p);
  Carver carver(nullptr);
  for (int t = 0; t < threads; ++t) {
    carver.take(static_cast<size_t>(down_acc_floats(block, p.hidden_size)) * sizeof(float));
    carver.take(down_scratch_bytes(block));
  }
  return carver.used();
}

void mlp_down_phase(const Launch& launch, const MlpArgs& args, std::byte* workspace, const uint16_t* hidden) {
  const PolarProblem& p = launch.problem;
  const int threads = launch.pool.size();
  const int64_t block = down_batch_block(p);
  const int64_t acc_floats = round_up(down_acc_floats(block, p.hidden_size), 16);
  const size_t scratch_bytes = (down_scratch_bytes(block) + 63) / 64 * 64;
  Carver carver(workspace);
  auto* acc = reinterpret_cast<float*>(carver.take(static_cast<size_t>(acc_floats * threads) * sizeof(float)));
  std::byte* scratch = carver.take(scratch_bytes * static_cast<size_t>(threads));
  const int64_t chunks = (p.hidden_size + kRowPadding - 1) / kRowPadding;
  for (int64_t m = 0; m < p.batch_size; m += block) {
    const int64_t batch = std::min(block, p.batch_size - m);
    launch.pool.run([&](int t) {
      const Span span = share(args.active_neurons, t, threads);
      DownRange range{};
      range.hidden = hidden + m * args.active_neurons;
      range.hidden_stride = args.active_neurons;
      range.batch = batch;
      range.hidden_size = p.hidden_size;
      range.w2 = args.w2;
      range.neurons = args.neuron_index;
      range.first = span.begin;
      range.last = span.end;
      range.acc = acc + t * acc_floats;
      range.scratch = scratch + static_cast<size_t>(t) * scratch_bytes;
#ifdef POLAR_FAULTS
      range.skip_tile = launch.skip_tile && t == threads - 1;  // the last one has neurons whenever there are any
#endif
      launch.inner.down_range(range);
    });
    launch.pool.run([&](int t) {
      const Span span = share(chunks, t, threads);
      const int64_t at = m * p.hidden_size;
      launch.inner.down_finish({acc, acc_floats, threads, batch, p.hidden_size, args.b2,
                                args.residual == nullptr ? nullptr : args.residual + at, args.out + at, span.begin,
                                span.end});
    });
  }
}

size_t mlp_direct_workspace_bytes(const PolarProblem& p, int64_t active_neurons, int threads) {
  Carver carver(nullptr);
  if (has_up(p)) carver.take(mlp_up_workspace_bytes(p, threads));
  if (has_down(p)) carver.take(mlp_down_workspace_bytes(p, threads));
  if (has_up(p) && has_down(p)) carver.take(static_cast<size_t>(p.batch_size * active_neurons) * sizeof(uint16_t));
  return carver.used();
}

void mlp_direct(const Launch& launch, const MlpArgs& args) {
  const PolarProblem& p = launch.problem;
  const int threads = launch.pool.size();
  Carver carver(launch.workspace);
  std::byte* up = has_up(p) ? carver.take(mlp_up_workspace_bytes(p, threads)) : nullptr;
  std::byte* down = has_down(p) ? carver.take(mlp_down_workspace_bytes(p, threads)) : nullptr;
  if (p.scope == POLAR_SCOPE_MLP_UP) return mlp_up_phase(launch, args, up, args.out);
  if (p.scope == POLAR_SCOPE_MLP_DOWN) return mlp_down_phase(launch, args, down, args.hidden_in);
  auto* hidden = reinterpret_cast<uint16_t*>(
      carver.take(static_cast<size_t>(p.batch_size * args.active_neurons) * sizeof(uint16_t)));
  mlp_up_phase(launch, args, up, hidden);
  mlp_down_phase(launch, args, down, hidden);
}

size_t mlp_gather_workspace_bytes(const PolarProblem& p, int64_t active_neurons, int threads) {
  Carver carver(nullptr);
  carve_gather(carver, p, active_neurons, threads);
  return carver.used();
}

void mlp_gather(const Launch& launch, const MlpArgs& args) {
  const PolarProblem& p = launch.problem;
  const int threads = launch.pool.size();
  Carver carver(launch.workspace);
  const GatherSpace s = carve_gather(carver, p, args.active_neurons, threads);
  launch.pool.run([&](int t) { gather_rows(p, args, s, share(args.active_neurons, t, threads)); });
  MlpArgs dense = args;
  dense.w1 = s.w1;
  dense.b1 = s.b1;
  dense.w2 = s.w2;
  dense.neuron_index = nullptr;
  mlp_direct({p, launch.inner, launch.pool, s.direct, launch.skip_tile}, dense);
}

}  // namespace polar::cpu
