// What a backend library implements in C++. The C functions of abi.h are written once on top of this (c_api.cpp), and
// so are validation, verification order, the sampling loop and the stopping rule (measure.cpp).
#pragma once

#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "../abi.h"

namespace polar {

// Calls the sink; `alive` throws Cancelled when the caller wants the end.
class Reporter {
 public:
  explicit Reporter(const PolarSink& sink) : sink_(sink) {}
  void text(const char* name, const std::string& value) const { sink_.text(sink_.context, name, value.c_str()); }
  void number(const char* name, double value) const { sink_.number(sink_.context, name, value); }
  // Call at least once a second during long work. `fraction` of the phase done, 0..1, or NaN.
  void alive(const char* phase, double fraction) const;
  void warn(int32_t candidate, const std::string& message) const {
    sink_.warning(sink_.context, candidate, message.c_str());
  }
  const PolarSink& sink() const { return sink_; }

 private:
  const PolarSink& sink_;
};

struct MemoryNeed {
  double required_bytes = 0;   // with a single copy of every input
  double available_bytes = 0;  // free now, after a reserve that the backend keeps back
};

struct Sample {
  double ns = 0;  // per run
  double clock_mhz = std::nan("");
  bool throttled = false;  // taken while the device was slowed down: counted, not used
};

// One candidate made ready on the device: inputs are resident, workspaces allocated, nothing is allocated later.
class Executable {
 public:
  virtual ~Executable() = default;
  // Runs on copy 0 with output and workspaces filled with NaN, compares `rows` output rows (0 = all; a seeded random
  // subset otherwise) and repeats the run `repeats` times bit by bit.
  virtual PolarVerification verify(int64_t rows, int32_t repeats) = 0;
  // Readies samples of about `wanted` runs each, rotating over the copies; returns the runs a sample will hold.
  virtual int64_t plan_sample(int64_t wanted) = 0;
  virtual Sample sample() = 0;
  // Nanoseconds per run of each part of a step (names: PolarSink.part), measured inside the step; called after
  // sampling.
  virtual std::vector<std::pair<std::string, double>> parts() { return {}; }
  // Millijoule per run from the device's energy counter over a repetition of about `seconds`; NaN without a counter.
  virtual double energy_mj(double /*seconds*/) { return std::nan(""); }
};

// One problem on one device.
class Session {
 public:
  virtual ~Session() = default;
  virtual MemoryNeed memory() const = 0;
  // Allocates and fills inputs and rotation copies. Throws NativeError E_OUT_OF_MEMORY.
  virtual void prepare(const Reporter& reporter) = 0;
  virtual std::unique_ptr<Executable> make(const PolarCandidate& candidate) = 0;
  virtual int64_t rotation_copies() const = 0;
  virtual double rotation_bytes() const = 0;
  // Distinct layers that runs of a layer or step problem cycle through; 0 for other scopes.
  virtual int64_t resident_layers() const { return 0; }
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual const char* name() const = 0;
  virtual std::vector<std::string> kernels() const = 0;
  // Throws NativeError E_BACKEND_UNAVAILABLE.
  virtual void describe(int32_t device, const Reporter& reporter) = 0;
  virtual void measure_ceilings(int32_t dtype, const PolarOptions& options, const Reporter& reporter) = 0;
  virtual std::unique_ptr<Session> open(const PolarProblem& problem, const std::vector<PolarCandidate>& candidates,
                                        const PolarOptions& options) = 0;
  // One run of a layer or step candidate on the caller's tensors (abi.h, evaluate).
  virtual void evaluate(const PolarProblem& problem, const PolarCandidate& candidate, const PolarOptions& options,
                        const PolarTensors& tensors, const Reporter& reporter);
};

// The one backend of this library.
Backend& backend();

// Checks everything that evaluate() gets, then calls the backend's.
void evaluate(Backend& backend, const PolarProblem& problem, const PolarCandidate& candidate,
              const PolarOptions& options, const PolarTensors& tensors, const Reporter& reporter);

// Verifies and times the candidates; results leave through the reporter. Returns why sampling stopped.
PolarStop measure_cell(Backend& backend, const PolarProblem& problem, const std::vector<PolarCandidate>& candidates,
                       const PolarOptions& options, const Reporter& reporter);

}  // namespace polar
