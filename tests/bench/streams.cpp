// The load of the benchmark for event streams: one thread, N connections, one stream on each.
//   weir_bench_streams --port P --model M [--streams N] [--path /v1/chat/completions] [--key KEY]
//     --seconds S    ask again when a stream ends, until S seconds are over (0: ask once on each)
//     --open-only S  open all, hold them S seconds, and say how many are open and had an event
//     --unique       no two questions are equal (else all are, and a cache may answer with old
//     stamps)
//     --body-kb K    questions of about K KiB
//     --rate R       begin no more than R streams a second
// Prints one line of JSON. Times are from the stamp of an event to the recv() that brought it;
// "events" counts every event, also those without a stamp. The exit status is 1 if anything failed:
// a status other than 200, a connection that was cut, a stream without [DONE], nothing for 30 s.
#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <sys/epoll.h>
#include <vector>

#include <unistd.h>

#include "stream_reader.hpp"
#include "wire.hpp"

namespace {

using namespace weir::bench;

constexpr std::size_t kOpening = 500;  // streams without an answer yet, while others are opened
constexpr std::uint32_t kStreamsOfAddress = 8000;  // 127.0.0.1, then .2
constexpr std::int64_t kSilence = 30 * kSecond;

struct Options {
    std::uint16_t port = 0;
    std::size_t streams = 1;
    std::string path = "/v1/chat/completions";
    std::string key;
    std::string model;
    double seconds = 0;
    double open_only = 0;
    std::size_t body_kb = 0;
    double rate = 0;
    bool unique = false;
};

enum class State : std::uint8_t { kIdle, kAsked, kFailed };

struct Stream {
    int socket = -1;
    State state = State::kIdle;
    bool writing = false;   // EPOLLOUT is asked for
    bool answered = false;  // the first byte of this answer came
    bool had_event = false;
    std::uint64_t number = 0;  // of the question
    std::size_t sent = 0;      // of the request
    StreamReader answer;
};

class Load {
public:
    explicit Load(const Options& options);
    [[nodiscard]] int run();

private:
    void ask_those_due(std::int64_t now);
    void ask(Stream& s);
    bool open(Stream& s);
    void watch(Stream& s, int what);
    void send_request(Stream& s);
    void read(Stream& s);
    void end(Stream& s);
    void fail(Stream& s, const char* why);
    [[nodiscard]] bool over(std::int64_t now);
    void print(std::int64_t span) const;

    Options options_;
    std::string request_;
    std::size_t number_at_ = 0;  // in request_: the digits that --unique changes
    std::uint64_t number_ = 0;
    int epoll_ = epoll_create1(EPOLL_CLOEXEC);
    std::vector<Stream> streams_;
    std::deque<std::size_t> waiting_;  // to be asked; those that never were come first
    std::vector<char> input_ = std::vector<char>(64UL * 1024);
    Tally tally_;
    std::size_t opening_ = 0;
    std::size_t active_ = 0;
    std::uint64_t asked_ = 0;
    std::uint64_t bytes_ = 0;
    std::uint64_t errors_ = 0;
    std::int64_t begin_ = now_ns();
    std::int64_t next_ask_ = begin_;
    std::int64_t last_input_ = begin_;
    std::int64_t hold_until_ = 0;
};

Load::Load(const Options& options) : options_(options), streams_(options.streams) {
    const std::string number(kStampDigits, '0');
    std::string body = R"({"model":")" + options.model +
                       R"(","stream":true,"stream_options":{"include_usage":true},"messages":[{)"
                       R"("role":"user","content":"Question )" +
                       number + ": what is a weir? ";
    const std::size_t wanted = options.body_kb * 1024;
    if (wanted > body.size() + 4) body.append(wanted - body.size() - 4, 'x');
    body += R"("}]})";
    request_ = "POST " + options.path + " HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: " +
               "application/json\r\nauthorization: Bearer " + options.key +
               "\r\ncontent-length: " + std::to_string(body.size()) + "\r\n\r\n";
    number_at_ = request_.size() + body.find(number);
    request_ += body;
    timespec wall{};  // so that a later run asks other questions
    clock_gettime(CLOCK_REALTIME, &wall);
    number_ = static_cast<std::uint64_t>(wall.tv_sec * kSecond + wall.tv_nsec);
    for (std::size_t i = 0; i < streams_.size(); ++i) waiting_.push_back(i);
}

