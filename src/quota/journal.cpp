#include "journal.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

#include "weir/quota/ledger.hpp"

#include "account.hpp"

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

// A message is of a model at an endpoint now, in up to three histories, and used tokens and money.
// Messages from before have none of these: their endpoint '' is covered by every cap.
const std::string_view kSchemaOfCaps = R"sql(
CREATE TABLE subjects(
    id INTEGER PRIMARY KEY,
    model TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    UNIQUE(model, endpoint)
) STRICT;
INSERT INTO subjects(id, model, endpoint) SELECT id, name, '' FROM models;
DROP TABLE models;
ALTER TABLE messages RENAME COLUMN model TO subject;
ALTER TABLE messages ADD COLUMN team INTEGER NOT NULL DEFAULT 0;
ALTER TABLE messages ADD COLUMN tokens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE messages ADD COLUMN nano_usd INTEGER NOT NULL DEFAULT 0;
ALTER TABLE messages ADD COLUMN grant_id INTEGER NOT NULL DEFAULT 0;
CREATE TABLE fixed_windows(
    account INTEGER NOT NULL,
    counter TEXT NOT NULL,
    opened_us INTEGER NOT NULL,
    PRIMARY KEY(account, counter)
) STRICT, WITHOUT ROWID;
CREATE TABLE grants(
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account TEXT NOT NULL,
    models TEXT NOT NULL,
    messages INTEGER NOT NULL,
    until_us INTEGER NOT NULL,
    made_us INTEGER NOT NULL
) STRICT;
CREATE TABLE resets(
    id INTEGER PRIMARY KEY,
    account TEXT NOT NULL,
    models TEXT NOT NULL,
    seq INTEGER NOT NULL,
    at_us INTEGER NOT NULL
) STRICT;
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
        // A reset may name messages that never came to the disk: were their sequences given again,
        // it would forgive those that got them.
        "SELECT max(seq), max(at_us) FROM (SELECT seq, at_us FROM ledger_end "
        "UNION ALL SELECT seq, at_us FROM resets UNION ALL SELECT seq, at_us FROM "
        "(SELECT seq, at_us FROM messages ORDER BY seq DESC LIMIT 1))",
        [&end](const sqlite::Statement& row) -> Result<> {
            end.sequence = static_cast<Sequence>(row.integer(0));
            end.time = ledger_time_us(row.integer(1));
            return {};
        }
    );
    if (!read) return std::unexpected(read.error());
    return end;
}

Result<> Journal::load(
    sqlite::Connection& connection, LedgerTime since, LedgerTime now, const Reader& reader
) {
    using Row = sqlite::Statement;
    Result<> read = each_row(
        connection,
        "SELECT id, name FROM accounts ORDER BY id",
        [&reader](const Row& row) -> Result<> {
            reader.account({row.integer(0), std::string(row.text(1))});
            return {};
        }
    );
    if (!read) return read;
    read = each_row(
        connection,
        "SELECT id, model, endpoint FROM subjects ORDER BY id",
        [&reader](const Row& row) -> Result<> {
            reader.subject({row.integer(0), std::string(row.text(1)), std::string(row.text(2))});
            return {};
        }
    );
    if (!read) return read;
    read = each_row(
        connection,
        "SELECT account, counter, opened_us FROM fixed_windows",
        [&reader](const Row& row) -> Result<> {
            reader.opened({row.integer(0), std::string(row.text(1)), ledger_time_us(row.integer(2))}
            );
            return {};
        }
    );
    if (!read) return read;
    read = each_row(
        connection,
        "SELECT id, account, models, messages, until_us FROM grants WHERE until_us > ?1 "
        "ORDER BY id",
        [&reader](const Row& row) -> Result<> {
            reader.grant(
                {.id = static_cast<std::uint32_t>(row.integer(0)),
                 .models = std::string(row.text(2)),
                 .messages = static_cast<std::uint64_t>(row.integer(3)),
                 .used = 0,
                 .until = ledger_time_us(row.integer(4))},
                std::string(row.text(1))
            );
            return {};
        },
        to_us(now)
    );
    if (!read) return read;
    read = each_row(
        connection,
        "SELECT account, models, seq, at_us FROM resets ORDER BY id",
        [&reader](const Row& row) -> Result<> {
            reader.reset(
                {std::string(row.text(0)),
                 std::string(row.text(1)),
                 static_cast<Sequence>(row.integer(2)),
                 ledger_time_us(row.integer(3))}
            );
            return {};
        }
    );
    if (!read) return read;
    return each_row(
        connection,
        "SELECT seq, account, subject, at_us, team, tokens, nano_usd, grant_id FROM messages "
        "WHERE at_us > ?1 ORDER BY seq",
        [&reader](const Row& row) {
            return reader.message(
                {.sequence = static_cast<Sequence>(row.integer(0)),
                 .account = row.integer(1),
                 .team = row.integer(4),
                 .subject = row.integer(2),
                 .at = ledger_time_us(row.integer(3)),
                 .amounts =
                     {static_cast<std::uint64_t>(row.integer(5)),
                      static_cast<std::uint64_t>(row.integer(6))},
                 .grant = static_cast<std::uint32_t>(row.integer(7))}
            );
        },
        to_us(since)
    );
}

