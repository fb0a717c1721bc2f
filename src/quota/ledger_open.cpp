// The ledger's start, and the rare work that an administrator asks for.
#include <algorithm>
#include <unordered_map>
#include <utility>

#include <fmt/core.h>

#include "weir/base/log.hpp"
#include "weir/base/text.hpp"

#include "ledger_impl.hpp"

namespace weir::quota {

namespace {

constexpr std::uint64_t kMostGranted = 1'000'000'000;

// Rows by their ids, which are small and close together.
template <class T>
class ByRow {
public:
    void put(std::int64_t row, T value) {
        if (row < 0) return;
        const auto at = static_cast<std::size_t>(row);
        if (at >= kDense) {
            sparse_[row] = value;
            return;
        }
        if (dense_.size() <= at) dense_.resize(at + 1);
        dense_[at] = value;
    }
    [[nodiscard]] const T* find(std::int64_t row) const {
        if (row >= 0 && static_cast<std::size_t>(row) < dense_.size()) {
            const auto& found = dense_[static_cast<std::size_t>(row)];
            return found ? &*found : nullptr;
        }
        const auto found = sparse_.find(row);
        return found == sparse_.end() ? nullptr : &found->second;
    }

private:
    static constexpr std::size_t kDense = 1 << 22;
    std::vector<std::optional<T>> dense_;
    std::unordered_map<std::int64_t, T> sparse_;
};

}  // namespace

Result<> Ledger::Impl::load(sqlite::Connection& connection) {
    const Result<Journal::End> end = Journal::end(connection);
    if (!end) return std::unexpected(end.error());
    if (const auto behind = end->time - clock.now(); behind > std::chrono::seconds(1)) {
        log::warn(
            "the wall clock is behind the ledger: windows go on from the ledger's time",
            {{"behind", std::string_view(human_duration(behind))}}
        );
    }
    clock.start_at_least(end->time);
    last_time = end->time;
    last_sequence = end->sequence;
    decided = durable = last_sequence;
    const LedgerTime started = tick();
    const LedgerTime since = started - kHistory;
    prune_at = last_time;

    struct Reset {
        const Pattern* pattern;
        Sequence until;
    };
    ByRow<AccountId> accounts;
    ByRow<Subject*> subjects;
    std::unordered_map<AccountId, std::vector<Reset>> resets;
    LedgerTime newest = since;
    const Journal::Reader reader{
        .account =
            [&](const NamedRow& row) NO_LOCK_ANALYSIS {
                const AccountId id = book.load_account(row.row, row.name);
                book.at(id).stored = true;
                accounts.put(row.row, id);
            },
        .subject =
            [&](const SubjectRow& row) NO_LOCK_ANALYSIS {
                Subject* const subject = book.load_subject(row.row, row.model, row.endpoint);
                subject->stored = true;
                subjects.put(row.row, subject);
            },
        .opened =
            [&](OpenedRow row) NO_LOCK_ANALYSIS {
                const AccountId everybody = Book::kEverybody;
                const AccountId* const id =
                    row.account == 0 ? &everybody : accounts.find(row.account);
                if (id != nullptr) book.at(*id).load_opened(std::move(row.counter), row.at);
            },
        .grant =
            [&](Grant grant, const std::string& account) NO_LOCK_ANALYSIS {
                grants[book.account(Whose::kKey, account)].push_back(std::move(grant));
            },
        .reset =
            [&](const ResetRow& row) NO_LOCK_ANALYSIS {
                const Pattern& pattern = book.pattern(row.models, {});
                resets[book.account(Whose::kKey, row.account)].push_back({&pattern, row.until});
            },
        .message = [&](const MessageRow& row) NO_LOCK_ANALYSIS -> Result<> {
            const AccountId* const key = accounts.find(row.account);
            const AccountId* const team = row.team == 0 ? nullptr : accounts.find(row.team);
            Subject* const* const subject = subjects.find(row.subject);
            if (key == nullptr || subject == nullptr || (row.team != 0 && team == nullptr)) {
                return fail(
                    ErrorCode::kStorage,
                    fmt::format(
                        "the ledger is damaged: message {} belongs to no known account or model. "
                        "Restore it from a backup",
                        row.sequence
                    )
                );
            }
            // Written in order of time; if somebody edited them, later is the safe side.
            newest = std::max(newest, row.at);
            Entry entry;
            entry.at = newest;
            entry.sequence = row.sequence;
            entry.subject = *subject;
            entry.set(row.amounts);
            entry.granted = row.grant != 0;
            if (Grant* const grant = grant_of(*key, row.grant)) ++grant->used;
            if (const auto own = resets.find(*key); own != resets.end()) {
                entry.forgiven = std::ranges::any_of(own->second, [&](const Reset& reset) {
                    return row.sequence <= reset.until && reset.pattern->fits(*entry.subject);
                });
            }
            book.add(*key, team == nullptr ? kNobody : *team, entry);
            return {};
        }
    };
    if (Result<> read = Journal::load(connection, since, started, reader); !read) return read;
    book.drop_unused_subjects();
    if (newest > last_time) {
        clock.start_at_least(newest);
        last_time = newest;
    }
    return {};
}

Result<std::unique_ptr<Ledger>> Ledger::open(
    sqlite::Connection& connection, sqlite::Writer& writer, Clock& clock, std::size_t most_messages
) {
    auto impl = std::make_unique<Impl>(writer, clock, most_messages);
    if (const Result<> loaded = impl->load(connection); !loaded) {
        return std::unexpected(loaded.error());
    }
    return std::unique_ptr<Ledger>(new Ledger(std::move(impl)));
}

Result<Grant> Ledger::grant(
    AccountId key, std::string_view models, std::uint64_t messages, LedgerTime until
) {
    Grant grant{
        .id = 0, .models = std::string(models), .messages = messages, .used = 0, .until = until
    };
    std::string account;
    LedgerTime at;
    {
        MutexLock lock(impl_->mutex);
        account = impl_->book.at(key).name;
        at = impl_->tick();
    }
    if (messages == 0 || messages > kMostGranted || models.empty()) {
        return fail(
            ErrorCode::kBadRequest,
            fmt::format("a grant is of 1 to {} messages for a model or pattern", kMostGranted)
        );
    }
    if (until <= at || until - at > kHistory) {
        return fail(ErrorCode::kBadRequest, "a grant ends in the next 32 days");
    }
    const Result<> written = impl_->writer.run([&](sqlite::Connection& connection) {
        return Journal::add_grant(connection, account, grant, at);
    });
    if (!written) return std::unexpected(written.error());
    MutexLock lock(impl_->mutex);
    std::vector<Grant>& own = impl_->grants[key];
    std::erase_if(own, [at](const Grant& one) { return one.until <= at; });
    own.push_back(grant);
    return grant;
}

std::vector<Grant> Ledger::grants(AccountId key) {
    MutexLock lock(impl_->mutex);
    const auto own = impl_->grants.find(key);
    if (own == impl_->grants.end()) return {};
    const LedgerTime now = impl_->tick();
    std::erase_if(own->second, [now](const Grant& grant) { return grant.until <= now; });
    return own->second;
}

Result<std::uint64_t> Ledger::reset(AccountId key, std::string_view models) {
    ResetRow reset;
    {
        MutexLock lock(impl_->mutex);
        reset.account = impl_->book.at(key).name;
        reset.models = models;
        reset.until = impl_->last_sequence;
        reset.at = impl_->tick();
    }
    const Result<> written = impl_->writer.run([&](sqlite::Connection& connection) {
        return Journal::add_reset(connection, reset);
    });
    if (!written) return std::unexpected(written.error());
    MutexLock lock(impl_->mutex);
    const Pattern& pattern = impl_->book.pattern(reset.models, {});
    const std::uint64_t forgiven = impl_->book.at(key).forgive(reset.until, pattern, impl_->tick());
    return forgiven;
}

}  // namespace weir::quota
