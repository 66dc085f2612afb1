// A pool of threads that all take part in one piece of work at a time.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <thread>
#include <vector>

namespace polar::cpu {

// Processors that this process may run on, at least 1.
int available_processors();

class ThreadPool {
 public:
  // `threads` >= 1; the caller of run() is thread 0, the others are started here.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls work(thread) once on every thread, thread = 0 .. size() - 1, and returns when all are done. The first
  // exception, by thread number, is thrown on. Not reentrant.
  template <class Work>
  void run(Work&& work) {
    run_erased([](void* context, int thread) { (*static_cast<std::remove_reference_t<Work>*>(context))(thread); },
               const_cast<void*>(static_cast<const void*>(&work)));
  }

 private:
  using Call = void (*)(void*, int);
  void run_erased(Call call, void* context);
  void loop(int thread);

  std::vector<std::thread> workers_;
  std::vector<std::exception_ptr> errors_;
  int spins_;
  Call call_ = nullptr;
  void* context_ = nullptr;
  // The start signal and the count of the finished stand on lines of their own: both are spun on.
  alignas(64) std::atomic<uint32_t> epoch_{0};
  alignas(64) std::atomic<uint32_t> pending_{0};
  std::atomic<bool> stop_{false};
};

// [begin, end) of `part` of `parts` nearly equal contiguous ranges of 0 .. total - 1.
struct Span {
  int64_t begin;
  int64_t end;
};
inline Span share(int64_t total, int part, int parts) { return {total * part / parts, total * (part + 1) / parts}; }

}  // namespace polar::cpu
