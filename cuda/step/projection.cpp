#include "projection.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>

#include "../../src/native/common/error.h"
#include "../device/fill.h"
#include "../device/graph.h"

namespace polar::cuda::step {
namespace {

constexpr int kRuns = 24;  // as many as cuBLASLt's finalists get
constexpr double kCachesBeyond = 5.0;

mlp::GemmShape gemm_shape(const ProjectionShape& s) {
  return s.op == mlp::GemmOp::kUp ? mlp::GemmShape{s.op, s.batch_size, s.k, s.columns, s.gated}
                                  : mlp::GemmShape{s.op, s.batch_size, s.columns, s.k, false};
}

lt::GemmKey gemm_key(const ProjectionShape& s, int32_t device) {
  return {s.dtype,
          s.op == mlp::GemmOp::kUp ? 1 : 0,
          s.batch_size,
          s.gated ? 2 * s.columns : s.columns,
          s.k,
          s.activation == POLAR_IDENTITY ? -1 : s.activation,
          s.gated ? 1 : 0,
          s.bias ? 1 : 0,
          device};
}

mlp::GemmCall dense_call(const ProjectionShape& s, const ProjectionArgs& args, const GemmWorkspace& workspace) {
  mlp::GemmCall call{};
  call.shape = gemm_shape(s);
  call.dtype = s.dtype;
  call.weights = args.weights;
  call.weight_rows = s.op == mlp::GemmOp::kUp ? s.columns * (s.gated ? 2 : 1) : s.k;
  call.input = args.input;
  call.input_stride = args.input_stride;
  call.out = args.out;
  call.out_stride = args.out_stride;
  call.bias = args.bias;
  call.activation = s.activation;
  call.tickets = workspace.tickets;
  call.partial = workspace.partial;
  return call;
}

// Microseconds per run of our kernel over copies of the weights beyond the cache.
double time_ours(const ProjectionShape& s, const mlp::GemmConfig& config, const DeviceInfo& device) {
  const int64_t weights = static_cast<int64_t>(align_up(static_cast<size_t>(s.columns * s.k * (s.gated ? 2 : 1)) * 2));
  const double beyond = kCachesBeyond * static_cast<double>(device.l2_bytes);
  const auto copies = static_cast<int64_t>(std::clamp(std::ceil(beyond / static_cast<double>(weights)), 1.0, 256.0));
  const GemmNeed need = gemm_need(gemm_shape(s), device);
  const Stream stream;
  const DeviceBuffer memory(static_cast<size_t>(copies * weights));
  const DeviceBuffer input(static_cast<size_t>(s.batch_size * s.k) * 2), bias(static_cast<size_t>(s.columns) * 2);
  const DeviceBuffer out(static_cast<size_t>(s.batch_size * s.columns) * 2);
  const DeviceBuffer tickets(static_cast<size_t>(need.tickets)), partial(static_cast<size_t>(need.partial));
  fill_random(memory.as(), copies * weights / 2, s.dtype, 1, 0.05f, stream);
  fill_random(input.as(), s.batch_size * s.k, s.dtype, 2, 1.0f, stream);
  fill_random(bias.as(), s.columns, s.dtype, 3, 1.0f, stream);
  if (tickets) CHECK_CUDA(cudaMemsetAsync(tickets.as(), 0, tickets.bytes(), stream));
  const GemmWorkspace workspace{tickets.as<unsigned>(), partial.as<float>(), nullptr, nullptr};
  const auto run = [&](int64_t i) {
    const ProjectionArgs args{memory.at(static_cast<size_t>(i % copies * weights)),
                              s.bias ? bias.as() : nullptr,
                              input.as(),
                              s.k,
                              out.as(),
                              s.columns};
    mlp::launch_gemm(dense_call(s, args, workspace), config, stream);
  };
  run(0);  // once outside the capture: modules load lazily
  stream.synchronize("the first run of a projection");
  const Graph graph(stream, [&] {
    for (int i = 0; i < kRuns; ++i) run(i);
  });
  const Event start, stop;
  graph.time_ns(stream, start, stop);
  return graph.time_ns(stream, start, stop) / 1e3 / kRuns;
}

auto order_of(const ProjectionShape& s) {
  return std::tuple(s.op, s.dtype, s.batch_size, s.columns, s.k, s.activation, s.gated, s.bias);
}

}  // namespace

void GemmNeed::cover(const GemmNeed& other) {
  tickets = std::max(tickets, other.tickets);
  partial = std::max(partial, other.partial);
  product = std::max(product, other.product);
}

GemmNeed gemm_need(const mlp::GemmShape& shape, const DeviceInfo& device) {
  const mlp::GemmConfig config = mlp::choose_gemm_config(shape, mlp::gemm_device(device));
  return {mlp::tickets_bytes(shape, config), mlp::partial_bytes(shape, config), 0};
}

GemmNeed projection_need(const ProjectionShape& shape, const DeviceInfo& device) {
  GemmNeed need = gemm_need(gemm_shape(shape), device);
  need.product = lt::product_bytes(gemm_key(shape, device.ordinal));
  return need;
}

Projection::Choice Projection::choose(const ProjectionShape& shape, const DeviceInfo& device) {
  const double none = std::nan("");
  Choice choice{nullptr, none, none};
  const mlp::GemmConfig config = mlp::choose_gemm_config(gemm_shape(shape), mlp::gemm_device(device));
  if (config.weight_slots > 0) {
    mlp::prepare_gemm(gemm_shape(shape), config, shape.dtype);
    choice.ours_us = time_ours(shape, config, device);
  }
  try {
    const lt::GemmPlan& plan = lt::plan_gemm(gemm_key(shape, device.ordinal), device);
    choice.library_us = plan.best_us;
    if (!(choice.ours_us <= plan.best_us)) choice.plan = &plan;
  } catch (const NativeError& error) {
    // Without the library, or without an algorithm of it, ours is the fastest that there is; the session says so.
    if (error.sticky() || std::isnan(choice.ours_us)) throw;
    choice.refusal = error.what();
  }
  return choice;
}

Projection::Projection(const ProjectionShape& shape, const DeviceInfo& device)
    : shape_(shape), config_(mlp::choose_gemm_config(gemm_shape(shape), mlp::gemm_device(device))) {
  using Key = decltype(std::tuple_cat(order_of(shape), std::tuple(device.ordinal)));
  static std::mutex mutex;
  static std::map<Key, Choice> choices;
  const std::lock_guard<std::mutex> lock(mutex);
  const Key key = std::tuple_cat(order_of(shape), std::tuple(device.ordinal));
  auto found = choices.find(key);
  if (found == choices.end()) found = choices.emplace(key, choose(shape, device)).first;
  choice_ = found->second;
}

void Projection::launch(const ProjectionArgs& args, const GemmWorkspace& workspace, cudaStream_t stream) const {
  if (by_library()) {
    lt::run_gemm(*choice_.plan, {args.weights, args.input, args.bias, workspace.product, args.out, workspace.library},
                 stream);
  } else {
    mlp::launch_gemm(dense_call(shape_, args, workspace), config_, stream);
  }
}

}  // namespace polar::cuda::step
