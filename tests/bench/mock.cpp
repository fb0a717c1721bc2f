// The upstream of the benchmark: one thread, so fast that it is never the limit.
//   weir_bench_mock PORT       prints "ready" when it listens on 127.0.0.1; SIGTERM ends it
// The model of a request (the first one in 2 KiB of its body) says how it is answered:
//   now-N          a chat completion of N bytes (500), at once
//   wait-MS-N      the same after MS milliseconds
//   sse-COUNT-US   a stream of COUNT events, one each US microseconds (0: as fast as it goes)
//   hold-MS        a stream of one event, then one each MS milliseconds, until the peer closes
// Anything else gets an empty list. Each event carries the time of its sending, @ns@.
#include <algorithm>
#include <array>
#include <csignal>
#include <cstdint>
#include <memory>
#include <optional>
#include <queue>
#include <string>
#include <string_view>
#include <sys/epoll.h>
#include <unordered_map>
#include <vector>

#include <unistd.h>

#include "plan.hpp"
#include "request_reader.hpp"
#include "wire.hpp"

namespace {

using namespace weir::bench;

constexpr std::size_t kReadBytes = 256UL * 1024;
constexpr std::size_t kWriteBytes = 64UL * 1024;
constexpr int kTurns = 16;  // reads or writes of one connection before the others have their turn

struct Connection {
    int socket = -1;
    std::uint32_t generation = 0;  // tells it from an earlier one with that descriptor
    RequestReader request;
    bool readable = false;
    bool blocked = false;  // the socket took no more
    bool timed = false;    // has an entry among the timers
    std::string pending;   // input that is not whole
    // The answer to a request that is whole:
    const Plan* plan = nullptr;  // null: there is none
    bool begun = false;          // the plan's head is out
    bool ended = false;          // and its tail
    std::size_t events = 0;
    std::int64_t due = 0;
    std::string unsent;
    std::size_t unsent_at = 0;
};

using Token = std::uint64_t;  // generation and descriptor

Token token_of(const Connection& c) {
    return std::uint64_t{c.generation} << 32U | static_cast<std::uint32_t>(c.socket);
}

struct Timer {
    std::int64_t due;
    Token token;
    bool operator>(const Timer& other) const { return due > other.due; }
};

struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const {
        return std::hash<std::string_view>{}(text);
    }
};

class Mock {
public:
    explicit Mock(std::uint16_t port);
    [[noreturn]] void run();

private:
    void accept_all();
    void watch(int socket, Token token);
    Connection* find(Token token);
    void drop(Connection& c);
    void go_on(Connection& c);
    // These do one step, and say whether another one may follow at once.
    bool take_input(Connection& c);
    bool answer(Connection& c);
    bool flush(Connection& c);

    const Plan& plan_for(std::string_view model);
    std::string_view compose(Connection& c);
    bool send_some(Connection& c, std::string_view data);

    int listener_;
    int epoll_;
    std::vector<std::unique_ptr<Connection>> connections_;  // by descriptor
    std::priority_queue<Timer, std::vector<Timer>, std::greater<>> timers_;
    std::vector<Token> again_;  // had their turns, and could go on
    std::unordered_map<std::string, Plan, Hash, std::equal_to<>> plans_;
    bool full_ = false;  // no descriptor was left for a connection that waits
    std::vector<char> input_ = std::vector<char>(kReadBytes);
    std::string output_;
};

