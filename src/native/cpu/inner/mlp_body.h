// The two projections of the MLP on a range of active neurons. Included inside the namespace of one instruction set.

template <class S>
struct Mlp {
  using F = typename S::F;
  using X = typename S::X;
  using Coef = typename S::Coef;
  static constexpr int64_t kLine = 32;  // elements of a 64-byte cache line
  static constexpr int64_t kPartStep = S::kDotStep / S::kDotParts;
  static constexpr int64_t kXBlockBytes = 32768;  // of X: most of it stays in a first-level cache of 32 to 48 KB

  static void prepare_x(const uint16_t* src, int64_t count, void* dst) {
    X* x = static_cast<X*>(dst);
    for (int64_t i = 0; i < round_up(count, kRowPadding); ++i) {
      x[S::x_position(i)] = i < count ? S::to_x(src[i]) : X(0);
    }
  }

  // Four weight rows and the four that come next, for the prefetch.
  struct Rows {
    const uint16_t* now[4];
    const uint16_t* next[4];
  };

  template <int M>
  POLAR_INLINE void dot_step(const uint16_t* const* row, const X* x, int64_t x_stride, int64_t e, F (&acc)[M][4]) {
    for (int part = 0; part < S::kDotParts; ++part) {
      typename S::W w[4];
      for (int r = 0; r < 4; ++r) w[r] = S::load_w(row[r] + e, part);
      for (int m = 0; m < M; ++m) {
        const auto v = S::load_x(x + m * x_stride + e + part * kPartStep);
        for (int r = 0; r < 4; ++r) acc[m][r] = S::dot(acc[m][r], w[r], v);
      }
    }
  }

  // acc[m][r] += W1 row r . x row m over the elements [e0, e1). Of the next rows the lines [p0, p1) are prefetched.
  template <int M>
  static void dot_block(const Rows& rows, const X* x, int64_t x_stride, int64_t e0, int64_t e1, int64_t p0, int64_t p1,
                        bool first, float* memory) {
    F acc[M][4];
    for (int m = 0; m < M; ++m) {
      for (int r = 0; r < 4; ++r) acc[m][r] = first ? S::zero() : S::load(memory + (m * 4 + r) * 16);
    }
    int64_t e = e0;
    for (; e + kLine <= e1; e += kLine) {
      const int64_t line = e - e0;
      if (line >= p0 && line < p1) {
        for (int r = 0; r < 4; ++r) __builtin_prefetch(rows.next[r] + line, 0, 2);
      }
      for (int64_t u = 0; u < kLine; u += S::kDotStep) dot_step<M>(rows.now, x, x_stride, e + u, acc);
    }
    for (; e + S::kDotStep <= e1; e += S::kDotStep) dot_step<M>(rows.now, x, x_stride, e, acc);
    if (e < e1) {
      for (int part = 0; part < S::kDotParts; ++part) {
        const X* tail = x + e + part * kPartStep;
        for (int r = 0; r < 4; ++r) {
          const auto w = S::load_w_part(rows.now[r] + e, e1 - e, part);
          for (int m = 0; m < M; ++m) acc[m][r] = S::dot(acc[m][r], w, S::load_x(tail + m * x_stride));
        }
      }
    }
    for (int m = 0; m < M; ++m) {
      for (int r = 0; r < 4; ++r) S::store(memory + (m * 4 + r) * 16, acc[m][r]);
    }
  }

  // dot_block of min(M, left) batch rows.
  template <int M>
  POLAR_INLINE void dot_some(int64_t left, const Rows& rows, const X* x, int64_t x_stride, int64_t e0, int64_t e1,
                             int64_t p0, int64_t p1, float* memory) {
    if constexpr (M > 1) {
      if (left < M) return dot_some<M - 1>(left, rows, x, x_stride, e0, e1, p0, p1, memory);
    }
    dot_block<M>(rows, x, x_stride, e0, e1, p0, p1, e0 == 0, memory);
  }

