#include "pool.hpp"

#include <algorithm>
#include <charconv>

#include "weir/base/text.hpp"

#include "request_head.hpp"

namespace weir::upstream {
namespace {

using std::chrono::milliseconds;

constexpr std::chrono::minutes kLearnedFor{10};
constexpr milliseconds kShortestIdle{1000};

bool same(const config::ExtraField& a, const config::ExtraField& b) {
    return a.name == b.name && a.value == b.value;
}

// What `Keep-Alive: timeout=5, max=100` allows, less a second for the way there.
std::optional<milliseconds> told_idle_time(const http::Fields& fields) {
    std::string_view rest = fields.find("Keep-Alive").value_or(std::string_view());
    while (!rest.empty()) {
        const std::size_t comma = std::min(rest.find(','), rest.size());
        std::string_view one = trim(rest.substr(0, comma));
        rest.remove_prefix(std::min(comma + 1, rest.size()));
        constexpr std::string_view kName = "timeout=";
        if (!iequals(one.substr(0, kName.size()), kName)) continue;
        one.remove_prefix(kName.size());
        std::uint32_t seconds = 0;
        const auto [end, error] = std::from_chars(one.data(), one.data() + one.size(), seconds);
        if (error != std::errc{} || end != one.data() + one.size()) continue;
        return seconds == 0 ? milliseconds(0) : milliseconds(1000LL * (seconds - 1));
    }
    return std::nullopt;
}

TlsFiles files_of(const config::Upstream& upstream) {
    return {upstream.ca_file, upstream.certificate_file, upstream.certificate_key_file};
}

}  // namespace

Pool::Pool(
    const config::Upstream& upstream,
    std::string_view key,
    std::size_t bound,
    milliseconds idle_time
)
    : host_(upstream.host),
      port_(upstream.port),
      tls_(upstream.tls),
      files_(files_of(upstream)),
      proxy_(upstream.proxy),
      kind_(upstream.kind),
      key_(key),
      headers_(upstream.headers),
      dialled_(bare_host(upstream.proxy ? upstream.proxy->host : upstream.host)),
      bound_(bound),
      idle_time_(idle_time) {}

Pool::~Pool() {
    close_idle();
}

bool Pool::is_for(const config::Upstream& upstream, std::size_t key) const noexcept {
    return port_ == upstream.port && tls_ == upstream.tls && kind_ == upstream.kind &&
           host_ == upstream.host && key_ == upstream.key_at(key) &&
           files_.ca == upstream.ca_file && files_.certificate == upstream.certificate_file &&
           files_.certificate_key == upstream.certificate_key_file && proxy_ == upstream.proxy &&
           std::ranges::equal(headers_, upstream.headers, &same);
}

std::shared_ptr<Connection> Pool::take(const Addresses* current) {
    while (!idle_.empty()) {
        std::shared_ptr<Connection> connection = std::move(idle_.back());
        idle_.pop_back();
        connection->set_owner(nullptr);
        const bool gone =
            current != nullptr && std::ranges::find(*current, connection->peer()) == current->end();
        if (gone) {
            connection->close_politely();
            continue;
        }
        const Connection::Idle found = connection->look();
        if (found == Connection::Idle::kQuiet) return connection;
        if (found == Connection::Idle::kClosed) {
            found_closed(std::chrono::steady_clock::now() - connection->idle_since());
        }
        connection->close();
    }
    return nullptr;
}

void Pool::put(std::shared_ptr<Connection> connection, const http::Fields& fields) {
    milliseconds time = idle_time();
    if (const auto told = told_idle_time(fields)) time = std::min(time, *told);
    // Whether it stays quiet is looked at when it is taken.
    if (retired_ || idle_.size() >= bound_ || time.count() <= 0 || !connection->unread().empty()) {
        connection->set_owner(nullptr);
        connection->close_politely();
        return;
    }
    connection->rest();
    connection->set_owner(this);
    connection->set_deadline(Deadline::in(time));
    idle_.push_back(std::move(connection));
}

void Pool::found_closed(std::chrono::steady_clock::duration idle) {
    // It may have been closed long before it was seen: what is learned falls until that ends.
    const auto time = std::chrono::duration_cast<milliseconds>(idle) * 4 / 5;
    learned_ = std::max(kShortestIdle, std::min(idle_time(), time));
    learned_until_ = Deadline::in(kLearnedFor);
}

milliseconds Pool::idle_time() const noexcept {
    const bool knows = learned_.count() > 0 && !learned_until_.passed();
    return knows ? std::min(learned_, idle_time_) : idle_time_;
}

void Pool::close_idle() noexcept {
    for (const std::shared_ptr<Connection>& connection : idle_) {
        connection->set_owner(nullptr);
        connection->close_politely();
    }
    idle_.clear();
}

void Pool::retire() noexcept {
    retired_ = true;
    close_idle();
}

Result<std::shared_ptr<TlsContext>> Pool::tls_context() {
    if (tls_context_ == nullptr) {
        Result<std::shared_ptr<TlsContext>> made = TlsContext::create(files_);
        if (!made) return made;
        tls_context_ = std::move(*made);
    }
    return tls_context_;
}

Result<std::shared_ptr<TlsContext>> Pool::proxy_tls_context() {
    if (proxy_tls_context_ == nullptr) {
        // The client certificate is for the upstream alone.
        Result<std::shared_ptr<TlsContext>> made = TlsContext::create({files_.ca, {}, {}});
        if (!made) return made;
        proxy_tls_context_ = std::move(*made);
    }
    return proxy_tls_context_;
}

void Pool::deadline_passed(Connection& connection) {
    const auto found = std::ranges::find(idle_, &connection, &std::shared_ptr<Connection>::get);
    if (found == idle_.end()) return;
    connection.set_owner(nullptr);
    connection.close_politely();
    idle_.erase(found);
}

}  // namespace weir::upstream
