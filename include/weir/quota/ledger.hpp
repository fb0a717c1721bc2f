// Counts messages per account (a key's name) and never lets one pass a cap, across restarts and
// crashes. Thread-safe; no call waits for the disk except open().
//
// Admission is decided in memory under one lock, all caps of a message in one step; the charge goes
// to the writer's queue and is on disk when durable_sequence() has reached the reservation's
// sequence. A refused message writes nothing. Rows are kept for 32 days, so that a changed cap
// looks at the same history; they are also in memory (24 bytes each, and 16 in each live window),
// so their number has a bound.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "weir/base/clock.hpp"
#include "weir/base/error.hpp"
#include "weir/base/signal.hpp"
#include "weir/config/cap.hpp"
#include "weir/quota/window.hpp"
#include "weir/sqlite/writer.hpp"

namespace weir::quota {

// The tables of this room, for the migrations of ledger.db.
extern const std::string_view kSchema;

// Index of an account in the ledger; stable within a run.
using AccountId = std::uint32_t;

// A cap that covers a message, and how it stands.
struct CapState {
    config::Cap cap;
    WindowState window;
};

// Why a message was not admitted: the cap that frees last, and how all that cover it stand.
struct Refusal {
    CapState cap;
    // Until every cap would admit if nothing else happens: at exactly that time, not before.
    std::chrono::microseconds retry_after{0};
    bool never = false;  // the cap's limit is 0
    std::vector<CapState> all;
};

class Ledger;

// One admitted message, held by the flight's producer. Settle it once: charge() keeps it, refund()
// (or dropping it) gives it back. If the process dies first it stays counted. Move-only; any
// thread. REQUIRES: the ledger outlives it.
class Reservation {
public:
    Reservation() noexcept = default;
    Reservation(Reservation&& other) noexcept;
    Reservation& operator=(Reservation&& other) noexcept;
    ~Reservation();  // refunds; never waits

    void charge() noexcept;
    void refund() noexcept;
    // 0: holds nothing and never did.
    [[nodiscard]] Sequence sequence() const noexcept { return sequence_; }
    [[nodiscard]] bool open() const noexcept { return ledger_ != nullptr; }

private:
    friend class Ledger;
    Ledger* ledger_ = nullptr;
    AccountId account_ = 0;
    Sequence sequence_ = 0;
};

struct Admission {
    Reservation reservation;
    std::vector<CapState> caps;  // after this message; for the rate headers
};

// What 32 days may hold: about 1.3 GB with a window each. 12 messages a second, day and night.
constexpr std::size_t kMostMessages = std::size_t{32} << 20;

// Either an admission, a refusal, or an error (kStorage: the disk does not take charges now;
// kOverloaded: the ledger holds as many messages as it may).
struct Decision {
    std::optional<Admission> admission;
    std::optional<Refusal> refusal;
    std::optional<Error> error;
};

struct AccountUsage {
    std::string account;
    std::string model;
    std::uint64_t messages = 0;  // counted and not refunded
};

class Ledger final : public sqlite::Source {
public:
    // Reads the history through `connection` (not kept) and tells `clock` the newest time in it.
    // Call writer.add(*this) before writer.start().
    [[nodiscard]] static Result<std::unique_ptr<Ledger>> open(
        sqlite::Connection& connection,
        sqlite::Writer& writer,
        Clock& clock,
        std::size_t most_messages = kMostMessages
    );
    ~Ledger() override;

    // The account of that name; made in memory at first sight, on disk with its first message.
    [[nodiscard]] AccountId account(std::string_view name);

    // Takes one message for `model` from every cap in `caps` whose pattern matches it, or from
    // none. Messages that no cap covers are recorded as well: a cap that comes later sees them.
    [[nodiscard]] Decision admit(
        AccountId account, const config::CapSet& caps, std::string_view model
    );
    // How the caps that cover `model` stand (all of them if `model` is empty), taking nothing.
    [[nodiscard]] std::vector<CapState> peek(
        AccountId account, const config::CapSet& caps, std::string_view model
    );

    // Every message up to and including this one is on disk.
    [[nodiscard]] Sequence durable_sequence() const noexcept;
    // The output gate: true once `sequence` is on disk, false if its commit failed (it is refunded
    // then; settling its reservation does nothing). `signal` belongs to the caller and is notified
    // on either; look again after each wake-up:
    //     while (!(gate = ledger.gate(sequence, signal))) co_await signal->wait();
    [[nodiscard]] std::optional<bool> gate(
        Sequence sequence, const std::shared_ptr<Signal>& signal
    );

    // Notifies `signal` if the commit of `sequence` fails, and never otherwise: for who waits for
    // something else meanwhile. Costs the common case no wake-up.
    void notify_of_failure(Sequence sequence, const std::shared_ptr<Signal>& signal);
    // Its commit failed. Thread-safe, no lock as long as none ever did.
    [[nodiscard]] bool has_failed(Sequence sequence);

    // Messages of the last `span`, by account and model.
    [[nodiscard]] std::vector<AccountUsage> usage(std::chrono::microseconds span);
    // False while the disk takes no charges.
    [[nodiscard]] bool healthy() const noexcept;
    [[nodiscard]] LedgerTime now() const noexcept;

    // sqlite::Source
    Result<> connected(sqlite::Connection& connection) override;
    void disconnected() noexcept override;
    Result<bool> write(sqlite::Connection& connection) override;
    void committed() noexcept override;
    void failed(const Error& error) noexcept override;
    [[nodiscard]] bool has_more() noexcept override;

private:
    friend class Reservation;
    struct Impl;
    explicit Ledger(std::unique_ptr<Impl> impl) noexcept;
    void settle(AccountId account, Sequence sequence, bool keep) noexcept;
    std::unique_ptr<Impl> impl_;
};

}  // namespace weir::quota