  POLAR_INLINE void dot_rows(const UpRange& a, const Rows& rows, int64_t e0, int64_t e1, float* memory) {
    const X* x = static_cast<const X*>(a.x);
    const int64_t blocks = (a.batch + S::kMaxBatch - 1) / S::kMaxBatch;
    const int64_t lines = (e1 - e0) / kLine;
    for (int64_t b = 0; b < blocks; ++b) {
      const int64_t m = b * S::kMaxBatch;
      const int64_t left = a.batch - m;
      const X* xm = x + m * a.x_stride;
      float* acc = memory + m * 64;
      // each batch block prefetches its share, so that the requests are spread over the work
      const int64_t p0 = lines * b / blocks * kLine;
      const int64_t p1 = lines * (b + 1) / blocks * kLine;
      dot_some<S::kMaxBatch>(left, rows, xm, a.x_stride, e0, e1, p0, p1, acc);
    }
  }

  // Sums max(0, value) over the batch, ascending; a NaN stays one.
  static void up_sum(const UpRange& a, int64_t neuron, int64_t count, const float* values) {
    for (int64_t i = 0; i < count; ++i) {
      float sum = 0;
      for (int64_t m = 0; m < a.batch; ++m) {
        const float value = values[m * count + i];
        sum += value < 0 ? 0.0f : value;
      }
      a.batch_sum[neuron + i] = sum;
    }
  }

  // Bias, activation, gate, residual, rounding and the store of `count` neurons whose sums lie in `memory`.
  static void up_finish(const UpRange& a, int64_t neuron, int64_t count, const float* memory, float* values) {
    const int64_t total = a.batch * count;
    float* gate = values;
    float* up = values + round_up(total, 16);
    const int64_t per = a.gated ? 2 : 1;
    for (int64_t m = 0; m < a.batch; ++m) {
      const float* acc = memory + m * 64;
      float sums[4];
      S::store_sums(sums, S::load(acc), S::load(acc + 16), S::load(acc + 32), S::load(acc + 48));
      for (int64_t i = 0; i < count; ++i) {
        const int64_t id = a.neurons ? a.neurons[neuron + i] : neuron + i;
        gate[m * count + i] = sums[i * per] + (a.b1 ? S::to_float(a.b1[id]) : 0.0f);
        if (a.gated) up[m * count + i] = sums[i * per + 1];
      }
    }
    for (int64_t i = total; i < round_up(total, 16); ++i) gate[i] = 0;
    activate_inplace(a.activation, gate, total);
    if (a.batch_sum) return up_sum(a, neuron, count, gate);
    for (int64_t m = 0; m < a.batch; ++m) {
      const int64_t at = m * a.out_stride + neuron;
      for (int64_t i = 0; i < count; ++i) {
        float value = gate[m * count + i];
        if (a.gated) value *= up[m * count + i];
        if (a.residual) value += S::to_float(a.residual[at + i]);
        if (a.out_float) {
          a.out_float[at + i] = value;
        } else {
          a.out[at + i] = S::to_half(value);
        }
      }
    }
  }

  static void up(const UpRange& a) {
    const int64_t d = a.hidden_size;
    const int64_t per = a.gated ? 2 : 1;
    const int64_t step = 4 / per;  // neurons of a block of four rows
    int64_t block = kXBlockBytes / static_cast<int64_t>(sizeof(X)) / round_up(a.batch, S::kMaxBatch) / kLine * kLine;
    if (block < 256) block = 256;
    if (a.batch == 1 || block > d) block = round_up(d, kLine);
    float* memory = reinterpret_cast<float*>(a.scratch);
    float* values = memory + round_up(a.batch, 4) * 64;
    const auto row = [&](int64_t neuron, int r) {
      int64_t n = neuron + r / per;
      if (n >= a.last) n = a.last - 1;  // the last block is filled up with its last neuron, whose sums are dropped
      const int64_t id = a.neurons ? a.neurons[n] : n;
      return a.w1 + (id * per + r % per) * d;
    };
    for (int64_t n = a.first; n < a.last; n += step) {
      for (int64_t e0 = 0; e0 < d; e0 += block) {
        const int64_t e1 = e0 + block < d ? e0 + block : d;
        Rows rows;
        for (int r = 0; r < 4; ++r) {
          rows.now[r] = row(n, r);
          rows.next[r] = e1 < d ? rows.now[r] + e1 : row(n + step, r);
        }
#ifdef POLAR_FAULTS
        if (a.skip_tile && n == a.first && e1 == d && e0 > 0) continue;
#endif
        dot_rows(a, rows, e0, e1, memory);
      }
      const int64_t count = a.last - n < step ? a.last - n : step;
#ifdef POLAR_FAULTS
      if (a.skip_tile && n == a.first) {
        for (int64_t i = 0; i < a.batch * 64; ++i) memory[i] = 0;
      }
#endif
      up_finish(a, n, count, memory, values);
    }
  }

