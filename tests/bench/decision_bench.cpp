// What a message's decision costs, in CPU time of the deciding thread, as keys, caps and history
// grow; and how long the ledger takes to open. Prints a table and, with an argument, writes JSON.
//   tests/bench/run --decisions [FILE.json]
// The decision is Ledger::admit() and the settling of what it admitted; the writer runs on its own
// thread, on a real file, and is not counted.
#include <chrono>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>
#include <unistd.h>

#include "weir/quota/ledger.hpp"
#include "weir/sqlite/connection.hpp"
#include "weir/sqlite/writer.hpp"

namespace {

using namespace weir;
using Steady = std::chrono::steady_clock;

double thread_us() {
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) * 1e6 + static_cast<double>(now.tv_nsec) / 1e3;
}

struct Size {
    std::size_t keys;
    std::size_t history;  // messages that are on disk before
    std::size_t caps;     // that cover each message
    std::size_t plans;    // the caps of all of them together are plans x caps
};

struct Measured {
    double open_s = 0;
    double decision_us = 0;  // median of the rounds
};

void check(const Result<>& done) {
    if (!done) throw std::runtime_error(done.error().detail);
}

// A history of the last day, written as a run would have left it.
void fill(sqlite::Connection& connection, const Size& size, LedgerTime now) {
    check(connection.execute("BEGIN"));
    check(connection.execute("INSERT INTO subjects VALUES (1, 'gpt-4', 'chat/completions')"));
    auto account = connection.prepare("INSERT INTO accounts VALUES (?1, ?2)");
    auto message = connection.prepare(
        "INSERT INTO messages(seq, account, subject, at_us, team, tokens, nano_usd, grant_id) "
        "VALUES (?1, ?2, 1, ?3, 0, 500, 1000, 0)"
    );
    for (std::size_t key = 0; key < size.keys; ++key) {
        const std::string name = "key" + std::to_string(key);
        account->bind(1, static_cast<std::int64_t>(key + 1)).bind(2, std::string_view(name));
        check(account->run());
    }
    const std::int64_t day_us = 86'400'000'000;
    for (std::size_t i = 0; i < size.history; ++i) {
        const auto at =
            to_us(now) - day_us +
            static_cast<std::int64_t>(i) * day_us / static_cast<std::int64_t>(size.history);
        message->bind(1, static_cast<std::int64_t>(i + 1))
            .bind(2, static_cast<std::int64_t>(i * 7919 % size.keys + 1))
            .bind(3, at);
        check(message->run());
    }
    check(connection.execute("COMMIT"));
}

// Kinds in turn, each with room enough.
std::vector<config::CapSet> make_caps(const Size& size) {
    static const char* const kKinds[] = {
        "1000000/4h",
        "1000000/1d fixed",
        "1000000/day",
        "900000000 tokens/1d",
        "1000000 usd/30d",
        "1000 at once"
    };
    std::vector<config::CapSet> plans(size.plans);
    for (std::size_t plan = 0; plan < size.plans; ++plan) {
        for (std::size_t i = 0; i < size.caps; ++i) {
            auto cap = config::parse_allow(kKinds[i % std::size(kKinds)]);
            if (!cap) throw std::runtime_error(cap.error());
            // Different counters, all of which cover the model.
            cap->models = std::string(i / std::size(kKinds) % 2 == 0 ? "gpt-4" : "gpt-?") +
                          std::string(i / (2 * std::size(kKinds)), '*') + "*";
            plans[plan].push_back(std::move(*cap));
        }
    }
    return plans;
}

