// All accounts and what their entries refer to: names, subjects, patterns. In memory, without I/O.
// Not thread-safe (the ledger locks).
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "account.hpp"

namespace weir::quota {

class Book {
public:
    // Told when the last entry of a stored subject is gone: its row may go.
    using SubjectGone = std::function<void(std::int64_t row)>;
    explicit Book(SubjectGone subject_gone);

    static constexpr AccountId kEverybody = 0;
    [[nodiscard]] AccountId account(Whose kind, std::string_view name);
    [[nodiscard]] Account& at(AccountId id) { return accounts_.at(id); }
    [[nodiscard]] std::size_t accounts() const noexcept { return accounts_.size(); }
    [[nodiscard]] std::size_t messages() const noexcept { return messages_; }

    // Reading the disk. Rows are the ids there; entries come in order. `stored_name` as name_of().
    AccountId load_account(std::int64_t row, std::string_view stored_name);
    Subject* load_subject(std::int64_t row, std::string_view model, std::string_view endpoint);
    // An account's name on disk: keys by their name, which has no colon; "team:research".
    [[nodiscard]] static std::string name_of(const Account& account);

    // The window of `cap` in the account, up to date. The index holds until Account::trim().
    [[nodiscard]] std::size_t counter(
        Account& account, const config::Cap& cap, const Moment& moment
    );
    [[nodiscard]] const Pattern& pattern(
        const std::string& models, const std::vector<std::string>& endpoints
    );

    [[nodiscard]] Subject* subject(std::string_view model, std::string_view endpoint);
    // Keeps a subject alive beside its entries, until release().
    static void hold(Subject* subject) noexcept { ++subject->entries; }
    void release(Subject* subject);
    // Drops subjects that load_subject() made and nothing refers to.
    void drop_unused_subjects();

    // Into the histories of the key, of its team (or kNobody) and of everybody.
    // REQUIRES: neither time nor sequence goes back.
    void add(AccountId key, AccountId team, const Entry& entry);
    // Out of all of them. False: it is not there (any more).
    bool remove(AccountId key, AccountId team, Sequence sequence);
    bool settle(
        AccountId key,
        AccountId team,
        Sequence sequence,
        const std::optional<Amounts>& used,
        LedgerTime now
    );
    // One that goes on has used that much by now. False: it is not there (any more).
    bool restate(
        AccountId key, AccountId team, Sequence sequence, const Amounts& amounts, LedgerTime now
    );
    // Forgets what no cap can ask for at `now`.
    void expire(Account& account, LedgerTime now);

private:
    using SubjectKey = std::pair<std::string_view, std::string_view>;

    SubjectGone subject_gone_;
    std::deque<Account> accounts_;
    std::unordered_map<std::string, AccountId> by_name_;       // as stored
    std::map<SubjectKey, std::unique_ptr<Subject>> subjects_;  // views into the subjects
    std::deque<Pattern> patterns_;
    std::int64_t next_account_row_ = 1;
    std::int64_t next_subject_row_ = 1;
    std::uint64_t uses_ = 0;
    std::size_t messages_ = 0;  // in the histories of keys
};

}  // namespace weir::quota