  // Where the accumulators of batch rows [m, m + M) and the columns from c on lie: chunks of kCols columns, all batch
  // rows of one chunk together.
  POLAR_INLINE float* down_acc(float* acc, int64_t batch, int64_t c, int64_t m) {
    return acc + c * batch + m * S::kCols;
  }

  // Cache lines to prefetch during one chunk.
  struct Ahead {
    const uint16_t* lines[kDownNeuronTile];
    int64_t count;
  };

  // acc[m] += sum over `steps` (pairs of) neurons of hidden[m] * W2 row, one chunk of columns. With every step some of
  // the lines `ahead` are prefetched: in one burst they would fill the line buffers and stall.
  template <int M>
  POLAR_INLINE void down_chunk(const uint16_t* const* rows, const Coef* coef, int64_t batch, int64_t steps, int64_t c,
                               int64_t columns, bool first, const Ahead& ahead, float* acc) {
    F lo[M], hi[M];
    for (int m = 0; m < M; ++m) {
      lo[m] = first ? S::zero() : S::load(acc + m * S::kCols);
      hi[m] = first ? S::zero() : S::load(acc + m * S::kCols + S::kLanes);
    }
    for (int64_t t = 0; t < steps; ++t) {
      for (int64_t i = t * S::kRows; i < (t + 1) * S::kRows && i < ahead.count; ++i) {
        __builtin_prefetch(ahead.lines[i], 0, 2);
      }
      typename S::W w0, w1;
      const uint16_t* a = rows[t * S::kRows] + c;
      const uint16_t* b = rows[t * S::kRows + S::kRows - 1] + c;
      if (columns >= S::kCols) {
        S::load_rows(a, b, w0, w1);
      } else {
        S::load_rows_part(a, b, columns, w0, w1);
      }
      for (int m = 0; m < M; ++m) {
        const auto y = S::load_coef(coef + t * batch + m);
        lo[m] = S::madd(lo[m], w0, y);
        hi[m] = S::madd(hi[m], w1, y);
      }
    }
    for (int m = 0; m < M; ++m) {
      S::store(acc + m * S::kCols, lo[m]);
      S::store(acc + m * S::kCols + S::kLanes, hi[m]);
    }
  }

  POLAR_INLINE void down_batch(const uint16_t* const* rows, const Coef* coef, int64_t batch, int64_t steps, int64_t c,
                               int64_t columns, bool first, Ahead& ahead, float* acc) {
    int64_t m = 0;
    if constexpr (S::kMaxDownBatch == 8) {
      for (; m + 8 <= batch; m += 8) {
        down_chunk<8>(rows, coef + m, batch, steps, c, columns, first, ahead, down_acc(acc, batch, c, m));
        ahead.count = 0;
      }
    }
    for (; m + 4 <= batch; m += 4) {
      down_chunk<4>(rows, coef + m, batch, steps, c, columns, first, ahead, down_acc(acc, batch, c, m));
      ahead.count = 0;
    }
    for (; m + 2 <= batch; m += 2) {
      down_chunk<2>(rows, coef + m, batch, steps, c, columns, first, ahead, down_acc(acc, batch, c, m));
      ahead.count = 0;
    }
    if (m < batch) down_chunk<1>(rows, coef + m, batch, steps, c, columns, first, ahead, down_acc(acc, batch, c, m));
  }

