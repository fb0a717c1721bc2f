#include "line.hpp"

#include <algorithm>
#include <utility>

namespace weir::quota {

void Line::join(const std::shared_ptr<Ticket>& ticket) {
    ticket->line = this;
    std::deque<std::shared_ptr<Ticket>>& own = by_key[ticket->key];
    if (own.empty()) order.push_back(ticket->key);
    own.push_back(ticket);
    ++waiting;
}

void Line::call_next() {
    if (order.empty()) return;
    const AccountId key = order.front();
    order.pop_front();
    const auto own = by_key.find(key);
    const std::shared_ptr<Ticket> ticket = std::move(own->second.front());
    own->second.pop_front();
    if (own->second.empty()) {
        by_key.erase(own);
    } else {
        order.push_back(key);
    }
    --waiting;
    ++called;
    ticket->called = true;
    ticket->signal->notify();
}

void Line::put_back(const std::shared_ptr<Ticket>& ticket) {
    ticket->called = false;
    --called;
    ++waiting;
    std::deque<std::shared_ptr<Ticket>>& own = by_key[ticket->key];
    own.push_front(ticket);
    std::erase(order, ticket->key);
    order.push_front(ticket->key);
}

void Line::leave(Ticket& ticket) {
    ticket.line = nullptr;
    if (std::exchange(ticket.called, false)) {
        --called;
        return;
    }
    const auto own = by_key.find(ticket.key);
    std::erase_if(own->second, [&ticket](const auto& one) { return one.get() == &ticket; });
    --waiting;
    if (!own->second.empty()) return;
    by_key.erase(own);
    order.erase(std::ranges::find(order, ticket.key));
}

}  // namespace weir::quota
