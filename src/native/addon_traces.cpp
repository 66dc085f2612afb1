#include "addon_traces.h"

#include <atomic>
#include <cmath>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "traces/draw.h"
#include "traces/error.h"
#include "traces/union.h"

namespace polar::addon {
namespace {

using traces::DrawRequest;
using traces::UnionRequest;
using traces::UnionResult;

std::atomic<bool>& cancel_flag() {
  static std::atomic<bool> flag{false};
  return flag;
}

Napi::Object object_of(const Napi::Value& value, const std::string& name) {
  if (!value.IsObject()) throw Napi::TypeError::New(value.Env(), "Expected an object for " + name);
  return value.As<Napi::Object>();
}

// An integer 0 .. max that a double holds exactly.
std::uint64_t count_of(const Napi::Value& value, const std::string& name, double max = 9007199254740991.0) {
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1.0;
  if (!(number >= 0.0 && number <= max && number == std::floor(number))) {
    throw Napi::TypeError::New(value.Env(), "Expected an integer from 0 for " + name);
  }
  return static_cast<std::uint64_t>(number);
}

std::uint64_t count_at(const Napi::Object& object, const char* name, double max = 9007199254740991.0) {
  return count_of(object.Get(name), name, max);
}

std::string text_at(const Napi::Object& object, const char* name) {
  const Napi::Value value = object.Get(name);
  if (!value.IsString()) throw Napi::TypeError::New(object.Env(), std::string("Expected a string for ") + name);
  return value.As<Napi::String>().Utf8Value();
}

Napi::Array array_at(const Napi::Object& object, const char* name) {
  const Napi::Value value = object.Get(name);
  if (!value.IsArray()) throw Napi::TypeError::New(object.Env(), std::string("Expected an array for ") + name);
  return value.As<Napi::Array>();
}

UnionRequest read_union_request(const Napi::Value& value) {
  const Napi::Object object = object_of(value, "request");
  UnionRequest request;
  request.element = static_cast<traces::Element>(count_at(object, "element", 3));
  request.neurons = count_at(object, "neurons");
  const Napi::Array segments = array_at(object, "segments");
  for (std::uint32_t i = 0; i < segments.Length(); ++i) {
    const Napi::Object segment = object_of(segments.Get(i), "segments");
    request.segments.push_back({text_at(segment, "path"), count_at(segment, "offset"), count_at(segment, "tokens")});
  }
  const Napi::Array batches = array_at(object, "batchSizes");
  for (std::uint32_t i = 0; i < batches.Length(); ++i) {
    request.batch_sizes.push_back(count_of(batches.Get(i), "batchSizes"));
  }
  request.max_trials = count_at(object, "maxTrials");
  request.seed = count_at(object, "seed");
  request.threads = static_cast<unsigned>(count_at(object, "threads", 1024));
  request.cancel = &cancel_flag();
  return request;
}

DrawRequest read_draw_request(const Napi::Value& value) {
  const Napi::Object object = object_of(value, "request");
  const Napi::Value thresholds = object.Get("thresholds");
  if (!thresholds.IsTypedArray() || thresholds.As<Napi::TypedArray>().TypedArrayType() != napi_uint32_array) {
    throw Napi::TypeError::New(object.Env(), "Expected a Uint32Array for thresholds");
  }
  const auto list = thresholds.As<Napi::Uint32Array>();
  DrawRequest request;
  request.path = text_at(object, "path");
  request.offset = count_at(object, "offset");
  request.tokens = count_at(object, "tokens");
  request.thresholds.assign(list.Data(), list.Data() + list.ElementLength());
  request.shared = static_cast<std::uint32_t>(count_at(object, "shared", 4294967295.0));
  request.tokens_per_sequence = count_at(object, "tokensPerSequence");
  request.seed = count_at(object, "seed");
  request.layer = count_at(object, "layer");
  request.threads = static_cast<unsigned>(count_at(object, "threads", 1024));
  request.cancel = &cancel_flag();
  return request;
}

Napi::Value union_to_js(Napi::Env env, const UnionResult& result) {
  auto batches = Napi::Array::New(env, result.batches.size());
  for (std::size_t i = 0; i < result.batches.size(); ++i) {
    const traces::BatchUnion& batch = result.batches[i];
    auto o = Napi::Object::New(env);
    o["batchSize"] = Napi::Number::New(env, static_cast<double>(batch.batch_size));
    o["trials"] = Napi::Number::New(env, static_cast<double>(batch.trials));
    o["mean"] = Napi::Number::New(env, batch.mean);
    o["std"] = std::isnan(batch.std) ? env.Null() : Napi::Number::New(env, batch.std).As<Napi::Value>();
    batches[static_cast<std::uint32_t>(i)] = o;
  }
  auto o = Napi::Object::New(env);
  o["batches"] = batches;
  o["tokens"] = Napi::Number::New(env, static_cast<double>(result.tokens));
  o["bytesRead"] = Napi::Number::New(env, static_cast<double>(result.bytes_read));
  o["nanValues"] = Napi::Number::New(env, static_cast<double>(result.nan_values));
  return o;
}

// Work on a thread of the pool; no exception leaves it. Trace calls run beside a measuring call without touching it.
class TraceCall : public Napi::AsyncWorker {
 public:
  using Work = std::function<void()>;
  using Result = std::function<Napi::Value(Napi::Env)>;

