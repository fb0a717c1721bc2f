#include "support/process.hpp"

#include <charconv>
#include <chrono>
#include <fstream>
#include <sstream>
#include <sys/wait.h>
#include <thread>

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

namespace weir::test {

namespace {

std::string contents(const std::string& path) {
    std::ifstream file(path);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

}  // namespace

Process::Process(
    const std::vector<std::string>& command,
    const std::string& output,
    const std::vector<std::string>& more
)
    : output_(output) {
    // All that the child needs is made before the fork: this process may have threads.
    std::vector<std::string> words = command;
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    std::vector<std::string> added = more;
    std::vector<char*> variables;
    for (std::string& variable : added) variables.push_back(variable.data());
    for (char** variable = environ; *variable != nullptr; ++variable)
        variables.push_back(*variable);
    variables.push_back(nullptr);
    const std::string errors = output + ".err";
    ::unlink(output.c_str());  // what an earlier process wrote there is not this one's word
    pid_ = ::fork();
    if (pid_ != 0) return;
    const int out = ::open(output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    const int err = ::open(errors.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    ::dup2(out, STDOUT_FILENO);
    ::dup2(err, STDERR_FILENO);
    ::execve(arguments.front(), arguments.data(), variables.data());
    ::_exit(127);
}

Process::~Process() {
    if (status_ || pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    wait();
}

void Process::signal(int number) const {
    ::kill(pid_, number);
}

int Process::wait() {
    if (status_) return *status_;
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return *status_;
}

std::string Process::output() const {
    return contents(output_);
}

std::string Process::errors() const {
    return contents(output_ + ".err");
}

std::optional<std::uint16_t> Process::wait_for_port() {
    static constexpr std::string_view kBefore = "listens on http://127.0.0.1:";
    for (int i = 0; i < 2000; ++i) {
        const std::string text = output();
        const std::size_t at = text.find(kBefore);
        if (at != std::string::npos && text.find('\n', at) != std::string::npos) {
            std::uint16_t port = 0;
            const char* const digits = text.data() + at + kBefore.size();
            std::from_chars(digits, text.data() + text.size(), port);
            return port;
        }
        int status = 0;
        if (::waitpid(pid_, &status, WNOHANG) == pid_) {
            status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
            return std::nullopt;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return std::nullopt;
}

}  // namespace weir::test
