// The float64 references against cases computed by hand.
#include "../../src/native/reference/reference.h"

#include <cmath>
#include <vector>

#include "../../src/native/common/half.h"
#include "check.h"

using namespace polar;

namespace {

std::vector<uint16_t> halves(const std::vector<float>& values, int32_t dtype) {
  std::vector<uint16_t> out;
  for (float v : values) out.push_back(float_to_half(v, dtype));
  return out;
}

// Two query heads of one group, two positions of a cache with room for three; head_dim 8, mostly zeros.
struct TinyAttention {
  PolarProblem p{};
  std::vector<uint16_t> q, k, v;
  explicit TinyAttention(int32_t dtype) {
    p.scope = POLAR_SCOPE_ATTENTION;
    p.dtype = dtype;
    p.batch_size = 1;
    p.kv_len = 2;
    p.kv_capacity = 3;
    p.num_qo_heads = 4;
    p.num_kv_heads = 2;
    p.head_dim = 8;
    std::vector<float> qf(4 * 8, 0.0f), kf(2 * 3 * 8, 0.0f), vf(2 * 3 * 8, 0.0f);
    qf[0] = 2;  // head 0: 2 e0
    kf[0] = 1;  // group 0: keys e0 and 0
    for (int i = 0; i < 8; ++i) {
      vf[i] = static_cast<float>(i);       // first value row 0..7
      vf[8 + i] = static_cast<float>(-i);  // second is its negative
      kf[16 + i] = vf[16 + i] = NAN;       // past kv_len
    }
    q = halves(qf, dtype);
    k = halves(kf, dtype);
    v = halves(vf, dtype);
  }
};

}  // namespace

TEST("reference: attention of two keys is the softmax of the two scores") {
  for (int32_t dtype : {POLAR_BF16, POLAR_FP16}) {
    const TinyAttention t(dtype);
    double exact[8];
    float naive[8];
    attention_row_reference(t.p, t.q.data(), t.k.data(), t.v.data(), 0, 0, nullptr, 0, exact, naive);
    // scores 2/sqrt(8) and 0; p - (1 - p) = tanh(score / 2)
    const double weight = std::tanh(1.0 / std::sqrt(8.0));
    for (int i = 0; i < 8; ++i) {
      CHECK_NEAR(exact[i], weight * i, 1e-12);
      CHECK_NEAR(naive[i], exact[i], 8 * 0x1.0p-7);
    }
    CHECK(naive[7] != static_cast<float>(exact[7]));  // it is rounded
    // head 1 of the group has a zero query: both keys count alike
    attention_row_reference(t.p, t.q.data(), t.k.data(), t.v.data(), 0, 1, nullptr, 0, exact, naive);
    for (double x : exact) CHECK_EQ(x, 0.0);
  }
}

TEST("reference: a head of an unselected group is exactly zero") {
  const TinyAttention t(POLAR_BF16);
  const int32_t groups[] = {1};
  double exact[8] = {1};
  float naive[8] = {1};
  attention_row_reference(t.p, t.q.data(), t.k.data(), t.v.data(), 0, 0, groups, 1, exact, naive);
  for (int i = 0; i < 8; ++i) CHECK(exact[i] == 0 && naive[i] == 0);
}

TEST("reference: activations at points with known values") {
  CHECK_EQ(activate(POLAR_RELU, -3.0), 0.0);
  CHECK_EQ(activate(POLAR_RELU, 3.0), 3.0);
  CHECK_NEAR(activate(POLAR_GELU, 1.0), 0.8413447460685429, 1e-15);       // Phi(1)
  CHECK_NEAR(activate(POLAR_GELU_TANH, 1.0), 0.8411919906082768, 1e-12);  // 0.5 (1 + tanh(sqrt(2/pi) 1.044715))
  CHECK_NEAR(activate(POLAR_SILU, 1.0), 0.7310585786300049, 1e-15);       // 1/(1+1/e)
  CHECK(std::isnan(activate(POLAR_RELU, NAN)));
}

TEST("reference: gated up projection with bias, and down projection, by hand") {
  PolarProblem p{};
  p.scope = POLAR_SCOPE_MLP;
  p.dtype = POLAR_FP16;
  p.batch_size = 2;
  p.hidden_size = 8;
  p.intermediate_size = 2;
  p.activation = POLAR_RELU;
  p.gated = 1;
  p.mlp_bias = 1;
  const auto x = halves({0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0}, p.dtype);
  // neuron 0: gate e0, up e1; neuron 1: gate 3 e0 + e1, up 0.5 e0
  const auto w1 = halves(
      {1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3, 1, 0, 0, 0, 0, 0, 0, 0.5, 0, 0, 0, 0, 0, 0, 0}, p.dtype);
  const auto b1 = halves({-4, 1}, p.dtype);
  const auto w2 = halves({1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 2, 3, 4, 5, 6, 7}, p.dtype);
  const auto b2 = halves({1, 0, 0, 0, 0, 0, 0, -1}, p.dtype);
  const int32_t neurons[] = {0, 1};
  double hidden[2], exact[8];
  float hidden_naive[2], naive[8];
  mlp_up_row_reference(p, x.data(), w1.data(), b1.data(), 1, neurons, 2, hidden, hidden_naive);
  CHECK_EQ(hidden[0], 0.0);  // relu(1 - 4) * 2
  CHECK_EQ(hidden[1], 3.0);  // relu(3 + 2 + 1) * 0.5
  CHECK_EQ(hidden_naive[1], 3.0f);
  mlp_down_row_reference(p, hidden, hidden_naive, w2.data(), b2.data(), neurons, 2, exact, naive);
  for (int i = 0; i < 8; ++i) {
    const double expected = 3.0 * i + (i == 0 ? 1 : i == 7 ? -1 : 0);
    CHECK_EQ(exact[i], expected);
    CHECK_EQ(naive[i], static_cast<float>(expected));
  }
  // only neuron 1, by index
  mlp_up_row_reference(p, x.data(), w1.data(), b1.data(), 1, neurons + 1, 1, hidden, hidden_naive);
  CHECK_EQ(hidden[0], 3.0);
}
