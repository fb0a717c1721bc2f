// The command line of `weir`: parses it, runs one command, returns the exit code. Text for people
// goes to stdout, complaints to stderr.
#pragma once

#include <string>
#include <string_view>

namespace weir::app {

// 0: done. 1: it failed. 2: the command line or a config is wrong.
inline constexpr int kDone = 0;
inline constexpr int kFailed = 1;
inline constexpr int kWrong = 2;

// Never throws for what stands on the command line. Called once by main.
[[nodiscard]] int run_command_line(int argc, const char* const* argv);

}  // namespace weir::app
