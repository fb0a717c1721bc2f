// Everything that a running Weir is made of, wired: databases, keys, ledger, cache, snapshots,
// server. `weir serve` runs one; the integration tests run it in their own process.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "weir/base/error.hpp"
#include "weir/config/config.hpp"
#include "weir/config/load.hpp"

namespace weir::app {

class Gateway {
public:
    // Reads a config anew, for reloads.
    using Loader = std::function<config::Loaded()>;

    struct Options {
        std::chrono::milliseconds demo_pace{30};  // between two words of the demo upstream
    };

    // Opens the data directory, starts the workers, listens. An error says what to do about it.
    [[nodiscard]] static Result<std::unique_ptr<Gateway>> start(
        std::shared_ptr<const config::Config> config, Loader loader, Options options
    );
    [[nodiscard]] static Result<std::unique_ptr<Gateway>> start(
        std::shared_ptr<const config::Config> config, Loader loader
    ) {
        return start(std::move(config), std::move(loader), Options());
    }
    ~Gateway();  // drain() in a hurry

    // All or nothing; kConfig holds the faults, and the log tells which settings only a restart
    // takes over. Any thread but a worker's.
    [[nodiscard]] Result<> reload();
    void drain(const std::function<bool()>& hurry);

    [[nodiscard]] std::uint16_t port() const;
    [[nodiscard]] std::vector<std::string> addresses() const;
    // A key to try with: the first declared one, else the one that the first start made; with its
    // text.
    [[nodiscard]] const std::string& trial_key() const noexcept;
    struct Keys {
        std::size_t in_force = 0;
        std::size_t set_aside = 0;  // stored, but the config leaves no place for them
    };
    [[nodiscard]] Keys keys() const;
    [[nodiscard]] bool uses_demo() const noexcept;
    [[nodiscard]] std::string data() const;

private:
    struct Impl;
    explicit Gateway(std::unique_ptr<Impl> impl) noexcept;
    std::unique_ptr<Impl> impl_;
};

}  // namespace weir::app
