// A few threads that share every piece of work.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#ifdef __x86_64__
#include <immintrin.h>
#endif

namespace {

constexpr int SPINS = 20000;  // pauses, about half a millisecond, after which a thread without work sleeps
constexpr int CLAIMS = 4;     // pieces a thread into which work is cut, so that a late one leaves its share to others

inline void pause() {
#ifdef __x86_64__
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

// Threads that join in whatever work is open. The caller never waits for one that has not begun: where the machine is
// busy with something else, it does all of it.
class Pool {
 public:
  explicit Pool(int threads) : threads_(threads) {
    for (int index = 1; index < threads; ++index) workers_.emplace_back([this] { serve(); });
  }

  ~Pool() {
    stop_ = true;
    state_.fetch_add(ROUND);
    wake();
    for (auto& worker : workers_) worker.join();
  }

  int threads() const { return threads_; }

  // task on as many threads as come, this one included, until it has returned on all of them.
  void run(const std::function<void()>& task) {
    task_ = &task;
    state_.fetch_add(ROUND + OPEN);
    wake();
    task();
    state_.fetch_sub(OPEN, std::memory_order_acq_rel);  // nobody begins from now on
    for (int spins = 0; state_.load(std::memory_order_acquire) & AT_WORK;)
      if (++spins > SPINS) {
        std::this_thread::yield();
      } else {
        pause();
      }
  }

 private:
  // One number: how many threads are at work, whether others may begin, and the round.
  static constexpr uint64_t AT_WORK = 0xFFFF, OPEN = 1ull << 16, ROUND = 1ull << 17;

  void wake() {
    if (sleeping_.load() == 0) return;
    std::lock_guard<std::mutex> lock(mutex_);
    condition_.notify_all();
  }

  bool begin(uint64_t& seen) {
    for (uint64_t state = state_.load(std::memory_order_acquire); state / ROUND != seen;) {
      if (!(state & OPEN)) {
        seen = state / ROUND;  // too late for this round
        return false;
      }
      if (state_.compare_exchange_weak(state, state + 1, std::memory_order_acq_rel)) {
        seen = state / ROUND;
        return true;
      }
    }
    return false;
  }

  void serve() {
    for (uint64_t seen = 0; !stop_;) {
      for (int spins = 0; state_.load(std::memory_order_acquire) / ROUND == seen; ++spins) {
        if (spins < SPINS) {
          pause();
          continue;
        }
        std::unique_lock<std::mutex> lock(mutex_);
        ++sleeping_;
        condition_.wait(lock, [&] { return state_.load() / ROUND != seen; });
        --sleeping_;
      }
      if (stop_) return;
      if (!begin(seen)) continue;
      (*task_)();
      state_.fetch_sub(1, std::memory_order_release);
    }
  }

  const int threads_;
  std::vector<std::thread> workers_;
  std::atomic<uint64_t> state_{0};
  std::atomic<int> sleeping_{0};
  std::atomic<bool> stop_{false};
  const std::function<void()>* task_ = nullptr;
  std::mutex mutex_;
  std::condition_variable condition_;
};

Pool* pool = nullptr;

// task(start, end) for pieces of ``count``, each but the last a multiple of ``unit``.
void share(int64_t count, int64_t unit, const std::function<void(int64_t, int64_t)>& task) {
  const int64_t pieces = int64_t(pool->threads()) * CLAIMS;
  const int64_t step = ((count + pieces - 1) / pieces + unit - 1) / unit * unit;
  if (pool->threads() == 1 || step >= count) return task(0, count);
  std::atomic<int64_t> next{0};
  pool->run([&] {
    for (int64_t start; (start = next.fetch_add(step)) < count;) task(start, std::min(count, start + step));
  });
}

}  // namespace
