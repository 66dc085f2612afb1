#include "attention_units.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "../../common/half.h"
#include "../../common/problem.h"

namespace polar::cpu {
namespace {

// A result of some or all keys of a unit, not yet normalised.
struct Partial {
  int64_t unit;  // -1: none
  float* max;    // [heads]
  float* sum;    // [heads]
  float* acc;    // [heads, d_h]
};

// Per thread: scratch of the inner loop and three partial results (first cut unit, last cut unit, whole units).
struct ThreadSpace {
  std::byte* scratch;
  Partial* partials;
};
constexpr int kPartials = 3;

ThreadSpace carve(Carver& carver, const PolarProblem& p) {
  const int64_t heads = group_size(p);
  ThreadSpace space;
  space.scratch = carver.take(attention_scratch_bytes(heads, p.head_dim));
  space.partials = reinterpret_cast<Partial*>(carver.take(kPartials * sizeof(Partial)));
  for (int i = 0; i < kPartials; ++i) {
    const size_t row = static_cast<size_t>(heads) * sizeof(float);
    auto* max = reinterpret_cast<float*>(carver.take(row));
    auto* sum = reinterpret_cast<float*>(carver.take(row));
    auto* acc = reinterpret_cast<float*>(carver.take(row * static_cast<size_t>(p.head_dim)));
    if (space.partials != nullptr) space.partials[i] = {-1, max, sum, acc};
  }
  return space;
}

// Where a unit's rows lie.
struct Unit {
  int64_t batch;
  int64_t group;
  int64_t head;  // first query head
};

class Scheduler {
 public:
  Scheduler(const Launch& launch, const AttentionArgs& args, UnitKind kind)
      : launch_(launch), p_(launch.problem), args_(args), kind_(kind) {
    heads_ = kind == UnitKind::kGroup ? group_size(p_) : 1;
    tiles_ = (p_.kv_len + kKeyTile - 1) / kKeyTile;
    units_ = p_.batch_size * args.active_groups * (group_size(p_) / heads_);
  }

  int64_t work() const { return units_ * tiles_; }

  Unit unit(int64_t index) const {
    const int64_t per_pass = p_.batch_size * args_.active_groups;
    const int64_t pass = index / per_pass;  // query head within the group; 0 for kGroup
    const int64_t entry = index % per_pass;
    const int64_t batch = entry / args_.active_groups;
    const int64_t group = args_.group_index[entry];
    return {batch, group, group * group_size(p_) + pass};
  }

  // Of position 0 of a unit's keys and values.
  int64_t cache_offset(const Unit& u) const {
    return (u.batch * p_.num_kv_heads + u.group) * p_.kv_capacity * p_.head_dim;
  }

  // Attends to keys of one unit.
  // `more`: the beginning of the next unit comes after it.
  void attend(int64_t index, int64_t key_begin, int64_t key_end, bool more, std::byte* scratch,
              const Partial& out) const {
    const Unit u = unit(index);
    const int64_t cache = cache_offset(u);
    AttentionRange range{};
    range.q = args_.q + (u.batch * p_.num_qo_heads + u.head) * p_.head_dim;
    range.k = args_.k + cache;
    range.v = args_.v + cache;
    range.begin = key_begin;
    range.end = key_end;
    if (more) {
      const int64_t next = cache_offset(unit(index + 1));
      range.next_k = args_.k + next;
      range.next_v = args_.v + next;
      range.next_keys = std::min(kKeyTile, p_.kv_len);
    }
    range.heads = heads_;
    range.head_dim = p_.head_dim;
    range.scale = static_cast<float>(1.4426950408889634 / std::sqrt(static_cast<double>(p_.head_dim)));
    range.scratch = scratch;
    range.max = out.max;
    range.sum = out.sum;
    range.acc = out.acc;
#ifdef POLAR_FAULTS
    range.skip_tile = launch_.skip_tile && key_begin == 0;
#endif
    launch_.inner.attention_range(range);
  }

  void store(int64_t index, const Partial& result) const {
    const Unit u = unit(index);
    uint16_t* out = args_.out + (u.batch * p_.num_qo_heads + u.head) * p_.head_dim;
    for (int64_t h = 0; h < heads_; ++h) {
      const float inverse = 1.0f / result.sum[h];
      for (int64_t i = 0; i < p_.head_dim; ++i) {
        out[h * p_.head_dim + i] = float_to_half(result.acc[h * p_.head_dim + i] * inverse, p_.dtype);
      }
    }
  }

