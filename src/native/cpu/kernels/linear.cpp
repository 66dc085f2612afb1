#include "linear.h"

#include <algorithm>

namespace polar::cpu {
namespace {

constexpr size_t kMostXElementBytes = 4;

// Elements from one prepared row of X to the next. One line more than the row: with a stride of a multiple of 4 KB all
// rows would fall into the same sets of the first-level cache and push each other out.
int64_t x_row_stride(int64_t in_features) { return round_up(in_features, kRowPadding) + kRowPadding; }

}  // namespace

size_t linear_workspace_bytes(int64_t batch, int64_t in_features, int threads) {
  Carver carver(nullptr);
  carver.take(static_cast<size_t>(batch * x_row_stride(in_features)) * kMostXElementBytes);
  for (int t = 0; t < threads; ++t) carver.take(up_scratch_bytes(batch));
  return carver.used();
}

void linear(const Launch& launch, const LinearArgs& args, std::byte* workspace) {
  const int threads = launch.pool.size();
  const int64_t stride = x_row_stride(args.in_features);
  Carver carver(workspace);
  std::byte* x = carver.take(static_cast<size_t>(args.batch * stride) * kMostXElementBytes);
  std::byte* scratch = carver.take(0);
  const size_t scratch_bytes = (up_scratch_bytes(args.batch) + 63) / 64 * 64;
  launch.pool.run([&](int t) {
    const Span rows = share(args.batch, t, threads);
    for (int64_t m = rows.begin; m < rows.end; ++m) {
      launch.inner.prepare_x(args.x + m * args.in_features, args.in_features,
                             x + static_cast<size_t>(m * stride) * launch.inner.x_element_bytes);
    }
  });
  // Shares end on whole register blocks (4 rows), except the last.
  const int64_t blocks = (args.count + 3) / 4;
  launch.pool.run([&](int t) {
    const Span span = share(blocks, t, threads);
    UpRange range{};
    range.x = x;
    range.x_stride = stride;
    range.batch = args.batch;
    range.hidden_size = args.in_features;
    range.w1 = args.w;
    range.b1 = args.bias;
    range.neurons = args.rows;
    range.first = span.begin * 4;
    range.last = std::min(span.end * 4, args.count);
    range.gated = args.gated;
    range.activation = args.activation;
    range.residual = args.residual;
    range.out = args.out;
    range.out_float = args.out_float;
    range.batch_sum = args.batch_sum;
    range.out_stride = args.count;
    range.scratch = scratch + static_cast<size_t>(t) * scratch_bytes;
#ifdef POLAR_FAULTS
    range.skip_tile = launch.skip_tile && t == threads - 1;  // the last one has rows whenever there are any
#endif
    launch.inner.up_range(range);
  });
}

}  // namespace polar::cpu
