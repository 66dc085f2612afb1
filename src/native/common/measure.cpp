// One cell: check, fit into memory, fill, verify every candidate, then sample the good ones interleaved.
#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <new>
#include <thread>

#include "backend.h"
#include "error.h"
#include "faults.h"
#include "problem.h"
#include "stopping.h"

namespace polar {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

std::string gigabytes(double bytes) {
  char text[48];
  std::snprintf(text, sizeof text, "%.3f GB", bytes / 1e9);
  return text;
}

// A candidate on its way through the cell.
struct Lane {
  int32_t index = 0;
  const PolarCandidate* candidate = nullptr;
  std::unique_ptr<Executable> executable;
  bool finished = false;
  int64_t runs = 1;
  int64_t discarded = 0;
  double setup_s = 0;
};

class CellRun {
 public:
  CellRun(Backend& backend, const PolarProblem& problem, const std::vector<PolarCandidate>& candidates,
          const PolarOptions& options, const Reporter& reporter)
      : backend_(backend), problem_(problem), candidates_(candidates), options_(options), reporter_(reporter) {
    lanes_.resize(candidates.size());
    for (size_t i = 0; i < lanes_.size(); ++i) {
      lanes_[i].index = static_cast<int32_t>(i);
      lanes_[i].candidate = &candidates_[i];
    }
  }

  PolarStop run() {
    check_problem(problem_);
    check_options(options_);
    const std::vector<std::string> kernels = backend_.kernels();
    for (const PolarCandidate& c : candidates_) check_candidate(problem_, c, kernels);

    session_ = backend_.open(problem_, candidates_, options_);
    if (!fits()) return POLAR_STOP_NOT_TIMED;
    session_->prepare(reporter_);
    for (Lane& lane : lanes_) guarded(lane, [&] { verify(lane); });
    if (options_.mode == POLAR_MODE_VERIFY) {
      for (Lane& lane : lanes_) {
        if (!lane.finished) finish(lane, POLAR_OK);
      }
      return POLAR_STOP_NOT_TIMED;
    }
    for (Lane& lane : lanes_) {
      if (!lane.finished) guarded(lane, [&] { calibrate(lane); });
    }
    const PolarStop stop = sample_rounds();
    for (Lane& lane : lanes_) {
      if (lane.finished) continue;
      guarded(lane, [&] { report_timing(lane); });
      if (!lane.finished) finish(lane, POLAR_OK);
    }
    return stop;
  }

  // After an exception that ends the cell: nobody may stay without an end.
  void fail_open_lanes(const char* code, const std::string& reason) {
    for (Lane& lane : lanes_) {
      if (!lane.finished) finish(lane, POLAR_FAILED, code, reason);
    }
  }

 private:
  void finish(Lane& lane, PolarStatus status, const char* code = "", const std::string& reason = "") {
    lane.finished = true;
    lane.executable.reset();
    reporter_.sink().finished(reporter_.sink().context, lane.index, status, code, reason.c_str());
  }

  // A failure of one candidate costs that candidate; a sticky one costs the cell and the process.
  template <typename Step>
  void guarded(Lane& lane, Step step) {
    try {
      step();
    } catch (const NativeError& error) {
      if (error.sticky()) throw;
      finish(lane, POLAR_FAILED, error.code(), error.what());
    } catch (const std::bad_alloc&) {
      finish(lane, POLAR_FAILED, "E_OUT_OF_MEMORY", "The host ran out of memory");
    }
  }

  bool fits() {
    const MemoryNeed need = session_->memory();
    reporter_.number("required_bytes", need.required_bytes);
    reporter_.number("available_bytes", need.available_bytes);
    if (need.required_bytes <= need.available_bytes) return true;
    const std::string reason = "needs " + gigabytes(need.required_bytes) + " of device memory, " +
                               gigabytes(need.available_bytes) + " are available";
    for (Lane& lane : lanes_) finish(lane, POLAR_SKIPPED, "", reason);
    return false;
  }

