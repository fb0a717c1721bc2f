// A mutex that clang's thread-safety analysis understands. Say GUARDED_BY at each member it
// protects.
#pragma once

#include <condition_variable>
#include <mutex>

#if defined(__clang__)
#define WEIR_TSA(x) __attribute__((x))
#else
#define WEIR_TSA(x)
#endif
#define CAPABILITY(x) WEIR_TSA(capability(x))
#define SCOPED_CAPABILITY WEIR_TSA(scoped_lockable)
#define GUARDED_BY(x) WEIR_TSA(guarded_by(x))
#define REQUIRES_LOCK(...) WEIR_TSA(requires_capability(__VA_ARGS__))
#define EXCLUDES_LOCK(...) WEIR_TSA(locks_excluded(__VA_ARGS__))
#define ACQUIRE_LOCK(...) WEIR_TSA(acquire_capability(__VA_ARGS__))
#define RELEASE_LOCK(...) WEIR_TSA(release_capability(__VA_ARGS__))
#define NO_LOCK_ANALYSIS WEIR_TSA(no_thread_safety_analysis)

namespace weir {

class CAPABILITY("mutex") Mutex {
public:
    Mutex() = default;
    Mutex(const Mutex&) = delete;
    Mutex& operator=(const Mutex&) = delete;
    void lock() ACQUIRE_LOCK() { mutex_.lock(); }
    void unlock() RELEASE_LOCK() { mutex_.unlock(); }

private:
    std::mutex mutex_;
};

class SCOPED_CAPABILITY MutexLock {
public:
    explicit MutexLock(Mutex& mutex) ACQUIRE_LOCK(mutex) : mutex_(mutex) { mutex_.lock(); }
    ~MutexLock() RELEASE_LOCK() { mutex_.unlock(); }
    MutexLock(const MutexLock&) = delete;
    MutexLock& operator=(const MutexLock&) = delete;

private:
    Mutex& mutex_;
};

// Waits on a Mutex that the caller holds.
class CondVar {
public:
    void wait(Mutex& mutex) REQUIRES_LOCK(mutex) { cv_.wait(mutex); }
    template <class Clock, class Duration>
    std::cv_status wait_until(Mutex& mutex, std::chrono::time_point<Clock, Duration> until)
        REQUIRES_LOCK(mutex) {
        return cv_.wait_until(mutex, until);
    }
    void notify_one() noexcept { cv_.notify_one(); }
    void notify_all() noexcept { cv_.notify_all(); }

private:
    std::condition_variable_any cv_;
};

}  // namespace weir
