// A router candidate: outputs, workspace, verification. Input and weights belong to the session.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "executable.h"

namespace polar::cuda {

// Copies of the tensors that one kind of router reads, each copy with values of its own.
class RouterInputs {
 public:
  RouterInputs() = default;
  // Allocates and fills on `stream`: x and the attention router's weights, or x and the two of the MLP router.
  RouterInputs(const PolarProblem& p, bool attention, int64_t copies, cudaStream_t stream);

  // Bytes of one copy.
  static size_t copy_bytes(const PolarProblem& p, bool attention);

  int64_t copies() const { return copies_; }
  // 0: x; 1: the attention router's weights, or rank x d; 2: D x rank.
  const void* at(int tensor, int64_t copy) const {
    const Arena& arena = arenas_[static_cast<size_t>(tensor)];
    return arena.memory.at(arena.stride * static_cast<size_t>(copy));
  }

 private:
  struct Arena {
    DeviceBuffer memory;
    size_t stride = 0;
  };
  int64_t copies_ = 0;
  std::array<Arena, 3> arenas_;
};

// `inputs` outlives the executable.
std::unique_ptr<Executable> make_router_executable(SessionState& session, const PolarCandidate& candidate,
                                                   const RouterInputs& inputs);

// Device bytes of one candidate: outputs and the first run's, workspace, references. Throws E_UNSUPPORTED where the
// kernel refuses the problem.
size_t router_executable_bytes(const PolarProblem& p, const PolarCandidate& candidate, const DeviceInfo& device);

}  // namespace polar::cuda
