// The references' parallel loops on the threads of the pool.
#pragma once

#include "../common/backend.h"
#include "../reference/decoder.h"
#include "threads.h"

namespace polar::cpu {

// Spreads a loop over the pool; thread 0, which made the call, gives signs of life meanwhile.
ParallelFor pool_for(ThreadPool& pool, const Reporter& reporter);

}  // namespace polar::cpu
