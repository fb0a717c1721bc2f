#include "book.hpp"

#include <algorithm>
#include <utility>

namespace weir::quota {
namespace {

constexpr std::string_view kTeam = "team:";
constexpr std::string_view kAll = "all:";

}  // namespace

Book::Book(SubjectGone subject_gone) : subject_gone_(std::move(subject_gone)) {
    static_cast<void>(account(Whose::kAll, {}));  // kEverybody
}

std::string Book::name_of(const Account& account) {
    if (account.kind == Whose::kKey) return account.name;
    return std::string(account.kind == Whose::kTeam ? kTeam : kAll) + account.name;
}

AccountId Book::account(Whose kind, std::string_view name) {
    std::string stored(kind == Whose::kKey ? "" : kind == Whose::kTeam ? kTeam : kAll);
    stored += name;
    if (const auto found = by_name_.find(stored); found != by_name_.end()) return found->second;
    return load_account(kind == Whose::kAll ? 0 : next_account_row_, stored);
}

AccountId Book::load_account(std::int64_t row, std::string_view stored_name) {
    const auto id = static_cast<AccountId>(accounts_.size());
    Account& account = accounts_.emplace_back();
    account.row = row;
    account.name = stored_name;
    for (const auto& [prefix, kind] : {std::pair{kTeam, Whose::kTeam}, {kAll, Whose::kAll}}) {
        if (!stored_name.starts_with(prefix)) continue;
        account.kind = kind;
        account.name = stored_name.substr(prefix.size());
    }
    by_name_.emplace(stored_name, id);
    next_account_row_ = std::max(next_account_row_, row + 1);
    return id;
}

Subject* Book::load_subject(std::int64_t row, std::string_view model, std::string_view endpoint) {
    auto made = std::make_unique<Subject>();
    made->model = model;
    made->endpoint = endpoint;
    made->row = row;
    next_subject_row_ = std::max(next_subject_row_, row + 1);
    Subject* const raw = made.get();
    subjects_.emplace(SubjectKey(raw->model, raw->endpoint), std::move(made));
    return raw;
}

Subject* Book::subject(std::string_view model, std::string_view endpoint) {
    const auto found = subjects_.find(SubjectKey(model, endpoint));
    if (found != subjects_.end()) return found->second.get();
    return load_subject(next_subject_row_, model, endpoint);
}

void Book::release(Subject* subject) {
    if (--subject->entries > 0) return;
    if (subject->stored) subject_gone_(subject->row);
    subjects_.erase(SubjectKey(subject->model, subject->endpoint));
}

void Book::drop_unused_subjects() {
    std::erase_if(subjects_, [this](const auto& entry) {
        const Subject& subject = *entry.second;
        if (subject.entries > 0) return false;
        if (subject.stored) subject_gone_(subject.row);
        return true;
    });
}

const Pattern& Book::pattern(const std::string& models, const std::vector<std::string>& endpoints) {
    for (const Pattern& pattern : patterns_) {
        if (pattern.models == models && pattern.endpoints == endpoints) return pattern;
    }
    return patterns_.emplace_back(Pattern{patterns_.size(), models, endpoints});
}

std::size_t Book::counter(Account& account, const config::Cap& cap, const Moment& moment) {
    return account.counter(cap, moment, ++uses_, [this](const config::Cap& one) -> const Pattern& {
        return pattern(one.models, one.endpoints);
    });
}

void Book::add(AccountId key, AccountId team, const Entry& entry) {
    Entry shared = entry;
    shared.granted = shared.forgiven = false;
    at(key).add(entry);
    at(kEverybody).add(shared);
    entry.subject->entries += 2;
    if (team != kNobody) {
        at(team).add(shared);
        ++entry.subject->entries;
    }
    ++messages_;
}

bool Book::remove(AccountId key, AccountId team, Sequence sequence) {
    bool there = false;
    for (const AccountId id : {key, team, AccountId{kEverybody}}) {
        if (id == kNobody) continue;
        Subject* const subject = at(id).remove(sequence);
        if (subject == nullptr) continue;
        if (id == key) {
            there = true;
            --messages_;
        }
        release(subject);
        at(id).compact();
    }
    return there;
}

bool Book::settle(
    AccountId key,
    AccountId team,
    Sequence sequence,
    const std::optional<Amounts>& used,
    LedgerTime now
) {
    if (!at(key).settle(sequence, used, now)) return false;
    at(kEverybody).settle(sequence, used, now);
    if (team != kNobody) at(team).settle(sequence, used, now);
    return true;
}

bool Book::restate(
    AccountId key, AccountId team, Sequence sequence, const Amounts& amounts, LedgerTime now
) {
    if (!at(key).restate(sequence, amounts, now)) return false;
    at(kEverybody).restate(sequence, amounts, now);
    if (team != kNobody) at(team).restate(sequence, amounts, now);
    return true;
}

void Book::expire(Account& account, LedgerTime now) {
    account.expire(now, [&](const Entry& entry) {
        if (account.kind == Whose::kKey) --messages_;
        release(entry.subject);
    });
}

}  // namespace weir::quota
