// Decode attention over a range of keys: online softmax in tiles of 64 keys, all query heads of the group together, so
// that a tile of K and V comes from memory once. Included inside the namespace of one instruction set.

template <class S>
struct Attention {
  using F = typename S::F;
  using X = typename S::X;
  using Coef = typename S::Coef;
  static constexpr int64_t kPartStep = S::kDotStep / S::kDotParts;
  static constexpr int kSteps = static_cast<int>(kKeyTile) / S::kRows;

  // The scratch of one range, cut into its arrays.
  struct State {
    float* acc;     // [heads, padded], permuted as load_rows yields it
    float* scores;  // [kMaxQueries, kKeyTile]
    Coef* coef;     // [kSteps, kMaxQueries]
    X* q;           // [heads, padded]
    int64_t padded;
  };

  // What is read after the current tile, asked for while that one is worked on: K during the scores and V during the
  // sums, so that requests leave at an even rate. In bursts they would fill the line buffers and stall, and the
  // hardware's own prefetchers start anew at each 4 KB page and with each change between K and V.
  struct Ahead {
    const uint16_t* k;
    const uint16_t* v;
    int64_t elements;  // 0: nothing

    POLAR_INLINE void lines(const uint16_t* p, int64_t element, int64_t count, int64_t elements) {
      for (int64_t i = element; i < element + count && i < elements; i += kLineElements) {
        __builtin_prefetch(p + i, 0, 2);
      }
    }
  };
  static constexpr int64_t kLineElements = 32;  // of a 64-byte cache line

  static State carve(const AttentionRange& a) {
    State s;
    s.padded = round_up(a.head_dim, kRowPadding);
    s.acc = reinterpret_cast<float*>(a.scratch);
    s.scores = s.acc + a.heads * s.padded;
    s.coef = reinterpret_cast<Coef*>(s.scores + S::kMaxQueries * kKeyTile);
    s.q = reinterpret_cast<X*>(s.coef + kSteps * S::kMaxQueries);
    return s;
  }

  // scores[j][key] = q_j . k_key for Q queries and `count` keys. Rows past the last are replaced by the last one: what
  // lies behind it may be NaN.
  template <int Q>
  POLAR_INLINE void score(const AttentionRange& a, const State& s, int64_t head, int64_t key, int64_t count,
                          const Ahead& ahead) {
    const int64_t d = a.head_dim;
    const X* q = s.q + head * s.padded;
    for (int64_t i = 0; i < count; i += 4) {
      const uint16_t* row[4];
      for (int r = 0; r < 4; ++r) row[r] = a.k + (key + (i + r < count ? i + r : count - 1)) * d;
      F acc[Q][4];
      for (int j = 0; j < Q; ++j) {
        for (int r = 0; r < 4; ++r) acc[j][r] = S::zero();
      }
      int64_t e = 0;
      for (; e + S::kDotStep <= d; e += S::kDotStep) {
        Ahead::lines(ahead.k, i * d + 4 * e, 4 * S::kDotStep, ahead.elements);
        for (int part = 0; part < S::kDotParts; ++part) {
          typename S::W w[4];
          for (int r = 0; r < 4; ++r) w[r] = S::load_w(row[r] + e, part);
          for (int j = 0; j < Q; ++j) {
            const auto x = S::load_x(q + j * s.padded + e + part * kPartStep);
            for (int r = 0; r < 4; ++r) acc[j][r] = S::dot(acc[j][r], w[r], x);
          }
        }
      }
      if (e < d) {
        for (int part = 0; part < S::kDotParts; ++part) {
          const X* tail = q + e + part * kPartStep;
          for (int r = 0; r < 4; ++r) {
            const auto w = S::load_w_part(row[r] + e, d - e, part);
            for (int j = 0; j < Q; ++j) acc[j][r] = S::dot(acc[j][r], w, S::load_x(tail + j * s.padded));
          }
        }
      }
      for (int j = 0; j < Q; ++j)
        S::store_sums(s.scores + j * kKeyTile + i, acc[j][0], acc[j][1], acc[j][2], acc[j][3]);
    }
  }

  // Turns a row of scores into softmax numerators, updates the running max and sum; returns the factor by which what
  // was accumulated before shrinks.
  POLAR_INLINE float softmax(const AttentionRange& a, float* scores, int64_t head, int64_t count) {
    const F scale = S::set1(a.scale);
    F top = S::set1(a.max[head]);
    for (int64_t i = count; i < round_up(count, 16); ++i) scores[i] = scores[count - 1];
    for (int64_t i = 0; i < count; i += S::kLanes) {
      const F x = S::mul(S::load(scores + i), scale);
      S::store(scores + i, x);
      top = S::max(top, x);
    }
    const float highest = S::highest(top);
    const F offset = S::set1(highest);
    for (int64_t i = 0; i < count; i += S::kLanes)
      S::store(scores + i, exp2_vector(S::sub(S::load(scores + i), offset)));
    for (int64_t i = count; i < kKeyTile; ++i) scores[i] = 0.0f;
    F sum = S::zero();
    for (int64_t i = 0; i < count; i += S::kLanes) sum = S::add(sum, S::load(scores + i));
    const float shrink = __builtin_exp2f(a.max[head] - highest);  // exp2(-inf) = 0 in the first tile
    a.sum[head] = a.sum[head] * shrink + S::sum(sum);
    a.max[head] = highest;
    return shrink;
  }

