#include "worker.h"

#include <atomic>
#include <mutex>
#include <optional>

#include "common/error.h"
#include "loader.h"

namespace polar::addon {
namespace {

// State of the one call that may run in this process.
struct CallState {
  std::atomic<bool> busy{false};
  std::atomic<bool> abort{false};
  std::atomic<uint64_t> beats{0};
  std::mutex mutex;
  std::string phase;
  double fraction = 0;
};

CallState& state() {
  static CallState instance;
  return instance;
}

int32_t on_heartbeat(void*, const char* phase, double fraction) {
  CallState& s = state();
  s.beats.fetch_add(1);
  const std::lock_guard lock(s.mutex);
  s.phase = phase;
  s.fraction = fraction;
  return s.abort.load() ? 1 : 0;
}

CellResult& collected(void* context) { return *static_cast<CellResult*>(context); }

// A library that names a candidate out of range must not make us write out of range.
CandidateResult* candidate_of(void* context, int32_t index) {
  auto& list = collected(context).candidates;
  return index >= 0 && static_cast<size_t>(index) < list.size() ? &list[static_cast<size_t>(index)] : nullptr;
}

PolarSink make_sink(CellResult& into) {
  PolarSink sink{};
  sink.context = &into;
  sink.text = [](void* c, const char* name, const char* value) { collected(c).facts.texts.emplace_back(name, value); };
  sink.number = [](void* c, const char* name, double value) { collected(c).facts.numbers.emplace_back(name, value); };
  sink.heartbeat = on_heartbeat;
  sink.verified = [](void* c, int32_t index, const PolarVerification* v) {
    if (CandidateResult* r = candidate_of(c, index)) {
      r->verified = true;
      r->verification = *v;
    }
  };
  sink.sample = [](void* c, int32_t index, int32_t round, double ns, double clock) {
    if (CandidateResult* r = candidate_of(c, index)) {
      r->rounds.push_back(round);
      r->samples_ns.push_back(ns);
      r->clock_mhz.push_back(clock);
    }
  };
  sink.timed = [](void* c, int32_t index, const PolarTiming* t) {
    if (CandidateResult* r = candidate_of(c, index)) {
      r->timed = true;
      r->timing = *t;
    }
  };
  sink.part = [](void* c, int32_t index, const char* name, double ns) {
    if (CandidateResult* r = candidate_of(c, index)) r->parts.emplace_back(name, ns);
  };
  sink.warning = [](void* c, int32_t index, const char* message) {
    CandidateResult* r = candidate_of(c, index);
    (r ? r->warnings : collected(c).warnings).emplace_back(message);
  };
  sink.finished = [](void* c, int32_t index, int32_t status, const char* code, const char* reason) {
    if (CandidateResult* r = candidate_of(c, index)) {
      r->status = status;
      r->code = code;
      r->reason = reason;
    }
  };
  return sink;
}

Napi::Error js_error(Napi::Env env, const std::string& code, const std::string& message) {
  Napi::Error error = Napi::Error::New(env, message);
  error.Set("code", Napi::String::New(env, code));
  return error;
}

// Base of the three calls. Execute runs on a thread of the pool and touches no JavaScript.
class Call : public Napi::AsyncWorker {
 public:
  explicit Call(Napi::Env env) : Napi::AsyncWorker(env), deferred_(Napi::Promise::Deferred::New(env)) {}

  Napi::Value start() {
    if (state().busy.exchange(true)) {
      deferred_.Reject(js_error(Env(), "E_NATIVE", "Expected one call at a time, got another while one runs").Value());
      const Napi::Value promise = deferred_.Promise();
      delete this;
      return promise;
    }
    state().abort = false;
    const Napi::Value promise = deferred_.Promise();
    Queue();
    return promise;
  }

  void Execute() override {
    try {
      const PolarSink sink = make_sink(collected_);
      invoke(sink);
    } catch (const NativeError& error) {
      fail(error.code(), error.what());
    } catch (const std::exception& error) {
      fail("E_NATIVE", error.what());
    }
  }

