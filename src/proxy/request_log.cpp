// The one line that each request leaves in the log: JSON for programs, readable text on a terminal.
// Never a body, never a secret: the key shows by its public id.
#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <concepts>
#include <ctime>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "weir/base/log.hpp"
#include "weir/base/text.hpp"
#include "weir/proxy/proxy.hpp"

namespace weir::proxy {

namespace {

constexpr std::size_t kLongestName = 128;  // of what a client chose: model, path
constexpr int kClientGone = 499;

std::string_view cache_text(const Exchange& x) noexcept {
    if (x.joined) return "joined";
    switch (x.cache) {
        case CacheUse::kHit:
            return "hit";
        case CacheUse::kMiss:
            return "miss";
        case CacheUse::kBypass:
            return "bypass";
        case CacheUse::kNone:
            break;
    }
    return "none";
}

double milliseconds(std::chrono::nanoseconds span) noexcept {
    return std::chrono::duration<double, std::milli>(span).count();
}

// "gpt-4* 100/4h 37/100": the cap with the fewest left.
std::string cap_text(const Exchange& x) {
    const quota::CapState* tightest = nullptr;
    for (const quota::CapState& state : x.caps) {
        if (tightest == nullptr || state.window.remaining() < tightest->window.remaining()) {
            tightest = &state;
        }
    }
    if (tightest == nullptr) return {};
    return fmt::format(
        "{} {}/{}", tightest->cap->name(), tightest->window.used, tightest->window.limit
    );
}

// "2026-11-30T12:00:00" of UTC, made once a second.
std::string_view second_of(std::time_t seconds) {
    thread_local std::time_t made_at = -1;
    thread_local std::string made;
    if (seconds != made_at) {
        made = fmt::format("{:%FT%T}", fmt::gmtime(seconds));
        made_at = seconds;
    }
    return made;
}

// The line as it grows; the names come with all that stands before the value. Written by hand,
// since a format of so many parts is a tenth of what a request costs.
struct JsonLine {
    std::string out;
    JsonLine() { out.reserve(640); }
    void text(std::string_view name, std::string_view value) {
        out += name;
        append_json_quoted(out, value);
    }
    void flag(std::string_view name, bool value) {
        out += name;
        out += value ? "true" : "false";
    }
    void number(std::string_view name, std::integral auto value) {
        out += name;
        std::array<char, 24> digits{};
        char* const end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
        out.append(digits.data(), end);
    }
    // With three digits behind the point.
    void ms(std::string_view name, double value) {
        constexpr double kMost = 1e15;
        const auto us = std::llround(std::clamp(value, 0.0, kMost) * 1000);
        number(name, us / 1000);
        const auto rest = static_cast<int>(us % 1000);
        out += '.';
        for (const int digit : {rest / 100, rest / 10 % 10, rest % 10}) {
            out += static_cast<char>('0' + digit);
        }
    }
};

}  // namespace

void log_request(
    const Exchange& x, const http::RequestHead& head, std::uint64_t bytes_out, log::Level level
) {
    if (!log::enabled(level)) return;
    const int status = x.client_gone ? kClientGone : x.status;
    const double total_ms = milliseconds(Deadline::Clock::now() - x.begun);
    const std::string_view path = std::string_view(x.path).substr(0, kLongestName);
    const std::string& asked = x.first_model.empty() ? x.asked_model : x.first_model;
    const std::string_view model = std::string_view(asked).substr(0, kLongestName);
    const std::string_view key = x.member != nullptr ? std::string_view(x.member->key->id) : "";
    const std::string_view upstream = x.call ? std::string_view(x.call->upstream) : "";
    const double upstream_ms = x.call ? milliseconds(x.call->first_byte) : 0;
    const std::string& tried = x.attempts.empty() && x.call ? x.call->attempts : x.attempts;
    const auto attempts = tried.empty() ? 0 : std::ranges::count(tried, ',') + 1;
    const std::string cap = cap_text(x);
    const auto now =
        std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now());
    const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
    const auto ms = now.time_since_epoch().count() % 1000;

    if (!log::is_json()) {
        fmt::memory_buffer line;
        const auto out = fmt::appender(line);
        fmt::format_to(
            out,
            "{:%T}.{:03} {} {} {} model={} key={} cache={} {:.1f} ms",
            fmt::localtime(seconds),
            ms,
            status,
            json_quote(head.method),
            json_quote(path),
            json_quote(model),
            json_quote(key),
            cache_text(x),
            total_ms
        );
        if (!upstream.empty()) fmt::format_to(out, " upstream={}", upstream);
        if (attempts > 1) fmt::format_to(out, " tried=\"{}\"", tried);
        if (!cap.empty()) fmt::format_to(out, " cap=\"{}\"", cap);
        if (!x.fallback.empty()) fmt::format_to(out, " served={}", json_quote(x.served_model));
        if (!x.notice.empty()) fmt::format_to(out, " notice={}", json_quote(x.notice));
        if (!x.error_code.empty()) fmt::format_to(out, " error={}", x.error_code);
        if (x.broken) fmt::format_to(out, " broken");
        if (x.socket) {
            fmt::format_to(
                out,
                " in={} out={} answers={} close={}",
                x.socket->messages_in,
                x.socket->messages_out,
                x.socket->answers,
                x.socket->close_code
            );
        }
        fmt::format_to(out, " id={}", x.id);
        log::write_line(level, fmt::to_string(line));
        return;
    }
    JsonLine json;
    json.out += R"({"time":")";
    json.out += second_of(seconds);
    const std::array<char, 4> fraction = {
        '.',
        static_cast<char>('0' + ms / 100),
        static_cast<char>('0' + ms / 10 % 10),
        static_cast<char>('0' + ms % 10)
    };
    json.out.append(fraction.data(), fraction.size());
    json.out += level == log::Level::kDebug ? R"(Z","level":"debug","event":"request")"
                                            : R"(Z","level":"info","event":"request")";
    json.text(R"(,"id":)", x.id);
    json.text(R"(,"key":)", key);
    json.text(R"(,"method":)", head.method);
    json.text(R"(,"path":)", path);
    json.number(R"(,"status":)", status);
    json.text(R"(,"model":)", model);
    json.text(R"(,"served":)", std::string_view(x.served_model).substr(0, kLongestName));
    json.flag(R"(,"stream":)", x.json.stream);
    json.text(R"(,"cache":)", cache_text(x));
    json.text(R"(,"upstream":)", upstream);
    json.number(R"(,"attempts":)", attempts);
    json.text(R"(,"tried":)", tried);
    json.text(R"(,"cap":)", cap);
    json.text(R"(,"notice":)", x.notice);
    json.text(R"(,"error":)", x.error_code);
    json.flag(R"(,"broken":)", x.broken);
    json.ms(R"(,"ms":)", total_ms);
    json.ms(R"(,"first_byte_ms":)", milliseconds(x.first_byte));
    json.ms(R"(,"upstream_ms":)", upstream_ms);
    json.number(R"(,"bytes_in":)", x.bytes_in);
    json.number(R"(,"bytes_out":)", bytes_out);
    if (x.socket) {
        json.number(R"(,"messages_in":)", x.socket->messages_in);
        json.number(R"(,"messages_out":)", x.socket->messages_out);
        json.number(R"(,"answers":)", x.socket->answers);
        json.number(R"(,"close_code":)", x.socket->close_code);
    }
    json.out += '}';
    log::write_line(level, std::move(json.out));
}

}  // namespace weir::proxy