Mock::Mock(std::uint16_t port)
    : listener_(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)),
      epoll_(epoll_create1(EPOLL_CLOEXEC)) {
    const int on = 1;
    setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    const sockaddr_in address = local_address(port);
    if (bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
        die("bind");
    if (listen(listener_, 65535) != 0) die("listen");
    watch(listener_, static_cast<Token>(listener_));
    output_.reserve(kWriteBytes);
}

void Mock::watch(int socket, Token token) {
    epoll_event event{.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data = {.u64 = token}};
    if (epoll_ctl(epoll_, EPOLL_CTL_ADD, socket, &event) != 0) die("epoll_ctl");
}

void Mock::run() {
    std::array<epoll_event, 256> ready{};
    std::vector<Token> turn;
    while (true) {
        timespec timeout{};
        const bool waits = again_.empty();
        if (waits && !timers_.empty()) {
            timeout = to_timespec(std::max(std::int64_t{0}, timers_.top().due - now_ns()));
        }
        const timespec* limit = waits && timers_.empty() ? nullptr : &timeout;
        const int count = epoll_pwait2(epoll_, ready.data(), ready.size(), limit, nullptr);
        if (count < 0 && errno != EINTR) die("epoll_pwait2");
        for (int i = 0; i < count; ++i) {
            const epoll_event& event = ready[static_cast<std::size_t>(i)];
            if (event.data.u64 == static_cast<Token>(listener_)) {
                accept_all();
                continue;
            }
            Connection* c = find(event.data.u64);
            if (c == nullptr) continue;
            if ((event.events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
                drop(*c);
                continue;
            }
            if ((event.events & EPOLLIN) != 0) c->readable = true;
            if ((event.events & EPOLLOUT) != 0) c->blocked = false;
            go_on(*c);
        }
        turn.swap(again_);
        for (const Token token : turn) {
            if (Connection* c = find(token)) go_on(*c);
        }
        turn.clear();
        if (timers_.empty()) continue;
        for (const std::int64_t now = now_ns(); !timers_.empty() && timers_.top().due <= now;) {
            Connection* c = find(timers_.top().token);
            timers_.pop();
            if (c == nullptr) continue;
            c->timed = false;
            go_on(*c);
        }
    }
}

void Mock::accept_all() {
    while (true) {
        const int socket = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (socket < 0) {
            if (errno == ECONNABORTED || errno == EINTR) continue;
            full_ = errno == EMFILE || errno == ENFILE;
            return;
        }
        send_at_once(socket);
        const auto index = static_cast<std::size_t>(socket);
        if (connections_.size() <= index) connections_.resize(index + 1);
        auto& slot = connections_[index];
        const std::uint32_t generation = slot ? slot->generation : 1;
        if (!slot) slot = std::make_unique<Connection>();
        slot->socket = socket;
        slot->generation = generation;
        watch(socket, token_of(*slot));
    }
}

Connection* Mock::find(Token token) {
    const auto index = static_cast<std::size_t>(token & 0xffffffffU);
    if (index >= connections_.size() || !connections_[index]) return nullptr;
    Connection& c = *connections_[index];
    return c.socket >= 0 && token_of(c) == token ? &c : nullptr;
}

void Mock::drop(Connection& c) {
    close(c.socket);
    const std::uint32_t next = c.generation + 1;
    c = Connection{};
    c.generation = next;
    if (full_) accept_all();
}

void Mock::go_on(Connection& c) {
    const Token token = token_of(c);
    for (int turn = 0; turn < kTurns; ++turn) {
        const bool more = c.plan != nullptr ? answer(c) : take_input(c);
        if (!more) return;
    }
    again_.push_back(token);
}

bool Mock::take_input(Connection& c) {
    std::string joined;
    std::string_view data;
    if (c.request.at_start() && !c.pending.empty()) {  // came with the request before
        joined.swap(c.pending);
        data = joined;
    } else {
        if (!c.readable) return false;
        const ssize_t size = recv(c.socket, input_.data(), input_.size(), 0);
        if (size < 0 && errno == EAGAIN) {
            c.readable = false;
            return false;
        }
        if (size <= 0) {
            drop(c);
            return false;
        }
        data = {input_.data(), static_cast<std::size_t>(size)};
        c.readable = data.size() == input_.size();  // else the next bytes are told of
        if (!c.pending.empty()) {
            joined.swap(c.pending);
            joined.append(data);
            data = joined;
        }
    }
    const std::optional<std::size_t> used = c.request.consume(data);
    if (!used) {
        drop(c);
        return false;
    }
    c.pending.assign(data.substr(*used));
    if (!c.request.whole()) {
        static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
        if (c.request.takes_continue()) {
            send(c.socket, kContinue.data(), kContinue.size(), MSG_NOSIGNAL);
        }
        return c.readable;
    }
    c.plan = &plan_for(c.request.model());
    c.begun = c.plan->head.empty();
    c.ended = false;
    c.events = 0;
    c.due = c.plan->first_ns + c.plan->step_ns > 0 ? now_ns() + c.plan->first_ns : 0;
    return true;
}

const Plan& Mock::plan_for(std::string_view model) {
    if (const auto known = plans_.find(model); known != plans_.end()) return known->second;
    return plans_.emplace(model, make_plan(std::string(model))).first->second;
}

bool Mock::answer(Connection& c) {
    if (!c.unsent.empty()) return flush(c);
    if (c.ended) {
        if (c.request.last()) {
            drop(c);
            return false;
        }
        c.plan = nullptr;
        c.request.begin();
        return c.readable || !c.pending.empty();
    }
    const std::string_view data = compose(c);
    if (!data.empty()) return send_some(c, data);
    if (!c.timed) timers_.push({c.due, token_of(c)});
    c.timed = true;
    return false;
}

// What is due now, up to a write; it stays valid until the next call.
std::string_view Mock::compose(Connection& c) {
    const Plan& plan = *c.plan;
    output_.clear();
    if (!c.begun) output_ = plan.head;
    c.begun = true;
    const std::int64_t now = now_ns();
    while (c.events < plan.count && c.due <= now &&
           output_.size() + plan.event.size() <= kWriteBytes) {
        const std::size_t at = output_.size() + plan.stamp_at;
        output_ += plan.event;
        write_digits(output_.data() + at, static_cast<std::uint64_t>(now));
        ++c.events;
        c.due += plan.step_ns;
    }
    if (c.events < plan.count || (plan.count == 0 && c.due > now)) return output_;
    if (!output_.empty() && output_.size() + plan.tail.size() > kWriteBytes) return output_;
    c.ended = true;
    if (output_.empty()) return plan.tail;
    return output_ += plan.tail;
}

bool Mock::send_some(Connection& c, std::string_view data) {
    const ssize_t sent = send(c.socket, data.data(), data.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        drop(c);
        return false;
    }
    data.remove_prefix(static_cast<std::size_t>(std::max<ssize_t>(sent, 0)));
    if (data.empty()) return true;
    c.unsent = data;
    c.unsent_at = 0;
    c.blocked = true;
    return false;
}

bool Mock::flush(Connection& c) {
    if (c.blocked) return false;
    const std::string_view rest = std::string_view(c.unsent).substr(c.unsent_at);
    const ssize_t sent = send(c.socket, rest.data(), rest.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        drop(c);
        return false;
    }
    c.unsent_at += static_cast<std::size_t>(std::max<ssize_t>(sent, 0));
    c.blocked = c.unsent_at < c.unsent.size();
    if (!c.blocked) c.unsent.clear();
    return !c.blocked;
}

}  // namespace

int main(int argc, char** argv) {
    std::uint16_t port = 0;
    if (argc != 2 || !parse_number(std::string_view(argv[1]), port)) {
        std::fprintf(stderr, "usage: weir_bench_mock PORT\n");
        return 2;
    }
    prepare_process();
    std::signal(SIGTERM, [](int) { _exit(0); });  // it owns nothing that outlives it
    std::signal(SIGINT, [](int) { _exit(0); });
    Mock mock(port);
    std::puts("ready");
    std::fflush(stdout);
    mock.run();
}