  void verify(Lane& lane) {
    reporter_.alive("verify", static_cast<double>(lane.index) / static_cast<double>(lanes_.size()));
    const auto start = Clock::now();
    if (planted("oom", lane)) throw NativeError("E_OUT_OF_MEMORY", "Planted: out of memory");
    lane.executable = session_->make(*lane.candidate);
    lane.setup_s = seconds_since(start);
    const int64_t rows = options_.mode == POLAR_MODE_VERIFY ? 0 : options_.verify_rows;
    const PolarVerification result = lane.executable->verify(rows, options_.repeats);
    reporter_.sink().verified(reporter_.sink().context, lane.index, &result);
    if (result.passed) return;
    char reason[256];
    if (result.rows_failed > 0) {
      std::snprintf(reason, sizeof reason,
                    "%lld of %lld output rows are outside the tolerance; worst row %lld uses %.3g times its tolerance",
                    static_cast<long long>(result.rows_failed), static_cast<long long>(result.rows_checked),
                    static_cast<long long>(result.worst_row), result.tolerance_used);
    } else if (!result.repeats_equal) {
      std::snprintf(reason, sizeof reason, "repeated runs on the same inputs gave different bits");
    } else {
      std::snprintf(reason, sizeof reason, "no output row was compared");
    }
    finish(lane, POLAR_INCORRECT, "", reason);
  }

  void calibrate(Lane& lane) {
    reporter_.alive("warm up", static_cast<double>(lane.index) / static_cast<double>(lanes_.size()));
    lane.executable->plan_sample(1);
    double ns = lane.executable->sample().ns;
    // A second look: the first run pays for page faults, lazy loading and cold branch predictors.
    ns = std::min(ns, lane.executable->sample().ns);
    const double wanted = ns > 0 ? std::ceil(options_.min_sample_us * 1e3 / ns) : 1;
    lane.runs = lane.executable->plan_sample(static_cast<int64_t>(std::clamp(wanted, 1.0, 1e6)));
    for (int32_t i = 0; i < options_.warmup; ++i) lane.executable->sample();
  }

  // A fault of the test build; with a number behind it only at that batch size.
  bool planted(const char* kind, const Lane& lane) const {
    double batch_size = 0;
    if (!fault_active(kind, lane.candidate->kernel, &batch_size)) return false;
    return batch_size == 0 || batch_size == static_cast<double>(problem_.batch_size);
  }

  // The test build's planted delay is really waited, inside what counts as the sample.
  Sample take(Lane& lane) {
    if constexpr (kFaultBuild) {
      if (planted("crash", lane)) std::raise(SIGSEGV);
      while (planted("hang", lane)) std::this_thread::sleep_for(std::chrono::seconds(1));
    }
    Sample sample = lane.executable->sample();
    if constexpr (kFaultBuild) {
      double share = 0;
      // `mlp/dense#1` names the second candidate alone: the same kernel twice in a cell, one of them slower.
      const std::string one = std::string(lane.candidate->kernel) + "#" + std::to_string(lane.index);
      if (fault_active("delay", lane.candidate->kernel, &share) || fault_active("delay", one.c_str(), &share)) {
        const double wanted_ns = sample.ns * static_cast<double>(lane.runs) * share;
        const auto start = Clock::now();
        double waited = 0;
        while (waited < wanted_ns) waited = seconds_since(start) * 1e9;
        sample.ns += waited / static_cast<double>(lane.runs);
      }
    }
    return sample;
  }

  void sample_lane(Lane& lane, int32_t round, SampleTable& table) {
    const Sample sample = take(lane);
    if (sample.throttled) {
      ++lane.discarded;
      table.add(static_cast<size_t>(lane.index), std::nan(""));
      return;
    }
    table.add(static_cast<size_t>(lane.index), sample.ns);
    reporter_.sink().sample(reporter_.sink().context, lane.index, round, sample.ns, sample.clock_mhz);
  }