Result<> Journal::add_grant(
    sqlite::Connection& connection, std::string_view account, Grant& grant, LedgerTime at
) {
    auto add = connection.prepare(
        "INSERT INTO grants(account, models, messages, until_us, made_us) "
        "VALUES (?1, ?2, ?3, ?4, ?5)"
    );
    if (!add) return std::unexpected(add.error());
    add->bind(1, account).bind(2, std::string_view(grant.models));
    add->bind(3, static_cast<std::int64_t>(grant.messages)).bind(4, to_us(grant.until));
    if (Result<> done = add->bind(5, to_us(at)).run(); !done) return done;
    grant.id = static_cast<std::uint32_t>(connection.last_rowid());
    return {};
}

Result<> Journal::add_reset(sqlite::Connection& connection, const ResetRow& reset) {
    auto add =
        connection.prepare("INSERT INTO resets(account, models, seq, at_us) VALUES (?1, ?2, ?3, ?4)"
        );
    if (!add) return std::unexpected(add.error());
    add->bind(1, std::string_view(reset.account)).bind(2, std::string_view(reset.models));
    return add->bind(3, as_row(reset.until)).bind(4, to_us(reset.at)).run();
}

Result<> Journal::prepare(sqlite::Connection& connection) {
    struct Wanted {
        sqlite::Statement& statement;
        std::string_view sql;
    };
    Statements made;
    const Wanted wanted[] = {
        {made.repair, "DELETE FROM messages WHERE seq BETWEEN ?1 AND ?2"},
        {made.drop_subject, "DELETE FROM subjects WHERE id = ?1"},
        // Both may be there already: after a commit that failed and yet came through.
        {made.add_account, "INSERT OR IGNORE INTO accounts(id, name) VALUES (?1, ?2)"},
        {made.add_subject, "INSERT OR IGNORE INTO subjects(id, model, endpoint) VALUES (?1, ?2, ?3)"
        },
        {made.add_message,
         "INSERT INTO messages(seq, account, subject, at_us, team, tokens, nano_usd, grant_id) "
         "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"},
        {made.refund, "DELETE FROM messages WHERE seq = ?1"},
        {made.settle, "UPDATE messages SET tokens = ?2, nano_usd = ?3 WHERE seq = ?1"},
        {made.open,
         "INSERT OR REPLACE INTO fixed_windows(account, counter, opened_us) VALUES (?1, ?2, ?3)"},
        {made.end, "UPDATE ledger_end SET seq = ?1, at_us = ?2"},
        {made.oldest,
         "SELECT max(seq), count(*) FROM (SELECT seq, at_us FROM messages ORDER BY seq LIMIT ?1) "
         "WHERE at_us <= ?2"},
        {made.prune, "DELETE FROM messages WHERE seq <= ?1"},
        {made.prune_opened, "DELETE FROM fixed_windows WHERE opened_us <= ?1"},
        {made.prune_grants, "DELETE FROM grants WHERE until_us <= ?1"},
        {made.prune_resets, "DELETE FROM resets WHERE at_us <= ?1"},
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
    for (const std::int64_t row : batch.old_subjects) {
        if (done = to.drop_subject.bind(1, row).run(); !done) return done;
    }
    for (const NamedRow& account : batch.accounts) {
        to.add_account.bind(1, account.row).bind(2, std::string_view(account.name));
        if (done = to.add_account.run(); !done) return done;
    }
    for (const SubjectRow& subject : batch.subjects) {
        to.add_subject.bind(1, subject.row).bind(2, std::string_view(subject.model));
        to.add_subject.bind(3, std::string_view(subject.endpoint));
        if (done = to.add_subject.run(); !done) return done;
    }
    for (const MessageRow& message : batch.messages) {
        to.add_message.bind(1, as_row(message.sequence))
            .bind(2, message.account)
            .bind(3, message.subject)
            .bind(4, to_us(message.at))
            .bind(5, message.team)
            .bind(6, as_row(message.amounts.tokens))
            .bind(7, as_row(message.amounts.money))
            .bind(8, static_cast<std::int64_t>(message.grant));
        if (done = to.add_message.run(); !done) return done;
    }
    for (const SettledRow& settled : batch.settled) {
        to.settle.bind(1, as_row(settled.sequence))
            .bind(2, as_row(settled.amounts.tokens))
            .bind(3, as_row(settled.amounts.money));
        if (done = to.settle.run(); !done) return done;
    }
    for (const Sequence sequence : batch.refunds) {
        if (done = to.refund.bind(1, as_row(sequence)).run(); !done) return done;
    }
    for (const OpenedRow& opened : batch.opened) {
        to.open.bind(1, opened.account).bind(2, std::string_view(opened.counter));
        if (done = to.open.bind(3, to_us(opened.at)).run(); !done) return done;
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
    if (count > 0) {
        const Result<> done = statements_.prune.bind(1, last).run();
        if (!done) return std::unexpected(done.error());
    }
    if (count == kPruneStep) return true;
    // A window tells which messages lie in it, lest one of those is taken for the first of another:
    // it stays until they are gone as well.
    Result<> done = statements_.prune_opened.bind(1, to_us(until - kHistory)).run();
    for (sqlite::Statement* const other : {&statements_.prune_grants, &statements_.prune_resets}) {
        if (done) done = other->bind(1, to_us(until)).run();
    }
    if (!done) return std::unexpected(done.error());
    return false;
}

}  // namespace weir::quota
