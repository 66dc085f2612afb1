// The course of a cell, on a backend whose kernels are scripts: order of samples, who drops out, what ends it.
#include <chrono>
#include <cmath>
#include <thread>

#include "check.h"
#include "fake_backend.h"

using namespace polar;
using polar::test::FakeBackend;
using polar::test::Script;

namespace {

struct End {
  int32_t status;
  std::string code;
  std::string reason;
};

// Everything that left through the sink.
struct Record {
  std::vector<std::pair<int32_t, int32_t>> samples;  // candidate, round; in the order they were taken
  std::map<int32_t, PolarVerification> verified;
  std::map<int32_t, PolarTiming> timed;
  std::map<int32_t, std::vector<End>> ends;
  std::map<std::string, double> numbers;
  int beats_left = -1;  // negative: never cancel; otherwise sampling may report so often before the end is wanted

  std::string order() const {  // "AB BA AB": candidates by letter, rounds apart
    std::string text;
    for (size_t i = 0; i < samples.size(); ++i) {
      if (i > 0 && samples[i].second != samples[i - 1].second) text += ' ';
      text += static_cast<char>('A' + samples[i].first);
    }
    return text;
  }
  int count(int32_t candidate) const {
    int n = 0;
    for (const auto& sample : samples) n += sample.first == candidate;
    return n;
  }
  // The end of a candidate that must have exactly one.
  End end(int32_t candidate) {
    CHECK_EQ(ends[candidate].size(), size_t{1});
    return ends[candidate].empty() ? End{-1, "", ""} : ends[candidate].front();
  }
};

Record& record_of(void* context) { return *static_cast<Record*>(context); }

PolarSink sink_of(Record& record) {
  PolarSink sink{};
  sink.context = &record;
  sink.text = [](void*, const char*, const char*) {};
  sink.number = [](void* c, const char* name, double value) { record_of(c).numbers[name] = value; };
  sink.heartbeat = [](void* c, const char* phase, double) -> int32_t {
    int& left = record_of(c).beats_left;
    if (left < 0 || std::string(phase) != "sample") return 0;
    return left-- == 0 ? 1 : 0;
  };
  sink.verified = [](void* c, int32_t i, const PolarVerification* v) { record_of(c).verified[i] = *v; };
  sink.sample = [](void* c, int32_t i, int32_t round, double, double) { record_of(c).samples.emplace_back(i, round); };
  sink.timed = [](void* c, int32_t i, const PolarTiming* t) { record_of(c).timed[i] = *t; };
  sink.warning = [](void*, int32_t, const char*) {};
  sink.finished = [](void* c, int32_t i, int32_t status, const char* code, const char* reason) {
    record_of(c).ends[i].push_back({status, code, reason});
  };
  return sink;
}

PolarProblem problem() {
  PolarProblem p{};
  p.scope = POLAR_SCOPE_MLP;
  p.batch_size = 1;
  p.hidden_size = 8;
  p.intermediate_size = 8;
  return p;
}

PolarOptions options() {
  PolarOptions o{};
  o.min_samples = 6;  // the fewest with an interval of the median
  o.max_samples = 6;
  o.warmup = 1;
  o.repeats = 1;
  o.max_noise = 0.005;
  o.max_time_s = 60;
  o.min_sample_us = 0;
  return o;
}

// Runs the kernels "a", "b", ... of the backend as the candidates of one cell.
PolarStop run(FakeBackend& backend, Record& record, const PolarOptions& o = options()) {
  static const char* const kNames[] = {"a", "b", "c"};
  std::vector<PolarCandidate> candidates;
  for (size_t i = 0; i < backend.scripts.size(); ++i) {
    PolarCandidate c{};
    c.kernel = kNames[i];
    c.dense = i == 0;
    candidates.push_back(c);
  }
  const PolarSink sink = sink_of(record);
  return measure_cell(backend, problem(), candidates, o, Reporter(sink));
}

// Samples of a kernel that fails at its `first` sample of the rounds: two of calibration and one of warm-up come
// before.
std::function<Sample(int)> failing_from(int first, const NativeError& error) {
  return [first, error](int call) -> Sample {
    if (call >= 3 + first) throw error;
    return {.ns = 1000.0};
  };
}

// 1000 and 2000 ns in turn: no interval is ever narrow.
Sample noisy(int call) { return {.ns = call % 2 == 0 ? 1000.0 : 2000.0}; }

const NativeError kLost("E_CUDA", "an illegal memory access was encountered", true);
const NativeError kRefused("E_CUDA", "invalid configuration argument");

}  // namespace

