#include "pool.hpp"

#include <algorithm>

namespace weir::upstream {

Pool::Pool(
    const config::Upstream& upstream,
    std::string_view key,
    std::size_t bound,
    std::chrono::milliseconds idle_time
)
    : host_(upstream.host),
      port_(upstream.port),
      tls_(upstream.tls),
      ca_file_(upstream.ca_file),
      key_(key),
      bound_(bound),
      idle_time_(idle_time) {}

Pool::~Pool() {
    close_idle();
}

bool Pool::is_for(const config::Upstream& upstream, std::size_t key) const noexcept {
    return port_ == upstream.port && tls_ == upstream.tls && host_ == upstream.host &&
           key_ == upstream.key_at(key) && ca_file_ == upstream.ca_file;
}

std::shared_ptr<Connection> Pool::take() {
    while (!idle_.empty()) {
        std::shared_ptr<Connection> connection = std::move(idle_.back());
        idle_.pop_back();
        connection->set_owner(nullptr);
        if (connection->is_quiet()) return connection;
        connection->close();
    }
    return nullptr;
}

void Pool::put(std::shared_ptr<Connection> connection) {
    // Whether it stays quiet is looked at when it is taken.
    if (retired_ || idle_.size() >= bound_ || !connection->unread().empty()) {
        connection->set_owner(nullptr);
        connection->close_politely();
        return;
    }
    connection->shrink();
    connection->set_owner(this);
    connection->set_deadline(Deadline::in(idle_time_));
    idle_.push_back(std::move(connection));
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
        Result<std::shared_ptr<TlsContext>> made = TlsContext::create(ca_file_);
        if (!made) return made;
        tls_context_ = std::move(*made);
    }
    return tls_context_;
}

void Pool::deadline_passed(Connection& connection) {
    const auto found = std::ranges::find(idle_, &connection, &std::shared_ptr<Connection>::get);
    if (found == idle_.end()) return;
    connection.set_owner(nullptr);
    connection.close_politely();
    idle_.erase(found);
}

}  // namespace weir::upstream
