#include "mlp_launch.h"

#include <algorithm>

#include "../../src/native/common/faults.h"
#include "../common/check.h"

namespace polar::cuda::mlp {
namespace {

constexpr int64_t kAlignment = 256;
constexpr int64_t round_up(int64_t value, int64_t to) { return ceil_div(value, to) * to; }

bool runs_up(const PolarProblem& p) { return p.scope == POLAR_SCOPE_MLP || p.scope == POLAR_SCOPE_MLP_UP; }
bool runs_down(const PolarProblem& p) { return p.scope == POLAR_SCOPE_MLP || p.scope == POLAR_SCOPE_MLP_DOWN; }

// Everything that follows from (problem, active neurons, device): shapes, configurations, workspace offsets in bytes.
struct Plan {
  GemmShape up{}, down{};
  GemmConfig up_config{}, down_config{};
  int64_t hidden_stride = 0;  // elements; whole 16-byte pieces, which both copy paths need
  int64_t tickets = 0, partial = 0, hidden = 0, rows_up = 0, rows_down = 0, bytes = 0;
};

Plan make_plan(const PolarProblem& p, int64_t active, const GemmDevice& device, Selection selection) {
  Plan plan;
  plan.up = {GemmOp::kUp, p.batch_size, p.hidden_size, active, p.gated != 0};
  plan.down = {GemmOp::kDown, p.batch_size, p.hidden_size, active, false};
  plan.up_config = choose_gemm_config(plan.up, device);
  plan.down_config = choose_gemm_config(plan.down, device);
  plan.hidden_stride = round_up(active, 8);
  int64_t tickets = 0, partial = 0;
  if (runs_up(p)) {
    tickets = tickets_bytes(plan.up, plan.up_config);
    partial = partial_bytes(plan.up, plan.up_config);
  }
  if (runs_down(p)) {  // the GEMMs run one after the other: they share tickets (left at zero) and partial sums
    tickets = std::max(tickets, tickets_bytes(plan.down, plan.down_config));
    partial = std::max(partial, partial_bytes(plan.down, plan.down_config));
  }
  const auto place = [&](int64_t bytes) {
    const int64_t offset = plan.bytes;
    plan.bytes += round_up(bytes, kAlignment);
    return offset;
  };
  plan.tickets = place(tickets);
  plan.partial = place(partial);
  const bool own_hidden = p.scope == POLAR_SCOPE_MLP || (runs_down(p) && plan.hidden_stride != active);
  plan.hidden = place(own_hidden ? p.batch_size * plan.hidden_stride * 2 : 0);
  const int64_t row_bytes = p.hidden_size * 2;
  const bool copies = selection == Selection::kGathered;
  plan.rows_up = place(copies && runs_up(p) ? active * (p.gated ? 2 : 1) * row_bytes : 0);
  plan.rows_down = place(copies && runs_down(p) ? active * row_bytes : 0);
  return plan;
}

int64_t active_of(const PolarProblem& p, const PolarCandidate& candidate, Selection selection) {
  return selection == Selection::kDense ? p.intermediate_size : candidate.active_neurons;
}

// destination[i, :] = source[index[i], :]; a row is `pieces` 16-byte pieces. One block per row.
__global__ void gather_rows_kernel(const uint4* __restrict__ source, const int32_t* __restrict__ index,
                                   uint4* __restrict__ destination, int64_t pieces) {
  const uint4* from = source + static_cast<int64_t>(index[blockIdx.x]) * pieces;
  uint4* to = destination + static_cast<int64_t>(blockIdx.x) * pieces;
#pragma unroll 4
  for (int64_t i = threadIdx.x; i < pieces; i += blockDim.x) to[i] = __ldcs(from + i);
}

// destination[b, :active] = source[b, :active] with a wider row; grid: (column blocks, sequences).
__global__ void widen_rows_kernel(const uint16_t* __restrict__ source, uint16_t* __restrict__ destination, int active,
                                  int64_t stride) {
  const int column = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  const int64_t sequence = blockIdx.y;
  if (column < active) destination[sequence * stride + column] = source[sequence * active + column];
}

struct Run {
  const LaunchContext& context;
  const MlpArgs& args;
  Selection selection;
  bool skip_tile;
  Plan plan;
  char* at(int64_t offset) const { return static_cast<char*>(args.workspace) + offset; }
};

GemmCall base_call(const Run& run, const GemmShape& shape) {
  const PolarProblem& p = run.context.problem;
  GemmCall call{};
  call.shape = shape;
  call.dtype = p.dtype;
  call.activation = p.activation;
  call.tickets = reinterpret_cast<unsigned*>(run.at(run.plan.tickets));
  call.partial = reinterpret_cast<float*>(run.at(run.plan.partial));
  call.skip_tile = run.skip_tile;
  return call;
}

// Copies the active rows of `source` to `offset`; a neuron has `rows` adjacent rows.
void gather_rows(const Run& run, const void* source, int64_t offset, int64_t rows) {
  const int64_t pieces = rows * run.context.problem.hidden_size / 8;
  gather_rows_kernel<<<static_cast<unsigned>(run.args.active_neurons), 256, 0, run.context.stream>>>(
      static_cast<const uint4*>(source), run.args.neuron_index, reinterpret_cast<uint4*>(run.at(offset)), pieces);
  CHECK_LAUNCH("gather_rows_kernel");
}

void launch_up(const Run& run, void* out, int64_t out_stride) {
  const PolarProblem& p = run.context.problem;
  const int64_t rows = p.gated ? 2 : 1;
  GemmCall call = base_call(run, run.plan.up);
  call.weights = run.args.w1;
  call.weight_rows = p.intermediate_size * rows;
  if (run.selection == Selection::kSelective) call.index = run.args.neuron_index;
  if (run.selection == Selection::kGathered) {
    gather_rows(run, run.args.w1, run.plan.rows_up, rows);
    call.weights = run.at(run.plan.rows_up);
    call.weight_rows = run.plan.up.active_neurons * rows;
  }
  call.input = run.args.x;
  call.input_stride = p.hidden_size;
  call.out = out;
  call.out_stride = out_stride;
  call.bias = run.args.b1;
  if (run.selection != Selection::kDense) call.bias_index = run.args.neuron_index;
  launch_gemm(call, run.plan.up_config, run.context.stream);
}

// `dependent`: `hidden` comes from the launch before on this stream.
void launch_down(const Run& run, const void* hidden, int64_t hidden_stride, bool dependent) {
  const PolarProblem& p = run.context.problem;
  GemmCall call = base_call(run, run.plan.down);
  call.weights = run.args.w2;
  call.weight_rows = p.intermediate_size;
  if (run.selection == Selection::kSelective) call.index = run.args.neuron_index;
  if (run.selection == Selection::kGathered) {
    gather_rows(run, run.args.w2, run.plan.rows_down, 1);
    call.weights = run.at(run.plan.rows_down);
    call.weight_rows = run.plan.down.active_neurons;
  }
  call.input = hidden;
  call.dependent = dependent && run.selection != Selection::kGathered;  // which copies rows between the two
  call.input_stride = hidden_stride;
  call.out = run.args.out;
  call.out_stride = p.hidden_size;
  call.bias = run.args.b2;
  launch_gemm(call, run.plan.down_config, run.context.stream);
}

// The hidden values of mlp-down with rows on 16-byte boundaries: in place where they already are.
const void* aligned_hidden(const Run& run) {
  const int64_t active = run.plan.down.active_neurons;
  if (run.plan.hidden_stride == active) return run.args.hidden_in;
  const PolarProblem& p = run.context.problem;
  // gridDim.y ends at 65535: larger batches take several launches.
  for (int64_t first = 0; first < p.batch_size; first += 32768) {
    const auto sequences = static_cast<unsigned>(std::min<int64_t>(32768, p.batch_size - first));
    const dim3 grid(static_cast<unsigned>(ceil_div(active, 1024)), sequences);
    widen_rows_kernel<<<grid, 1024, 0, run.context.stream>>>(
        static_cast<const uint16_t*>(run.args.hidden_in) + first * active,
        reinterpret_cast<uint16_t*>(run.at(run.plan.hidden)) + first * run.plan.hidden_stride, static_cast<int>(active),
        run.plan.hidden_stride);
    CHECK_LAUNCH("widen_rows_kernel");
  }
  return run.at(run.plan.hidden);
}

}  // namespace

size_t workspace_bytes(const PolarProblem& p, const PolarCandidate& candidate, const DeviceInfo& device,
                       Selection selection) {
  const Plan plan = make_plan(p, active_of(p, candidate, selection), gemm_device(device), selection);
  return static_cast<size_t>(plan.bytes);
}

void prepare(const PolarProblem& p, const PolarCandidate& candidate, const DeviceInfo& device, Selection selection) {
  const Plan plan = make_plan(p, active_of(p, candidate, selection), gemm_device(device), selection);
  if (runs_up(p)) prepare_gemm(plan.up, plan.up_config, p.dtype);
  if (runs_down(p)) prepare_gemm(plan.down, plan.down_config, p.dtype);
}

void launch(const LaunchContext& context, const MlpArgs& args, Selection selection, const char* id) {
  const PolarProblem& p = context.problem;
  const int64_t active = selection == Selection::kDense ? p.intermediate_size : args.active_neurons;
  const Run run{context, args, selection, fault_active("skip-tile", id),
                make_plan(p, active, gemm_device(context.device), selection)};
  if (p.scope == POLAR_SCOPE_MLP_UP) {
    launch_up(run, args.out, active);
  } else if (p.scope == POLAR_SCOPE_MLP_DOWN) {
    launch_down(run, aligned_hidden(run), run.plan.hidden_stride, false);
  } else {
    launch_up(run, run.at(run.plan.hidden), run.plan.hidden_stride);
    launch_down(run, run.at(run.plan.hidden), run.plan.hidden_stride, true);
  }
}

}  // namespace polar::cuda::mlp
