// A backend without a device: what each kernel does is a script. It records what measure_cell asks of it.
#pragma once

#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "../../src/native/common/backend.h"
#include "../../src/native/common/error.h"

namespace polar::test {

// Row 0 is the worst; passes where no row failed and repeats are equal.
inline PolarVerification verdict(int64_t rows_checked, int64_t rows_failed, bool repeats_equal = true) {
  PolarVerification v{};
  v.rows_checked = rows_checked;
  v.rows_failed = rows_failed;
  v.tolerance_used = rows_failed > 0 ? 2.5 : 0.5;
  v.repeats_equal = repeats_equal ? 1 : 0;
  v.passed = rows_checked > 0 && rows_failed == 0 && repeats_equal ? 1 : 0;
  return v;
}

// What a kernel of the fake does. `sample` gets the number of the call, warm-up included, from 0.
struct Script {
  PolarVerification verification = verdict(1, 0);
  std::function<void()> on_make = [] {};
  std::function<Sample(int)> sample = [](int) { return Sample{.ns = 1000.0}; };
};

struct FakeBackend : Backend {
  FakeBackend(std::initializer_list<std::pair<const std::string, Script>> kernels) : scripts(kernels) {}

  std::map<std::string, Script> scripts;
  MemoryNeed need{.required_bytes = 1, .available_bytes = 2};
  std::function<void()> on_prepare = [] {};
  int prepared = 0;
  std::vector<int64_t> planned;  // runs asked of plan_sample

  const char* name() const override { return "fake"; }
  std::vector<std::string> kernels() const override {
    std::vector<std::string> ids;
    for (const auto& [id, script] : scripts) ids.push_back(id);
    return ids;
  }
  void describe(int32_t, const Reporter&) override {}
  void measure_ceilings(int32_t, const PolarOptions&, const Reporter&) override {}
  std::unique_ptr<Session> open(const PolarProblem&, const std::vector<PolarCandidate>&, const PolarOptions&) override;
};

class FakeExecutable : public Executable {
 public:
  FakeExecutable(FakeBackend& backend, const Script& script) : backend_(backend), script_(script) {}
  PolarVerification verify(int64_t, int32_t) override { return script_.verification; }
  int64_t plan_sample(int64_t wanted) override {
    backend_.planned.push_back(wanted);
    return wanted;
  }
  Sample sample() override { return script_.sample(calls_++); }

 private:
  FakeBackend& backend_;
  const Script& script_;
  int calls_ = 0;
};

class FakeSession : public Session {
 public:
  explicit FakeSession(FakeBackend& backend) : backend_(backend) {}
  MemoryNeed memory() const override { return backend_.need; }
  void prepare(const Reporter&) override {
    ++backend_.prepared;
    backend_.on_prepare();
  }
  std::unique_ptr<Executable> make(const PolarCandidate& candidate) override {
    const Script& script = backend_.scripts.at(candidate.kernel);
    script.on_make();
    return std::make_unique<FakeExecutable>(backend_, script);
  }
  int64_t rotation_copies() const override { return 3; }
  double rotation_bytes() const override { return 300.0; }

 private:
  FakeBackend& backend_;
};

inline std::unique_ptr<Session> FakeBackend::open(const PolarProblem&, const std::vector<PolarCandidate>&,
                                                  const PolarOptions&) {
  return std::make_unique<FakeSession>(*this);
}

}  // namespace polar::test
