#include <csignal>
#include <cstdio>
#include <exception>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "weir/app/commands.hpp"

namespace {

// LeakSanitizer attaches to the process, which a process that is not dumpable forbids.
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(leak_sanitizer)
#define WEIR_STAYS_DUMPABLE 1
#endif
#endif
#ifndef WEIR_STAYS_DUMPABLE
#define WEIR_STAYS_DUMPABLE 0
#endif

// Memory holds keys: no core file, and no other process of this user may look into it.
void keep_secrets_in() noexcept {
    if (!WEIR_STAYS_DUMPABLE) prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    const rlimit none{0, 0};
    setrlimit(RLIMIT_CORE, &none);
}

// A stream takes two descriptors; many systems start processes with room for 1,024.
void take_all_descriptors() noexcept {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

int main(int argc, char** argv) {
    keep_secrets_in();
    take_all_descriptors();
    std::signal(SIGPIPE, SIG_IGN);
    try {
        return weir::app::run_command_line(argc, argv);
    } catch (const std::exception& bug) {
        std::fprintf(stderr, "weir: %s\n", bug.what());
        return weir::app::kFailed;
    }
}
