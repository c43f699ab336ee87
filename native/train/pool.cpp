#include "train/pool.hpp"

#include <chrono>
#include <utility>

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

namespace vireo::train {

namespace {

using Clock = std::chrono::steady_clock;

// Longer than the gaps between a step's phases, shorter than a scheduler's slice.
constexpr auto SPIN = std::chrono::microseconds(60);

void pause() {
#if defined(__x86_64__) || defined(__i386__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

// Spins until done() holds or the time is over; says whether it holds.
template <class Done>
bool spin(Done done) {
  const auto end = Clock::now() + SPIN;
  do {
    for (int i = 0; i < 64; ++i) {
      if (done()) return true;
      pause();
    }
  } while (Clock::now() < end);
  return false;
}

}  // namespace

Pool::Pool(int threads) {
  for (int worker = 1; worker < threads; ++worker) {
    threads_.emplace_back([this, worker] { serve(worker); });
  }
}

Pool::~Pool() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  for (auto& thread : threads_) thread.join();
}

bool Pool::take(int worker) {
  int left = open_.load(std::memory_order_acquire);
  do {
    if (left == 0) return false;
  } while (!open_.compare_exchange_weak(left, left - 1, std::memory_order_acquire));
  try {
    (*work_)(tasks_ - left, worker);
  } catch (...) {
    const std::lock_guard lock(mutex_);
    if (!failure_) failure_ = std::current_exception();
  }
  if (pending_.fetch_sub(1) == 1 && waiting_.load()) {
    { const std::lock_guard lock(mutex_); }
    done_.notify_one();
  }
  return true;
}

void Pool::serve(int worker) {
  const auto ready = [this] { return stop_.load() || open_.load() > 0; };
  while (!stop_) {
    if (take(worker) || spin(ready)) continue;
    std::unique_lock lock(mutex_);
    ++sleepers_;
    wake_.wait(lock, ready);
    --sleepers_;
  }
}

void Pool::run(int tasks, const Work& work) {
  if (tasks == 0) return;
  tasks_ = tasks;
  work_ = &work;
  pending_.store(tasks, std::memory_order_relaxed);
  open_.store(tasks);
  if (sleepers_.load() > 0) {
    { const std::lock_guard lock(mutex_); }
    wake_.notify_all();
  }
  while (take(0)) {
  }
  const auto done = [this] { return pending_.load() == 0; };
  const bool is_done = spin(done);
  std::unique_lock lock(mutex_);
  if (!is_done) {  // the system has put a worker aside; it may need this thread's processor
    waiting_ = true;
    done_.wait(lock, done);
    waiting_ = false;
  }
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

}  // namespace vireo::train
