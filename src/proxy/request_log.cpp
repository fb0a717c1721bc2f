// The one line that each request leaves in the log: JSON for programs, readable text on a terminal.
// Never a body, never a secret: the key shows by its public id.
#include <algorithm>
#include <chrono>
#include <ctime>

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

    fmt::memory_buffer line;
    const auto out = fmt::appender(line);
    if (!log::is_json()) {
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
    fmt::format_to(
        out,
        R"({{"time":"{:%FT%T}.{:03}Z","level":"{}","event":"request","id":"{}","key":{},)"
        R"("method":{},"path":{},"status":{},"model":{},"served":{},"stream":{},"cache":"{}",)"
        R"("upstream":{},"attempts":{},"tried":{},"cap":{},"notice":{},"error":{},"broken":{},"ms":{:.3f},"first_byte_ms":{:.3f},)"
        R"("upstream_ms":{:.3f},"bytes_in":{},"bytes_out":{})",
        fmt::gmtime(seconds),
        ms,
        level == log::Level::kDebug ? "debug" : "info",
        x.id,
        json_quote(key),
        json_quote(head.method),
        json_quote(path),
        status,
        json_quote(model),
        json_quote(std::string_view(x.served_model).substr(0, kLongestName)),
        x.json.stream,
        cache_text(x),
        json_quote(upstream),
        attempts,
        json_quote(tried),
        json_quote(cap),
        json_quote(x.notice),
        json_quote(x.error_code),
        x.broken,
        total_ms,
        milliseconds(x.first_byte),
        upstream_ms,
        x.bytes_in,
        bytes_out
    );
    if (x.socket) {
        fmt::format_to(
            out,
            R"(,"messages_in":{},"messages_out":{},"answers":{},"close_code":{})",
            x.socket->messages_in,
            x.socket->messages_out,
            x.socket->answers,
            x.socket->close_code
        );
    }
    fmt::format_to(out, "}}");
    log::write_line(level, fmt::to_string(line));
}

}  // namespace weir::proxy