  TraceCall(Napi::Env env, Work work, Result result)
      : Napi::AsyncWorker(env),
        deferred_(Napi::Promise::Deferred::New(env)),
        work_(std::move(work)),
        result_(std::move(result)) {}

  Napi::Value start() {
    const Napi::Value promise = deferred_.Promise();
    Queue();
    return promise;
  }

  void Execute() override {
    try {
      work_();
    } catch (const traces::TraceFailure& error) {
      error_ = {"E_TRACE", error.what()};
    } catch (const traces::Cancelled& error) {
      error_ = {"E_CANCELLED", error.what()};
    } catch (const std::bad_alloc&) {
      error_ = {"E_OUT_OF_MEMORY", "Expected memory for a trace, got none"};
    } catch (const std::exception& error) {
      error_ = {"E_NATIVE", error.what()};
    }
  }

  void OnOK() override {
    const Napi::HandleScope scope(Env());
    if (!error_) {
      deferred_.Resolve(result_(Env()));
      return;
    }
    Napi::Error error = Napi::Error::New(Env(), error_->second);
    error.Set("code", Napi::String::New(Env(), error_->first));
    deferred_.Reject(error.Value());
  }

 private:
  Napi::Promise::Deferred deferred_;
  Work work_;
  Result result_;
  std::optional<std::pair<std::string, std::string>> error_;
};

Napi::Value trace_union(const Napi::CallbackInfo& info) {
  auto request = std::make_shared<UnionRequest>(read_union_request(info[0]));
  auto result = std::make_shared<UnionResult>();
  cancel_flag() = false;
  return (new TraceCall(
              info.Env(), [request, result] { *result = traces::measure_union(*request); },
              [result](Napi::Env env) { return union_to_js(env, *result); }))
      ->start();
}

Napi::Value trace_draw(const Napi::CallbackInfo& info) {
  auto request = std::make_shared<DrawRequest>(read_draw_request(info[0]));
  cancel_flag() = false;
  return (new TraceCall(
              info.Env(), [request] { traces::draw_masks(*request); }, [](Napi::Env env) { return env.Undefined(); }))
      ->start();
}

void trace_abort(const Napi::CallbackInfo&) { cancel_flag() = true; }

}  // namespace

void register_traces(Napi::Env env, Napi::Object exports) {
  exports["traceUnion"] = Napi::Function::New(env, trace_union, "traceUnion");
  exports["traceDraw"] = Napi::Function::New(env, trace_draw, "traceDraw");
  exports["traceAbort"] = Napi::Function::New(env, trace_abort, "traceAbort");
}

}  // namespace polar::addon