int Load::run() {
    std::array<epoll_event, 512> ready{};
    std::int64_t now = begin_;
    while (!over(now)) {
        ask_those_due(now);
        std::int64_t pause = kSecond / 20;
        if (options_.rate > 0 && !waiting_.empty()) {
            pause = std::clamp(next_ask_ - now, std::int64_t{0}, pause);
        }
        const timespec timeout = to_timespec(pause);
        const int count = epoll_pwait2(epoll_, ready.data(), ready.size(), &timeout, nullptr);
        if (count < 0 && errno != EINTR) die("epoll_pwait2");
        for (int i = 0; i < count; ++i) {
            const epoll_event& event = ready[static_cast<std::size_t>(i)];
            Stream& s = streams_[event.data.u64];
            if ((event.events & EPOLLOUT) != 0 && s.socket >= 0) send_request(s);
            if ((event.events & ~std::uint32_t{EPOLLOUT}) != 0 && s.socket >= 0) read(s);
        }
        now = now_ns();
    }
    print(now - begin_);
    return errors_ > 0 ? 1 : 0;
}

bool Load::over(std::int64_t now) {
    if (now - last_input_ > kSilence && active_ > 0 && hold_until_ == 0) {
        for (Stream& s : streams_) {
            if (s.state == State::kAsked) fail(s, "no byte came for 30 s");
        }
        return true;
    }
    if (options_.open_only > 0) {
        if (hold_until_ == 0 && waiting_.empty() && opening_ == 0) {
            hold_until_ = now + static_cast<std::int64_t>(options_.open_only * 1e9);
        }
        if (hold_until_ == 0 || now < hold_until_) return false;
        for (Stream& s : streams_) {
            if (s.state == State::kAsked && !s.had_event) fail(s, "it is open, but had no event");
        }
        return true;
    }
    if (options_.seconds > 0 && now - begin_ >= static_cast<std::int64_t>(options_.seconds * 1e9)) {
        waiting_.clear();
    }
    return active_ == 0 && waiting_.empty();
}

void Load::ask_those_due(std::int64_t now) {
    while (!waiting_.empty()) {
        Stream& s = streams_[waiting_.front()];
        if (s.socket < 0 && opening_ >= kOpening) return;
        if (options_.rate > 0) {
            if (now < next_ask_) return;
            // After a pause it does not catch up by more than 0.1 s.
            next_ask_ = std::max(next_ask_, now - kSecond / 10) +
                        static_cast<std::int64_t>(1e9 / options_.rate);
        }
        waiting_.pop_front();
        ask(s);
    }
}

void Load::ask(Stream& s) {
    s.state = State::kAsked;
    s.answered = false;
    s.answer = StreamReader{};
    s.sent = 0;
    s.number = number_++;
    ++asked_;
    ++active_;
    ++opening_;
    if (s.socket >= 0) return send_request(s);
    if (!open(s)) fail(s, std::strerror(errno));
}

bool Load::open(Stream& s) {
    s.socket = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s.socket < 0) return false;
    send_at_once(s.socket);
    // Connections from one address make connect() slow when half of its ports are taken: it tries
    // 14,000 of them one after another.
    sockaddr_in from = local_address(0);
    const auto number = static_cast<std::uint32_t>(&s - streams_.data());
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + number / kStreamsOfAddress);
    const int on = 1;
    setsockopt(s.socket, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (bind(s.socket, reinterpret_cast<const sockaddr*>(&from), sizeof from) != 0) return false;
    const sockaddr_in address = local_address(options_.port);
    const int result =
        connect(s.socket, reinterpret_cast<const sockaddr*>(&address), sizeof address);
    if (result != 0 && errno != EINPROGRESS) return false;
    s.writing = true;
    watch(s, EPOLL_CTL_ADD);
    return true;
}

void Load::watch(Stream& s, int what) {
    epoll_event event{
        .events = s.writing ? EPOLLIN | EPOLLOUT : EPOLLIN,
        .data = {.u64 = static_cast<std::uint64_t>(&s - streams_.data())}
    };
    if (epoll_ctl(epoll_, what, s.socket, &event) != 0) die("epoll_ctl");
}

void Load::send_request(Stream& s) {
    if (options_.unique) write_digits(request_.data() + number_at_, s.number);
    const std::string_view rest = std::string_view(request_).substr(s.sent);
    const ssize_t sent = send(s.socket, rest.data(), rest.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) return fail(s, std::strerror(errno));
    s.sent += static_cast<std::size_t>(std::max<ssize_t>(sent, 0));
    const bool writing = s.sent < request_.size();
    if (writing == s.writing) return;
    s.writing = writing;
    watch(s, EPOLL_CTL_MOD);
}

