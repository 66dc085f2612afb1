#include "marshal.h"

namespace polar::addon {
namespace {

[[noreturn]] void wrong(Napi::Env env, const std::string& what, const char* name) {
  throw Napi::TypeError::New(env, "Expected " + what + " for " + name);
}

Napi::Object object_field(const Napi::Object& from, const char* name) {
  const Napi::Value value = from.Get(name);
  if (!value.IsObject()) wrong(from.Env(), "an object", name);
  return value.As<Napi::Object>();
}

double number_field(const Napi::Object& from, const char* name) {
  const Napi::Value value = from.Get(name);
  if (!value.IsNumber()) wrong(from.Env(), "a number", name);
  return value.As<Napi::Number>().DoubleValue();
}

int64_t integer_field(const Napi::Object& from, const char* name) {
  const double value = number_field(from, name);
  if (std::trunc(value) != value || std::fabs(value) > 9007199254740991.0) wrong(from.Env(), "an integer", name);
  return static_cast<int64_t>(value);
}

int32_t int32_field(const Napi::Object& from, const char* name) {
  const int64_t value = integer_field(from, name);
  if (value < INT32_MIN || value > INT32_MAX) wrong(from.Env(), "a 32-bit integer", name);
  return static_cast<int32_t>(value);
}

std::string string_field(const Napi::Object& from, const char* name) {
  const Napi::Value value = from.Get(name);
  if (!value.IsString()) wrong(from.Env(), "a string", name);
  return value.As<Napi::String>().Utf8Value();
}

PolarProblem read_problem(const Napi::Object& o) {
  PolarProblem p{};
  p.scope = int32_field(o, "scope");
  p.dtype = int32_field(o, "dtype");
  p.batch_size = integer_field(o, "batchSize");
  p.kv_len = integer_field(o, "kvLen");
  p.kv_capacity = integer_field(o, "kvCapacity");
  p.num_qo_heads = integer_field(o, "numQoHeads");
  p.num_kv_heads = integer_field(o, "numKvHeads");
  p.head_dim = integer_field(o, "headDim");
  p.hidden_size = integer_field(o, "hiddenSize");
  p.intermediate_size = integer_field(o, "intermediateSize");
  p.activation = int32_field(o, "activation");
  p.gated = int32_field(o, "gated");
  p.mlp_bias = int32_field(o, "mlpBias");
  p.norm = int32_field(o, "norm");
  p.qkv_bias = int32_field(o, "qkvBias");
  p.out_bias = int32_field(o, "outBias");
  p.rope = int32_field(o, "rope");
  p.rope_theta = number_field(o, "ropeTheta");
  p.norm_epsilon = number_field(o, "normEpsilon");
  p.num_layers = integer_field(o, "numLayers");
  p.vocab_size = integer_field(o, "vocabSize");
  p.mlp_router_rank = integer_field(o, "mlpRouterRank");
  const int64_t seed = integer_field(o, "seed");
  if (seed < 0) wrong(o.Env(), "an integer that is not negative", "seed");
  p.seed = static_cast<uint64_t>(seed);
  return p;
}

PolarOptions read_options(const Napi::Object& o) {
  PolarOptions p{};
  p.mode = int32_field(o, "mode");
  p.device = int32_field(o, "device");
  p.threads = int32_field(o, "threads");
  p.cold_cache = int32_field(o, "coldCache");
  p.min_samples = int32_field(o, "minSamples");
  p.max_samples = int32_field(o, "maxSamples");
  p.warmup = int32_field(o, "warmup");
  p.repeats = int32_field(o, "repeats");
  p.max_noise = number_field(o, "maxNoise");
  p.max_time_s = number_field(o, "maxTimeS");
  p.min_sample_us = number_field(o, "minSampleUs");
  p.verify_rows = integer_field(o, "verifyRows");
  p.breakdown = int32_field(o, "breakdown");
  return p;
}

void read_candidate(const Napi::Object& o, CellRequest& request) {
  PolarCandidate c{};
  request.kernel_names.push_back(string_field(o, "kernel"));
  c.kernel = request.kernel_names.back().c_str();
  c.active_groups = integer_field(o, "activeGroups");
  c.active_neurons = integer_field(o, "activeNeurons");
  c.index_pattern = int32_field(o, "indexPattern");
  c.dense = int32_field(o, "dense");
  const Napi::Value indices = o.Get("indices");
  if (indices.IsTypedArray() && indices.As<Napi::TypedArray>().TypedArrayType() == napi_int32_array) {
    const auto list = indices.As<Napi::Int32Array>();
    request.index_lists.emplace_back(list.Data(), list.Data() + list.ElementLength());
    c.indices = request.index_lists.back().data();
    c.num_indices = static_cast<int64_t>(request.index_lists.back().size());
  } else if (!indices.IsNull() && !indices.IsUndefined()) {
    wrong(o.Env(), "an Int32Array or null", "indices");
  }
  const Napi::Value layers = o.Get("layerActiveNeurons");
  if (layers.IsTypedArray() && layers.As<Napi::TypedArray>().TypedArrayType() == napi_int32_array) {
    const auto list = layers.As<Napi::Int32Array>();
    // The library reads one entry per layer.
    if (static_cast<int64_t>(list.ElementLength()) != request.problem.num_layers) {
      wrong(o.Env(), "one entry per layer", "layerActiveNeurons");
    }
    request.layer_lists.emplace_back(list.Data(), list.Data() + list.ElementLength());
    c.layer_active_neurons = request.layer_lists.back().data();
  } else if (!layers.IsNull()) {
    wrong(o.Env(), "an Int32Array or null", "layerActiveNeurons");
  }
  request.candidates.push_back(c);
}

Napi::Value number_or_null(Napi::Env env, double value) {
  if (std::isnan(value)) return env.Null();
  return Napi::Number::New(env, value);
}

Napi::Float64Array doubles(Napi::Env env, const std::vector<double>& values) {
  auto array = Napi::Float64Array::New(env, values.size());
  std::copy(values.begin(), values.end(), array.Data());
  return array;
}

Napi::Array strings(Napi::Env env, const std::vector<std::string>& values) {
  auto array = Napi::Array::New(env, values.size());
  for (size_t i = 0; i < values.size(); ++i) array[i] = Napi::String::New(env, values[i]);
  return array;
}

Napi::Object verification_to_js(Napi::Env env, const PolarVerification& v) {
  auto o = Napi::Object::New(env);
  o["passed"] = Napi::Boolean::New(env, v.passed != 0);
  o["maxAbsErr"] = Napi::Number::New(env, v.max_abs_err);
  o["maxRelErr"] = Napi::Number::New(env, v.max_rel_err);
  o["toleranceUsed"] = Napi::Number::New(env, v.tolerance_used);
  o["rowsChecked"] = Napi::Number::New(env, static_cast<double>(v.rows_checked));
  o["rowsFailed"] = Napi::Number::New(env, static_cast<double>(v.rows_failed));
  o["worstRow"] = v.worst_row < 0 ? env.Null() : Napi::Value(Napi::Number::New(env, static_cast<double>(v.worst_row)));
  o["repeatsEqual"] = Napi::Boolean::New(env, v.repeats_equal != 0);
  return o;
}

Napi::Object timing_to_js(Napi::Env env, const PolarTiming& t) {
  auto o = Napi::Object::New(env);
  o["runsPerSample"] = Napi::Number::New(env, static_cast<double>(t.runs_per_sample));
  o["rotationCopies"] = Napi::Number::New(env, static_cast<double>(t.rotation_copies));
  o["rotationBytes"] = Napi::Number::New(env, t.rotation_bytes);
  o["samplesDiscarded"] = Napi::Number::New(env, static_cast<double>(t.samples_discarded));
  o["energyMj"] = number_or_null(env, t.energy_mj);
  o["setupS"] = Napi::Number::New(env, t.setup_s);
  o["residentLayers"] = Napi::Number::New(env, static_cast<double>(t.resident_layers));
  return o;
}

Napi::Object candidate_to_js(Napi::Env env, const CandidateResult& c) {
  auto o = Napi::Object::New(env);
  o["status"] = Napi::Number::New(env, c.status);
  o["code"] = Napi::String::New(env, c.code);
  o["reason"] = Napi::String::New(env, c.reason);
  o["verification"] = c.verified ? Napi::Value(verification_to_js(env, c.verification)) : env.Null();
  o["timing"] = c.timed ? Napi::Value(timing_to_js(env, c.timing)) : env.Null();
  auto rounds = Napi::Int32Array::New(env, c.rounds.size());
  std::copy(c.rounds.begin(), c.rounds.end(), rounds.Data());
  o["rounds"] = rounds;
  o["samplesNs"] = doubles(env, c.samples_ns);
  o["clockMhz"] = doubles(env, c.clock_mhz);
  auto parts = Napi::Array::New(env, c.parts.size());
  for (size_t i = 0; i < c.parts.size(); ++i) {
    auto part = Napi::Object::New(env);
    part["name"] = Napi::String::New(env, c.parts[i].first);
    part["ns"] = Napi::Number::New(env, c.parts[i].second);
    parts[i] = part;
  }
  o["parts"] = parts;
  o["warnings"] = strings(env, c.warnings);
  return o;
}

}  // namespace

CellRequest read_cell_request(const Napi::Value& value) {
  if (!value.IsObject()) wrong(value.Env(), "an object", "request");
  const auto o = value.As<Napi::Object>();
  CellRequest request;
  request.backend = string_field(o, "backend");
  request.problem = read_problem(object_field(o, "problem"));
  request.options = read_options(object_field(o, "options"));
  const Napi::Value list = o.Get("candidates");
  if (!list.IsArray() || list.As<Napi::Array>().Length() == 0) wrong(o.Env(), "a non-empty array", "candidates");
  const auto array = list.As<Napi::Array>();
  for (uint32_t i = 0; i < array.Length(); ++i) {
    const Napi::Value entry = array[i];
    if (!entry.IsObject()) wrong(o.Env(), "objects", "candidates");
    read_candidate(entry.As<Napi::Object>(), request);
  }
  return request;
}

CeilingRequest read_ceiling_request(const Napi::Value& value) {
  if (!value.IsObject()) wrong(value.Env(), "an object", "request");
  const auto o = value.As<Napi::Object>();
  CeilingRequest request;
  request.backend = string_field(o, "backend");
  request.dtype = int32_field(o, "dtype");
  request.options = read_options(object_field(o, "options"));
  return request;
}

Napi::Object facts_to_js(Napi::Env env, const Facts& facts) {
  auto o = Napi::Object::New(env);
  for (const auto& [name, text] : facts.texts) o[name] = Napi::String::New(env, text);
  for (const auto& [name, number] : facts.numbers) o[name] = number_or_null(env, number);
  return o;
}

Napi::Object cell_result_to_js(Napi::Env env, const CellResult& result) {
  auto o = Napi::Object::New(env);
  auto list = Napi::Array::New(env, result.candidates.size());
  for (size_t i = 0; i < result.candidates.size(); ++i) list[i] = candidate_to_js(env, result.candidates[i]);
  o["candidates"] = list;
  o["stop"] = Napi::Number::New(env, result.result.stop);
  o["warnings"] = strings(env, result.warnings);
  o["facts"] = facts_to_js(env, result.facts);
  return o;
}

}  // namespace polar::addon