  // acc_j = acc_j * shrink_j + sum over keys of p_j,key * v_key
  template <int Q>
  POLAR_INLINE void accumulate(const AttentionRange& a, const State& s, int64_t head, int64_t key, int64_t count,
                               const float* shrink, const Ahead& ahead) {
    const int64_t d = a.head_dim;
    const int64_t steps = (count + S::kRows - 1) / S::kRows;
    const int64_t last = (count - 1) * d;
    for (int64_t c = 0; c < d; c += S::kCols) {
      const uint16_t* v = a.v + key * d + c;
      F lo[Q], hi[Q];
      for (int j = 0; j < Q; ++j) {
        const float* acc = s.acc + (head + j) * s.padded + c;
        const F f = S::set1(shrink[j]);
        lo[j] = S::mul(S::load(acc), f);
        hi[j] = S::mul(S::load(acc + S::kLanes), f);
      }
      for (int64_t t = 0; t < steps; ++t) {
        const int64_t first = t * S::kRows * d;
        const int64_t second = S::kRows == 2 && first + d <= last ? first + d : first;
        // the iterations walk through the tile column by column, the requests row by row: the same number of elements
        Ahead::lines(ahead.v, c * count + t * S::kRows * S::kCols, S::kRows * S::kCols, ahead.elements);
        typename S::W w0, w1;
        if (c + S::kCols <= d) {
          S::load_rows(v + first, v + second, w0, w1);
        } else {
          S::load_rows_part(v + first, v + second, d - c, w0, w1);
        }
        for (int j = 0; j < Q; ++j) {
          const auto p = S::load_coef(s.coef + t * S::kMaxQueries + j);
          lo[j] = S::madd(lo[j], w0, p);
          hi[j] = S::madd(hi[j], w1, p);
        }
      }
      for (int j = 0; j < Q; ++j) {
        float* acc = s.acc + (head + j) * s.padded + c;
        S::store(acc, lo[j]);
        S::store(acc + S::kLanes, hi[j]);
      }
    }
  }

  template <int Q>
  static void tile(const AttentionRange& a, const State& s, int64_t head, int64_t key, int64_t count,
                   const Ahead& ahead) {
    score<Q>(a, s, head, key, count, ahead);
    float shrink[Q];
    for (int j = 0; j < Q; ++j) {
      float* p = s.scores + j * kKeyTile;
      shrink[j] = softmax(a, p, head + j, count);
      for (int t = 0; t < kSteps; ++t) {
        s.coef[t * S::kMaxQueries + j] = S::make_coef(p[t * S::kRows], p[t * S::kRows + S::kRows - 1]);
      }
    }
    accumulate<Q>(a, s, head, key, count, shrink, ahead);
  }

  static Ahead after(const AttentionRange& a, int64_t key) {
    const int64_t next = key + kKeyTile;
    const int64_t d = a.head_dim;
    if (next >= a.end) return {a.next_k, a.next_v, a.next_keys * d};
    return {a.k + next * d, a.v + next * d, (a.end - next < kKeyTile ? a.end - next : kKeyTile) * d};
  }

  static void all_heads(const AttentionRange& a, const State& s, int64_t key, int64_t count) {
    Ahead ahead = after(a, key);
    for (int64_t head = 0; head < a.heads; head += S::kMaxQueries, ahead.elements = 0) {
      const int64_t left = a.heads - head;
      if constexpr (S::kMaxQueries == 4) {
        if (left >= 4) {
          tile<4>(a, s, head, key, count, ahead);
          continue;
        }
        if (left == 3) {
          tile<3>(a, s, head, key, count, ahead);
          continue;
        }
      }
      if (left >= 2) {
        tile<2>(a, s, head, key, count, ahead);
      } else {
        tile<1>(a, s, head, key, count, ahead);
      }
    }
  }

  static void finish(const AttentionRange& a, const State& s) {
    for (int64_t h = 0; h < a.heads; ++h) {
      for (int64_t c = 0; c < a.head_dim; c += S::kCols) {
        float* acc = s.acc + h * s.padded + c;
        F lo = S::load(acc);
        F hi = S::load(acc + S::kLanes);
        S::order(lo, hi);
        S::store(acc, lo);
        S::store(acc + S::kLanes, hi);
      }
      for (int64_t i = 0; i < a.head_dim; ++i) a.acc[h * a.head_dim + i] = s.acc[h * s.padded + i];
    }
  }

  static void range(const AttentionRange& a) {
    const State s = carve(a);
    for (int64_t h = 0; h < a.heads; ++h) {
      a.max[h] = -__builtin_inff();
      a.sum[h] = 0;
      for (int64_t i = 0; i < s.padded; ++i) {
        s.acc[h * s.padded + i] = 0;
        s.q[h * s.padded + S::x_position(i)] = i < a.head_dim ? S::to_x(a.q[h * a.head_dim + i]) : X(0);
      }
    }
    for (int64_t key = a.begin; key < a.end; key += kKeyTile) {
#ifdef POLAR_FAULTS
      if (a.skip_tile && key == a.begin && a.end - a.begin > kKeyTile) continue;
#endif
      all_heads(a, s, key, a.end - key < kKeyTile ? a.end - key : kKeyTile);
    }
    finish(a, s);
#ifdef POLAR_FAULTS
    // A range of a single tile has nothing left when it is skipped: half of its result is lost instead.
    if (a.skip_tile && a.end - a.begin <= kKeyTile) {
      for (int64_t i = 0; i < a.heads * a.head_dim / 2; ++i) a.acc[i] = 0;
    }
#endif
  }
};
