#include <utility>

#include "../../src/native/common/random.h"
#include "graph.h"

namespace polar::cuda {
namespace {

__device__ unsigned long long global_timer_ns() {
  unsigned long long now;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
  return now;
}

__global__ void spin_kernel(int64_t ns, int64_t noise_ns, unsigned long long* counter) {
  const unsigned long long start = global_timer_ns();
  if (counter != nullptr) {
    const unsigned long long run = (*counter)++;  // one thread, one kernel at a time
    ns += random_below(stream_key(0, Tensor::kNoise, 0), run, static_cast<uint32_t>(noise_ns + 1));
  }
  while (global_timer_ns() - start < static_cast<unsigned long long>(ns)) __nanosleep(100);
}

__global__ void trap_kernel() { asm volatile("trap;"); }

}  // namespace

Graph::Graph(cudaStream_t stream, const std::function<void()>& enqueue) {
  cudaGraph_t graph = nullptr;
  CHECK_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  try {
    enqueue();
  } catch (...) {
    (void)cudaStreamEndCapture(stream, &graph);  // a stream left in capture mode would fail everything after
    if (graph != nullptr) (void)cudaGraphDestroy(graph);
    (void)cudaGetLastError();
    throw;
  }
  CHECK_CUDA(cudaStreamEndCapture(stream, &graph));
  cudaError_t error = cudaGraphGetNodes(graph, nullptr, &nodes_);
  if (error == cudaSuccess) error = cudaGraphInstantiate(&exec_, graph, 0);
  (void)cudaGraphDestroy(graph);
  CHECK_CUDA(error);
  CHECK_CUDA(cudaGraphUpload(exec_, stream));
}

Graph::~Graph() {
  if (exec_ != nullptr) (void)cudaGraphExecDestroy(exec_);
}

Graph::Graph(Graph&& other) noexcept
    : exec_(std::exchange(other.exec_, nullptr)), nodes_(std::exchange(other.nodes_, 0)) {}

Graph& Graph::operator=(Graph&& other) noexcept {
  std::swap(exec_, other.exec_);
  std::swap(nodes_, other.nodes_);
  return *this;
}

void Graph::launch(cudaStream_t stream) const { CHECK_CUDA(cudaGraphLaunch(exec_, stream)); }

double Graph::time_ns(cudaStream_t stream, const Event& start, const Event& stop) const {
  // Enqueueing costs the host some microseconds plus a fraction of one for every node.
  launch_spin(30000 + static_cast<int64_t>(nodes_) * 500, 0, nullptr, stream);
  CHECK_CUDA(cudaEventRecord(start, stream));
  launch(stream);
  CHECK_CUDA(cudaEventRecord(stop, stream));
  CHECK_CUDA(cudaEventSynchronize(stop));
  float ms = 0;
  CHECK_CUDA(cudaEventElapsedTime(&ms, start, stop));
  return static_cast<double>(ms) * 1e6;
}

void launch_spin(int64_t ns, int64_t noise_ns, unsigned long long* counter, cudaStream_t stream) {
  spin_kernel<<<1, 1, 0, stream>>>(ns, noise_ns, counter);
  CHECK_LAUNCH("spin");
}

void launch_trap(cudaStream_t stream) {
  trap_kernel<<<1, 1, 0, stream>>>();
  CHECK_LAUNCH("trap");
}

}  // namespace polar::cuda
