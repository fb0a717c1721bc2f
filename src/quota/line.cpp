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
    std::shared_ptr<Ticket> ticket;
    if (!early.empty()) {
        ticket = std::move(early.front());
        early.pop_front();
    } else {
        if (order.empty()) return;
        const AccountId key = order.front();
        order.pop_front();
        const auto own = by_key.find(key);
        ticket = std::move(own->second.front());
        own->second.pop_front();
        if (own->second.empty()) {
            by_key.erase(own);
        } else {
            order.push_back(key);
        }
        ticket->call = ++calls;
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
    early.insert(std::ranges::upper_bound(early, ticket->call, {}, &Ticket::call), ticket);
}

void Line::leave(Ticket& ticket) {
    ticket.line = nullptr;
    if (std::exchange(ticket.called, false)) {
        --called;
        return;
    }
    if (ticket.call > 0) {
        std::erase_if(early, [&ticket](const auto& one) { return one.get() == &ticket; });
        --waiting;
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
