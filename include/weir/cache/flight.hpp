// One answer while it is produced: a buffer with subscribers and an opaque producer. Clients only
// subscribe, so losing the first one does not end it. Thread-safe: subscribers and producer may sit
// on different workers; each wakes the other through its Signal, and nothing else is called while
// the lock is held.
//
// States: asking (its starter asks the caps) -> flying -> ended. While it is shareable all chunks
// are kept as backlog, so a late subscriber gets all from the start. Past `backlog_limit`, or when
// the budget of all backlogs is used up, it takes no newcomers, chunks that every subscriber has
// taken are dropped, and the producer is held back by the slowest subscriber. Before that it is
// held back by the fastest one: with one slow client the upstream is slowed down instead of memory
// filled.
//
// Ownership: shared by its subscribers, its producer and the FlightBoard. A flight that everybody
// left before its end is abandoned: for good, and without newcomers. With `may_finish` it is first
// unattended: it flies on, takes newcomers, and is abandoned when its producer says so or when its
// backlog is given up.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "weir/base/buffer.hpp"
#include "weir/base/error.hpp"
#include "weir/base/mutex.hpp"
#include "weir/base/signal.hpp"
#include "weir/cache/response_cache.hpp"
#include "weir/http/answer.hpp"
#include "weir/http/error_body.hpp"
#include "weir/http/message.hpp"

namespace weir::cache {

// Whole blocks of a stream, or any bytes of another body. `usage_only`: a chunk that only carries
// usage and is taken out for subscribers that did not ask for it.
struct Chunk {
    std::string bytes;
    bool usage_only = false;
    std::uint32_t at_ms = 0;  // when it came, behind the first one
};
using ChunkPtr = std::shared_ptr<const Chunk>;

// The head of the answer, published before its first chunk. Immutable.
struct FlightHead {
    int status = 200;
    http::Fields fields;  // already cleaned for clients
    bool event_stream = false;
    std::optional<std::uint64_t> content_length;  // if the upstream told it and it will be kept
    std::string upstream;                         // its config name, for logs
    std::size_t key_number = 0;                   // and the number of the key that was sent to it
    std::string error_code;                       // of a refusal, for logs
    bool usage_asked = false;                     // the stream was asked to tell its usage
    // It was found in the cache: the answer is there, and no chunks follow.
    EntryPtr entry;
};

enum class FlightState : std::uint8_t { kAsking, kFlying, kEnded };

// How it ended, for those who listen.
struct FlightEnd {
    bool clean = false;
    std::optional<http::ApiError> error;    // if not clean: what to tell the client
    bool tells_error = false;               // clean, and what it says is that it failed
    std::optional<http::Usage> usage = {};  // what it took, as its upstream said
    std::string attempts = {};              // if not clean: which upstreams were tried
};

class Flight;

// One listener of a flight. Home worker only. Dropping it unsubscribes; the last one leaving makes
// the flight abandoned and wakes its producer. Dropping the starter's while the flight is asking
// counts as giving up.
class Subscription {
public:
    Subscription(
        std::shared_ptr<Flight> flight, std::shared_ptr<Signal> signal, std::uint64_t id
    ) noexcept;
    Subscription(Subscription&& other) noexcept;
    Subscription& operator=(Subscription&& other) noexcept;
    ~Subscription();

    struct Next {
        enum class Kind : std::uint8_t {
            kNothingYet,  // wait for the signal, then ask again
            // Told once: the starter was refused, you are the starter now. Ask the caps for
            // yourself, then Flight::take_off() and produce, or Flight::give_up_asking(id()).
            kRefused,
            kHead,    // told once, before the first chunk; not at all if it failed before its head
            kChunks,  // in order, nothing left out
            kEnd      // from then on always
        } kind = Kind::kNothingYet;
        std::shared_ptr<const FlightHead> head;
        std::vector<ChunkPtr> chunks;  // all that are there, at most 64 KiB or one chunk
        FlightEnd end;
    };
    // What comes next for this listener; never waits. The signal is only notified of what comes
    // after a kNothingYet, so go on asking until then.
    [[nodiscard]] Next next();
    [[nodiscard]] const std::shared_ptr<Flight>& flight() const noexcept { return flight_; }
    // Names this listener in Flight::give_up_asking().
    [[nodiscard]] std::uint64_t id() const noexcept { return id_; }

private:
    std::shared_ptr<Flight> flight_;
    std::shared_ptr<Signal> signal_;
    std::uint64_t id_ = 0;
};

class Flight : public std::enable_shared_from_this<Flight> {
public:
    struct Options {
        std::uint64_t backlog_limit_bytes = 0;      // 0: not shareable, one subscriber
        std::uint64_t lag_limit_bytes = 256 << 10;  // how far the producer may run ahead
        // Bounds the backlogs of all flights together; null: only backlog_limit_bytes bounds them.
        // REQUIRES: outlives the flight.
        BufferBudget* budget = nullptr;
        bool may_finish = false;  // nobody needs to listen, as long as all is kept
    };
    // What a chunk costs beside its bytes, about: control block, string, place in the queue. It
    // counts for the lag and the budget, so that a flood of tiny chunks is bounded as well.
    static constexpr std::size_t kChunkOverhead = 96;

