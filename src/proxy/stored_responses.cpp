#include "weir/proxy/stored_responses.hpp"

#include <algorithm>

namespace weir::proxy {

void StoredResponses::add(std::string_view id, quota::AccountId account, const Pin& where) {
    if (id.empty() || id.size() > kLongestId) return;
    const MutexLock lock(mutex_);
    auto at = responses_.find(id);
    if (at == responses_.end()) {
        at = responses_.emplace(std::string(id), Response{where, {}}).first;
        order_.push_back(&*at);
    }
    at->second.where = where;
    give(at->second, account);
    forget_oldest();
}

void StoredResponses::share(std::string_view id, quota::AccountId account) {
    const MutexLock lock(mutex_);
    const auto at = responses_.find(id);
    if (at == responses_.end()) return;
    give(at->second, account);
    forget_oldest();
}

std::optional<Pin> StoredResponses::find(std::string_view id, quota::AccountId account) const {
    const MutexLock lock(mutex_);
    const auto at = responses_.find(id);
    if (at == responses_.end()) return std::nullopt;
    const std::vector<quota::AccountId>& accounts = at->second.accounts;
    if (std::ranges::find(accounts, account) == accounts.end()) return std::nullopt;
    return at->second.where;
}

void StoredResponses::give(Response& response, quota::AccountId account) {
    std::vector<quota::AccountId>& accounts = response.accounts;
    if (std::ranges::find(accounts, account) != accounts.end()) return;
    accounts.push_back(account);
    ++pairs_;
}

void StoredResponses::forget_oldest() {
    while (pairs_ > most_ && !order_.empty()) {
        const auto oldest = responses_.find(order_.front()->first);
        order_.pop_front();
        pairs_ -= oldest->second.accounts.size();
        responses_.erase(oldest);
    }
}

}  // namespace weir::proxy
