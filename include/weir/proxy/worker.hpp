// What a worker has of its own, and what all workers share. A worker is a thread with its own
// io_context; an exchange never leaves its worker.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <utility>

#include <boost/asio/thread_pool.hpp>

#include "weir/base/awaitable.hpp"
#include "weir/base/buffer.hpp"
#include "weir/base/signal.hpp"
#include "weir/cache/flight_board.hpp"
#include "weir/cache/response_cache.hpp"
#include "weir/cache/savings.hpp"
#include "weir/metrics/metrics.hpp"
#include "weir/proxy/snapshot.hpp"
#include "weir/proxy/stored_responses.hpp"
#include "weir/quota/ledger.hpp"
#include "weir/upstream/client.hpp"
#include "weir/upstream/fleet.hpp"

namespace weir::proxy {

struct Meters;
class ModelLists;

// Process-wide and thread-safe; owned by the app and outlives every worker.
struct Shared {
    quota::Ledger& ledger;
    cache::ResponseCache& cache;
    cache::FlightBoard& board;
    BufferBudget& bodies;    // request bodies in flight
    BufferBudget& backlogs;  // answers kept by flights
    cache::Savings& savings;
    Meters& meters;
    StoredResponses& stored_responses;
    upstream::Fleet& fleet;
};

// Home worker only, but for construction.
class Worker {
public:
    Worker(std::uint32_t number, Shared& all);
    ~Worker();
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;

    const std::uint32_t number;
    Shared& shared;
    SnapshotPtr snapshot;
    // The drain is over: exchanges end with an error event. Their signals are in `waiting`.
    bool stopping = false;
    std::list<std::shared_ptr<Signal>> waiting;
    // The drain has begun: connections that rest between two messages end.
    bool draining = false;
    // Of WebSocket sessions: told of each new snapshot, and of a drain's beginning.
    std::list<std::shared_ptr<Signal>> sockets;
    std::uint64_t exchanges = 0;  // in progress
    std::uint64_t flights = 0;    // producers in progress, and calls for model lists
    // Behind what the coroutines that it still holds at its end refer to.
    asio::io_context context{1};
    std::unique_ptr<upstream::Client> client;
    std::unique_ptr<ModelLists> model_lists;

    // Runs what takes its time on a thread beside this one, so that other streams go on; one after
    // the other. What it throws is thrown here. The waiting frame owns what `work` uses.
    [[nodiscard]] Awaitable<> aside(std::function<void()> work);

private:
    std::unique_ptr<asio::thread_pool> aside_;  // from the first call on; ends before the context
};

// A wake-up call stands in a list of its worker's while somebody waits: for the end of a drain, if
// it is not said which. Home worker only; not past the worker.
class Waiting {
public:
    using List = std::list<std::shared_ptr<Signal>>;

    Waiting(List& list, std::shared_ptr<Signal> signal) : list_(list) {
        list_.push_front(std::move(signal));
        place_ = list_.begin();
    }
    Waiting(Worker& worker, std::shared_ptr<Signal> signal)
        : Waiting(worker.waiting, std::move(signal)) {}
    ~Waiting() { list_.erase(place_); }
    Waiting(const Waiting&) = delete;
    Waiting& operator=(const Waiting&) = delete;

private:
    List& list_;
    std::list<std::shared_ptr<Signal>>::iterator place_;
};

}  // namespace weir::proxy
