#include "support/test_gateway.hpp"

#include <fstream>
#include <stdexcept>

#include "weir/config/load.hpp"

namespace weir::test {

std::string GatewaySetup::yaml(const std::string& data_dir) const {
    std::string text = "listen: \"127.0.0.1:0\"\ndata: \"" + data_dir +
                       "\"\nworkers: " + std::to_string(workers) + "\nlog: " + log + "\n";
    if (upstream_url.empty()) {
        text += "demo: when no upstream has a key\nupstreams: []\n";
    } else {
        text += "upstreams:\n  - {name: fake, url: \"" + upstream_url +
                "\", key: upstream-secret-key-1234" + upstream_more + "}\n" + more_upstreams;
    }
    text += "plans:\n  plus:\n    caps: " + caps + "\n" + plan_more;
    text += "cache: " + cache + "\nretry: " + retry + "\n";
    text += std::string("keys:\n") + "  - {name: alice, team: red, plan: plus, secret: " + kAlice +
            "}\n  - {name: bob, team: red, plan: plus, secret: " + kBob +
            "}\n  - {name: carol, plan: plus, secret: " + kCarol + "}\n";
    return text + more;
}

TestGateway::TestGateway(GatewaySetup setup)
    : data_(setup.data.empty() ? directory_.path("data") : setup.data), yaml_(setup.yaml(data_)) {
    const auto loader = [this] { return config::load_text(yaml_, "test.yaml"); };
    auto config = loader();
    if (!config) {
        std::string faults;
        for (const config::Fault& fault : config.error()) faults += fault.text() + "\n";
        throw std::runtime_error(faults);
    }
    auto started =
        app::Gateway::start(*config, loader, {.demo_pace = std::chrono::milliseconds(0)});
    if (!started) throw std::runtime_error(started.error().detail);
    gateway_ = std::move(*started);
}

TestGateway::~TestGateway() {
    stop();
}

void TestGateway::stop() {
    if (gateway_) gateway_->drain([] { return true; });
    gateway_.reset();
}

std::string TestGateway::admin_token() const {
    std::ifstream file(data_ + "/admin-token");
    std::string token;
    std::getline(file, token);
    return token;
}

Result<> TestGateway::reload(GatewaySetup setup) {
    yaml_ = setup.yaml(data_);
    return gateway_->reload();
}

}  // namespace weir::test