TEST("measure: rounds run A B C, C B A, and end as soon as they are precise") {
  FakeBackend backend{{"a", {}}, {"b", {}}, {"c", {}}};
  Record record;
  PolarOptions o = options();
  o.max_samples = 1000;
  CHECK_EQ(run(backend, record, o), POLAR_STOP_PRECISE);
  CHECK_EQ(record.order(), "ABC CBA ABC CBA ABC CBA");
  for (int32_t i = 0; i < 3; ++i) {
    CHECK_EQ(record.end(i).status, POLAR_OK);
    CHECK_EQ(record.timed.count(i), size_t{1});
    CHECK_EQ(record.timed[i].rotation_copies, 3);
    CHECK_EQ(record.timed[i].rotation_bytes, 300.0);
    CHECK(std::isnan(record.timed[i].energy_mj));
  }
}

TEST("measure: a sample holds as many runs as reach the shortest duration") {
  FakeBackend backend{{"a", {.sample = [](int) { return Sample{.ns = 3000.0}; }}}};
  Record record;
  PolarOptions o = options();
  o.min_sample_us = 100;
  run(backend, record, o);
  CHECK_EQ(backend.planned.size(), size_t{2});
  CHECK_EQ(backend.planned.back(), 34);  // ceil(100 000 / 3000)
  CHECK_EQ(record.timed[0].runs_per_sample, 34);
}

TEST("measure: a candidate whose device call fails drops out, the others go on") {
  FakeBackend backend{{"a", {}}, {"b", {.sample = failing_from(2, kRefused)}}, {"c", {}}};
  Record record;
  CHECK_EQ(run(backend, record), POLAR_STOP_PRECISE);
  CHECK_EQ(record.order(), "ABC CBA AC CA AC CA");
  CHECK_EQ(record.end(1).status, POLAR_FAILED);
  CHECK_EQ(record.end(1).code, "E_CUDA");
  CHECK_EQ(record.end(1).reason, kRefused.what());
  CHECK_EQ(record.timed.count(1), size_t{0});
  CHECK_EQ(record.end(0).status, POLAR_OK);
  CHECK_EQ(record.end(2).status, POLAR_OK);
}

TEST("measure: a candidate that cannot be made, or for which the host has no memory, costs nobody else") {
  FakeBackend backend{{"a", {.on_make = [] { throw NativeError("E_UNSUPPORTED", "no such shape"); }}},
                      {"b", {.on_make = [] { throw std::bad_alloc(); }}},
                      {"c", {}}};
  Record record;
  CHECK_EQ(run(backend, record), POLAR_STOP_PRECISE);
  CHECK_EQ(record.end(0).code, "E_UNSUPPORTED");
  CHECK_EQ(record.end(1).code, "E_OUT_OF_MEMORY");
  CHECK_EQ(record.end(2).status, POLAR_OK);
  CHECK_EQ(record.verified.size(), size_t{1});
}

TEST("measure: nothing is timed where every candidate has failed") {
  FakeBackend backend{{"a", {.sample = failing_from(1, kRefused)}}};
  Record record;
  CHECK_EQ(run(backend, record), POLAR_STOP_NOT_TIMED);
  CHECK_EQ(record.end(0).status, POLAR_FAILED);
}

TEST("measure: a lost device ends the cell as a failed call, with every open candidate failed") {
  const Script incorrect{.verification = test::verdict(8, 1)};
  FakeBackend backend{{"a", {}}, {"b", {.sample = failing_from(2, kLost)}}, {"c", incorrect}};
  Record record;
  bool sticky = false;
  try {
    run(backend, record);
  } catch (const NativeError& error) {
    sticky = error.sticky();
    CHECK_EQ(std::string(error.code()), "E_CUDA");
    CHECK_EQ(std::string(error.what()), kLost.what());
  }
  CHECK(sticky);
  CHECK_EQ(record.order(), "AB BA A");
  for (int32_t i = 0; i < 2; ++i) {
    CHECK_EQ(record.end(i).status, POLAR_FAILED);
    CHECK_EQ(record.end(i).code, "E_CUDA");
    CHECK_EQ(record.end(i).reason, kLost.what());
  }
  CHECK_EQ(record.end(2).status, POLAR_INCORRECT);  // it had ended before
  CHECK(record.timed.empty());
}

TEST("measure: a device lost in preparation, verification or calibration ends the cell likewise") {
  const auto lose = [] { throw kLost; };
  const auto lost_sample = [](int) -> Sample { throw kLost; };
  for (const int where : {0, 1, 2}) {
    FakeBackend backend{{"a", {}}, {"b", {}}};
    if (where == 0) backend.on_prepare = lose;
    if (where == 1) backend.scripts["b"].on_make = lose;
    if (where == 2) backend.scripts["b"].sample = lost_sample;
    Record record;
    CHECK_THROWS(run(backend, record), "E_CUDA");
    for (int32_t i = 0; i < 2; ++i) CHECK_EQ(record.end(i).code, "E_CUDA");
    CHECK(record.samples.empty());
  }
}