  // into += from, both of the same unit.
  void merge(Partial& into, const Partial& from) const {
    for (int64_t h = 0; h < heads_; ++h) {
      const float top = std::max(into.max[h], from.max[h]);
      const float a = std::exp2(into.max[h] - top);
      const float b = std::exp2(from.max[h] - top);
      into.max[h] = top;
      into.sum[h] = into.sum[h] * a + from.sum[h] * b;
      float* acc = into.acc + h * p_.head_dim;
      const float* add = from.acc + h * p_.head_dim;
      for (int64_t i = 0; i < p_.head_dim; ++i) acc[i] = acc[i] * a + add[i] * b;
    }
  }

  void work_range(Span span, ThreadSpace& space) const {
    for (int64_t tile = span.begin; tile < span.end;) {
      const int64_t index = tile / tiles_;
      const int64_t first = tile % tiles_;
      const int64_t last = std::min(tiles_, first + span.end - tile);
      const bool whole = first == 0 && last == tiles_;
      Partial& result = space.partials[whole ? 2 : first != 0 ? 0 : 1];
      const bool more = tile + last - first < span.end;
      attend(index, first * kKeyTile, std::min(last * kKeyTile, p_.kv_len), more, space.scratch, result);
      if (whole) {
        store(index, result);
      } else {
        result.unit = index;
      }
      tile += last - first;
    }
  }

  // Rows of the groups that are not in a sequence's list.
  void zero_unselected(Span sequences) const {
    const int64_t group_elements = group_size(p_) * p_.head_dim;
    for (int64_t b = sequences.begin; b < sequences.end; ++b) {
      const int32_t* active = args_.group_index + b * args_.active_groups;
      int64_t next = 0;
      for (int64_t g = 0; g < p_.num_kv_heads; ++g) {
        if (next < args_.active_groups && active[next] == g) {
          ++next;
          continue;
        }
        std::memset(args_.out + (b * p_.num_kv_heads + g) * group_elements, 0,
                    static_cast<size_t>(group_elements) * sizeof(uint16_t));
      }
    }
  }

 private:
  const Launch& launch_;
  const PolarProblem& p_;
  const AttentionArgs& args_;
  UnitKind kind_;
  int64_t heads_;
  int64_t tiles_;
  int64_t units_;
};

}  // namespace

size_t attention_units_workspace_bytes(const PolarProblem& p, int threads) {
  Carver carver(nullptr);
  for (int t = 0; t < threads; ++t) carve(carver, p);
  carver.take(sizeof(ThreadSpace) * static_cast<size_t>(threads));
  return carver.used();
}

void attention_units(const Launch& launch, const AttentionArgs& args, UnitKind kind) {
  const Scheduler scheduler(launch, args, kind);
  const int threads = launch.pool.size();
  Carver carver(launch.workspace);
  auto* spaces = reinterpret_cast<ThreadSpace*>(carver.take(sizeof(ThreadSpace) * static_cast<size_t>(threads)));
  for (int t = 0; t < threads; ++t) spaces[t] = carve(carver, launch.problem);
  launch.pool.run([&](int t) {
    scheduler.work_range(share(scheduler.work(), t, threads), spaces[t]);
    scheduler.zero_unselected(share(launch.problem.batch_size, t, threads));
  });
  // Threads ascending and, within one, the end of an earlier unit before the beginning of a later one: pieces of a unit
  // come in the order of their keys.
  Partial* open = nullptr;
  for (int t = 0; t < threads; ++t) {
    for (int slot = 0; slot < 2; ++slot) {
      Partial& piece = spaces[t].partials[slot];
      if (piece.unit < 0) continue;
      if (open != nullptr && open->unit == piece.unit) {
        scheduler.merge(*open, piece);
        continue;
      }
      if (open != nullptr) scheduler.store(open->unit, *open);
      open = &piece;
    }
  }
  if (open != nullptr) scheduler.store(open->unit, *open);
}

}  // namespace polar::cpu
