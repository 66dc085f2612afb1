// One sample on the device: a captured graph that holds the runs, launched once between two events.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <functional>

#include "memory.h"

namespace polar::cuda {

// A captured and uploaded graph.
class Graph {
 public:
  Graph() = default;
  // Captures what `enqueue` puts on `stream`. Everything that `enqueue` launches ran once before (lazy loading is not
  // allowed inside a capture).
  Graph(cudaStream_t stream, const std::function<void()>& enqueue);
  ~Graph();
  Graph(Graph&& other) noexcept;
  Graph& operator=(Graph&& other) noexcept;

  void launch(cudaStream_t stream) const;
  // Nanoseconds between the events around one launch; synchronises. A short spin ahead of the first event keeps the
  // device busy until the host has enqueued the whole launch, so the host's time is not measured.
  double time_ns(cudaStream_t stream, const Event& start, const Event& stop) const;
  size_t nodes() const { return nodes_; }

 private:
  cudaGraphExec_t exec_ = nullptr;
  size_t nodes_ = 0;
};

// Keeps one thread busy for `ns` + a pseudo-random 0..noise_ns of the device's global timer. `counter` (device memory,
// null without noise) numbers the runs, so that every run of a graph draws its own noise.
void launch_spin(int64_t ns, int64_t noise_ns, unsigned long long* counter, cudaStream_t stream);

// Executes an illegal instruction: a sticky error, for tests of what survives it.
void launch_trap(cudaStream_t stream);

}  // namespace polar::cuda