TEST("measure: a cell that does not fit is skipped with both numbers, before anything is allocated") {
  FakeBackend backend{{"a", {}}, {"b", {}}};
  backend.need = {.required_bytes = 12.3454e9, .available_bytes = 1e9};
  Record record;
  CHECK_EQ(run(backend, record), POLAR_STOP_NOT_TIMED);
  CHECK_EQ(backend.prepared, 0);
  for (int32_t i = 0; i < 2; ++i) {
    CHECK_EQ(record.end(i).status, POLAR_SKIPPED);
    CHECK_EQ(record.end(i).reason, "needs 12.345 GB of device memory, 1.000 GB are available");
  }
  CHECK_EQ(record.numbers["required_bytes"], 12.3454e9);
  CHECK_EQ(record.numbers["available_bytes"], 1e9);
}

TEST("measure: what is incorrect gets no timing") {
  FakeBackend backend{{"a", {}}, {"b", {}}};
  backend.scripts["b"].verification = test::verdict(8, 3);
  Record record;
  CHECK_EQ(run(backend, record), POLAR_STOP_PRECISE);
  CHECK_EQ(record.order(), "A A A A A A");
  CHECK_EQ(record.end(1).status, POLAR_INCORRECT);
  CHECK_EQ(record.end(1).reason,
           "3 of 8 output rows are outside the tolerance; worst row 0 uses 2.5 times its tolerance");
  CHECK_EQ(record.verified[1].rows_failed, 3);
  CHECK_EQ(record.timed.count(1), size_t{0});
}

TEST("measure: different bits in repeated runs, or nothing compared, are incorrect too") {
  FakeBackend backend{{"a", {}}, {"b", {}}};
  backend.scripts["a"].verification = test::verdict(8, 0, false);
  backend.scripts["b"].verification = test::verdict(0, 0);
  Record record;
  CHECK_EQ(run(backend, record), POLAR_STOP_NOT_TIMED);
  CHECK_EQ(record.end(0).reason, "repeated runs on the same inputs gave different bits");
  CHECK_EQ(record.end(1).reason, "no output row was compared");
}

TEST("measure: verification alone takes no sample") {
  FakeBackend backend{{"a", {}}};
  Record record;
  PolarOptions o = options();
  o.mode = POLAR_MODE_VERIFY;
  CHECK_EQ(run(backend, record, o), POLAR_STOP_NOT_TIMED);
  CHECK_EQ(record.end(0).status, POLAR_OK);
  CHECK(backend.planned.empty() && record.timed.empty());
}

TEST("measure: noise that stays ends at the limit of samples") {
  FakeBackend backend{{"a", {.sample = noisy}}, {"b", {.sample = noisy}}};
  Record record;
  PolarOptions o = options();
  o.max_samples = 9;
  CHECK_EQ(run(backend, record, o), POLAR_STOP_MAX_SAMPLES);
  CHECK_EQ(record.count(0), 9);
  CHECK_EQ(record.count(1), 9);
  CHECK_EQ(record.end(1).status, POLAR_OK);
}

TEST("measure: noise that stays ends at the limit of time") {
  const auto slow = [](int call) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return noisy(call);
  };
  FakeBackend backend{{"a", {.sample = slow}}};
  Record record;
  PolarOptions o = options();
  o.max_samples = 1 << 20;
  o.max_time_s = 0.02;
  CHECK_EQ(run(backend, record, o), POLAR_STOP_MAX_TIME);
  CHECK(record.count(0) >= 1 && record.count(0) <= 21);  // each takes 1 ms at least
  CHECK_EQ(record.end(0).status, POLAR_OK);
}

TEST("measure: throttled samples are counted and not reported") {
  const auto throttled = [](int call) { return Sample{.ns = 1000.0, .throttled = call == 4}; };  // in round 1
  FakeBackend backend{{"a", {.sample = throttled}}};
  Record record;
  PolarOptions o = options();
  o.max_samples = 7;
  CHECK_EQ(run(backend, record, o), POLAR_STOP_MAX_SAMPLES);  // five samples in six rounds have no interval yet
  CHECK_EQ(record.count(0), 6);
  CHECK_EQ(record.timed[0].samples_discarded, 1);
  CHECK_EQ(record.samples[1].second, 2);  // round 1 has none
}

TEST("measure: a cell that is cancelled ends at the next sign of life, without an exception") {
  FakeBackend backend{{"a", {}}, {"b", {}}};
  Record record;
  record.beats_left = 3;
  CHECK_EQ(run(backend, record), POLAR_STOP_CANCELLED);
  CHECK_EQ(record.order(), "AB B");
  for (int32_t i = 0; i < 2; ++i) {
    CHECK_EQ(record.end(i).status, POLAR_FAILED);
    CHECK_EQ(record.end(i).code, "E_NATIVE");
    CHECK_EQ(record.end(i).reason, "The measurement was cancelled");
  }
  CHECK(record.timed.empty());
}

TEST("measure: a request that is not sound never reaches the device") {
  FakeBackend backend{{"a", {}}};
  Record record;
  PolarOptions o = options();
  o.max_samples = o.min_samples - 1;
  CHECK_THROWS(run(backend, record, o), "E_NATIVE");
  CHECK_EQ(record.end(0).status, POLAR_FAILED);
  CHECK_EQ(backend.prepared, 0);
}