  void OnOK() override {
    const Napi::HandleScope scope(Env());
    state().busy = false;
    if (error_) {
      deferred_.Reject(js_error(Env(), error_->first, error_->second).Value());
    } else {
      deferred_.Resolve(value(Env()));
    }
  }

 protected:
  virtual void invoke(const PolarSink& sink) = 0;
  virtual Napi::Value value(Napi::Env env) { return facts_to_js(env, collected_.facts); }

  void fail(const std::string& code, const std::string& message) { error_ = {code, message}; }
  void take(const PolarResult& result) {
    collected_.result = result;
    if (result.status != POLAR_OK) fail(result.code, result.message);
  }

  CellResult collected_;

 private:
  Napi::Promise::Deferred deferred_;
  std::optional<std::pair<std::string, std::string>> error_;
};

class DescribeCall : public Call {
 public:
  DescribeCall(Napi::Env env, std::string backend, int32_t device)
      : Call(env), backend_(std::move(backend)), device_(device) {}

 protected:
  void invoke(const PolarSink& sink) override {
    PolarResult result{};
    load_backend(backend_).describe(device_, &sink, &result);
    take(result);
  }

 private:
  std::string backend_;
  int32_t device_;
};

class CeilingCall : public Call {
 public:
  CeilingCall(Napi::Env env, CeilingRequest request) : Call(env), request_(std::move(request)) {}

 protected:
  void invoke(const PolarSink& sink) override {
    PolarResult result{};
    load_backend(request_.backend).measure_ceilings(request_.dtype, &request_.options, &sink, &result);
    take(result);
  }

 private:
  CeilingRequest request_;
};

class CellCall : public Call {
 public:
  CellCall(Napi::Env env, CellRequest request) : Call(env), request_(std::move(request)) {}

 protected:
  void invoke(const PolarSink& sink) override {
    collected_.candidates.resize(request_.candidates.size());
    PolarResult result{};
    load_backend(request_.backend)
        .measure_cell(&request_.problem, request_.candidates.data(), static_cast<int32_t>(request_.candidates.size()),
                      &request_.options, &sink, &result);
    take(result);
  }
  Napi::Value value(Napi::Env env) override { return cell_result_to_js(env, collected_); }

 private:
  CellRequest request_;
};

}  // namespace

Napi::Value start_describe(Napi::Env env, const std::string& backend, int32_t device) {
  return (new DescribeCall(env, backend, device))->start();
}

Napi::Value start_ceilings(Napi::Env env, CeilingRequest request) {
  return (new CeilingCall(env, std::move(request)))->start();
}

Napi::Value start_cell(Napi::Env env, CellRequest request) { return (new CellCall(env, std::move(request)))->start(); }

Napi::Value list_kernels(Napi::Env env, const std::string& backend) {
  CellResult into;
  const PolarSink sink = make_sink(into);
  PolarResult result{};
  try {
    load_backend(backend).list_kernels(&sink, &result);
  } catch (const NativeError& error) {
    throw js_error(env, error.code(), error.what());
  }
  if (result.status != POLAR_OK) throw js_error(env, result.code, result.message);
  auto list = Napi::Array::New(env, into.facts.texts.size());
  for (size_t i = 0; i < into.facts.texts.size(); ++i) list[i] = Napi::String::New(env, into.facts.texts[i].second);
  return list;
}

Napi::Value progress(Napi::Env env) {
  CallState& s = state();
  auto o = Napi::Object::New(env);
  o["beats"] = Napi::Number::New(env, static_cast<double>(s.beats.load()));
  const std::lock_guard lock(s.mutex);
  o["phase"] = Napi::String::New(env, s.phase);
  o["fraction"] = Napi::Number::New(env, s.fraction);
  return o;
}

void abort_call() { state().abort = true; }

}  // namespace polar::addon
