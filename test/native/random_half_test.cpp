// random.h and half.h against golden.h, which Python computed from integers, and against _Float16 where there is one.
#include <cmath>
#include <cstring>

#include "../../src/native/common/half.h"
#include "../../src/native/common/random.h"
#include "check.h"
#include "golden.h"

using namespace polar;

TEST("random: stream keys and values are the golden ones") {
  for (const auto& k : golden::kKeys) CHECK_EQ(stream_key(k.seed, static_cast<Tensor>(k.tensor), k.copy), k.key);
  for (const auto& v : golden::kValues) CHECK_EQ(float_bits(random_value(v.key, v.index, v.scale)), v.bits);
}

TEST("random: mean 0, standard deviation and range as documented") {
  const uint64_t key = stream_key(7, Tensor::kUp, 0);
  double sum = 0, squares = 0, largest = 0;
  constexpr int kCount = 1 << 20;
  for (int i = 0; i < kCount; ++i) {
    const double x = random_value(key, static_cast<uint64_t>(i), 2.0f);
    sum += x;
    squares += x * x;
    largest = std::max(largest, std::fabs(x));
  }
  CHECK_NEAR(sum / kCount, 0.0, 4 * 2.0 / 1024);
  CHECK_NEAR(std::sqrt(squares / kCount), 2.0, 0.01);
  CHECK(largest < 2 * 2.45);
}

TEST("half: rounding equals Python's for normal, subnormal, tie and overflow cases") {
  for (const auto& h : golden::kHalves) {
    CHECK_EQ(float_to_fp16(bits_float(h.value)), h.fp16);
    CHECK_EQ(float_to_bf16(bits_float(h.value)), h.bf16);
  }
}

TEST("half: all 65536 patterns of both types survive the way to float and back") {
  for (uint32_t pattern = 0; pattern < 0x10000; ++pattern) {
    const auto h = static_cast<uint16_t>(pattern);
    for (int32_t dtype : {POLAR_BF16, POLAR_FP16}) {
      const float value = half_to_float(h, dtype);
      const uint16_t back = float_to_half(value, dtype);
      if (std::isnan(value)) {
        CHECK(std::isnan(half_to_float(back, dtype)));
      } else if (back != h) {
        CHECK_EQ(back, h);
      }
    }
  }
  CHECK(std::isnan(half_to_float(kHalfNaN, POLAR_BF16)) && std::isnan(half_to_float(kHalfNaN, POLAR_FP16)));
}

#if defined(__FLT16_MAX__)
TEST("half: fp16 agrees with the compiler's _Float16 on a million floats") {
  const uint64_t key = stream_key(11, Tensor::kNoise, 0);
  for (uint64_t i = 0; i < 1000000; ++i) {
    const float value = bits_float(static_cast<uint32_t>(random_bits(key, i)));
    if (std::isnan(value)) continue;
    const _Float16 expected = static_cast<_Float16>(value);
    uint16_t bits;
    std::memcpy(&bits, &expected, sizeof bits);
    if (float_to_fp16(value) != bits) CHECK_EQ(float_to_fp16(value), bits);
    if (fp16_to_float(bits) != static_cast<float>(expected))
      CHECK_EQ(fp16_to_float(bits), static_cast<float>(expected));
  }
}
#endif
