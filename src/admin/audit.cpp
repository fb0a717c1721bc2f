#include "weir/admin/audit.hpp"

#include <chrono>
#include <utility>

#include "weir/sqlite/connection.hpp"

namespace weir::admin {

namespace {

constexpr std::size_t kLongestText = 512;  // of one column; patterns come from outside

// At a whole character.
std::string_view shortened(std::string_view text) noexcept {
    if (text.size() <= kLongestText) return text;
    std::size_t end = kLongestText;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;
    return text.substr(0, end);
}

Result<> insert(sqlite::Connection& connection, const Act& act, WallTime at) {
    auto row = connection.prepare(
        "INSERT INTO audit (at_us, actor, act, subject, detail) VALUES (?, ?, ?, ?, ?)"
    );
    if (!row) return std::unexpected(row.error());
    row->bind(1, at.time_since_epoch().count());
    row->bind(2, shortened(act.actor));
    row->bind(3, shortened(act.what));
    row->bind(4, shortened(act.subject));
    row->bind(5, shortened(act.detail));
    if (auto done = row->run(); !done) return done;
    // Ids have no gaps: rows leave at the old end only.
    auto old = connection.prepare("DELETE FROM audit WHERE id <= ?");
    if (!old) return std::unexpected(old.error());
    const auto most = static_cast<std::int64_t>(AuditTrail::kMostRows);
    old->bind(1, connection.last_rowid() - most);
    return old->run();
}

}  // namespace

constinit const std::string_view kSchema =
    "CREATE TABLE audit ("
    " id INTEGER PRIMARY KEY,"
    " at_us INTEGER NOT NULL,"
    " actor TEXT NOT NULL,"
    " act TEXT NOT NULL,"
    " subject TEXT NOT NULL,"
    " detail TEXT NOT NULL"
    ") STRICT;";

Result<> AuditTrail::add(const Act& act, WallTime at) {
    return writer_.run([&act, at](sqlite::Connection& connection) {
        return insert(connection, act, at);
    });
}

Result<std::vector<AuditRow>> AuditTrail::newest(std::size_t limit) const {
    // Asked for now and then: no connection is kept for it.
    auto reader = sqlite::Connection::open(path_, {.mode = sqlite::Mode::kReadOnly});
    if (!reader) return std::unexpected(reader.error());
    auto rows = reader->prepare(
        "SELECT id, at_us, actor, act, subject, detail FROM audit ORDER BY id DESC LIMIT ?"
    );
    if (!rows) return std::unexpected(rows.error());
    rows->bind(1, static_cast<std::int64_t>(limit));
    std::vector<AuditRow> found;
    while (true) {
        const auto more = rows->step();
        if (!more) return std::unexpected(more.error());
        if (!*more) return found;
        AuditRow& row = found.emplace_back();
        row.id = rows->integer(0);
        row.at = WallTime(std::chrono::microseconds(rows->integer(1)));
        row.act = {
            .actor = std::string(rows->text(2)),
            .what = std::string(rows->text(3)),
            .subject = std::string(rows->text(4)),
            .detail = std::string(rows->text(5))
        };
    }
}

}  // namespace weir::admin
