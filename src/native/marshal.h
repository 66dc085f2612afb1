// JavaScript values <-> C structs of abi.h. Arguments are checked here: a wrong type or a missing field is a TypeError
// that names it, and no unchecked number reaches a library.
#pragma once

#include <napi.h>

#include <cmath>
#include <cstdint>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "abi.h"

namespace polar::addon {

// Owns everything that the C structs point to.
struct CellRequest {
  std::string backend;
  PolarProblem problem{};
  PolarOptions options{};
  std::vector<PolarCandidate> candidates;
  std::deque<std::string> kernel_names;
  std::deque<std::vector<int32_t>> index_lists;
  std::deque<std::vector<int64_t>> layer_lists;
};

struct CeilingRequest {
  std::string backend;
  int32_t dtype = POLAR_BF16;
  PolarOptions options{};
};

CellRequest read_cell_request(const Napi::Value& value);
CeilingRequest read_ceiling_request(const Napi::Value& value);

// What a sink collected, in plain C++: filled on the worker thread, turned into JavaScript on the main thread.
struct Facts {
  std::vector<std::pair<std::string, std::string>> texts;
  std::vector<std::pair<std::string, double>> numbers;
};

struct CandidateResult {
  bool verified = false;
  PolarVerification verification{};
  std::vector<int32_t> rounds;
  std::vector<double> samples_ns;
  std::vector<double> clock_mhz;
  bool timed = false;
  PolarTiming timing{};
  std::vector<std::pair<std::string, double>> parts;
  std::vector<std::string> warnings;
  int32_t status = -1;
  std::string code;
  std::string reason;
};

struct CellResult {
  std::vector<CandidateResult> candidates;
  std::vector<std::string> warnings;
  Facts facts;
  PolarResult result{};
};

Napi::Object facts_to_js(Napi::Env env, const Facts& facts);
Napi::Object cell_result_to_js(Napi::Env env, const CellResult& result);

}  // namespace polar::addon
