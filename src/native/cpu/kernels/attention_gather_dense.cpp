#include <cstring>

#include "../../common/problem.h"
#include "attention_units.h"

namespace polar::cpu {
namespace {

// The compact problem: only the active groups exist, without spare capacity.
PolarProblem compact(const PolarProblem& p, int64_t active_groups) {
  PolarProblem c = p;
  c.num_kv_heads = active_groups;
  c.num_qo_heads = active_groups * group_size(p);
  c.kv_capacity = p.kv_len;
  return c;
}

struct Space {
  uint16_t* q;
  uint16_t* k;
  uint16_t* v;
  uint16_t* out;
  int32_t* identity;
  std::byte* dense;
};

Space carve(Carver& carver, const PolarProblem& c, int threads) {
  const auto half = [&](int64_t elements) {
    return reinterpret_cast<uint16_t*>(carver.take(static_cast<size_t>(elements) * sizeof(uint16_t)));
  };
  Space s;
  s.q = half(c.batch_size * c.num_qo_heads * c.head_dim);
  s.k = half(c.batch_size * c.num_kv_heads * c.kv_len * c.head_dim);
  s.v = half(c.batch_size * c.num_kv_heads * c.kv_len * c.head_dim);
  s.out = half(c.batch_size * c.num_qo_heads * c.head_dim);
  s.identity = reinterpret_cast<int32_t*>(carver.take(static_cast<size_t>(c.batch_size * c.num_kv_heads) * 4));
  s.dense = carver.take(attention_dense_workspace_bytes(c, c.num_kv_heads, threads));
  return s;
}

void copy_half(uint16_t* to, const uint16_t* from, int64_t elements) {
  std::memcpy(to, from, static_cast<size_t>(elements) * sizeof(uint16_t));
}

// A part of the active groups' rows of q, K and V into the compact tensors.
void gather(const PolarProblem& p, const PolarProblem& c, const AttentionArgs& args, const Space& s, Span entries) {
  const int64_t query = group_size(p) * p.head_dim;
  const int64_t keys = p.kv_len * p.head_dim;
  for (int64_t e = entries.begin; e < entries.end; ++e) {
    const int64_t group = e / c.num_kv_heads * p.num_kv_heads + args.group_index[e];
    copy_half(s.q + e * query, args.q + group * query, query);
    copy_half(s.k + e * keys, args.k + group * p.kv_capacity * p.head_dim, keys);
    copy_half(s.v + e * keys, args.v + group * p.kv_capacity * p.head_dim, keys);
    s.identity[e] = static_cast<int32_t>(e % c.num_kv_heads);
  }
}

}  // namespace

size_t attention_gather_dense_workspace_bytes(const PolarProblem& p, int64_t active_groups, int threads) {
  Carver carver(nullptr);
  carve(carver, compact(p, active_groups), threads);
  return carver.used();
}

// Copies the active heads' cache on every run, then runs the dense kernel on the copy and scatters its rows: the
// paper's naive sparse baseline.
void launch_attention_gather_dense(const Launch& launch, const AttentionArgs& args) {
  const PolarProblem& p = launch.problem;
  const PolarProblem c = compact(p, args.active_groups);
  const int threads = launch.pool.size();
  Carver carver(launch.workspace);
  const Space s = carve(carver, c, threads);
  const int64_t entries = c.batch_size * c.num_kv_heads;
  launch.pool.run([&](int t) { gather(p, c, args, s, share(entries, t, threads)); });
  const Launch dense{c, launch.inner, launch.pool, s.dense, launch.skip_tile};
  launch_attention_dense(dense, {s.q, s.k, s.v, s.out, s.identity, c.num_kv_heads});
  const int64_t query = group_size(p) * p.head_dim;
  std::memset(args.out, 0, static_cast<size_t>(p.batch_size * p.num_qo_heads * p.head_dim) * sizeof(uint16_t));
  for (int64_t e = 0; e < entries; ++e) {
    const int64_t group = e / c.num_kv_heads * p.num_kv_heads + args.group_index[e];
    copy_half(args.out + group * query, s.out + e * query, query);
  }
}

}  // namespace polar::cpu