void Load::read(Stream& s) {
    const ssize_t size = recv(s.socket, input_.data(), input_.size(), 0);
    if (size < 0 && errno == EAGAIN) return;
    if (size <= 0 && s.state == State::kIdle) {  // a connection that nobody uses may go
        close(s.socket);
        s.socket = -1;
        return;
    }
    if (size <= 0) return fail(s, size < 0 ? std::strerror(errno) : "the connection was cut");
    last_input_ = now_ns();
    bytes_ += static_cast<std::uint64_t>(size);
    if (!s.answered) --opening_;
    s.answered = true;
    if (s.state == State::kIdle) return fail(s, "bytes after the end of an answer");
    const std::string_view data(input_.data(), static_cast<std::size_t>(size));
    const bool good = s.answer.consume(data, last_input_, tally_);
    s.had_event = s.had_event || s.answer.had_event();
    if (!good) return fail(s, s.answer.fault().c_str());
    if (s.answer.whole()) end(s);
}

void Load::end(Stream& s) {
    --active_;
    s.state = State::kIdle;
    if (s.answer.last()) {
        close(s.socket);
        s.socket = -1;
    }
    const bool again = options_.seconds > 0 && options_.open_only <= 0;
    if (again) waiting_.push_back(static_cast<std::size_t>(&s - streams_.data()));
}

// The stream is given up: a run with errors measures nothing.
void Load::fail(Stream& s, const char* why) {
    if (errors_++ == 0) std::fprintf(stderr, "first error: %s\n", why);
    if (!s.answered) --opening_;
    if (s.state == State::kAsked) --active_;
    if (s.socket >= 0) close(s.socket);
    s.socket = -1;
    s.state = State::kFailed;
}

void Load::print(std::int64_t span_ns) const {
    const double seconds = static_cast<double>(span_ns) / 1e9;
    const auto is_open = [](const Stream& s) { return s.state != State::kFailed && s.had_event; };
    std::printf(
        R"({"streams":%zu,"open":%td,"events":%ju,"bytes":%ju,"errors":%ju,"seconds":%.3f,)"
        R"("events_per_s":%.0f,"p50_us":%.0f,"p90_us":%.0f,"p99_us":%.0f,"max_us":%.0f,"asked":%ju})"
        "\n",
        streams_.size(),
        std::ranges::count_if(streams_, is_open),
        std::uintmax_t{tally_.events},
        std::uintmax_t{bytes_},
        std::uintmax_t{errors_},
        seconds,
        static_cast<double>(tally_.events) / seconds,
        tally_.delays.at(0.5),
        tally_.delays.at(0.9),
        tally_.delays.at(0.99),
        tally_.delays.most(),
        std::uintmax_t{asked_}
    );
}

[[noreturn]] void refuse(std::string_view what) {
    std::fprintf(stderr, "weir_bench_streams: %.*s\n", static_cast<int>(what.size()), what.data());
    std::exit(2);
}

Options read_options(const std::vector<std::string_view>& words) {
    Options options;
    for (std::size_t i = 0; i < words.size(); ++i) {
        const std::string_view name = words[i];
        if (name == "--unique") {
            options.unique = true;
            continue;
        }
        if (++i == words.size()) refuse(name);
        const std::string_view value = words[i];
        bool good = true;
        if (name == "--port") {
            good = parse_number(value, options.port);
        } else if (name == "--streams") {
            good = parse_number(value, options.streams);
        } else if (name == "--path") {
            options.path = value;
        } else if (name == "--key") {
            options.key = value;
        } else if (name == "--model") {
            options.model = value;
        } else if (name == "--seconds") {
            good = parse_number(value, options.seconds);
        } else if (name == "--open-only") {
            good = parse_number(value, options.open_only);
        } else if (name == "--body-kb") {
            good = parse_number(value, options.body_kb);
        } else if (name == "--rate") {
            good = parse_number(value, options.rate);
        } else {
            good = false;
        }
        if (!good) refuse(name);
    }
    if (options.port == 0 || options.model.empty()) refuse("--port and --model are needed");
    return options;
}

}  // namespace

int main(int argc, char** argv) {
    prepare_process();
    Load load(read_options({argv + 1, argv + argc}));
    return load.run();
}
