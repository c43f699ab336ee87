// A few threads that stay: a training step is some milliseconds and five phases long, so
// waking threads through the system for each phase would be felt.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace vireo::train {

class Pool {
 public:
  using Work = std::function<void(int task, int worker)>;

  explicit Pool(int threads);  // the calling thread is one of them
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  int size() const { return static_cast<int>(threads_.size()) + 1; }

  // Calls work(task, worker) for each task; which worker does which is left to chance. The first
  // exception of a task is thrown when all have ended.
  void run(int tasks, const Work& work);

 private:
  bool take(int worker);
  void serve(int worker);

  std::vector<std::thread> threads_;
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  std::atomic<int> sleepers_{0};
  std::atomic<int> open_{0};     // tasks that nobody has taken
  std::atomic<int> pending_{0};  // tasks that have not ended
  std::atomic<bool> stop_{false}, waiting_{false};
  // Read only by who has taken a task, and unchanged until that task has ended.
  int tasks_ = 0;
  const Work* work_ = nullptr;
  std::exception_ptr failure_;  // under the mutex
};

}  // namespace vireo::train
