// What a client gets of an answer: as it is, or crossed between stream and JSON; and what sending
// it as the one or the other needs. Home worker only.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "weir/base/buffer.hpp"
#include "weir/proxy/client_stream.hpp"
#include "weir/proxy/exchange.hpp"
#include "weir/proxy/worker.hpp"

namespace weir::proxy {

// An answer has to be held whole to be crossed, and its worker does nothing else meanwhile (2 MiB
// full of logprobs: half a second). What is longer is asked for anew.
inline constexpr std::size_t kLongestCrossed = 2 << 20;

enum class Way : std::uint8_t { kAsItIs, kToJson, kToStream };
[[nodiscard]] Way choose_way(
    const Exchange& x, int status, bool event_stream, const http::Fields& fields
);

// Whether what this client gets of an answer has its usage in it, so that one which does not tell
// it is not enough.
[[nodiscard]] bool needs_usage(const Exchange& x, Way way, bool event_stream) noexcept;

// The head goes out: for the log and the meters.
void mark_head(Exchange& x, int status);
// A proxy in between must not hold a stream back.
void add_stream_fields(http::Fields& fields);

// What one exchange took from a budget.
class BudgetShare {
public:
    explicit BudgetShare(BufferBudget& budget) noexcept : budget_(budget) {}
    ~BudgetShare() {
        if (taken_ > 0) budget_.give_back(taken_);
    }
    BudgetShare(const BudgetShare&) = delete;
    BudgetShare& operator=(const BudgetShare&) = delete;
    [[nodiscard]] bool take(std::size_t bytes) noexcept {
        if (!budget_.take(bytes)) return false;
        taken_ += bytes;
        return true;
    }

private:
    BufferBudget& budget_;
    std::size_t taken_ = 0;
};

// Sends a whole answer of the one kind as the other. `parts`: the blocks of a stream, or any pieces
// of a body. False: it cannot be; nothing was sent.
[[nodiscard]] Awaitable<bool> send_crossed(
    Worker& worker,
    Exchange& x,
    ClientStream& client,
    Way way,
    const http::Fields& fields,
    const std::vector<std::string_view>& parts
);

}  // namespace weir::proxy
