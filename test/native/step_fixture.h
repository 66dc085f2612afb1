// Decode steps computed by Hugging Face transformers (scripts/make-step-fixtures.py): the file format and the tensors.
#pragma once

#include <cctype>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "../../src/native/abi.h"
#include "../../src/native/common/half.h"

namespace polar::test {

// As much of JSON as the header of a safetensors file needs: objects, strings, lists of integers.
class HeaderReader {
 public:
  explicit HeaderReader(const std::string& text) : text_(text) {}

  template <typename Member>
  void object(Member member) {
    expect('{');
    while (peek() != '}') {
      const std::string key = string();
      expect(':');
      member(key);
      if (peek() == ',') ++at_;
    }
    ++at_;
  }
  std::string string() {
    expect('"');
    const size_t end = text_.find('"', at_);
    if (end == std::string::npos) throw std::runtime_error("safetensors header: a string without its end");
    const std::string value = text_.substr(at_, end - at_);
    at_ = end + 1;
    return value;
  }
  std::vector<int64_t> integers() {
    std::vector<int64_t> list;
    expect('[');
    while (peek() != ']') {
      size_t used = 0;
      list.push_back(std::stoll(text_.substr(at_, 24), &used));
      at_ += used;
      if (peek() == ',') ++at_;
    }
    ++at_;
    return list;
  }

 private:
  char peek() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_]))) ++at_;
    if (at_ == text_.size()) throw std::runtime_error("safetensors header: it ends too early");
    return text_[at_];
  }
  void expect(char c) {
    if (peek() != c) throw std::runtime_error(std::string("safetensors header: expected ") + c);
    ++at_;
  }

  const std::string& text_;
  size_t at_ = 0;
};

// One file. Every tensor as float, with its shape.
class StepFixture {
 public:
  explicit StepFixture(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    uint64_t length = 0;
    if (bytes.size() < sizeof length) throw std::runtime_error("cannot read " + path);
    std::memcpy(&length, bytes.data(), sizeof length);
    if (length > bytes.size() - sizeof length) throw std::runtime_error("truncated: " + path);
    const std::string header = bytes.substr(sizeof length, length);
    const std::string data = bytes.substr(sizeof length + length);
    HeaderReader reader(header);
    reader.object([&](const std::string& name) {
      if (name == "__metadata__") {
        reader.object([&](const std::string& key) { metadata_[key] = reader.string(); });
      } else {
        tensors_[name] = read_tensor(reader, data);
      }
    });
  }

  // The problem in a storage type; the cache has room for `spare` more positions.
  PolarProblem problem(int32_t scope, int32_t dtype, int64_t spare = 2) const {
    const bool opt = metadata_.at("family") == "opt";
    PolarProblem p{};
    p.scope = scope;
    p.dtype = dtype;
    p.batch_size = integer("batch_size");
    p.kv_len = integer("kv_len");
    p.kv_capacity = p.kv_len + spare;
    p.num_qo_heads = integer("num_qo_heads");
    p.num_kv_heads = integer("num_kv_heads");
    p.head_dim = integer("head_dim");
    p.hidden_size = integer("hidden_size");
    p.intermediate_size = integer("intermediate_size");
    p.activation = opt ? POLAR_RELU : POLAR_SILU;
    p.gated = opt ? 0 : 1;
    p.mlp_bias = p.qkv_bias = p.out_bias = opt ? 1 : 0;
    p.norm = opt ? POLAR_NORM_LAYER : POLAR_NORM_RMS;
    p.rope = opt ? 0 : 1;
    p.rope_theta = std::stod(metadata_.at("rope_theta"));
    p.norm_epsilon = std::stod(metadata_.at("norm_epsilon"));
    p.num_layers = scope == POLAR_SCOPE_STEP ? integer("num_layers") : 1;
    p.vocab_size = scope == POLAR_SCOPE_STEP ? integer("vocab_size") : 0;
    p.mlp_router_rank = 8;
    p.seed = 1;
    return p;
  }
  int64_t num_layers() const { return integer("num_layers"); }

  // Layer `layer` of a tensor that has one per layer ([L, ...]); all of "x", "logits", "lm_head" and the final norm.
  // Empty where the file has no such tensor.
  std::vector<float> values(const std::string& name, int64_t layer) const {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) return {};
    const std::vector<float>& all = found->second;
    if (name == "x" || name == "logits" || name == "lm_head" || name.starts_with("final_norm")) return all;
    const int64_t per = static_cast<int64_t>(all.size()) / num_layers();
    return {all.begin() + layer * per, all.begin() + (layer + 1) * per};
  }

  // The same in the problem's storage type and layout: caches get room for kv_capacity positions, those that the file
  // does not have hold NaN.
  std::vector<uint16_t> stored(const PolarProblem& p, const std::string& name, int64_t layer) const {
    const std::vector<float> from = values(name, layer);
    std::vector<uint16_t> out;
    const bool cache = name == "k_cache" || name == "v_cache";
    const int64_t block = cache ? (p.kv_len - 1) * p.head_dim : static_cast<int64_t>(from.size());
    for (size_t i = 0; i < from.size(); ++i) {
      out.push_back(float_to_half(from[i], p.dtype));
      const bool block_ends = static_cast<int64_t>(i + 1) % block == 0;
      if (cache && block_ends) {
        out.insert(out.end(), static_cast<size_t>((p.kv_capacity - p.kv_len + 1) * p.head_dim), kHalfNaN);
      }
    }
    return out;
  }

 private:
  int64_t integer(const char* key) const { return std::stoll(metadata_.at(key)); }

  static std::vector<float> read_tensor(HeaderReader& reader, const std::string& data) {
    std::string type;
    std::vector<int64_t> offsets;
    reader.object([&](const std::string& key) {
      if (key == "dtype") {
        type = reader.string();
      } else if (key == "data_offsets") {
        offsets = reader.integers();
      } else {
        reader.integers();  // the shape follows from the problem
      }
    });
    if (offsets.size() != 2 || offsets[1] > static_cast<int64_t>(data.size()) || (type != "BF16" && type != "F32")) {
      throw std::runtime_error("safetensors: expected BF16 or F32 within the file");
    }
    const size_t size = type == "BF16" ? 2 : 4;
    std::vector<float> values(static_cast<size_t>(offsets[1] - offsets[0]) / size);
    for (size_t i = 0; i < values.size(); ++i) {
      const char* at = data.data() + offsets[0] + i * size;
      uint16_t half = 0;
      if (size == 4) {
        std::memcpy(&values[i], at, 4);
        continue;
      }
      std::memcpy(&half, at, 2);
      values[i] = bf16_to_float(half);
    }
    return values;
  }

  std::map<std::string, std::string> metadata_;
  std::map<std::string, std::vector<float>> tensors_;
};

inline constexpr const char* kStepFixtures[] = {"opt", "llama", "llama-gqa"};

}  // namespace polar::test