  // Rounds A B C, C B A, A B C, ...: a drift that is linear over two rounds cancels.
  PolarStop sample_rounds() {
    SampleTable table(lanes_.size());
    std::vector<bool> dense(lanes_.size());
    for (size_t i = 0; i < lanes_.size(); ++i) dense[i] = candidates_[i].dense != 0;
    const auto start = Clock::now();
    int32_t next_look = options_.min_samples;
    for (int32_t round = 0;; ++round) {
      bool any = false;
      for (size_t position = 0; position < lanes_.size(); ++position) {
        Lane& lane = lanes_[round % 2 == 0 ? position : lanes_.size() - 1 - position];
        if (lane.finished) continue;
        any = true;
        reporter_.alive("sample", std::min(1.0, seconds_since(start) / options_.max_time_s));
        guarded(lane, [&] { sample_lane(lane, round, table); });
        if (lane.finished) table.drop(static_cast<size_t>(lane.index));
      }
      if (!any) return POLAR_STOP_NOT_TIMED;
      const int32_t rounds = round + 1;
      if (seconds_since(start) > options_.max_time_s) return POLAR_STOP_MAX_TIME;
      if (rounds < options_.min_samples) continue;
      // Looks are 20 % apart: looking after each round would stop on lucky streaks more often, and cost more than
      // the samples where a cell takes thousands of them.
      if (rounds >= next_look) {
        if (table.worst_noise(dense) <= options_.max_noise) return POLAR_STOP_PRECISE;
        next_look = rounds + std::max(4, rounds / 5);
      }
      if (rounds >= options_.max_samples) return POLAR_STOP_MAX_SAMPLES;
    }
  }

  void report_timing(Lane& lane) {
    PolarTiming timing{};
    timing.runs_per_sample = lane.runs;
    timing.rotation_copies = session_->rotation_copies();
    timing.rotation_bytes = session_->rotation_bytes();
    timing.samples_discarded = lane.discarded;
    timing.energy_mj = lane.executable->energy_mj(0.3);
    timing.setup_s = lane.setup_s;
    timing.resident_layers = session_->resident_layers();
    reporter_.sink().timed(reporter_.sink().context, lane.index, &timing);
    if (options_.breakdown == 0) return;
    for (const auto& [name, ns] : lane.executable->parts()) {
      reporter_.sink().part(reporter_.sink().context, lane.index, name.c_str(), ns);
    }
  }

  Backend& backend_;
  const PolarProblem& problem_;
  const std::vector<PolarCandidate>& candidates_;
  const PolarOptions& options_;
  const Reporter& reporter_;
  std::unique_ptr<Session> session_;
  std::vector<Lane> lanes_;  // after session_: executables go first
};

}  // namespace

void Reporter::alive(const char* phase, double fraction) const {
  if (sink_.heartbeat(sink_.context, phase, fraction) != 0) throw Cancelled();
}

void Backend::evaluate(const PolarProblem&, const PolarCandidate& candidate, const PolarOptions&, const PolarTensors&,
                       const Reporter&) {
  throw NativeError("E_UNSUPPORTED",
                    std::string("Expected a layer or step kernel of this backend, got ") + candidate.kernel);
}

void evaluate(Backend& backend, const PolarProblem& problem, const PolarCandidate& candidate,
              const PolarOptions& options, const PolarTensors& tensors, const Reporter& reporter) {
  check_problem(problem);
  check_options(options);
  if (!is_block(problem)) throw NativeError("E_UNSUPPORTED", "Expected a layer or step problem for evaluate");
  check_candidate(problem, candidate, backend.kernels());
  backend.evaluate(problem, candidate, options, tensors, reporter);
}

PolarStop measure_cell(Backend& backend, const PolarProblem& problem, const std::vector<PolarCandidate>& candidates,
                       const PolarOptions& options, const Reporter& reporter) {
  CellRun cell(backend, problem, candidates, options, reporter);
  try {
    return cell.run();
  } catch (const Cancelled&) {
    cell.fail_open_lanes("E_NATIVE", "The measurement was cancelled");
    return POLAR_STOP_CANCELLED;
  } catch (const NativeError& error) {
    cell.fail_open_lanes(error.code(), error.what());
    throw;
  } catch (const std::exception& error) {
    cell.fail_open_lanes("E_NATIVE", error.what());
    throw;
  }
}

}  // namespace polar
