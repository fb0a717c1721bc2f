// Host names to addresses, for one worker. Answers are kept for a while; equal questions share one
// lookup. Lookups block, so they run on threads of their own: a slow name server holds up neither
// the worker nor its end (a thread that comes back late finds nobody and goes away). Nor does it
// hold up calls to a name that is known: an old answer is given at once while a new one is sought,
// since in an outage a lookup takes longer (10 s) than anybody waits for a connection.
//
// Home worker only. Must be stopped (or gone) before the io_context is destroyed.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include <boost/asio/ip/address.hpp>

#include "weir/base/error.hpp"
#include "weir/base/signal.hpp"

namespace weir::upstream {

using Addresses = std::vector<asio::ip::address>;
using Lookup = std::function<Result<Addresses>(const std::string& host)>;

// getaddrinfo. Blocks.
[[nodiscard]] Result<Addresses> lookup_with_system(const std::string& host);

// `addresses` with IPv6 and IPv4 in turn, the family of the first one first.
[[nodiscard]] Addresses interleave(const Addresses& addresses);

class Resolver {
public:
    // The answer to one question, filled in later. Whoever waits for it adds a Signal.
    struct Ticket {
        bool done = false;
        Addresses addresses;  // in order of trial
        bool old = false;     // a lookup for newer ones is on its way
        std::string error;    // why there are none
        std::vector<std::shared_ptr<Signal>> waiters;
    };

    Resolver(Executor home, Lookup lookup, std::chrono::milliseconds ttl);
    ~Resolver();
    Resolver(const Resolver&) = delete;
    Resolver& operator=(const Resolver&) = delete;

    enum class Want : std::uint8_t {
        kKnown,  // old addresses will do
        kNew,    // they have been tried
    };
    // Never waits. If the ticket is not done, `wake` is notified when it is.
    [[nodiscard]] std::shared_ptr<const Ticket> ask(
        const std::string& host, const std::shared_ptr<Signal>& wake, Want want = Want::kKnown
    );
    // The newest addresses of a name that is known, else null; never waits. Old ones are looked up
    // again meanwhile, so whoever asks now and then follows a change. Good until the next call.
    [[nodiscard]] const Addresses* known(const std::string& host);
    // `address` worked where the ones before it had not: it is tried first for a while.
    void prefer(const std::string& host, const asio::ip::address& address);
    // Lookups on their way are forgotten; who waits for them is woken and finds an error.
    void stop();

private:
    static constexpr std::size_t kThreads = 4;      // lookups at once
    static constexpr std::size_t kNamesKept = 256;  // config names few; a bound all the same

    struct Name {
        std::shared_ptr<Ticket> ticket;  // of the lookup that is on its way or came back last
        Addresses known;                 // of the last one that worked
        Deadline fresh_until;
        Deadline stale_until;
        asio::ip::address preferred;
        Deadline preferred_until;
    };
    struct Mailbox;

    // Begins a lookup if one is needed. True: what is known is fresh.
    [[nodiscard]] bool refresh(const std::string& host, Name& name);
    void start_lookup(const std::string& host);
    void finished(const std::string& host, Result<Addresses> result);
    [[nodiscard]] static Addresses in_order(const Name& name);

    Executor home_;
    Lookup lookup_;
    std::chrono::milliseconds ttl_;
    std::unordered_map<std::string, Name> names_;
    std::deque<std::string> queue_;  // beyond kThreads
    std::size_t running_ = 0;
    bool stopped_ = false;
    std::shared_ptr<Mailbox> mailbox_;
};

}  // namespace weir::upstream
