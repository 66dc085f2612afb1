#include "breakdown.h"

#include <algorithm>
#include <array>
#include <deque>

#include "../device/graph.h"

namespace polar::cuda::step {
namespace {

constexpr int kRounds = 5;
constexpr std::array kParts = {"attention", "qkv", "out-proj", "mlp", "routers", "other"};
enum Part : size_t { kAttention, kQkv, kOutProj, kMlp, kRouters, kOther };

// The part that ends at a stage.
Part part_of(Stage stage) {
  switch (stage) {
    case Stage::kQkv:
      return kQkv;
    case Stage::kAttentionRouter:
    case Stage::kMlpRouter:
      return kRouters;
    case Stage::kAttention:
      return kAttention;
    case Stage::kOutProjection:
      return kOutProj;
    case Stage::kMlp:
      return kMlp;
    default:
      return kOther;
  }
}

struct Mark {
  Part part;
  Event event{};
};

// Milliseconds between two events of a launch that has ended.
double elapsed_ns(cudaEvent_t from, cudaEvent_t to) {
  float ms = 0;
  CHECK_CUDA(cudaEventElapsedTime(&ms, from, to));
  return static_cast<double>(ms) * 1e6;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace

std::vector<std::pair<std::string, double>> measure_parts(const State& state, const LayerSequence& sequence) {
  const Stream& stream = state.stream;
  const Graph plain(stream, [&] { sequence.enqueue(0, {}); });
  std::deque<Mark> marks;  // events do not move
  const Event begin, start, stop;
  const Graph instrumented(stream, [&] {
    CHECK_CUDA(cudaEventRecordWithFlags(begin, stream, cudaEventRecordExternal));
    sequence.enqueue(0, [&](Stage stage, int64_t) {
      marks.emplace_back(part_of(stage));
      CHECK_CUDA(cudaEventRecordWithFlags(marks.back().event, stream, cudaEventRecordExternal));
    });
  });

  std::vector<double> plain_ns;
  std::array<std::vector<double>, kParts.size()> sums;
  for (int round = 0; round < kRounds; ++round) {
    plain_ns.push_back(plain.time_ns(stream, start, stop));
    instrumented.time_ns(stream, start, stop);
    std::array<double, kParts.size()> sum{};
    cudaEvent_t last = begin;
    for (const Mark& mark : marks) {
      sum[mark.part] += elapsed_ns(last, mark.event);
      last = mark.event;
    }
    for (size_t i = 0; i < sum.size(); ++i) sums[i].push_back(sum[i]);
  }

  const double total = median(plain_ns);
  std::array<double, kParts.size()> ns{};
  double measured = 0, kept = 0;
  for (size_t i = 0; i < ns.size(); ++i) measured += ns[i] = median(sums[i]);
  const double delay = (measured - total) / static_cast<double>(marks.size());
  for (const Mark& mark : marks) ns[mark.part] -= delay;
  for (double& part : ns) kept += part = std::max(0.0, part);  // an event behind no kernel costs less than the others
  std::vector<std::pair<std::string, double>> parts;
  for (size_t i = 0; i < ns.size(); ++i) parts.emplace_back(kParts[i], ns[i] * total / kept);
  return parts;
}

}  // namespace polar::cuda::step
