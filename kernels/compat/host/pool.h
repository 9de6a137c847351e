// Operating-system threads that share the groups of a launch.
//
// They live as long as the process. After a job they look out for the next one for
// some microseconds before they sleep, since the launches of a decode step follow
// each other closely. One job at a time has them; a caller who finds them busy
// works alone, which is always right, as groups do not depend on each other.
#pragma once

#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <cstdint>
#include <mutex>

namespace zmlx {

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

class pool {
 public:
  using work = void (*)(void *);

  // share calls w(state) in this thread and at the same time in at most workers-1
  // others, and returns when all of them have returned.
  static void share(int workers, work w, void *state) {
    pool &p = the();
    std::unique_lock<std::mutex> mine(p.busy_, std::try_to_lock);
    if (workers < 2 || !mine.owns_lock()) return w(state);
    p.hire(workers - 1);
    p.wanted_.store(workers - 1);
    p.work_ = w, p.state_ = state;
    p.open_.store(true);
    p.job_.fetch_add(1);
    p.job_.notify_all();
    w(state);
    // Whoever has not begun by now is not waited for.
    p.open_.store(false);
    while (p.inside_.load() != 0) pause();
  }

 private:
  static constexpr int most = 32; // each may map stacks for a whole group

  static pool &the() {
    static pool *p = new pool; // never freed: its threads use it until the process ends
    return *p;
  }

  void hire(int n) {
    if (n > most) n = most;
    if (hired_ >= n) return;
    // Signals are for the program's own threads: Go's handlers expect its stacks.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (; hired_ < n; hired_++) {
      seat *s = new seat{this, hired_};
      pthread_t id;
      if (pthread_create(&id, nullptr, [](void *p) -> void * {
            const seat s = *static_cast<seat *>(p);
            delete static_cast<seat *>(p);
            s.owner->serve(s.index);
            return nullptr;
          }, s)) {
        delete s;
        break; // fewer do as well
      }
      pthread_detach(id);
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

  struct seat {
    pool *owner;
    int index;
  };

  void serve(int index) {
    for (uint32_t seen = 0;;) {
      for (int i = 0; i < 1000 && job_.load(std::memory_order_relaxed) == seen; i++) pause();
      job_.wait(seen);
      seen = job_.load();
      // First inside_, then open_: share does the reverse, so either this thread
      // sees that the job is closed, or share sees this thread.
      inside_.fetch_add(1);
      if (open_.load() && index < wanted_.load()) work_(state_);
      inside_.fetch_sub(1);
    }
  }

  std::mutex busy_;
  int hired_ = 0;
  work work_ = nullptr;
  void *state_ = nullptr;
  std::atomic<int> wanted_{0}, inside_{0};
  std::atomic<bool> open_{false};
  std::atomic<uint32_t> job_{0};
};

} // namespace zmlx
