// What the ledger knows, in memory and without I/O: accounts, the messages of the last 32 days of
// each, and the windows that caps have asked for. Not thread-safe (the ledger locks).
//
// Windows are made from the messages when a cap first asks, so that a changed cap sees the same
// history, and are kept up with every message from then on, whichever caps it was admitted by.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "weir/base/clock.hpp"
#include "weir/config/cap.hpp"
#include "weir/quota/window.hpp"

namespace weir::quota {

using AccountId = std::uint32_t;

// The longest span of a cap, and how long messages are kept.
constexpr std::chrono::hours kHistory{32 * 24};

// A served model's name; lives as long as a message refers to it, since anybody may make names up.
struct Model {
    std::string name;
    std::int64_t row = 0;
    std::uint64_t messages = 0;  // and holds
    bool stored = false;         // its row is on disk or in a batch
};

struct Message {
    LedgerTime at;
    Sequence sequence = 0;
    Model* model = nullptr;
};

struct Account {
    std::string name;
    std::int64_t row = 0;
    bool stored = false;
    std::vector<Message> messages;  // live ones are [first, end), sorted by time and sequence
    std::size_t first = 0;
    struct Counter {
        std::string models;
        Window window;
        std::uint64_t last_use = 0;
    };
    std::vector<Counter> counters;

    [[nodiscard]] std::size_t live() const noexcept { return messages.size() - first; }
};

class Book {
public:
    // Told when the last message of a stored model is gone: its row may go.
    using ModelGone = std::function<void(std::int64_t row)>;
    explicit Book(ModelGone model_gone) : model_gone_(std::move(model_gone)) {}

    [[nodiscard]] AccountId account(std::string_view name);
    [[nodiscard]] Account& at(AccountId id) { return accounts_.at(id); }
    [[nodiscard]] std::size_t accounts() const noexcept { return accounts_.size(); }
    [[nodiscard]] std::size_t messages() const noexcept { return messages_; }

    // Reading the disk. Rows are the ids there; messages come in order.
    AccountId load_account(std::int64_t row, std::string_view name);
    Model* load_model(std::int64_t row, std::string_view name);

    // The window of `cap`, up to date at `now`. Valid until the next call.
    [[nodiscard]] Window& window(Account& account, const config::Cap& cap, LedgerTime now);
    // REQUIRES: neither time nor sequence goes back.
    Model* add(Account& account, LedgerTime at, Sequence sequence, std::string_view model);
    void add(Account& account, LedgerTime at, Sequence sequence, Model* model);
    // Keeps a model alive beside its messages, until release().
    static void hold(Model* model) noexcept { ++model->messages; }
    void release(Model* model);
    // False: it is not there (any more).
    bool remove(Account& account, Sequence sequence);
    // Drops the windows that were not asked for lately; `in_use` is how many caps ask.
    static void trim(Account& account, std::size_t in_use);
    // Forgets what no cap can ask for at `now`.
    void expire(Account& account, LedgerTime now);
    // Drops models that load_model() made and nothing refers to.
    void drop_unused_models();

private:
    Model* intern(std::string_view name);

    ModelGone model_gone_;
    std::deque<Account> accounts_;
    std::unordered_map<std::string_view, AccountId> by_name_;              // views into accounts_
    std::unordered_map<std::string_view, std::unique_ptr<Model>> models_;  // views into the models
    std::int64_t next_account_row_ = 1;
    std::int64_t next_model_row_ = 1;
    std::uint64_t uses_ = 0;
    std::size_t messages_ = 0;  // of all accounts
};

}  // namespace weir::quota
