#include "weir/cache/flight.hpp"

#include <algorithm>
#include <cassert>
#include <utility>

namespace weir::cache {

namespace {

// What one next() hands over at most: enough for one gathered write, little enough that a listener
// holds next to nothing beside the flight.
constexpr std::size_t kTakeBytes = 64 << 10;
// Tiny chunks may cost more than their bytes; beyond this the backlog is given up as well.
constexpr std::uint64_t kOverheadAllowance = 64 << 10;

std::uint64_t weight(const Chunk& chunk) noexcept {
    return chunk.bytes.size() + Flight::kChunkOverhead;
}

}  // namespace

Subscription::Subscription(
    std::shared_ptr<Flight> flight, std::shared_ptr<Signal> signal, std::uint64_t id
) noexcept
    : flight_(std::move(flight)), signal_(std::move(signal)), id_(id) {}

Subscription::Subscription(Subscription&& other) noexcept
    : flight_(std::move(other.flight_)),
      signal_(std::move(other.signal_)),
      id_(std::exchange(other.id_, 0)) {}

Subscription& Subscription::operator=(Subscription&& other) noexcept {
    if (this != &other) {
        if (flight_) flight_->leave(id_);
        flight_ = std::move(other.flight_);
        signal_ = std::move(other.signal_);
        id_ = std::exchange(other.id_, 0);
    }
    return *this;
}

Subscription::~Subscription() {
    if (flight_) flight_->leave(id_);
}

Subscription::Next Subscription::next() {
    return flight_->next_for(id_);
}

Flight::Flight(Options options) noexcept
    : options_(options), shareable_(options.backlog_limit_bytes > 0) {}

Flight::~Flight() {
    if (options_.budget != nullptr && charged_ > 0) options_.budget->give_back(charged_);
}

std::optional<Subscription> Flight::subscribe(std::shared_ptr<Signal> signal) {
    std::uint64_t id = 0;
    {
        const MutexLock lock(mutex_);
        if (!open_to_newcomers()) return std::nullopt;
        if (is_unattended() && producer_) producer_->notify();
        id = next_id_++;
        Listener& listener = listeners_.emplace_back();
        listener.id = id;
        listener.signal = signal;
        if (state_ == FlightState::kAsking && starter_ == 0) {
            starter_ = id;
            // The first one made the flight and knows that it has to ask.
            listener.refused = id != 1;
        }
    }
    return Subscription(shared_from_this(), std::move(signal), id);
}

bool Flight::open_to_newcomers() const {
    if (abandoned_) return false;
    if (state_ == FlightState::kEnded && !end_.clean) return false;
    // Not shareable: whoever made it, and nobody else.
    return shareable_ || (options_.backlog_limit_bytes == 0 && next_id_ == 1);
}

bool Flight::takes_newcomers() const {
    const MutexLock lock(mutex_);
    return open_to_newcomers();
}

void Flight::take_off() {
    const MutexLock lock(mutex_);
    if (state_ != FlightState::kAsking) return;
    state_ = FlightState::kFlying;
    starter_ = 0;
}

void Flight::give_up_asking(std::uint64_t starter) {
    const MutexLock lock(mutex_);
    if (state_ != FlightState::kAsking || starter_ != starter || starter == 0) return;
    if (Listener* const listener = find(starter)) listener->gave_up = true;
    pass_on_asking();
}

void Flight::pass_on_asking() {
    starter_ = 0;
    for (Listener& listener : listeners_) {
        if (listener.gave_up) continue;
        starter_ = listener.id;
        listener.refused = true;
        wake(listener);
        return;
    }
    abandon();
    state_ = FlightState::kEnded;
    wake_all();
}

FlightState Flight::state() const {
    const MutexLock lock(mutex_);
    return state_;
}

void Flight::set_producer(std::shared_ptr<Signal> producer) {
    const MutexLock lock(mutex_);
    if (abandoned_ || is_unattended()) producer->notify();
    if (state_ != FlightState::kEnded) producer_ = std::move(producer);
}

void Flight::publish_head(FlightHead head) {
    auto shared = std::make_shared<const FlightHead>(std::move(head));
    const MutexLock lock(mutex_);
    assert(state_ != FlightState::kAsking);
    if (state_ != FlightState::kFlying || abandoned_) return;
    head_ = std::move(shared);
    wake_all();
}

bool Flight::publish(std::vector<Chunk> chunks) {
    const MutexLock lock(mutex_);
    assert(state_ != FlightState::kAsking);
    if (abandoned_ || state_ == FlightState::kEnded) return false;
    std::uint64_t added = 0;
    for (Chunk& chunk : chunks) {
        if (chunk.bytes.empty()) continue;
        added += weight(chunk);
        produced_bytes_ += chunk.bytes.size();
        chunks_.push_back(std::make_shared<const Chunk>(std::move(chunk)));
    }
    if (added == 0) return true;
    produced_ += added;
    held_ += added;
    if (shareable_) {
        const bool fits = produced_bytes_ <= options_.backlog_limit_bytes &&
                          produced_ <= 2 * options_.backlog_limit_bytes + kOverheadAllowance;
        const bool paid = fits && (options_.budget == nullptr || options_.budget->take(added));
        if (paid && options_.budget != nullptr) charged_ += added;
        if (!paid) {
            shareable_ = false;
            // Nobody will ever have all of it.
            if (listeners_.empty()) {
                abandon();
                return false;
            }
            drop_taken();
        }
    }
    wake_all();
    return true;
}

void Flight::end(FlightEnd end) {
    std::shared_ptr<Signal> producer;  // let go on its own thread, outside the lock
    const MutexLock lock(mutex_);
    producer = std::move(producer_);
    if (state_ == FlightState::kEnded) return;
    state_ = FlightState::kEnded;
    starter_ = 0;
    end_ = std::move(end);
    wake_all();
}

bool Flight::congested() const {
    const MutexLock lock(mutex_);
    producer_waits_ =
        state_ == FlightState::kFlying && !listeners_.empty() && lag() >= options_.lag_limit_bytes;
    return producer_waits_;
}

bool Flight::abandoned() const {
    const MutexLock lock(mutex_);
    return abandoned_;
}

bool Flight::is_unattended() const {
    return state_ == FlightState::kFlying && listeners_.empty() && !abandoned_;
}

bool Flight::unattended() const {
    const MutexLock lock(mutex_);
    return is_unattended();
}

void Flight::abandon_if_unattended() {
    const MutexLock lock(mutex_);
    if (is_unattended()) abandon();
}

std::size_t Flight::subscribers() const {
    const MutexLock lock(mutex_);
    return listeners_.size();
}

std::optional<std::vector<ChunkPtr>> Flight::backlog() const {
    const MutexLock lock(mutex_);
    if (!shareable_ || abandoned_) return std::nullopt;
    if (state_ == FlightState::kEnded && !end_.clean) return std::nullopt;
    return std::vector<ChunkPtr>(chunks_.begin(), chunks_.end());
}

bool Flight::shareable() const {
    const MutexLock lock(mutex_);
    return shareable_;
}

Subscription::Next Flight::next_for(std::uint64_t id) {
    using Kind = Subscription::Next::Kind;
    Subscription::Next next;
    const MutexLock lock(mutex_);
    Listener* const listener = find(id);
    if (listener == nullptr) {
        next.kind = Kind::kEnd;
        return next;
    }
    if (listener->refused) {
        listener->refused = false;
        if (state_ == FlightState::kAsking) {
            next.kind = Kind::kRefused;
            return next;
        }
    }
    if (head_ && !listener->head_told) {
        listener->head_told = true;
        next.kind = Kind::kHead;
        next.head = head_;
        return next;
    }
    const std::size_t first = listener->cursor - first_chunk_;
    if (first < chunks_.size()) {
        std::size_t last = first;
        std::size_t bytes = 0;
        do {
            bytes += chunks_[last++]->bytes.size();
        } while (last < chunks_.size() && bytes + chunks_[last]->bytes.size() <= kTakeBytes);
        next.kind = Kind::kChunks;
        next.chunks.assign(
            chunks_.begin() + static_cast<std::ptrdiff_t>(first),
            chunks_.begin() + static_cast<std::ptrdiff_t>(last)
        );
        listener->cursor += last - first;
        listener->taken += bytes + (last - first) * kChunkOverhead;
        // Only who stood at the front can have held chunks back.
        if (!shareable_ && first == 0) drop_taken();
        wake_producer_if_room();
        return next;
    }
    if (state_ == FlightState::kEnded) {
        next.kind = Kind::kEnd;
        next.end = end_;
        return next;
    }
    listener->waiting = true;
    return next;
}

void Flight::leave(std::uint64_t id) noexcept {
    std::shared_ptr<Signal> signal;
    const MutexLock lock(mutex_);
    Listener* const listener = find(id);
    if (listener == nullptr) return;
    signal = std::move(listener->signal);
    listeners_.erase(listeners_.begin() + (listener - listeners_.data()));
    if (state_ == FlightState::kAsking && starter_ == id) {
        pass_on_asking();
    } else if (listeners_.empty() && state_ != FlightState::kEnded) {
        if (state_ == FlightState::kFlying && shareable_ && options_.may_finish) {
            if (producer_) producer_->notify();
        } else {
            abandon();
        }
    } else {
        if (!shareable_) drop_taken();
        wake_producer_if_room();
    }
}

Flight::Listener* Flight::find(std::uint64_t id) {
    const auto at = std::ranges::lower_bound(listeners_, id, {}, &Listener::id);
    return at != listeners_.end() && at->id == id ? &*at : nullptr;
}

void Flight::abandon() {
    abandoned_ = true;
    shareable_ = false;
    drop_all();
    if (producer_) producer_->notify();
}

void Flight::wake(Listener& listener) {
    if (!listener.waiting) return;
    listener.waiting = false;
    listener.signal->notify();
}

void Flight::wake_all() {
    for (Listener& listener : listeners_) wake(listener);
}

void Flight::wake_producer_if_room() {
    if (!producer_waits_ || lag() >= (options_.lag_limit_bytes + 1) / 2) return;
    producer_waits_ = false;
    if (producer_) producer_->notify();
}

std::uint64_t Flight::lag() const {
    if (listeners_.empty()) return 0;
    const auto [slowest, fastest] = std::ranges::minmax_element(listeners_, {}, &Listener::taken);
    return produced_ - (shareable_ ? fastest : slowest)->taken;
}

void Flight::drop_taken() {
    if (listeners_.empty()) return drop_all();
    while (!chunks_.empty()) {
        const auto is_held = [front = first_chunk_](const Listener& listener) {
            return listener.cursor == front;
        };
        if (std::ranges::any_of(listeners_, is_held)) break;
        drop_front();
    }
    return_budget();
}

void Flight::drop_front() {
    held_ -= weight(*chunks_.front());
    chunks_.pop_front();
    ++first_chunk_;
}

void Flight::drop_all() {
    first_chunk_ += chunks_.size();
    chunks_.clear();
    held_ = 0;
    return_budget();
}

void Flight::return_budget() {
    if (charged_ <= held_) return;
    options_.budget->give_back(charged_ - held_);
    charged_ = held_;
}

}  // namespace weir::cache
