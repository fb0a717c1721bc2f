// The ledger's rows: reading them at start, and writing batches. All but load() runs on the
// writer's thread, inside its transaction.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "weir/base/clock.hpp"
#include "weir/base/error.hpp"
#include "weir/quota/ledger.hpp"
#include "weir/sqlite/connection.hpp"

namespace weir::quota {

struct NamedRow {
    std::int64_t row = 0;
    std::string name;
};

struct SubjectRow {
    std::int64_t row = 0;
    std::string model;
    std::string endpoint;
};

struct MessageRow {
    Sequence sequence = 0;
    std::int64_t account = 0;
    std::int64_t team = 0;  // 0: none
    std::int64_t subject = 0;
    LedgerTime at;
    Amounts amounts;
    std::uint32_t grant = 0;  // 0: none
};

// What a message really used.
struct SettledRow {
    Sequence sequence = 0;
    Amounts amounts;
};

// When a fixed window opened last.
struct OpenedRow {
    std::int64_t account = 0;
    std::string counter;
    LedgerTime at;
};

struct ResetRow {
    std::string account;
    std::string models;
    Sequence until = 0;
    LedgerTime at;
};

// Sequences first..last; empty if last < first.
struct SequenceRange {
    Sequence first = 1;
    Sequence last = 0;
    [[nodiscard]] bool empty() const noexcept { return last < first; }
    [[nodiscard]] bool holds(Sequence sequence) const noexcept {
        return first <= sequence && sequence <= last;
    }
};

// What one transaction writes.
struct Batch {
    SequenceRange doubtful;                  // of failed commits: must not be there
    std::vector<std::int64_t> old_subjects;  // gone before new ones may take their names
    std::vector<NamedRow> accounts;
    std::vector<SubjectRow> subjects;
    std::vector<MessageRow> messages;
    std::vector<Sequence> refunds;
    std::vector<SettledRow> settled;
    std::vector<OpenedRow> opened;
    Sequence last_sequence = 0;
    LedgerTime last_time;
};

class Journal {
public:
    // Where the last run ended: no sequence or time before these is given again.
    struct End {
        Sequence sequence = 0;
        LedgerTime time;
    };
    struct Reader {
        std::function<void(NamedRow)> account;
        std::function<void(SubjectRow)> subject;
        std::function<void(OpenedRow)> opened;
        std::function<void(Grant, std::string account)> grant;  // those that still run
        std::function<void(ResetRow)> reset;
        std::function<Result<>(const MessageRow&)> message;  // behind all others, by sequence
    };
    [[nodiscard]] static Result<End> end(sqlite::Connection& connection);
    // Messages after `since` only.
    [[nodiscard]] static Result<> load(
        sqlite::Connection& connection, LedgerTime since, LedgerTime now, const Reader& reader
    );
    // In transactions of their own. The grant's id is made here.
    [[nodiscard]] static Result<> add_grant(
        sqlite::Connection& connection, std::string_view account, Grant& grant, LedgerTime at
    );
    [[nodiscard]] static Result<> add_reset(sqlite::Connection& connection, const ResetRow& reset);

    [[nodiscard]] Result<> prepare(sqlite::Connection& connection);
    void drop() noexcept { statements_ = {}; }
    [[nodiscard]] Result<> write(const Batch& batch);
    // Deletes messages of `until` and before, a bounded number, and what else is only as old as
    // they are; true: there may be more.
    [[nodiscard]] Result<bool> prune(LedgerTime until);

private:
    struct Statements {
        sqlite::Statement repair, drop_subject, add_account, add_subject, add_message, refund;
        sqlite::Statement settle, open, end;
        sqlite::Statement oldest, prune, prune_opened, prune_grants, prune_resets;
    };
    Statements statements_;
};

}  // namespace weir::quota
