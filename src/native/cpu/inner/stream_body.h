// Loops without a problem of their own: filling with random numbers, reading for the bandwidth ceiling, and
// register-resident arithmetic for the matrix ceiling. Included inside the namespace of one instruction set.

// Plain loops over a block: the compiler turns them into the region's vectors. Same bits as random_value().
template <class S>
static void fill_half(uint64_t key, int64_t first, int64_t count, float scale, uint16_t* out) {
  constexpr int kBlock = 64;
  const float factor = scale * (1.0f / 26754.93f);
  int64_t i = 0;
  for (; i + kBlock <= count; i += kBlock) {
    uint64_t bits[kBlock / 2];
    float values[kBlock];
    const uint64_t start = static_cast<uint64_t>(first + i) >> 1;
    for (int j = 0; j < kBlock / 2; ++j) bits[j] = random_bits(key, start + static_cast<uint64_t>(j));
    uint32_t words[kBlock];
    __builtin_memcpy(words, bits, sizeof words);
    if constexpr (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__) {
      for (int j = 0; j < kBlock; ++j) {
        const int32_t sum = static_cast<int32_t>(words[j] & 0xffffu) + static_cast<int32_t>(words[j] >> 16) - 65535;
        values[j] = static_cast<float>(sum) * factor;
      }
    } else {
      for (int j = 0; j < kBlock; ++j) values[j] = random_value(key, static_cast<uint64_t>(first + i + j), scale);
    }
    for (int j = 0; j < kBlock; ++j) out[i + j] = S::to_half(values[j]);
  }
  for (; i < count; ++i) out[i] = S::to_half(random_value(key, static_cast<uint64_t>(first + i), scale));
}

template <int Streams>
static uint64_t read_streams(const std::byte* data, size_t bytes, size_t ahead) {
  constexpr size_t kStep = 256;
  const size_t per = bytes / Streams;
  Vec::F x[4] = {Vec::zero(), Vec::zero(), Vec::zero(), Vec::zero()};
  constexpr size_t kVector = sizeof(Vec::F);
  for (size_t i = 0; i + kStep <= per; i += kStep) {
    for (int s = 0; s < Streams; ++s) {
      const std::byte* p = data + static_cast<size_t>(s) * per + i;
      if (ahead > 0) {
        for (size_t line = 0; line < kStep; line += 64) __builtin_prefetch(p + ahead + line, 0, 3);
      }
      for (size_t j = 0; j < kStep / kVector; ++j) {
        x[j % 4] = Vec::bit_xor(x[j % 4], Vec::load(reinterpret_cast<const float*>(p + j * kVector)));
      }
    }
  }
  uint32_t out[4];
  float sums[Vec::kLanes];
  Vec::store(sums, Vec::bit_xor(Vec::bit_xor(x[0], x[1]), Vec::bit_xor(x[2], x[3])));
  __builtin_memcpy(out, sums, sizeof out);
  return (static_cast<uint64_t>(out[0] ^ out[2]) << 32) | (out[1] ^ out[3]);
}

static uint64_t read_memory(const std::byte* data, size_t bytes, int streams, size_t ahead) {
  switch (streams) {
    case 1:
      return read_streams<1>(data, bytes, ahead);
    case 2:
      return read_streams<2>(data, bytes, ahead);
    case 4:
      return read_streams<4>(data, bytes, ahead);
    default:
      return read_streams<8>(data, bytes, ahead);
  }
}

// Twelve independent accumulators hide the latency of the multiply-add; operands never leave the registers.
template <class S>
static double matrix_peak(int64_t steps, float* sink) {
  uint16_t ones[64];
  typename S::X x[32];
  for (int i = 0; i < 64; ++i) ones[i] = S::to_half(1.0f / 64);
  for (int i = 0; i < 32; ++i) x[i] = S::to_x(ones[i]);
  const auto w = S::load_w(ones);
  auto v = S::load_x(x);
  // Different starting values: the optimiser would compute equal sums only once.
  typename S::F a0 = S::set1(0), a1 = S::set1(1), a2 = S::set1(2), a3 = S::set1(3), a4 = S::set1(4), a5 = S::set1(5),
                a6 = S::set1(6), a7 = S::set1(7), a8 = S::set1(8), a9 = S::set1(9), a10 = S::set1(10),
                a11 = S::set1(11);
  for (int64_t i = 0; i < steps; ++i) {
    // opaque to the optimiser, so that the product is not hoisted
    __asm__ volatile("" : "+m"(v) : : "memory");
    a0 = S::dot(a0, w, v);
    a1 = S::dot(a1, w, v);
    a2 = S::dot(a2, w, v);
    a3 = S::dot(a3, w, v);
    a4 = S::dot(a4, w, v);
    a5 = S::dot(a5, w, v);
    a6 = S::dot(a6, w, v);
    a7 = S::dot(a7, w, v);
    a8 = S::dot(a8, w, v);
    a9 = S::dot(a9, w, v);
    a10 = S::dot(a10, w, v);
    a11 = S::dot(a11, w, v);
  }
  const typename S::F all[12] = {a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11};
  for (const auto& a : all) *sink += S::sum(a);
  return static_cast<double>(steps) * 12 * (S::kDotStep / S::kDotParts) * 2;
}

// S: storage class of the projections, A: of attention.
template <class S, class A = S>
static const Inner& table() {
  static const Inner t{Mlp<S>::prepare_x, sizeof(typename S::X), Attention<A>::range, Mlp<S>::up,    Mlp<S>::down,
                       Mlp<S>::finish,    fill_half<S>,          read_memory,         matrix_peak<S>};
  return t;
}