    explicit Flight(Options options) noexcept;
    ~Flight();
    Flight(const Flight&) = delete;
    Flight& operator=(const Flight&) = delete;

    // nullopt: it takes no newcomers (see takes_newcomers()). Wakes go to `signal`. The first
    // subscriber is the starter. One that comes when it ended well gets all of it.
    [[nodiscard]] std::optional<Subscription> subscribe(std::shared_ptr<Signal> signal);
    // False: past its backlog, abandoned, ended badly, or not shareable and taken.
    [[nodiscard]] bool takes_newcomers() const;

    // The starter got its admission: the producer may publish.
    void take_off();
    // The starter was refused: exactly one of the other subscribers is told kRefused and becomes
    // the starter; with none left the flight ends, abandoned. Nothing happens if `starter` is not
    // the starter (any more), or if the flight has taken off.
    void give_up_asking(std::uint64_t starter);
    [[nodiscard]] FlightState state() const;

    // Producer's side. `producer` is woken when room is there again or the flight was abandoned.
    // Held until end().
    void set_producer(std::shared_ptr<Signal> producer);
    // REQUIRES: take_off() was called, for these two.
    void publish_head(FlightHead head);
    // False: nobody listens any more. Empty chunks are left out.
    bool publish(std::vector<Chunk> chunks);
    // The first one counts. Also for a flight that was abandoned.
    void end(FlightEnd end);
    // The producer should wait before it reads more. Only after a true will it be woken, when the
    // lag is below half of its limit.
    [[nodiscard]] bool congested() const;
    // Everybody left before it was fully produced.
    [[nodiscard]] bool abandoned() const;
    // Nobody listens at the moment, but it may finish. Its producer is woken when that begins and
    // when it is over.
    [[nodiscard]] bool unattended() const;
    void abandon_if_unattended();
    [[nodiscard]] std::size_t subscribers() const;
    // All chunks from the start, if they were all kept and it did not end badly; for the cache.
    [[nodiscard]] std::optional<std::vector<ChunkPtr>> backlog() const;
    [[nodiscard]] bool shareable() const;

private:
    friend class Subscription;
    struct Listener {
        std::uint64_t id = 0;
        std::shared_ptr<Signal> signal;
        std::uint64_t cursor = 0;  // number of the next chunk
        std::uint64_t taken = 0;   // weight taken
        bool head_told = false;
        bool refused = false;  // to be told kRefused: it is the starter now
        bool gave_up = false;  // was the starter and was refused: never again the starter
        bool waiting = false;  // was told kNothingYet and not notified since
    };
    Subscription::Next next_for(std::uint64_t id);
    void leave(std::uint64_t id) noexcept;
    [[nodiscard]] Listener* find(std::uint64_t id) REQUIRES_LOCK(mutex_);
    [[nodiscard]] bool open_to_newcomers() const REQUIRES_LOCK(mutex_);
    // The oldest subscriber that may becomes the starter. With none: ends, abandoned.
    void pass_on_asking() REQUIRES_LOCK(mutex_);
    [[nodiscard]] bool is_unattended() const REQUIRES_LOCK(mutex_);
    void abandon() REQUIRES_LOCK(mutex_);
    void wake(Listener& listener) REQUIRES_LOCK(mutex_);
    void wake_all() REQUIRES_LOCK(mutex_);
    void wake_producer_if_room() REQUIRES_LOCK(mutex_);
    // How far the producer is ahead of the subscriber that sets the pace.
    [[nodiscard]] std::uint64_t lag() const REQUIRES_LOCK(mutex_);
    void drop_taken() REQUIRES_LOCK(mutex_);
    void drop_front() REQUIRES_LOCK(mutex_);
    void drop_all() REQUIRES_LOCK(mutex_);
    void return_budget() REQUIRES_LOCK(mutex_);

    const Options options_;
    mutable Mutex mutex_;
    FlightState state_ GUARDED_BY(mutex_) = FlightState::kAsking;
    std::uint64_t starter_ GUARDED_BY(mutex_) = 0;  // while asking; 0: nobody
    std::uint64_t next_id_ GUARDED_BY(mutex_) = 1;
    std::vector<Listener> listeners_ GUARDED_BY(mutex_);  // by id
    std::shared_ptr<Signal> producer_ GUARDED_BY(mutex_);
    mutable bool producer_waits_ GUARDED_BY(mutex_) = false;  // congested() told it so
    std::shared_ptr<const FlightHead> head_ GUARDED_BY(mutex_);
    std::deque<ChunkPtr> chunks_ GUARDED_BY(mutex_);
    std::uint64_t first_chunk_ GUARDED_BY(mutex_) = 0;     // number of chunks_.front()
    std::uint64_t produced_bytes_ GUARDED_BY(mutex_) = 0;  // so far
    std::uint64_t produced_ GUARDED_BY(mutex_) = 0;        // weight (bytes and overhead) so far
    std::uint64_t held_ GUARDED_BY(mutex_) = 0;            // weight of chunks_
    std::uint64_t charged_ GUARDED_BY(mutex_) = 0;         // weight taken from the budget
    bool shareable_ GUARDED_BY(mutex_);
    bool abandoned_ GUARDED_BY(mutex_) = false;
    FlightEnd end_ GUARDED_BY(mutex_);
};

}  // namespace weir::cache
