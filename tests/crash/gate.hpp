// What the crash tests share: the real binary, its kills and restarts.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <signal.h>

#include "support/process.hpp"
#include "support/temp_dir.hpp"
#include "support/test_gateway.hpp"

namespace weir::test {

[[nodiscard]] inline int rounds() {
    const char* const text = std::getenv("WEIR_CRASH_ROUNDS");
    return text != nullptr ? std::atoi(text) : 20;
}

[[nodiscard]] inline std::uint64_t seed() {
    const char* const text = std::getenv("WEIR_TEST_SEED");
    return text != nullptr ? std::strtoull(text, nullptr, 10) : std::random_device()();
}

// A gateway that is killed and started again, always on the same data directory.
class Gate {
public:
    explicit Gate(const GatewaySetup& setup, bool slow_disk = false)
        : config_(directory_.path("weir.yaml")) {
        if (slow_disk) {
            // A sanitizer's runtime wants to be the first library; it need not be for this one.
            const char* const options = std::getenv("ASAN_OPTIONS");
            variables_ = {
                std::string("LD_PRELOAD=") + WEIR_SLOW_SYNC,
                std::string("ASAN_OPTIONS=verify_asan_link_order=0:") +
                    (options != nullptr ? options : "")
            };
        }
        std::ofstream file(config_);
        file << setup.yaml(directory_.path("data"));
    }
    // Starts the binary on the same data directory.
    [[nodiscard]] std::uint16_t start() {
        process_ = std::make_unique<Process>(
            std::vector<std::string>{WEIR_BINARY, "serve", "--config", config_},
            directory_.path("out"),
            variables_
        );
        const auto port = process_->wait_for_port();
        EXPECT_TRUE(port) << process_->errors();
        return port.value_or(0);
    }
    void kill() {
        process_->signal(SIGKILL);
        EXPECT_EQ(process_->wait(), 128 + SIGKILL);
    }

    [[nodiscard]] std::string admin_token() const {
        std::ifstream file(directory_.path("data") + "/admin-token");
        std::string token;
        std::getline(file, token);
        return token;
    }

private:
    TempDir directory_;
    std::string config_;
    std::vector<std::string> variables_;
    std::unique_ptr<Process> process_;
};

}  // namespace weir::test
