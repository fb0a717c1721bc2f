#include <fmt/core.h>

#include "weir/sqlite/connection.hpp"

namespace weir::sqlite {
namespace {

Result<std::int64_t> schema_version(Connection& connection) {
    Result<Statement> statement = connection.prepare("PRAGMA user_version");
    if (!statement) return std::unexpected(statement.error());
    const Result<bool> row = statement->step();
    if (!row) return std::unexpected(row.error());
    return *row ? statement->integer(0) : 0;
}

}  // namespace

Result<> migrate(
    Connection& connection,
    std::initializer_list<std::string_view> migrations,
    std::string_view path
) {
    const Result<std::int64_t> found = schema_version(connection);
    if (!found) return std::unexpected(found.error());
    const auto known = static_cast<std::int64_t>(migrations.size());
    if (*found > known) {
        return fail(
            ErrorCode::kStorage,
            fmt::format(
                "{} was written by a newer Weir (schema {}, this one knows {}): run that version, "
                "or restore the backup from before the upgrade",
                path,
                *found,
                known
            )
        );
    }
    for (std::int64_t version = *found; version < known; ++version) {
        if (Result<> begun = connection.execute("BEGIN IMMEDIATE"); !begun) return begun;
        Result<> done = connection.execute(migrations.begin()[version]);
        if (done) done = connection.execute(fmt::format("PRAGMA user_version = {}", version + 1));
        if (done) done = connection.execute("COMMIT");
        if (!done) {
            // Some failures have rolled back already; then this one says so, and nobody cares.
            static_cast<void>(connection.execute("ROLLBACK"));
            return done;
        }
    }
    return {};
}

}  // namespace weir::sqlite
