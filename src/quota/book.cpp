#include "book.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

#include "weir/base/text.hpp"

namespace weir::quota {
namespace {

// Windows an account keeps at least; a plan with more caps than that keeps twice as many as it has
// in use. Dropping one is never wrong: it is made again from the messages.
constexpr std::size_t kCounters = 16;

}  // namespace

AccountId Book::account(std::string_view name) {
    if (const auto found = by_name_.find(name); found != by_name_.end()) return found->second;
    return load_account(next_account_row_, name);
}

AccountId Book::load_account(std::int64_t row, std::string_view name) {
    const auto id = static_cast<AccountId>(accounts_.size());
    Account& account = accounts_.emplace_back();
    account.name = name;
    account.row = row;
    by_name_.emplace(account.name, id);
    next_account_row_ = std::max(next_account_row_, row + 1);
    return id;
}

Model* Book::load_model(std::int64_t row, std::string_view name) {
    auto model = std::make_unique<Model>();
    model->name = name;
    model->row = row;
    next_model_row_ = std::max(next_model_row_, row + 1);
    Model* const raw = model.get();
    models_.emplace(raw->name, std::move(model));
    return raw;
}

Model* Book::intern(std::string_view name) {
    if (const auto found = models_.find(name); found != models_.end()) return found->second.get();
    return load_model(next_model_row_, name);
}

void Book::release(Model* model) {
    if (--model->messages > 0) return;
    if (model->stored) model_gone_(model->row);
    models_.erase(models_.find(model->name));
}

void Book::drop_unused_models() {
    std::erase_if(models_, [this](const auto& entry) {
        const Model& model = *entry.second;
        if (model.messages > 0) return false;
        if (model.stored) model_gone_(model.row);
        return true;
    });
}

Window& Book::window(Account& account, const config::Cap& cap, LedgerTime now) {
    const std::uint64_t use = ++uses_;
    for (Account::Counter& counter : account.counters) {
        if (counter.window.span() == cap.span && counter.models == cap.models) {
            counter.last_use = use;
            counter.window.expire(now);
            return counter.window;
        }
    }
    Window window(cap.span);
    const Model* last = nullptr;
    bool matches = false;
    for (std::size_t i = account.first; i < account.messages.size(); ++i) {
        const Message& message = account.messages[i];
        if (message.at + cap.span <= now) continue;
        if (message.model != last) {
            last = message.model;
            matches = glob_match(cap.models, last->name);
        }
        if (matches) window.add(message.at, message.sequence);
    }
    account.counters.push_back({cap.models, std::move(window), use});
    return account.counters.back().window;
}

Model* Book::add(Account& account, LedgerTime at, Sequence sequence, std::string_view model) {
    Model* const interned = intern(model);
    add(account, at, sequence, interned);
    return interned;
}

void Book::add(Account& account, LedgerTime at, Sequence sequence, Model* model) {
    account.messages.push_back({at, sequence, model});
    ++messages_;
    ++model->messages;
    for (Account::Counter& counter : account.counters) {
        if (!glob_match(counter.models, model->name)) continue;
        // One that no cap asks for any more must not grow for ever.
        counter.window.expire(at);
        counter.window.add(at, sequence);
    }
}

bool Book::remove(Account& account, Sequence sequence) {
    const auto live = std::next(account.messages.begin(), std::ptrdiff_t(account.first));
    const auto found = std::ranges::lower_bound(
        live, account.messages.end(), sequence, std::ranges::less(), &Message::sequence
    );
    if (found == account.messages.end() || found->sequence != sequence) return false;
    Model* const model = found->model;
    account.messages.erase(found);
    --messages_;
    for (Account::Counter& counter : account.counters) counter.window.remove(sequence);
    release(model);
    return true;
}

void Book::trim(Account& account, std::size_t in_use) {
    const std::size_t most = std::max(kCounters, 2 * in_use);
    while (account.counters.size() > most) {
        account.counters.erase(
            std::ranges::min_element(account.counters, {}, &Account::Counter::last_use)
        );
    }
}

void Book::expire(Account& account, LedgerTime now) {
    std::vector<Message>& messages = account.messages;
    while (account.first < messages.size() && messages[account.first].at + kHistory <= now) {
        release(messages[account.first].model);
        ++account.first;
        --messages_;
    }
    if (account.first == messages.size()) {
        messages.clear();
        account.first = 0;
    } else if (account.first >= 64 && account.first * 2 >= messages.size()) {
        messages.erase(
            messages.begin(), std::next(messages.begin(), std::ptrdiff_t(account.first))
        );
        account.first = 0;
    }
}

}  // namespace weir::quota
