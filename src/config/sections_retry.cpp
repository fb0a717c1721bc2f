// The sections `retry` and `stream`.
#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "sections.hpp"

namespace weir::config {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t kMostStatuses = 100;

// Answers that are passed on or end a message as they are: another call would mend none of them.
bool may_be_retried(int status) noexcept {
    return status >= 400 && status <= 599 && status != 401 && status != 403;
}

void read_statuses(Reader& reader, const Node& node, std::vector<int>& statuses) {
    if (!reader.is_list(node, "retry.statuses", "a list such as [429, 503]")) return;
    if (node.items.size() > kMostStatuses) {
        reader.fault(node, fmt::format("`retry.statuses` has more than {} entries", kMostStatuses));
        return;
    }
    std::vector<int> found;
    found.reserve(node.items.size());
    for (const NodePtr& item : node.items) {
        const auto value = reader.value(*item, "retry.statuses", "a status such as 503");
        if (!value) continue;
        int status = 0;
        const char* const end = value->text.data() + value->text.size();
        const auto [stop, error] = std::from_chars(value->text.data(), end, status);
        if (error != std::errc{} || stop != end || !may_be_retried(status)) {
            reader.fault(
                *item,
                fmt::format(
                    "`retry.statuses`: expected a status from 400 to 599, but for 401 and 403, "
                    "found {}",
                    value->shown
                ),
                "a refused key is never asked twice: 401 and 403 go on to the next key by "
                "themselves"
            );
            continue;
        }
        if (std::ranges::find(found, status) == found.end()) found.push_back(status);
    }
    statuses = std::move(found);
}

void read_budget(Reader& reader, const Node& node, std::uint32_t& percent) {
    const auto value = reader.value(node, "retry.budget", "a share such as 20%");
    if (!value) return;
    std::uint32_t number = 0;
    const char* const end = value->text.data() + value->text.size();
    const auto [stop, error] = std::from_chars(value->text.data(), end, number);
    const bool share = error == std::errc{} && stop + 1 == end && *stop == '%';
    if (!share || number > 100) {
        const bool bare = error == std::errc{} && stop == end;
        reader.fault(
            node,
            fmt::format("`retry.budget`: expected a share from 0% to 100%, found {}", value->shown),
            bare ? "write `%` behind the number" : ""
        );
        return;
    }
    percent = number;
}

}  // namespace

void read_retry(Section& root, Reader& reader, Config& config) {
    const Node* const node = root.find("retry");
    if (node == nullptr) return;
    Retry& retry = config.retry;
    Section section(reader, *node, "`retry`", "retry.");
    section.number("attempts", retry.attempts, 1, 10);
    if (const Node* const list = section.find("statuses")) {
        read_statuses(reader, *list, retry.statuses);
    }
    section.duration<milliseconds>("backoff", retry.backoff, 1ms, 1min);
    section.duration<milliseconds>("longest_wait", retry.longest_wait, 0ms, 5min);
    if (const Node* const budget = section.find("budget")) {
        read_budget(reader, *budget, retry.budget_percent);
    }
    section.number("break_after", retry.break_after, 1, 1000);
    section.duration<milliseconds>("rest", retry.rest, 10ms, 10min);
    section.finish();
}

void read_stream(Section& root, Reader& reader, Config& config) {
    const Node* const node = root.find("stream");
    if (node == nullptr) return;
    Section section(reader, *node, "`stream`", "stream.");
    section.duration<milliseconds>("keep_alive", config.stream_keep_alive, 0ms, 10min);
    section.finish();
}

}  // namespace weir::config
