// Threads of our own, for callers that bring no pool (OpenVINO, ctypes, benchmarks).
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace lsts {

// `threads` includes the caller. One loop at a time; a second caller waits.
class Pool {
 public:
  explicit Pool(int threads);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  void run(int64_t count, void (*body)(void*, size_t), void* context);
  int threads() const { return static_cast<int>(workers_.size()) + 1; }

 private:
  struct State;
  State* state_;
  std::vector<std::thread> workers_;
  std::mutex one_loop_;
};

}  // namespace lsts
