// Preloaded into the binary under test: a disk on which each sync takes a while, as it does beside
// a busy neighbour. What is answered before its charge is on disk shows itself then.
#include <cstring>

#include <dlfcn.h>
#include <unistd.h>

namespace {

constexpr useconds_t kSyncTakesUs = 40'000;

int slowly(const char* name, int descriptor) {
    ::usleep(kSyncTakesUs);
    int (*real)(int) = nullptr;
    void* const found = ::dlsym(RTLD_NEXT, name);
    static_assert(sizeof real == sizeof found);
    std::memcpy(&real, &found, sizeof real);
    return real(descriptor);
}

}  // namespace

extern "C" int fsync(int descriptor) {
    return slowly("fsync", descriptor);
}

extern "C" int fdatasync(int descriptor) {
    return slowly("fdatasync", descriptor);
}
