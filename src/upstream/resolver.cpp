#include "resolver.hpp"

#include <algorithm>
#include <cstring>
#include <netinet/in.h>
#include <sys/socket.h>
#include <thread>
#include <utility>

#include <boost/asio/post.hpp>
#include <netdb.h>

#include "weir/base/mutex.hpp"

namespace weir::upstream {
namespace {

constexpr std::chrono::seconds kFailureKept{1};  // so that a burst asks a dead server once
constexpr std::chrono::minutes kStaleKept{10};   // an old address is better than a failed call
constexpr std::chrono::minutes kPreferenceKept{10};

}  // namespace

Result<Addresses> lookup_with_system(const std::string& host) {
    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* list = nullptr;
    const int code = getaddrinfo(host.c_str(), nullptr, &hints, &list);
    if (code != 0) return fail(ErrorCode::kUpstreamConnect, gai_strerror(code));
    const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(list, &freeaddrinfo);
    Addresses addresses;
    for (const addrinfo* one = list; one != nullptr; one = one->ai_next) {
        // The kernel fills the bytes behind a generic sockaddr; copied, since its type is a lie.
        asio::ip::address address;
        if (one->ai_family == AF_INET) {
            sockaddr_in raw{};
            std::memcpy(&raw, one->ai_addr, sizeof(raw));
            address = asio::ip::address_v4(ntohl(raw.sin_addr.s_addr));
        } else if (one->ai_family == AF_INET6) {
            sockaddr_in6 raw{};
            std::memcpy(&raw, one->ai_addr, sizeof(raw));
            asio::ip::address_v6::bytes_type bytes;
            std::memcpy(bytes.data(), &raw.sin6_addr, bytes.size());
            address = asio::ip::address_v6(bytes, raw.sin6_scope_id);
        } else {
            continue;
        }
        const bool known = std::ranges::find(addresses, address) != addresses.end();
        if (!known) addresses.push_back(address);
    }
    return addresses;
}

Addresses interleave(const Addresses& addresses) {
    if (addresses.empty()) return {};
    Addresses first;
    Addresses second;
    for (const asio::ip::address& address : addresses) {
        (address.is_v6() == addresses.front().is_v6() ? first : second).push_back(address);
    }
    Addresses out;
    for (std::size_t i = 0; i < std::max(first.size(), second.size()); ++i) {
        if (i < first.size()) out.push_back(first[i]);
        if (i < second.size()) out.push_back(second[i]);
    }
    return out;
}

// Where lookup threads leave their answers. `resolver` is null once nobody wants them; posting
// under the lock is what keeps the io_context alive meanwhile.
struct Resolver::Mailbox {
    Mutex mutex;
    Resolver* resolver GUARDED_BY(mutex) = nullptr;
};

Resolver::Resolver(Executor home, Lookup lookup, std::chrono::milliseconds ttl)
    : home_(std::move(home)),
      lookup_(std::move(lookup)),
      ttl_(ttl),
      mailbox_(std::make_shared<Mailbox>()) {
    const MutexLock lock(mailbox_->mutex);
    mailbox_->resolver = this;
}

Resolver::~Resolver() {
    stop();
}

std::shared_ptr<const Resolver::Ticket> Resolver::ask(
    const std::string& host, const std::shared_ptr<Signal>& wake, Want want
) {
    if (stopped_) {
        const auto ticket = std::make_shared<Ticket>();
        ticket->done = true;
        ticket->error = "the client is closing";
        return ticket;
    }
    if (names_.size() >= kNamesKept && !names_.contains(host)) {
        std::erase_if(names_, [](const auto& entry) {
            return entry.second.ticket == nullptr || entry.second.ticket->done;
        });
    }
    Name& name = names_[host];
    const bool fresh = refresh(host, name);
    if (fresh && name.ticket->addresses.empty()) return name.ticket;
    const bool will_do = want == Want::kKnown && !name.known.empty() && !name.stale_until.passed();
    if (fresh || will_do) {
        const auto ticket = std::make_shared<Ticket>();
        ticket->done = true;
        ticket->addresses = in_order(name);
        ticket->old = !fresh;
        return ticket;
    }
    name.ticket->waiters.push_back(wake);
    return name.ticket;
}

const Addresses* Resolver::known(const std::string& host) {
    const auto found = stopped_ ? names_.end() : names_.find(host);
    if (found == names_.end()) return nullptr;
    (void)refresh(host, found->second);
    return found->second.known.empty() ? nullptr : &found->second.known;
}

bool Resolver::refresh(const std::string& host, Name& name) {
    if (name.ticket != nullptr && !name.ticket->done) return false;
    if (name.ticket != nullptr && !name.fresh_until.passed()) return true;
    name.ticket = std::make_shared<Ticket>();
    if (running_ < kThreads) {
        start_lookup(host);
    } else {
        queue_.push_back(host);
    }
    return false;
}

void Resolver::prefer(const std::string& host, const asio::ip::address& address) {
    const auto found = names_.find(host);
    if (found == names_.end()) return;
    found->second.preferred = address;
    found->second.preferred_until = Deadline::in(kPreferenceKept);
}

void Resolver::stop() {
    if (stopped_) return;
    stopped_ = true;
    {
        const MutexLock lock(mailbox_->mutex);
        mailbox_->resolver = nullptr;
    }
    queue_.clear();
    for (auto& [host, name] : names_) {
        if (name.ticket == nullptr || name.ticket->done) continue;
        name.ticket->done = true;
        name.ticket->error = "the client is closing";
        for (const std::shared_ptr<Signal>& waiter : name.ticket->waiters) waiter->notify_home();
    }
    names_.clear();
}

void Resolver::start_lookup(const std::string& host) {
    ++running_;
    // Nothing in here belongs to the worker but `mailbox`'s contents, which its lock guards.
    auto work = [mailbox = mailbox_, lookup = lookup_, home = home_, host] {
        Result<Addresses> result = lookup(host);
        const MutexLock lock(mailbox->mutex);
        if (mailbox->resolver == nullptr) return;
        auto deliver = [mailbox, host, result = std::move(result)]() mutable {
            Resolver* resolver = nullptr;
            {
                const MutexLock again(mailbox->mutex);
                resolver = mailbox->resolver;
            }
            // Only the home worker, where this runs, takes the resolver away.
            if (resolver != nullptr) resolver->finished(host, std::move(result));
        };
        asio::post(home, std::move(deliver));
    };
    try {
        std::thread(std::move(work)).detach();
    } catch (const std::system_error&) {
        auto no_thread = [mailbox = mailbox_, host, this] {
            bool alive = false;
            {
                const MutexLock lock(mailbox->mutex);
                alive = mailbox->resolver != nullptr;
            }
            if (alive) finished(host, fail(ErrorCode::kUpstreamConnect, "no thread for a lookup"));
        };
        asio::post(home_, std::move(no_thread));
    }
}

void Resolver::finished(const std::string& host, Result<Addresses> result) {
    --running_;
    if (!queue_.empty()) {
        const std::string next = std::move(queue_.front());
        queue_.pop_front();
        start_lookup(next);
    }
    const auto found = names_.find(host);
    if (found == names_.end() || found->second.ticket == nullptr) return;
    Name& name = found->second;
    const std::shared_ptr<Ticket> ticket = name.ticket;
    ticket->done = true;
    if (result && !result->empty()) {
        name.known = interleave(*result);
        name.fresh_until = Deadline::in(ttl_);
        name.stale_until = Deadline::in(kStaleKept);
        ticket->addresses = in_order(name);
    } else {
        name.fresh_until = Deadline::in(kFailureKept);
        if (!name.known.empty() && !name.stale_until.passed()) {
            ticket->addresses = in_order(name);
        } else {
            ticket->error = result ? "the name has no address" : result.error().detail;
        }
    }
    for (const std::shared_ptr<Signal>& waiter : ticket->waiters) waiter->notify_home();
    ticket->waiters.clear();
}

Addresses Resolver::in_order(const Name& name) {
    Addresses out = name.known;
    if (!name.preferred_until.is_never() && !name.preferred_until.passed()) {
        const auto found = std::ranges::find(out, name.preferred);
        if (found != out.end()) std::rotate(out.begin(), found, found + 1);
    }
    return out;
}

}  // namespace weir::upstream
