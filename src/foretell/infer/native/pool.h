// A few threads that share every piece of work.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace {

constexpr int SPINS = 20000;       // looks of an idle thread before it sleeps

// Threads that wait for work, spinning for a while before they sleep.
class Pool {
 public:
  explicit Pool(int threads) : threads_(threads) {
    for (int index = 1; index < threads; ++index) workers_.emplace_back([this, index] { serve(index); });
  }

  ~Pool() {
    stop_ = true;
    wake();
    for (auto& worker : workers_) worker.join();
  }

  int threads() const { return threads_; }

  // task(index) on every thread, this one included.
  void run(const std::function<void(int)>& task) {
    task_ = &task;
    pending_ = threads_ - 1;
    if (threads_ > 1) wake();
    task(0);
    for (int spins = 0; pending_.load(std::memory_order_acquire) > 0; ++spins)
      if (spins > SPINS) std::this_thread::yield();
  }

 private:
  void wake() {
    generation_.fetch_add(1);
    if (sleeping_.load() > 0) {
      std::lock_guard<std::mutex> lock(mutex_);
      condition_.notify_all();
    }
  }

  void serve(int index) {
    for (uint32_t seen = 0; !stop_;) {
      for (int spins = 0; generation_.load(std::memory_order_acquire) == seen; ++spins) {
        if (spins < SPINS) continue;
        std::unique_lock<std::mutex> lock(mutex_);
        ++sleeping_;
        condition_.wait(lock, [&] { return generation_.load() != seen; });
        --sleeping_;
      }
      ++seen;
      if (stop_) return;
      (*task_)(index);
      pending_.fetch_sub(1, std::memory_order_release);
    }
  }

  const int threads_;
  std::vector<std::thread> workers_;
  std::atomic<uint32_t> generation_{0};
  std::atomic<int> pending_{0}, sleeping_{0};
  std::atomic<bool> stop_{false};
  const std::function<void(int)>* task_ = nullptr;
  std::mutex mutex_;
  std::condition_variable condition_;
};

Pool* pool = nullptr;

// task(start, end) on every thread for its share of ``count``.
void share(int64_t count, const std::function<void(int64_t, int64_t)>& task) {
  const int threads = pool->threads();
  if (count < 2 || threads == 1) return task(0, count);
  pool->run([&](int index) { task(count * index / threads, count * (index + 1) / threads); });
}

}  // namespace
