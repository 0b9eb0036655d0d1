#include "cpu/pool.h"

#include <unistd.h>

#include <atomic>

namespace lsts {

struct Pool::State {
  std::mutex mutex;
  std::condition_variable wake, done;
  uint64_t loop = 0;  // counts loops; a change wakes the workers
  bool stop = false;
  int busy = 0;
  std::atomic<int64_t> next{0};
  int64_t count = 0;
  void (*body)(void*, size_t) = nullptr;
  void* context = nullptr;
  pid_t process = getpid();  // a forked child has the pool but not its threads

  void work() {
    for (int64_t i = next.fetch_add(1); i < count; i = next.fetch_add(1)) body(context, static_cast<size_t>(i));
  }

  void serve() {
    uint64_t seen = 0;
    for (;;) {
      {
        std::unique_lock<std::mutex> lock(mutex);
        wake.wait(lock, [&] { return stop || loop != seen; });
        if (stop) return;
        seen = loop;
      }
      work();
      const std::lock_guard<std::mutex> lock(mutex);
      if (--busy == 0) done.notify_one();
    }
  }
};

Pool::Pool(int threads) : state_(new State) {
  for (int i = 1; i < threads; ++i) workers_.emplace_back([state = state_] { state->serve(); });
}

Pool::~Pool() {
  {
    const std::lock_guard<std::mutex> lock(state_->mutex);
    state_->stop = true;
  }
  state_->wake.notify_all();
  for (std::thread& worker : workers_) worker.join();
  delete state_;
}

void Pool::run(int64_t count, void (*body)(void*, size_t), void* context) {
  const std::lock_guard<std::mutex> turn(one_loop_);
  if (workers_.empty() || count < 2 || getpid() != state_->process) {
    for (int64_t i = 0; i < count; ++i) body(context, static_cast<size_t>(i));
    return;
  }
  {
    const std::lock_guard<std::mutex> lock(state_->mutex);
    state_->body = body, state_->context = context, state_->count = count;
    state_->next = 0;
    state_->busy = static_cast<int>(workers_.size());
    ++state_->loop;
  }
  state_->wake.notify_all();
  state_->work();
  std::unique_lock<std::mutex> lock(state_->mutex);
  state_->done.wait(lock, [&] { return state_->busy == 0; });
}

}  // namespace lsts
