// The ledger's rows: reading them at start, and writing batches. All but load() runs on the
// writer's thread, inside its transaction.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "weir/base/clock.hpp"
#include "weir/base/error.hpp"
#include "weir/quota/window.hpp"
#include "weir/sqlite/connection.hpp"

namespace weir::quota {

struct NamedRow {
    std::int64_t row = 0;
    std::string name;
};

struct MessageRow {
    Sequence sequence = 0;
    std::int64_t account = 0;
    std::int64_t model = 0;
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
    SequenceRange doubtful;                // of failed commits: must not be there
    std::vector<std::int64_t> old_models;  // gone before new ones may take their names
    std::vector<NamedRow> accounts;
    std::vector<NamedRow> models;
    std::vector<MessageRow> messages;
    std::vector<Sequence> refunds;
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
        std::function<void(NamedRow)> model;
        std::function<Result<>(const MessageRow&)> message;  // in order of sequence
    };
    [[nodiscard]] static Result<End> end(sqlite::Connection& connection);
    // Messages after `since` only.
    [[nodiscard]] static Result<> load(
        sqlite::Connection& connection, LedgerTime since, const Reader& reader
    );

    [[nodiscard]] Result<> prepare(sqlite::Connection& connection);
    void drop() noexcept { statements_ = {}; }
    [[nodiscard]] Result<> write(const Batch& batch);
    // Deletes messages of `until` and before, a bounded number; true: there may be more.
    [[nodiscard]] Result<bool> prune(LedgerTime until);

private:
    struct Statements {
        sqlite::Statement repair, drop_model, add_account, add_model, add_message, refund, end;
        sqlite::Statement oldest, prune;
    };
    Statements statements_;
};

}  // namespace weir::quota
