// Reference outputs of copy 0 of a session, computed on the device once and shared by all candidates of the cell.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "inputs.h"
#include "kernels/reference.h"

namespace polar::cuda {

// A pair of tensors [rows, columns]: float64 and naive-in-dtype.
struct ReferencePair {
  DeviceBuffer exact;
  DeviceBuffer naive;
  int64_t rows = 0;
  int64_t columns = 0;

  ReferencePair() = default;
  ReferencePair(int64_t rows, int64_t columns);
};

class ReferenceResults {
 public:
  ReferenceResults(const PolarProblem& p, const Inputs& inputs, cudaStream_t stream)
      : problem_(p), inputs_(inputs), stream_(stream) {}

  // Bytes that verifying the candidates will need.
  static size_t memory_bytes(const PolarProblem& p, const std::vector<PolarCandidate>& candidates);

  // Dense attention output [B H, d_h].
  const ReferencePair& attention();
  // Hidden activations [B, D]: of the up projection, or the given ones of mlp-down.
  const ReferencePair& hidden();
  // Output [B, d] over the listed neurons (all for a dense candidate).
  const ReferencePair& down(const std::vector<int32_t>& neurons);

 private:
  const PolarProblem& problem_;
  const Inputs& inputs_;
  cudaStream_t stream_;
  ReferencePair attention_;
  ReferencePair hidden_;
  std::map<std::vector<int32_t>, ReferencePair> down_;
};

// The host reference against the device reference of `candidate`: whole output where that is cheap, else evenly spaced
// rows; nothing where the inputs are too large to be generated on the host. Throws NativeError E_NATIVE naming the row
// where they differ by more than rounding.
void check_against_host(const PolarProblem& p, const PolarCandidate& candidate, ReferenceResults& results);

}  // namespace polar::cuda
