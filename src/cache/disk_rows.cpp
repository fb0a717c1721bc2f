#include "disk_rows.hpp"

#include <utility>
#include <vector>

#include "entry_codec.hpp"

namespace weir::cache {

namespace {

// One batch, so that other work and checkpoints get their turn.
constexpr std::uint64_t kBatchEvictions = 512;
constexpr std::size_t kBatchClear = 256;
constexpr std::int64_t kBatchClearBytes = 32 << 20;
// Free pages are given back in these steps, when there are more than 5 % of them.
constexpr std::int64_t kFreePagesKept = 64;

}  // namespace

struct DiskRows::Statements {
    sqlite::Statement page_count, freelist_count;
    sqlite::Statement find, oldest, expired, last_id, scan, scan_hash;
    sqlite::Statement touch, insert_entry, insert_body, remove_entry, remove_body, totals;
};

DiskRows::DiskRows() = default;
DiskRows::~DiskRows() = default;

Result<> DiskRows::connect(sqlite::Connection& connection) {
    auto made = std::make_unique<Statements>();
    Result<> outcome;
    const auto prepare = [&](sqlite::Statement& statement, std::string_view literal) {
        if (!outcome) return;
        Result<sqlite::Statement> prepared = connection.prepare(literal);
        if (prepared) {
            statement = std::move(*prepared);
        } else {
            outcome = std::unexpected(std::move(prepared.error()));
        }
    };
    prepare(made->page_count, "PRAGMA page_count");
    prepare(made->freelist_count, "PRAGMA freelist_count");
    prepare(made->find, "SELECT id, size FROM entries WHERE hash = ?");
    prepare(made->oldest, "SELECT id, size FROM entries ORDER BY used_at, id LIMIT 1");
    prepare(made->expired, "SELECT id, size FROM entries WHERE expires_at <= ? LIMIT ?");
    prepare(made->last_id, "SELECT max(id) FROM entries");
    // Null stands for any. With an OR the index of hashes would not be used.
    prepare(
        made->scan,
        "SELECT id, size FROM entries WHERE id > ?1 AND id <= ?2 AND (?3 IS NULL OR model = ?3) "
        "AND (?4 IS NULL OR owner = ?4) ORDER BY id LIMIT ?5"
    );
    prepare(
        made->scan_hash,
        "SELECT id, size FROM entries WHERE id > ?1 AND id <= ?2 AND (?3 IS NULL OR model = ?3) "
        "AND (?4 IS NULL OR owner = ?4) AND hash = ?6 LIMIT ?5"
    );
    prepare(made->touch, "UPDATE entries SET used_at = ? WHERE hash = ?");
    prepare(
        made->insert_entry,
        "INSERT INTO entries (hash, model, owner, stored_at, expires_at, used_at, size) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)"
    );
    prepare(made->insert_body, "INSERT INTO bodies (id, packed, checksum) VALUES (?, ?, ?)");
    prepare(made->remove_entry, "DELETE FROM entries WHERE id = ?");
    prepare(made->remove_body, "DELETE FROM bodies WHERE id = ?");
    prepare(made->totals, "UPDATE totals SET entries = ?, bytes = ?");
    sqlite::Statement page_size;
    prepare(page_size, "PRAGMA page_size");
    sqlite::Statement totals;
    prepare(totals, "SELECT entries, bytes FROM totals");
    if (!outcome) return outcome;
    const Result<std::int64_t> size = ask(page_size);
    if (!size) return std::unexpected(size.error());
    page_size_ = *size;
    const Result<bool> row = totals.step();
    if (!row) return std::unexpected(row.error());
    totals_ = *row ? Totals{totals.integer(0), totals.integer(1)} : Totals{};
    totals.reset();
    statements_ = std::move(made);
    connection_ = &connection;
    return {};
}

void DiskRows::disconnect() noexcept {
    statements_.reset();
    connection_ = nullptr;
}

void DiskRows::begin() noexcept {
    evicted_ = 0;
    changed_ = false;
    used_at_most_.reset();
}

Result<bool> DiskRows::finish() {
    if (!changed_) return false;
    if (Result<> done = write_totals(); !done) return std::unexpected(std::move(done.error()));
    return true;
}

bool DiskRows::evicted_enough() const noexcept {
    return evicted_ >= kBatchEvictions;
}

Result<> DiskRows::write_totals() {
    statements_->totals.bind(1, totals_.entries).bind(2, totals_.bytes);
    return statements_->totals.run();
}

Result<std::int64_t> DiskRows::ask(sqlite::Statement& statement) {
    const Result<bool> row = statement.step();
    if (!row) return std::unexpected(row.error());
    const std::int64_t value = *row ? statement.integer(0) : 0;
    statement.reset();
    return value;
}

Result<std::int64_t> DiskRows::used_bytes() {
    const Result<std::int64_t> pages = ask(statements_->page_count);
    if (!pages) return pages;
    const Result<std::int64_t> unused = ask(statements_->freelist_count);
    if (!unused) return unused;
    return (*pages - *unused) * page_size_;
}

Result<std::optional<DiskRows::Row>> DiskRows::find(const Digest& hash) {
    sqlite::Statement& find = statements_->find;
    find.bind_blob(1, as_blob(hash));
    const Result<bool> row = find.step();
    if (!row) return std::unexpected(row.error());
    std::optional<Row> found;
    if (*row) found = Row{find.integer(0), find.integer(1)};
    find.reset();
    return found;
}

Result<> DiskRows::touch(const Digest& hash, std::int64_t now_s) {
    statements_->touch.bind(1, now_s).bind_blob(2, as_blob(hash));
    return statements_->touch.run();
}

Result<> DiskRows::remove(const Row& row) {
    statements_->remove_entry.bind(1, row.id);
    if (Result<> done = statements_->remove_entry.run(); !done) return done;
    statements_->remove_body.bind(1, row.id);
    if (Result<> done = statements_->remove_body.run(); !done) return done;
    --totals_.entries;
    totals_.bytes -= row.size;
    changed_ = true;
    return {};
}

Result<bool> DiskRows::remove(const Digest& hash) {
    const Result<std::optional<Row>> row = find(hash);
    if (!row) return std::unexpected(row.error());
    if (!*row) return false;
    if (Result<> done = remove(**row); !done) return std::unexpected(std::move(done.error()));
    return true;
}

Result<std::size_t> DiskRows::remove_expired(std::int64_t now_s) {
    std::vector<Row> rows;
    rows.reserve(kBatchExpired);
    sqlite::Statement& expired = statements_->expired;
    expired.bind(1, now_s).bind(2, static_cast<std::int64_t>(kBatchExpired));
    for (;;) {
        const Result<bool> row = expired.step();
        if (!row) return std::unexpected(row.error());
        if (!*row) break;
        rows.push_back({expired.integer(0), expired.integer(1)});
    }
    expired.reset();
    for (const Row& row : rows) {
        if (Result<> done = remove(row); !done) return std::unexpected(std::move(done.error()));
    }
    return rows.size();
}

std::int64_t DiskRows::cost(std::uint64_t bytes) const noexcept {
    // A page of either table may be begun, and the indexes grow.
    return (static_cast<std::int64_t>(bytes) / page_size_ + 3) * page_size_;
}

Result<std::int64_t> DiskRows::make_room(std::int64_t wanted_bytes, std::uint64_t max_bytes) {
    const auto most = static_cast<std::int64_t>(max_bytes);
    if (used_at_most_ && most - *used_at_most_ >= wanted_bytes) return most - *used_at_most_;
    for (;;) {
        const Result<std::int64_t> used = used_bytes();
        if (!used) return used;
        used_at_most_ = *used;
        const std::int64_t room = most - *used;
        if (room >= wanted_bytes || evicted_enough()) return room;
        sqlite::Statement& oldest = statements_->oldest;
        const Result<bool> found = oldest.step();
        if (!found) return std::unexpected(found.error());
        if (!*found) {
            oldest.reset();
            return room;
        }
        const Row row{oldest.integer(0), oldest.integer(1)};
        oldest.reset();
        if (Result<> done = remove(row); !done) return std::unexpected(std::move(done.error()));
        ++evicted_;
    }
}

Result<> DiskRows::insert(
    const Digest& hash, const Entry& entry, std::string_view packed, std::int64_t now_s, Place place
) {
    if (place == Place::kMayBeThere) {
        if (const Result<bool> removed = remove(hash); !removed) {
            return std::unexpected(removed.error());
        }
    }
    if (used_at_most_) *used_at_most_ += cost(packed.size());
    const auto size = static_cast<std::int64_t>(packed.size());
    sqlite::Statement& row = statements_->insert_entry;
    row.bind_blob(1, as_blob(hash))
        .bind(2, std::string_view(entry.model))
        .bind(3, std::string_view(entry.owner))
        .bind(4, entry.stored_at_s)
        .bind(5, entry.expires_at_s)
        .bind(6, now_s)
        .bind(7, size);
    if (Result<> done = row.run(); !done) return done;
    sqlite::Statement& body = statements_->insert_body;
    body.bind(1, connection_->last_rowid()).bind_blob(2, packed).bind(3, checksum(packed));
    if (Result<> done = body.run(); !done) return done;
    ++totals_.entries;
    totals_.bytes += size;
    changed_ = true;
    return {};
}

Result<bool> DiskRows::give_back_pages() {
    const Result<std::int64_t> pages = ask(statements_->page_count);
    if (!pages) return std::unexpected(pages.error());
    const Result<std::int64_t> unused = ask(statements_->freelist_count);
    if (!unused) return std::unexpected(unused.error());
    if (*unused <= kFreePagesKept || *unused * 20 <= *pages) return false;
    if (Result<> done = connection_->execute("PRAGMA incremental_vacuum(512)"); !done) {
        return std::unexpected(std::move(done.error()));
    }
    return true;
}

Result<> DiskRows::remove_some(const Which& which, Cursor& cursor) {
    const Totals before = totals_;
    Cursor next = cursor;
    Result<> done = remove_next(which, next);
    if (done) done = write_totals();
    if (done) {
        cursor = next;
    } else {
        totals_ = before;
    }
    return done;
}

Result<> DiskRows::remove_next(const Which& which, Cursor& cursor) {
    if (!cursor.end_id) {
        const Result<std::int64_t> last = ask(statements_->last_id);
        if (!last) return std::unexpected(last.error());
        cursor.end_id = *last;
    }
    const auto bind_text = [](sqlite::Statement& to, int at, const std::optional<std::string>& text
                           ) {
        if (text) {
            to.bind(at, std::string_view(*text));
        } else {
            to.bind_null(at);
        }
    };
    sqlite::Statement& scan = which.hash ? statements_->scan_hash : statements_->scan;
    scan.bind(1, cursor.last_id).bind(2, *cursor.end_id);
    bind_text(scan, 3, which.model);
    bind_text(scan, 4, which.owner);
    scan.bind(5, static_cast<std::int64_t>(kBatchClear));
    if (which.hash) scan.bind_blob(6, as_blob(*which.hash));
    std::vector<Row> rows;
    rows.reserve(kBatchClear);
    std::int64_t bytes = 0;
    while (bytes < kBatchClearBytes) {
        const Result<bool> row = scan.step();
        if (!row) return std::unexpected(row.error());
        if (!*row) {
            cursor.done = rows.size() < kBatchClear;
            break;
        }
        rows.push_back({scan.integer(0), scan.integer(1)});
        bytes += rows.back().size;
    }
    scan.reset();
    for (const Row& row : rows) {
        if (Result<> done = remove(row); !done) return done;
        cursor.last_id = row.id;
        ++cursor.removed;
    }
    return {};
}

}  // namespace weir::cache