  // One tile of at most kDownNeuronTile neurons over all columns; the next tile's rows are prefetched line by line.
  static void down_tile(const DownRange& a, int64_t n, bool first) {
    const uint16_t* rows[kDownNeuronTile + 1];
    const uint16_t* next[kDownNeuronTile];
    Coef* coef = reinterpret_cast<Coef*>(a.scratch);
    const int64_t count = a.last - n < kDownNeuronTile ? a.last - n : kDownNeuronTile;
    const int64_t d = a.hidden_size;
    const auto row = [&](int64_t i) { return a.w2 + (a.neurons ? a.neurons[i] : i) * d; };
    for (int64_t i = 0; i <= count; ++i) rows[i] = row(n + (i < count ? i : count - 1));
    int64_t coming = a.last - n - count;
    if (coming > kDownNeuronTile) coming = kDownNeuronTile;
    for (int64_t i = 0; i < coming; ++i) next[i] = row(n + count + i);
    const int64_t steps = (count + S::kRows - 1) / S::kRows;
    for (int64_t t = 0; t < steps; ++t) {
      for (int64_t m = 0; m < a.batch; ++m) {
        const uint16_t* y = a.hidden + m * a.hidden_stride + n + t * S::kRows;
        // The odd neuron of a last pair stands beside a copy of itself that counts zero times.
        const bool whole = t * S::kRows + S::kRows <= count;
        coef[t * a.batch + m] = S::make_coef(S::to_float(y[0]), whole ? S::to_float(y[S::kRows - 1]) : 0.0f);
      }
    }
    const int64_t lines = (d + kLine - 1) / kLine;
    const int64_t chunks = (d + S::kCols - 1) / S::kCols;
    int64_t which = 0, line = 0;
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
      // Row after row, the lines of the next tile: equally many with each chunk.
      Ahead ahead;
      ahead.count = 0;
      const int64_t target = coming * lines * (chunk + 1) / chunks;
      for (int64_t at = which * lines + line; at < target && ahead.count < kDownNeuronTile; ++at) {
        ahead.lines[ahead.count++] = next[which] + line * kLine;
        if (++line == lines) {
          line = 0;
          ++which;
        }
      }
      const int64_t c = chunk * S::kCols;
      down_batch(rows, coef, a.batch, steps, c, d - c, first, ahead, a.acc);
    }
  }

  static void down(const DownRange& a) {
    if (a.first >= a.last) {
      for (int64_t i = 0; i < down_acc_floats(a.batch, a.hidden_size); ++i) a.acc[i] = 0;
      return;
    }
    for (int64_t n = a.first; n < a.last; n += kDownNeuronTile) {
      down_tile(a, n, n == a.first);
#ifdef POLAR_FAULTS
      if (a.skip_tile && n == a.first) {
        for (int64_t i = 0; i < down_acc_floats(a.batch, a.hidden_size); ++i) a.acc[i] = 0;
      }
#endif
    }
  }

  static void finish(const DownFinish& a) {
    const int64_t first = a.first * kRowPadding;
    const int64_t last = a.last * kRowPadding < a.hidden_size ? a.last * kRowPadding : a.hidden_size;
    for (int64_t c = first; c < last; c += S::kCols) {
      for (int64_t m = 0; m < a.batch; ++m) {
        const float* acc = a.acc + c * a.batch + m * S::kCols;
        F lo = S::load(acc);
        F hi = S::load(acc + S::kLanes);
        for (int64_t part = 1; part < a.parts; ++part) {
          lo = S::add(lo, S::load(acc + part * a.acc_stride));
          hi = S::add(hi, S::load(acc + part * a.acc_stride + S::kLanes));
        }
        S::order(lo, hi);
        float sums[S::kCols];
        S::store(sums, lo);
        S::store(sums + S::kLanes, hi);
        const int64_t columns = last - c < S::kCols ? last - c : S::kCols;
        for (int64_t i = 0; i < columns; ++i) {
          const int64_t at = m * a.hidden_size + c + i;
          const float bias = a.b2 ? S::to_float(a.b2[c + i]) : 0.0f;
          const float value = sums[i] + bias;
          a.out[at] = S::to_half(a.residual ? value + S::to_float(a.residual[at]) : value);
        }
      }
    }
  }
};
