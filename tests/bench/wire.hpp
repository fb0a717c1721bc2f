// What the two ends of the benchmark share: a clock, descriptors, and stamps. Linux only.
#pragma once

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string_view>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

namespace weir::bench {

constexpr std::int64_t kSecond = 1'000'000'000;  // times are ns of CLOCK_MONOTONIC

inline std::int64_t now_ns() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * kSecond + now.tv_nsec;
}

inline timespec to_timespec(std::int64_t span_ns) {
    return {.tv_sec = span_ns / kSecond, .tv_nsec = span_ns % kSecond};
}

[[noreturn]] inline void die(const char* what) {
    std::fprintf(stderr, "%s: %s\n", what, std::strerror(errno));
    std::exit(2);
}

// The kernel rounds a timeout up by 50 us unless told otherwise; a stream needs a descriptor.
inline void prepare_process() {
    prctl(PR_SET_TIMERSLACK, 1UL);
    rlimit limit{.rlim_cur = 65536, .rlim_max = 65536};
    if (setrlimit(RLIMIT_NOFILE, &limit) == 0) return;  // only root may go beyond the hard limit
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

inline sockaddr_in local_address(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

inline void send_at_once(int socket) {
    const int on = 1;
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

// False: not a number, whole.
template <class Number, class... Base>
[[nodiscard]] bool parse_number(std::string_view text, Number& number, Base... base) {
    const char* const last = text.data() + text.size();
    const auto [end, error] = std::from_chars(text.data(), last, number, base...);
    return error == std::errc{} && end == last;
}

// A stamp is '@', 19 digits of ns, '@'.
constexpr std::size_t kStampDigits = 19;

inline void write_digits(char* into, std::uint64_t value) {
    for (std::size_t i = kStampDigits; i-- > 0; value /= 10) {
        into[i] = static_cast<char>('0' + value % 10);
    }
}

// Of a line of an HTTP head: is it this field (name in lower case, with the colon)? Then its value.
[[nodiscard]] inline bool field_is(
    std::string_view line, std::string_view name, std::string_view& value
) {
    if (line.size() < name.size()) return false;
    for (std::size_t i = 0; i < name.size(); ++i) {
        const char c = line[i];
        if ((c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c) != name[i]) return false;
    }
    value = line.substr(name.size());
    while (value.starts_with(' ')) value.remove_prefix(1);
    return true;
}

// The fields that both ends look at; gives each other line to `other`. False: a bad length.
struct Fields {
    std::uint64_t length = 0;
    bool chunked = false;
    bool last = false;  // connection: close
};
template <class Other>
[[nodiscard]] bool read_fields(std::string_view head, Fields& fields, Other other) {
    while (!head.empty()) {
        const std::string_view line = head.substr(0, head.find("\r\n"));
        head.remove_prefix(std::min(head.size(), line.size() + 2));
        std::string_view value;
        if (field_is(line, "content-length:", value)) {
            if (!parse_number(value, fields.length)) return false;
        } else if (field_is(line, "transfer-encoding:", value)) {
            fields.chunked = value == "chunked";
        } else if (field_is(line, "connection:", value)) {
            fields.last = value == "close";
        } else {
            other(line);
        }
    }
    return true;
}

}  // namespace weir::bench
