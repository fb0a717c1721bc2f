// The rows of cache.db, as its writing side sees them: put in, used, taken out, and the pages they
// leave given back. Everything in bounded steps, inside the caller's transaction. Writer thread
// only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "weir/cache/response_cache.hpp"
#include "weir/sqlite/connection.hpp"

namespace weir::cache {

// As SQLite takes it; borrows.
[[nodiscard]] inline std::string_view as_blob(const Digest& hash) noexcept {
    return {reinterpret_cast<const char*>(hash.data()), hash.size()};
}

class DiskRows {
public:
    // Rows that expired are taken out in steps of so many.
    static constexpr std::size_t kBatchExpired = 128;

    DiskRows();
    ~DiskRows();
    DiskRows(const DiskRows&) = delete;
    DiskRows& operator=(const DiskRows&) = delete;

    // The rest may be called between these two. REQUIRES: the connection lives until disconnect().
    Result<> connect(sqlite::Connection& connection);
    void disconnect() noexcept;

    struct Totals {
        std::int64_t entries = 0;
        std::int64_t bytes = 0;
    };
    // With what the transaction has changed so far.
    [[nodiscard]] Totals totals() const noexcept { return totals_; }

    // Before the first change of a transaction.
    void begin() noexcept;
    // Behind the last one: writes the totals. False: nothing was put in or taken out.
    Result<bool> finish();
    // Since begin().
    [[nodiscard]] std::uint64_t evicted() const noexcept { return evicted_; }
    [[nodiscard]] bool evicted_enough() const noexcept;

    Result<> touch(const Digest& hash, std::int64_t now_s);
    Result<bool> remove(const Digest& hash);
    // At most kBatchExpired; how many.
    Result<std::size_t> remove_expired(std::int64_t now_s);
    // About what a row of so many bytes adds to the file; more rather than less.
    [[nodiscard]] std::int64_t cost(std::uint64_t bytes) const noexcept;
    // Evicts what was used longest ago until `wanted_bytes` of `max_bytes` are free, all is gone,
    // or evicted_enough(). What is free then.
    Result<std::int64_t> make_room(std::int64_t wanted_bytes, std::uint64_t max_bytes);
    // Replaces the row of the same hash, or REQUIRES that there is none. `packed`: the entry as its
    // body will be.
    enum class Place : std::uint8_t { kMayBeThere, kNew };
    Result<> insert(
        const Digest& hash,
        const Entry& entry,
        std::string_view packed,
        std::int64_t now_s,
        Place place
    );
    // Free pages go back to the file system. False: there are few.
    Result<bool> give_back_pages();

    struct Cursor {
        std::int64_t last_id = 0;
        std::optional<std::int64_t> end_id;  // rows behind it were stored later
        std::uint64_t removed = 0;
        bool done = false;
    };
    // The next of these rows behind the cursor. A transaction of its own.
    Result<> remove_some(const Which& which, Cursor& cursor);

private:
    struct Statements;
    struct Row {
        std::int64_t id = 0;
        std::int64_t size = 0;
    };

    Result<std::int64_t> ask(sqlite::Statement& statement);
    Result<std::int64_t> used_bytes();
    Result<std::optional<Row>> find(const Digest& hash);
    Result<> remove(const Row& row);
    Result<> remove_next(const Which& which, Cursor& cursor);
    Result<> write_totals();

    sqlite::Connection* connection_ = nullptr;
    std::unique_ptr<Statements> statements_;
    Totals totals_;
    bool changed_ = false;  // since begin()
    std::uint64_t evicted_ = 0;
    // At least what the file uses, as long as rows are only put in: to ask SQLite before each of
    // them costs as much as a quarter of putting it in. Since begin(); unknown until it is asked.
    std::optional<std::int64_t> used_at_most_;
    std::int64_t page_size_ = 4096;
};

}  // namespace weir::cache
