// Which keys were given which stored response of the Responses API, so that they (and nobody else)
// may go on from it and read it without more rights. Lost with the process: then who needs one from
// before is told so.
//
// Bounded: past the limit the response that was noted first is forgotten. Thread-safe, never
// blocks for long.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "weir/base/mutex.hpp"
#include "weir/proxy/pin.hpp"
#include "weir/quota/ledger.hpp"

namespace weir::proxy {

class StoredResponses {
public:
    // Pairs of a response and a key.
    static constexpr std::size_t kMost = 100'000;
    static constexpr std::size_t kLongestId = 128;

    explicit StoredResponses(std::size_t most = kMost) noexcept : most_(most) {}

    // The key of that account was given the response, which is at `where`. Longer ids and empty
    // ones are not noted.
    void add(std::string_view id, quota::AccountId account, const Pin& where);
    // As add(), for a response that another key's request made. Nothing, if nobody knows where.
    void share(std::string_view id, quota::AccountId account);
    // Where it is, if that key was given it.
    [[nodiscard]] std::optional<Pin> find(std::string_view id, quota::AccountId account) const;

private:
    struct Response {
        Pin where;
        std::vector<quota::AccountId> accounts;
    };
    struct Hash {
        using is_transparent = void;  // NOLINT(readability-identifier-naming): the standard's name
        std::size_t operator()(std::string_view text) const noexcept {
            return std::hash<std::string_view>()(text);
        }
    };
    using Responses = std::unordered_map<std::string, Response, Hash, std::equal_to<>>;

    void give(Response& response, quota::AccountId account) REQUIRES_LOCK(mutex_);
    void forget_oldest() REQUIRES_LOCK(mutex_);

    const std::size_t most_;
    mutable Mutex mutex_;
    Responses responses_ GUARDED_BY(mutex_);
    std::deque<Responses::const_pointer> order_ GUARDED_BY(mutex_);  // as noted first
    std::size_t pairs_ GUARDED_BY(mutex_) = 0;
};

}  // namespace weir::proxy
