// The real gateway in the test's own process, on a free port, with a data directory of its own.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "weir/app/gateway.hpp"

#include "support/temp_dir.hpp"

namespace weir::test {

inline constexpr char kAlice[] = "alice-secret-0123456789";  // team red, plan `plus`
inline constexpr char kBob[] = "bob-secret-0123456789ab";    // team red, plan `plus`
inline constexpr char kCarol[] = "carol-secret-0123456789";  // no team, plan `plus`

struct GatewaySetup {
    std::string upstream_url = {};  // empty: the demo upstream
    std::string caps = "[]";        // YAML, of plan `plus`
    std::uint32_t workers = 2;
    std::string more = {};            // further top-level YAML
    std::string cache = "{ttl: 1h}";  // YAML
    std::string upstream_more = {
    };  // further members of the upstream, YAML flow: ", timeouts: {...}"
    std::string more_upstreams = {};       // further lines of `upstreams`, each "  - {...}\n"
    std::string plan_more = {};            // further lines of plan `plus`
    std::string data = {};                 // empty: a directory of its own
    std::string log = "{level: off}";      // YAML
    std::string retry = "{backoff: 1ms}";  // YAML
    [[nodiscard]] std::string yaml(const std::string& data_dir) const;
};

class TestGateway {
public:
    explicit TestGateway(GatewaySetup setup);
    ~TestGateway();
    [[nodiscard]] std::uint16_t port() const { return gateway_->port(); }
    [[nodiscard]] app::Gateway& gateway() noexcept { return *gateway_; }
    [[nodiscard]] std::string data() const { return data_; }
    [[nodiscard]] std::string admin_token() const;
    // Takes another setup into force by a reload.
    [[nodiscard]] Result<> reload(GatewaySetup setup);
    void stop();

private:
    TempDir directory_;
    std::string data_;
    std::string yaml_;
    std::unique_ptr<app::Gateway> gateway_;
};

}  // namespace weir::test
