// exp2 and the activations on vectors. Included inside the namespace of one instruction set.

// 2^x for x in [-126, 126], clamped outside; relative error below 2e-7. NaN stays NaN: max() returns its second
// operand.
POLAR_INLINE Vec::F exp2_vector(Vec::F x) {
  using V = Vec;
  x = V::max(V::set1(-126.0f), x);
  x = V::sub(V::zero(), V::max(V::set1(-126.0f), V::sub(V::zero(), x)));
  const V::F n = V::round(x);
  const V::F f = V::sub(x, n);
  V::F y = V::set1(1.5403530e-4f);  // Taylor series of 2^f, |f| <= 0.5
  y = V::fma(y, f, V::set1(1.3333558e-3f));
  y = V::fma(y, f, V::set1(9.6181291e-3f));
  y = V::fma(y, f, V::set1(5.5504109e-2f));
  y = V::fma(y, f, V::set1(2.4022651e-1f));
  y = V::fma(y, f, V::set1(6.9314718e-1f));
  y = V::fma(y, f, V::set1(1.0f));
  return V::mul(y, V::pow2(n));
}

// x * sigmoid(a x): SiLU at a = 1; GELU's tanh form is the same with a cubic argument.
POLAR_INLINE Vec::F times_sigmoid(Vec::F x, Vec::F argument) {
  using V = Vec;
  const V::F e = exp2_vector(V::mul(argument, V::set1(-1.44269504f)));
  return V::div(x, V::add(V::set1(1.0f), e));
}

// erf by Abramowitz and Stegun 7.1.26, absolute error below 1.5e-7.
POLAR_INLINE Vec::F gelu_erf(Vec::F x) {
  using V = Vec;
  const V::F z = V::mul(x, V::set1(0.70710678f));
  const V::F a = V::max(z, V::sub(V::zero(), z));
  const V::F t = V::div(V::set1(1.0f), V::fma(V::set1(0.3275911f), a, V::set1(1.0f)));
  V::F y = V::set1(1.061405429f);
  y = V::fma(y, t, V::set1(-1.453152027f));
  y = V::fma(y, t, V::set1(1.421413741f));
  y = V::fma(y, t, V::set1(-0.284496736f));
  y = V::fma(y, t, V::set1(0.254829592f));
  const V::F tail = V::mul(V::mul(y, t), exp2_vector(V::mul(V::mul(a, a), V::set1(-1.44269504f))));
  // x * Phi(x): for x >= 0 Phi = 1 - tail/2, below it tail/2, so the positive part of x carries the 1.
  const V::F half_tail = V::mul(V::mul(V::set1(0.5f), tail), V::max(x, V::sub(V::zero(), x)));
  return V::sub(V::max(V::zero(), x), half_tail);
}

// values[i] = act(values[i]) for i < count rounded up to the lanes.
static void activate_inplace(int32_t activation, float* values, int64_t count) {
  using V = Vec;
  if (activation == POLAR_IDENTITY) return;
  for (int64_t i = 0; i < count; i += V::kLanes) {
    const V::F x = V::load(values + i);
    V::F y;
    switch (activation) {
      case POLAR_RELU:
        y = V::max(V::zero(), x);
        break;
      case POLAR_GELU:
        y = gelu_erf(x);
        break;
      case POLAR_GELU_TANH: {
        const V::F cube = V::mul(V::mul(x, x), x);
        y = times_sigmoid(x, V::mul(V::set1(1.5957691216f), V::fma(V::set1(0.044715f), cube, x)));
        break;
      }
      default:
        y = times_sigmoid(x, x);
    }
    V::store(values + i, y);
  }
}