Measured measure(const std::string& directory, const Size& size) {
    const std::string path = directory + "/ledger.db";
    for (const char* const end : {"", "-wal", "-shm", ".lock"}) std::filesystem::remove(path + end);
    SystemClock clock;
    auto connection = sqlite::Connection::open(path, {});
    if (!connection) throw std::runtime_error(connection.error().detail);
    check(sqlite::migrate(*connection, {quota::kSchema, quota::kSchemaOfCaps}, path));
    fill(*connection, size, clock.now());
    auto writer = std::make_unique<sqlite::Writer>(
        sqlite::Writer::Options{.path = path, .open = {}, .on_corrupt = {}, .name = "ledger"},
        std::move(*connection)
    );
    auto reader = sqlite::Connection::open(path, {.mode = sqlite::Mode::kReadOnly});
    if (!reader) throw std::runtime_error(reader.error().detail);

    Measured measured;
    const auto began = Steady::now();
    auto opened = quota::Ledger::open(*reader, *writer, clock);
    if (!opened) throw std::runtime_error(opened.error().detail);
    measured.open_s = std::chrono::duration<double>(Steady::now() - began).count();
    quota::Ledger& ledger = **opened;
    writer->add(ledger);
    writer->start();

    const std::vector<config::CapSet> plans = make_caps(size);
    std::vector<quota::AccountId> accounts;
    accounts.reserve(size.keys);
    for (std::size_t key = 0; key < size.keys; ++key) {
        accounts.push_back(ledger.account("key" + std::to_string(key)));
    }
    constexpr int kRounds = 7;
    constexpr int kMessages = 20'000;
    std::mt19937_64 random(1);
    std::vector<double> rounds;
    for (int round = 0; round < kRounds; ++round) {
        double spent = 0;
        for (int i = 0; i < kMessages; ++i) {
            const std::size_t key = random() % size.keys;
            const quota::Level level{quota::Whose::kKey, accounts[key], &plans[key % plans.size()]};
            const double before = thread_us();
            auto decision = ledger.admit(
                {.key = accounts[key],
                 .levels = {&level, 1},
                 .model = "gpt-4",
                 .endpoint = "chat/completions",
                 .reserve = {700, 2000}}
            );
            if (!decision.admission) throw std::runtime_error("refused");
            decision.admission->reservation.charge(quota::Amounts{500, 1000});
            spent += thread_us() - before;
        }
        rounds.push_back(spent / kMessages);
    }
    std::ranges::sort(rounds);
    measured.decision_us = rounds[rounds.size() / 2];
    writer->stop();
    return measured;
}

}  // namespace

int main(int argc, char** argv) {
    std::string directory = (std::filesystem::temp_directory_path() / "weir-bench-XXXXXX").string();
    if (mkdtemp(directory.data()) == nullptr) return 1;
    const Size sizes[] = {
        {1, 1'000, 4, 1},
        {1'000, 10'000, 4, 10},
        {10'000, 100'000, 4, 50},
        {100'000, 1'000'000, 4, 250},  // 1,000 caps
        {100'000, 1'000'000, 1, 1'000},
        {100'000, 1'000'000, 2, 500},
        {100'000, 1'000'000, 10, 100},
        {100'000, 1'000'000, 20, 50},
    };
    nlohmann::json rows = nlohmann::json::array();
    std::printf(
        "%9s %9s %16s %9s %9s %12s\n",
        "keys",
        "history",
        "caps a message",
        "caps",
        "open s",
        "decision us"
    );
    for (const Size& size : sizes) {
        const Measured measured = measure(directory, size);
        std::printf(
            "%9zu %9zu %16zu %9zu %9.2f %12.2f\n",
            size.keys,
            size.history,
            size.caps,
            size.caps * size.plans,
            measured.open_s,
            measured.decision_us
        );
        std::fflush(stdout);
        rows.push_back(
            {{"keys", size.keys},
             {"history", size.history},
             {"caps_per_message", size.caps},
             {"caps", size.caps * size.plans},
             {"open_s", measured.open_s},
             {"decision_us", measured.decision_us}}
        );
    }
    if (argc > 1) std::ofstream(argv[1]) << rows.dump(2) << '\n';
    std::filesystem::remove_all(directory);
    return 0;
}
