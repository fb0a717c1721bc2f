// Answers from the cache, at full speed or as they came.
#include <algorithm>
#include <chrono>
#include <ctime>
#include <utility>
#include <vector>

#include "weir/http/answer.hpp"
#include "weir/http/crossing.hpp"
#include "weir/http/response_id.hpp"
#include "weir/proxy/proxy.hpp"

#include "crossed.hpp"
#include "endpoint.hpp"
#include "relay.hpp"

namespace weir::proxy {

namespace {

std::int64_t age_of(const cache::Entry& entry) {
    return std::max<std::int64_t>(0, std::time(nullptr) - entry.stored_at_s);
}

// A part of a stored stream, and when it is due.
struct Part {
    std::string_view bytes;
    std::chrono::milliseconds at{0};
};

// Those that only carry usage are not for clients that did not ask.
std::vector<Part> parts_for(const Exchange& x, const cache::Entry& entry) {
    std::vector<Part> parts;
    parts.reserve(entry.parts.size());
    const bool filter =
        entry.stream && !x.json.include_usage && http::has_usage_chunk(x.endpoint->shape);
    const bool timed = entry.times_ms.size() == entry.parts.size();
    for (std::size_t i = 0; i < entry.parts.size(); ++i) {
        const std::string& part = entry.parts[i];
        if (filter && part.find("\"usage\"") != std::string::npos) {
            http::StreamWatch watch(x.endpoint->shape, 1, true);
            if (!watch.see(part)) continue;
        }
        parts.push_back({part, std::chrono::milliseconds(timed ? entry.times_ms[i] : 0)});
    }
    return parts;
}

std::vector<std::string_view> bytes_of(const std::vector<Part>& parts) {
    std::vector<std::string_view> bytes;
    bytes.reserve(parts.size());
    for (const Part& part : parts) bytes.push_back(part.bytes);
    return bytes;
}

// Each part when it is due; the rest at once when the drain is over. False: the client is gone.
Awaitable<bool> write_paced(
    Worker& worker,
    ClientStream& client,
    const std::vector<Part>& parts,
    std::shared_ptr<Signal> signal
) {
    const Waiting waiting(worker, signal);
    client.watch(signal);
    const auto begun = Deadline::Clock::now();
    std::vector<std::string_view> due;
    for (std::size_t next = 0; next < parts.size();) {
        const auto now = Deadline::Clock::now();
        due.clear();
        while (next < parts.size() && (worker.stopping || begun + parts[next].at <= now)) {
            due.push_back(parts[next++].bytes);
        }
        bool sent = true;
        if (!due.empty()) sent = co_await client.write(due);
        if (sent && next < parts.size()) {
            sent = co_await client.flush();
            if (sent) co_await signal->wait(Deadline(begun + parts[next].at));
        }
        if (!sent || client.gone()) co_return false;
    }
    co_return true;
}

}  // namespace

bool wants(const Exchange& x, const cache::EntryPtr& entry) {
    if (!entry) return false;
    return !x.control.max_age || age_of(*entry) <= x.control.max_age->count();
}

Awaitable<bool> relay_entry(
    Worker& worker,
    Exchange& x,
    ClientStream& client,
    const cache::Entry& entry,
    std::shared_ptr<Signal> signal
) {
    x.cache = CacheUse::kHit;
    x.age_s = age_of(entry);
    x.saved = entry.usage;
    http::Fields fields;
    fields.add("content-type", entry.content_type);
    decorate(worker, x, fields);
    const Way way = choose_way(x, entry.status, entry.stream, fields);
    // Its upstream was not asked for what this client asks for, or did not tell.
    if (!entry.usage && needs_usage(x, way, entry.stream)) co_return false;
    if (may_go_on(x) && !entry.parts.empty()) {
        const std::string_view id = http::response_id(entry.parts.front(), entry.stream);
        worker.shared.stored_responses.share(id, x.member->account);
    }
    if (way != Way::kAsItIs) {
        if (entry.bytes() > kLongestCrossed) co_return false;
        const std::vector<std::string_view> all(entry.parts.begin(), entry.parts.end());
        co_return co_await send_crossed(worker, x, client, way, fields, all);
    }
    const std::vector<Part> parts = parts_for(x, entry);
    mark_head(x, entry.status);
    std::optional<std::uint64_t> length;
    if (entry.stream) {
        add_stream_fields(fields);
    } else {
        length = entry.parts.empty() ? 0 : entry.parts.front().size();
    }
    client.begin(entry.status, std::move(fields), length);
    bool sent = false;
    if (entry.stream && x.snapshot->config->cache.replay == config::Replay::kPaced) {
        sent = co_await write_paced(worker, client, parts, signal);
    } else {
        const std::vector<std::string_view> bytes = bytes_of(parts);
        sent = co_await client.write(bytes);
    }
    if (sent) sent = co_await client.finish();
    x.client_gone = !sent;
    co_return true;
}

}  // namespace weir::proxy
