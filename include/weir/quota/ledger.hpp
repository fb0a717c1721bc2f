// Counts messages, tokens and money per account and never lets a cap be passed, across restarts and
// crashes. An account is a key's name, a team, or everybody. Thread-safe; no call waits for the
// disk except open(), grant() and reset().
//
// Admission is decided in memory under one lock, all caps of a message in one step; the charge goes
// to the writer's queue and is on disk when durable_sequence() has reached the reservation's
// sequence. A refused message writes nothing. Tokens and money are reserved when a message is
// admitted, and set right when it is charged with what it really used. Rows are kept for 32 days,
// so that a changed cap looks at the same history; they are also in memory (40 bytes for each of
// the key, its team and everybody), so their number has a bound.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "weir/base/clock.hpp"
#include "weir/base/error.hpp"
#include "weir/base/signal.hpp"
#include "weir/config/cap.hpp"
#include "weir/quota/window.hpp"
#include "weir/sqlite/writer.hpp"

namespace weir::quota {

// The tables of this room, for the migrations of ledger.db: as they were first, and what caps of
// every kind added.
extern const std::string_view kSchema;
extern const std::string_view kSchemaOfCaps;

// Index of an account in the ledger; stable within a run.
using AccountId = std::uint32_t;
constexpr AccountId kNobody = ~AccountId{0};

enum class Whose : std::uint8_t {
    kKey,   // a plan's or a key's own caps: each key for itself
    kTeam,  // all keys of a team together
    kAll,   // everybody together
};

// Caps of one account that a message has to pass.
struct Level {
    Whose whose = Whose::kKey;
    AccountId account = 0;
    const config::CapSet* caps = nullptr;
};

struct Amounts {
    std::uint64_t tokens = 0;
    std::uint64_t money = 0;  // nano-dollars
    friend bool operator==(const Amounts&, const Amounts&) = default;
};

class Turn;

// The cap counts messages for `model` at `endpoint` ("chat/completions").
[[nodiscard]] bool covers(
    const config::Cap& cap, std::string_view model, std::string_view endpoint
) noexcept;

// One message that wants to go.
struct Ask {
    AccountId key = 0;              // it is in the history of this one,
    AccountId team = kNobody;       // of this one, if any, and of everybody
    std::span<const Level> levels;  // what it has to pass
    std::string_view model;         // served
    std::string_view endpoint;      // the path behind "/v1/"
    Amounts reserve = {};           // at most what it can use
    bool hit = false;  // served from here: caps at once, of tokens and money are not asked
    const Turn* turn = nullptr;  // the place in a line that was called
};

// A cap that covers a message, and how it stands. The cap lives as long as what the Ask named.
struct CapState {
    const config::Cap* cap = nullptr;
    Whose whose = Whose::kKey;
    WindowState window;
    bool refuses = false;  // this message; of `mode: warn`: would
};

// Why a message was not admitted.
struct Refusal {
    enum class Why : std::uint8_t {
        kSpent,  // until some of what was used leaves the window
        kNever,  // its limit is 0
        kBusy,   // what is in flight holds the places, or has reserved the room that is left
    };
    Why why = Why::kSpent;
    CapState cap;  // of those that refuse: the one that frees last
    // Until every cap would admit if nothing else happens: at exactly that time, not before (busy
    // ones aside, and what asks for more than a limit: it goes when nothing is in flight). A grant
    // that still runs then is counted in. 0 if never or busy.
    std::chrono::microseconds retry_after{0};
    std::vector<CapState> all;  // that cover it
};

class Ledger;

// An admitted message, and whose counts it is in.
struct Taken {
    AccountId key = 0;
    AccountId team = kNobody;
    std::uint32_t grant = 0;  // 0: none
    Sequence sequence = 0;
};

// One admitted message, held by the flight's producer. Settle it once: charge() keeps it, refund()
// (or dropping it) gives it back; either gives back its places at once. If the process dies first
// it stays counted, with all that it had reserved. Move-only; any thread. REQUIRES: the ledger
// outlives it.
class Reservation {
public:
    Reservation() noexcept = default;
    Reservation(Reservation&& other) noexcept;
    Reservation& operator=(Reservation&& other) noexcept;
    ~Reservation();  // refunds; never waits

