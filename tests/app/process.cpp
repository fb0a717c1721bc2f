#include "process.hpp"

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <sys/wait.h>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

namespace weir::test {
namespace {

std::vector<char*> pointers(std::vector<std::string>& texts) {
    std::vector<char*> found;
    for (auto& text : texts) found.push_back(text.data());
    found.push_back(nullptr);
    return found;
}

}  // namespace

Process::Process(std::vector<std::string> arguments, Environment environment) {
    error_file_ = (std::filesystem::temp_directory_path() / "weir-stderr-XXXXXX").string();
    const int err = ::mkstemp(error_file_.data());
    int out[2] = {-1, -1};
    if (err < 0 || ::pipe2(out, O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
    // Sanitizers take their settings from the environment.
    for (const auto* name : {"ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS"}) {
        const char* const value = std::getenv(name);
        if (value != nullptr) environment.push_back(std::string(name) + "=" + value);
    }
    const auto argv = pointers(arguments);
    const auto envp = pointers(environment);
    pid_ = ::fork();
    if (pid_ == 0) {
        ::dup2(out[1], STDOUT_FILENO);
        ::dup2(err, STDERR_FILENO);
        ::execve(argv.front(), argv.data(), envp.data());
        ::_exit(127);
    }
    ::close(err);
    ::close(out[1]);
    out_ = out[0];
    if (pid_ < 0) throw std::runtime_error("no fork");
}

Process::~Process() {
    if (pid_ > 0) {
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
    }
    ::close(out_);
    ::unlink(error_file_.c_str());
}

const std::string& Process::read_until(const std::string& text) {
    char buffer[4096];
    while (text.empty() || read_.find(text) == std::string::npos) {
        const auto size = ::read(out_, buffer, sizeof(buffer));
        if (size <= 0) break;
        read_.append(buffer, static_cast<std::size_t>(size));
    }
    return read_;
}

void Process::signal(int number) const {
    ::kill(pid_, number);
}

Finished Process::finish() {
    Finished done;
    done.out = read_until("");
    int status = 0;
    ::waitpid(std::exchange(pid_, -1), &status, 0);
    if (WIFEXITED(status)) done.exit_code = WEXITSTATUS(status);
    std::ifstream file(error_file_, std::ios::binary);
    done.err.assign(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    return done;
}

Finished run(std::vector<std::string> arguments, Process::Environment environment) {
    Process process(std::move(arguments), std::move(environment));
    return process.finish();
}

}  // namespace weir::test
