// A candidate made ready on the CPU, and what the candidates of a cell share.
#pragma once

#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "../common/backend.h"
#include "buffer.h"
#include "inputs.h"
#include "isa.h"
#include "kernels/kernel.h"
#include "threads.h"
#include "verify.h"

namespace polar::cpu {

// A kernel of the problem's scope. Throws NativeError E_UNSUPPORTED.
const Kernel& find_kernel(const PolarProblem& p, const std::string& id);

// KV groups or neurons that a run of the candidate computes; all of them for dense kernels.
int64_t active_count(const PolarProblem& p, const PolarCandidate& c);

size_t output_bytes(const PolarProblem& p, const PolarCandidate& c);

// The index sets of one selection, and for a sparse down projection the hidden activations at them; one entry per copy.
struct Selection {
  std::vector<std::vector<int32_t>> index;
  std::vector<std::vector<uint16_t>> hidden;
};

// Everything that the executables of a cell share. Output and workspace too: where a buffer happens to lie in memory
// changes a kernel's speed by tenths of a per cent, so two candidates with buffers of their own would differ by more
// than their intervals say, even if they were the same kernel.
struct Shared {
  PolarProblem p;
  Isa isa;
  ThreadPool& pool;
  const Reporter* reporter = nullptr;
  int64_t copies = 1;
  int64_t next_copy = 0;  // all candidates walk through the same copies, so none finds what another has just read
  std::vector<const uint16_t*> k{}, v{}, w1{}, w2{};  // per copy
  ReferenceInputs first{};
  std::unique_ptr<Reference> reference{};
  Buffer workspace{};  // as large as the largest candidate needs
  Buffer out{};
  std::map<std::pair<int64_t, bool>, std::shared_ptr<const Selection>> selections{};  // by (active count, selective)
};

std::unique_ptr<Executable> make_executable(Shared& shared, const PolarCandidate& candidate);

}  // namespace polar::cpu
