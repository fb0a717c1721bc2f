#include "journal.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

#include "weir/quota/ledger.hpp"

namespace weir::quota {

// `ledger_end` outlives the rows: the newest message may be refunded or pruned, its sequence and
// its time are still not given again. No foreign keys: a model's row would be looked for in all
// messages when it goes, and load() checks what it reads.
const std::string_view kSchema = R"sql(
CREATE TABLE accounts(
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;
CREATE TABLE models(
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;
CREATE TABLE messages(
    seq INTEGER PRIMARY KEY,
    account INTEGER NOT NULL,
    model INTEGER NOT NULL,
    at_us INTEGER NOT NULL
) STRICT;
CREATE TABLE ledger_end(
    id INTEGER PRIMARY KEY CHECK (id = 1),
    seq INTEGER NOT NULL,
    at_us INTEGER NOT NULL
) STRICT;
INSERT INTO ledger_end(id, seq, at_us) VALUES (1, 0, 0);
)sql";

namespace {

constexpr std::int64_t kPruneStep = 1000;

std::int64_t as_row(Sequence sequence) noexcept {
    return static_cast<std::int64_t>(sequence);
}

Result<> each_row(
    sqlite::Connection& connection,
    std::string_view sql,
    const std::function<Result<>(const sqlite::Statement&)>& use,
    std::optional<std::int64_t> parameter = std::nullopt
) {
    Result<sqlite::Statement> statement = connection.prepare(sql);
    if (!statement) return std::unexpected(statement.error());
    if (parameter) statement->bind(1, *parameter);
    for (;;) {
        const Result<bool> row = statement->step();
        if (!row) return std::unexpected(row.error());
        if (!*row) return {};
        if (Result<> used = use(*statement); !used) return used;
    }
}

}  // namespace

Result<Journal::End> Journal::end(sqlite::Connection& connection) {
    End end;
    const Result<> read = each_row(
        connection,
        "SELECT max(seq), max(at_us) FROM (SELECT seq, at_us FROM ledger_end UNION ALL SELECT seq, "
        "at_us FROM (SELECT seq, at_us FROM messages ORDER BY seq DESC LIMIT 1))",
        [&end](const sqlite::Statement& row) -> Result<> {
            end.sequence = static_cast<Sequence>(row.integer(0));
            end.time = ledger_time_us(row.integer(1));
            return {};
        }
    );
    if (!read) return std::unexpected(read.error());
    return end;
}

Result<> Journal::load(sqlite::Connection& connection, LedgerTime since, const Reader& reader) {
    Result<> read = each_row(
        connection,
        "SELECT id, name FROM accounts ORDER BY id",
        [&reader](const sqlite::Statement& row) -> Result<> {
            reader.account({row.integer(0), std::string(row.text(1))});
            return {};
        }
    );
    if (!read) return read;
    read = each_row(
        connection,
        "SELECT id, name FROM models ORDER BY id",
        [&reader](const sqlite::Statement& row) -> Result<> {
            reader.model({row.integer(0), std::string(row.text(1))});
            return {};
        }
    );
    if (!read) return read;
    return each_row(
        connection,
        "SELECT seq, account, model, at_us FROM messages WHERE at_us > ?1 ORDER BY seq",
        [&reader](const sqlite::Statement& row) {
            return reader.message(
                {static_cast<Sequence>(row.integer(0)),
                 row.integer(1),
                 row.integer(2),
                 ledger_time_us(row.integer(3))}
            );
        },
        to_us(since)
    );
}

Result<> Journal::prepare(sqlite::Connection& connection) {
    struct Wanted {
        sqlite::Statement& statement;
        std::string_view sql;
    };
    Statements made;
    const Wanted wanted[] = {
        {made.repair, "DELETE FROM messages WHERE seq BETWEEN ?1 AND ?2"},
        {made.drop_model, "DELETE FROM models WHERE id = ?1"},
        // Both may be there already: after a commit that failed and yet came through.
        {made.add_account, "INSERT OR IGNORE INTO accounts(id, name) VALUES (?1, ?2)"},
        {made.add_model, "INSERT OR IGNORE INTO models(id, name) VALUES (?1, ?2)"},
        {made.add_message,
         "INSERT INTO messages(seq, account, model, at_us) VALUES (?1, ?2, ?3, ?4)"},
        {made.refund, "DELETE FROM messages WHERE seq = ?1"},
        {made.end, "UPDATE ledger_end SET seq = ?1, at_us = ?2"},
        {made.oldest,
         "SELECT max(seq), count(*) FROM (SELECT seq, at_us FROM messages ORDER BY seq LIMIT ?1) "
         "WHERE at_us <= ?2"},
        {made.prune, "DELETE FROM messages WHERE seq <= ?1"},
    };
    for (const Wanted& one : wanted) {
        Result<sqlite::Statement> statement = connection.prepare(one.sql);
        if (!statement) return std::unexpected(statement.error());
        one.statement = std::move(*statement);
    }
    statements_ = std::move(made);
    return {};
}

Result<> Journal::write(const Batch& batch) {
    Statements& to = statements_;
    Result<> done;
    if (!batch.doubtful.empty()) {
        to.repair.bind(1, as_row(batch.doubtful.first)).bind(2, as_row(batch.doubtful.last));
        if (done = to.repair.run(); !done) return done;
    }
    for (const std::int64_t row : batch.old_models) {
        if (done = to.drop_model.bind(1, row).run(); !done) return done;
    }
    for (const NamedRow& account : batch.accounts) {
        to.add_account.bind(1, account.row).bind(2, std::string_view(account.name));
        if (done = to.add_account.run(); !done) return done;
    }
    for (const NamedRow& model : batch.models) {
        to.add_model.bind(1, model.row).bind(2, std::string_view(model.name));
        if (done = to.add_model.run(); !done) return done;
    }
    for (const MessageRow& message : batch.messages) {
        to.add_message.bind(1, as_row(message.sequence))
            .bind(2, message.account)
            .bind(3, message.model)
            .bind(4, to_us(message.at));
        if (done = to.add_message.run(); !done) return done;
    }
    for (const Sequence sequence : batch.refunds) {
        if (done = to.refund.bind(1, as_row(sequence)).run(); !done) return done;
    }
    to.end.bind(1, as_row(batch.last_sequence)).bind(2, to_us(batch.last_time));
    return to.end.run();
}

Result<bool> Journal::prune(LedgerTime until) {
    sqlite::Statement& oldest = statements_.oldest;
    const Result<bool> row = oldest.bind(1, kPruneStep).bind(2, to_us(until)).step();
    if (!row) return std::unexpected(row.error());
    const std::int64_t last = oldest.integer(0);
    const std::int64_t count = oldest.integer(1);
    oldest.reset();
    if (count == 0) return false;
    if (const Result<> done = statements_.prune.bind(1, last).run(); !done) {
        return std::unexpected(done.error());
    }
    return count == kPruneStep;
}

}  // namespace weir::quota
