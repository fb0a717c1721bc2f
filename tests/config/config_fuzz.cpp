// libFuzzer target: any bytes as a config, and as a cap. Loading ends in a Config or in faults.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "weir/config/cap.hpp"
#include "weir/config/load.hpp"

namespace {

void require(bool holds) {
    if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace weir::config;
    constexpr std::string_view kSecret = "hunter2-hunter2-hunter2";
    const std::string text(reinterpret_cast<const char*>(data), size);
    Sources sources;
    sources.environment = [&](const std::string& name) -> std::optional<std::string> {
        if (name == "K") return std::string(kSecret);
        return std::nullopt;
    };
    sources.file = [&](const std::string& path) -> std::optional<std::string> {
        if (path == "/k") return std::string(kSecret);
        return std::nullopt;
    };
    const Loaded loaded = load_text(text, "fuzz.yaml", sources);
    if (loaded.has_value()) {
        require(!(*loaded)->upstreams.empty());
        for (const Key& key : (*loaded)->keys) {
            require(key.secret.size() >= 16 && (*loaded)->find_plan(key.plan) != nullptr);
        }
        for (const Plan& plan : (*loaded)->plans) {
            for (const Cap& cap : plan.caps) require(parse_allow(cap.allow, cap.zone).has_value());
        }
    } else {
        require(!loaded.error().empty());
        const bool holds_it = text.find("hunter2") != std::string::npos;
        for (const Fault& fault : loaded.error()) {
            require(holds_it || fault.text().find(kSecret) == std::string::npos);
        }
    }

    if (const auto cap = parse_allow(text)) {
        const bool spans = cap->period == Period::kRolling || cap->period == Period::kFixed;
        require(cap->limit <= 1'000'000'000 * kNanoDollars);
        require(cap->unit != Unit::kMessages || cap->limit <= 1'000'000'000);
        require(spans == (cap->span >= std::chrono::seconds(1)));
        require(cap->span <= std::chrono::days(32));
        require(!cap->in_words().empty() && !cap->counter().empty());
        const auto again = parse_allow(cap->allow);
        require(again.has_value() && *again == *cap);
    }
    return 0;
}
