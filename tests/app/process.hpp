// Runs programs for tests: with a chosen environment, output caught, signals sent.
#pragma once

#include <string>
#include <sys/types.h>
#include <vector>

namespace weir::test {

struct Finished {
    int exit_code = -1;  // -1: a signal ended it
    std::string out;
    std::string err;
};

// A running child; killed if it is still there at the end.
class Process {
public:
    using Environment = std::vector<std::string>;  // "NAME=value"; nothing else is passed on
    Process(std::vector<std::string> arguments, Environment environment);
    ~Process();
    Process(const Process&) = delete;
    Process& operator=(const Process&) = delete;

    // Reads standard output until `text` came or it ended; all that was read so far.
    const std::string& read_until(const std::string& text);
    void signal(int number) const;
    // Waits for the end. At most once.
    [[nodiscard]] Finished finish();

private:
    pid_t pid_ = -1;
    int out_ = -1;
    std::string read_;
    std::string error_file_;
};

[[nodiscard]] Finished run(std::vector<std::string> arguments, Process::Environment environment);

}  // namespace weir::test
