// One run of the process, as far as the ledger goes: its real writer on a real file.
#pragma once

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "weir/quota/ledger.hpp"

#include "sqlite/scratch.hpp"

namespace weir::testing {

// A cap on messages in any 4 hours; tests change what they want otherwise.
inline config::Cap cap_of(std::uint64_t limit, std::string models = "*") {
    config::Cap cap;
    cap.models = std::move(models);
    cap.limit = limit;
    cap.span = std::chrono::hours(4);
    cap.allow = std::to_string(limit) + "/4h";
    return cap;
}

inline config::Cap at_once(std::uint64_t limit, std::string models = "*") {
    config::Cap cap = cap_of(limit, std::move(models));
    cap.period = config::Period::kAtOnce;
    cap.span = std::chrono::seconds(0);
    return cap;
}

inline config::CapSet caps(std::uint64_t limit, std::string models = "*") {
    return {cap_of(limit, std::move(models))};
}

// What a key of no team has to pass.
struct Asking {
    Asking(quota::AccountId key, const config::CapSet& set)
        : levels{{.whose = quota::Whose::kKey, .account = key, .caps = &set}} {
        ask.key = key;
        ask.levels = levels;
        ask.model = "gpt-4";
        ask.endpoint = "chat/completions";
    }
    Asking(const Asking&) = delete;
    Asking& operator=(const Asking&) = delete;
    Asking& with(quota::Whose whose, quota::AccountId account, const config::CapSet& set) {
        levels.push_back({.whose = whose, .account = account, .caps = &set});
        ask.levels = levels;
        if (whose == quota::Whose::kTeam) ask.team = account;
        return *this;
    }
    Asking& reserve(std::uint64_t tokens, std::uint64_t money = 0) {
        ask.reserve = {tokens, money};
        return *this;
    }

    std::vector<quota::Level> levels;
    quota::Ask ask;
};

struct Process {
    explicit Process(
        const std::string& path,
        LedgerTime at = TestClock().now(),
        std::size_t most_messages = quota::kMostMessages
    )
        : clock(at) {
        auto opened = sqlite::Connection::open(path, kOpen);
        if (!opened) throw std::runtime_error(opened.error().detail);
        const auto done = sqlite::migrate(*opened, {quota::kSchema, quota::kSchemaOfCaps}, path);
        if (!done) throw std::runtime_error(done.error().detail);
        writer = std::make_unique<sqlite::Writer>(
            sqlite::Writer::Options{path, kOpen, {}, "ledger"}, std::move(*opened)
        );
        auto reader = sqlite::Connection::open(path, {.mode = sqlite::Mode::kReadOnly});
        if (!reader) throw std::runtime_error(reader.error().detail);
        auto made = quota::Ledger::open(*reader, *writer, clock, most_messages);
        if (!made) throw std::runtime_error(made.error().detail);
        ledger = std::move(*made);
        writer->add(*ledger);
        writer->start();
    }
    ~Process() { writer->stop(); }
    Process(const Process&) = delete;
    Process& operator=(const Process&) = delete;

    quota::Decision admit(const config::CapSet& set, std::string_view key = "alice") {
        return ledger->admit(Asking(ledger->account(key), set).ask);
    }
    std::vector<quota::CapState> peek(
        const config::CapSet& set, std::string_view key = "alice", std::string_view model = "gpt-4"
    ) {
        const Asking asking(ledger->account(key), set);
        return ledger->peek(asking.levels, model, "chat/completions");
    }
    std::uint64_t used(const config::CapSet& set = caps(1000)) {
        return peek(set).at(0).window.used;
    }
    // Admits one, waits for the gate; charged if it opens.
    std::optional<bool> pass(const config::CapSet& set) {
        quota::Decision decision = admit(set);
        if (!decision.admission) return std::nullopt;
        quota::Reservation reservation = std::move(decision.admission->reservation);
        const bool open = wait(reservation.sequence());
        reservation.charge();
        return open;
    }
    bool wait(quota::Sequence sequence) {
        std::optional<bool> gate;
        EXPECT_TRUE(eventually([&] {
            gate = ledger->gate(sequence, signal);
            return gate.has_value();
        }));
        return gate.value_or(false);
    }

    static constexpr sqlite::OpenOptions kOpen{.exclusive = true, .check = true};
    asio::io_context home;
    std::shared_ptr<Signal> signal = Signal::create(home.get_executor());
    TestClock clock;
    std::unique_ptr<quota::Ledger> ledger;
    std::unique_ptr<sqlite::Writer> writer;  // goes before the ledger
};

}  // namespace weir::testing