    // With what it really used; without: with what was reserved.
    void charge(std::optional<Amounts> used = std::nullopt) noexcept;
    void refund() noexcept;
    // It has used that much by now, and goes on: from here on this is what every cap sees of it, in
    // the place of what was reserved, without being asked.
    void restate(const Amounts& used) noexcept;
    // 0: holds nothing and never did.
    [[nodiscard]] Sequence sequence() const noexcept { return taken_.sequence; }
    [[nodiscard]] bool open() const noexcept { return ledger_ != nullptr; }
    [[nodiscard]] const Amounts& reserved() const noexcept { return reserved_; }

private:
    friend class Ledger;
    Ledger* ledger_ = nullptr;
    Taken taken_;
    Amounts reserved_;
};

struct Admission {
    Reservation reservation;
    std::vector<CapState> caps;  // after this message; for the rate headers
    bool granted = false;        // by a grant: a message cap of its key alone would have refused
};

struct Ticket;

// A place in the line before a cap at once. Holds nothing else; leaving it, by destroying it, lets
// the next one move up. Move-only; any thread. REQUIRES: the ledger outlives it.
class Turn {
public:
    Turn() noexcept = default;
    Turn(Turn&& other) noexcept
        : ledger_(std::exchange(other.ledger_, nullptr)), ticket_(std::move(other.ticket_)) {}
    Turn& operator=(Turn&& other) noexcept;
    ~Turn();
    // It is its turn: ask again, with all caps. Its signal is notified when this becomes true.
    [[nodiscard]] bool called() const;
    // Still there: asking with it left it where it was, since it had been called too early, or not
    // at all.
    [[nodiscard]] bool in_line() const;

private:
    friend class Ledger;
    Turn(Ledger& ledger, std::shared_ptr<Ticket> ticket) noexcept;
    [[nodiscard]] bool called_now() const;  // the ledger is locked
    Ledger* ledger_ = nullptr;
    std::shared_ptr<Ticket> ticket_;
};

// What 32 days may hold: about 2 GB. 6 messages a second, day and night.
constexpr std::size_t kMostMessages = std::size_t{16} << 20;
// Who waits before one cap at once.
constexpr std::size_t kLongestLine = 1024;

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
    std::uint64_t tokens = 0;
    std::uint64_t money = 0;  // nano-dollars
};

// Extra messages: used where a message cap of the key would refuse, and then counted under none of
// the key's message caps (under all others they are).
struct Grant {
    std::uint32_t id = 0;
    std::string models;  // glob on the served model
    std::uint64_t messages = 0;
    std::uint64_t used = 0;
    LedgerTime until;
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

    // The account of a key, of a team, of everybody; made in memory at first sight, on disk with
    // its first message.
    [[nodiscard]] AccountId account(std::string_view key);
    [[nodiscard]] AccountId team(std::string_view name);
    [[nodiscard]] AccountId everybody() const noexcept;

    // Takes the message from every cap that covers it, or from none. Messages that no cap covers
    // are recorded as well: a cap that comes later sees them.
    [[nodiscard]] Decision admit(const Ask& ask);
    // How the caps that cover `model` at `endpoint` stand (all of them if `model` is empty), taking
    // nothing.
    [[nodiscard]] std::vector<CapState> peek(
        std::span<const Level> levels, std::string_view model, std::string_view endpoint
    );

    // A place in the line before the cap at once that refused. `signal` is notified when it is
    // called. nullopt: the line is full, or no such cap refused.
    [[nodiscard]] std::optional<Turn> wait(
        const Ask& ask, const Refusal& refusal, const std::shared_ptr<Signal>& signal
    );
    // Caps may have other limits now: who waits asks again, one after the other.
    void caps_changed();

    // Every message up to and including this one is on disk.
    [[nodiscard]] Sequence durable_sequence() const noexcept;
    // Whether gate() says true at once, for who has no signal yet. False: gate() tells why.
    [[nodiscard]] bool is_durable(Sequence sequence) const noexcept;
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

    // Gives a key extra messages until a moment, at most 32 days away. Waits for the disk: never
    // from a worker. kBadRequest: no messages, or a moment that has passed or is too far.
    [[nodiscard]] Result<Grant> grant(
        AccountId key, std::string_view models, std::uint64_t messages, LedgerTime until
    );
    // Those of a key that still run.
    [[nodiscard]] std::vector<Grant> grants(AccountId key);
    // What a key used of these models up to now counts no longer under its plan's and its own caps
    // (it does under its team's and the global ones). Waits for the disk: never from a worker.
    // Returns how many messages that were.
    [[nodiscard]] Result<std::uint64_t> reset(AccountId key, std::string_view models);

    // What was used in the last `span`, by key and model.
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
    friend class Turn;
    struct Impl;
    explicit Ledger(std::unique_ptr<Impl> impl) noexcept;
    void charge(const Taken& taken, const std::optional<Amounts>& used) noexcept;
    void refund(const Taken& taken) noexcept;
    void restate(const Taken& taken, const Amounts& amounts) noexcept;
    std::unique_ptr<Impl> impl_;
};

}  // namespace weir::quota
