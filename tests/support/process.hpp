// The real binary as a child process.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <sys/types.h>
#include <vector>

namespace weir::test {

// Started at once; killed and reaped by its owner. Its output goes to files.
class Process {
public:
    // `output`: stdout; stderr goes to `output`.err. `more`: further variables, "NAME=value".
    Process(
        const std::vector<std::string>& command,
        const std::string& output,
        const std::vector<std::string>& more = {}
    );
    ~Process();
    Process(const Process&) = delete;
    Process& operator=(const Process&) = delete;

    void signal(int number) const;
    // The exit status, or 128 + signal. Waits.
    int wait();
    [[nodiscard]] std::string output() const;
    [[nodiscard]] std::string errors() const;
    // The port in "listens on http://127.0.0.1:PORT", once it is there. nullopt: it ended, or 20 s
    // passed.
    [[nodiscard]] std::optional<std::uint16_t> wait_for_port();

private:
    pid_t pid_ = -1;
    std::string output_;
    std::optional<int> status_;
};

}  // namespace weir::test
