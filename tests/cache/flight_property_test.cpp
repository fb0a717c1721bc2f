// Random histories of one flight: subscribers that come, take, wait and leave, a producer that
// heeds its limits. Everybody only acts as the header says: who was told to wait waits for its
// signal, so a lost wake-up shows as a history that cannot go on.
#include <algorithm>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "weir/cache/flight.hpp"

#include "cache/flight_tools.hpp"

namespace weir::cache {
namespace {

using testing::Bench;
using Kind = Subscription::Next::Kind;

struct Listener {
    std::shared_ptr<Signal> signal;
    std::optional<Subscription> sub;
    std::string got;
    std::size_t chunks = 0;
    bool waiting = false;
    bool starter = false;
    bool was_refused = false;
    bool head = false;
    bool ended = false;
};

class History {
public:
    History(std::mt19937_64& random, Bench& bench) : random_(random), bench_(bench) {
        const std::uint64_t backlogs[] = {0, 300, 3000, 1 << 20};
        const std::uint64_t lags[] = {1, 500, 5000};
        if (chance(2)) budget_ = std::make_unique<BufferBudget>(pick(6000));
        options_ = {backlogs[pick(4)], lags[pick(3)], budget_.get(), chance(2)};
        flight_ = std::make_shared<Flight>(options_);
        producer_ = bench_.signal();
    }

    void run() {
        const std::size_t steps = 20 + pick(150);
        for (std::size_t step = 0; step < steps && !::testing::Test::HasFailure(); ++step) {
            switch (pick(11)) {
                case 0:
                    subscribe();
                    break;
                case 1:
                    if (chance(3)) leave();
                    break;
                case 2:
                    ask_caps();
                    break;
                case 3:
                case 4:
                case 5:
                    produce();
                    break;
                case 6:
                    if (chance(4)) lose_patience();
                    break;
                default:
                    if (!listeners_.empty()) take(*std::next(listeners_.begin(), some()));
            }
            check();
        }
        finish();
        listeners_.clear();
        flight_.reset();
        if (budget_) EXPECT_EQ(budget_->used(), 0U);
    }

private:
    std::uint64_t pick(std::uint64_t below) {
        return std::uniform_int_distribution<std::uint64_t>(0, below - 1)(random_);
    }
    bool chance(std::uint64_t one_in) { return pick(one_in) == 0; }
    std::ptrdiff_t some() { return static_cast<std::ptrdiff_t>(pick(listeners_.size())); }

    void subscribe() {
        Listener listener;
        listener.signal = bench_.signal();
        const bool open = flight_->takes_newcomers();
        listener.sub = flight_->subscribe(listener.signal);
        ASSERT_EQ(listener.sub.has_value(), open);
        if (!open) return;
        ASSERT_FALSE(flight_->abandoned());
        ASSERT_FALSE(flight_->unattended());
        hear_of_attendance();
        if (!anybody_came_) listener.starter = true;
        anybody_came_ = true;
        listeners_.push_back(std::move(listener));
    }

    void leave() {
        if (listeners_.empty()) return;
        listeners_.erase(std::next(listeners_.begin(), some()));
        hear_of_attendance();
    }

    // Whenever it begins or ends that nobody listens, the producer is woken, whether it waits for
    // room or not.
    void hear_of_attendance() {
        if (flight_->unattended() == unattended_) return;
        unattended_ = !unattended_;
        if (flight_->state() != FlightState::kFlying) return;
        const bool woken = bench_.woken(producer_);
        EXPECT_TRUE(woken);
        if (woken) producer_waits_ = false;
    }

    // The producer waited long enough for somebody to come.
    void lose_patience() {
        const bool unattended = flight_->unattended();
        const bool abandoned = flight_->abandoned();
        flight_->abandon_if_unattended();
        EXPECT_EQ(flight_->abandoned(), abandoned || unattended);
        EXPECT_FALSE(flight_->unattended());
        unattended_ = false;
    }

    void ask_caps() {
        for (Listener& listener : listeners_) {
            if (!listener.starter || flight_->state() != FlightState::kAsking) continue;
            if (chance(2)) {
                flight_->take_off();
                flight_->set_producer(producer_);
            } else {
                listener.starter = false;
                listener.was_refused = true;
                flight_->give_up_asking(listener.sub->id());
                if (chance(2)) listener.sub.reset();
            }
            break;
        }
        listeners_.remove_if([](const Listener& listener) { return !listener.sub; });
    }

    void produce() {
        if (flight_->state() != FlightState::kFlying) return;
        if (producer_waits_ && !bench_.woken(producer_)) return;
        producer_waits_ = false;
        if (flight_->abandoned()) {
            ASSERT_FALSE(flight_->publish({{"late", false}}));
            flight_->end({});
            return;
        }
        if (flight_->congested()) {
            producer_waits_ = true;
            return;
        }
        if (!head_) {
            head_ = true;
            flight_->publish_head({});
            return;
        }
        if (chance(25)) {
            end(chance(2));
            return;
        }
        std::vector<Chunk> chunks(1 + pick(3));
        for (Chunk& chunk : chunks) {
            chunk.bytes.resize(pick(40) == 0 ? 70'000 : 1 + pick(300));
            for (char& byte : chunk.bytes) byte = static_cast<char>('a' + pick(26));
            produced_ += chunk.bytes;
            ++produced_chunks_;
        }
        // With nobody there it flies on as long as all of it is kept.
        const bool heard = flight_->publish(std::move(chunks));
        ASSERT_EQ(heard, !flight_->abandoned());
        ASSERT_TRUE(heard || listeners_.empty());
        unattended_ = flight_->unattended();
    }

    void end(bool clean) {
        clean_ = clean;
        finished_ = true;
        flight_->end({clean, clean ? std::nullopt : std::optional(http::ApiError{})});
    }

    // One step of a listener; false: it waits.
    bool take(Listener& listener) {
        if (listener.ended) return false;
        if (listener.waiting && !bench_.woken(listener.signal)) return false;
        listener.waiting = false;
        const Subscription::Next next = listener.sub->next();
        switch (next.kind) {
            case Kind::kNothingYet:
                listener.waiting = true;
                return false;
            case Kind::kRefused:
                EXPECT_FALSE(listener.starter);
                EXPECT_FALSE(listener.was_refused);
                listener.starter = true;
                return true;
            case Kind::kHead:
                EXPECT_FALSE(listener.head);
                EXPECT_EQ(listener.chunks, 0U);
                listener.head = true;
                return true;
            case Kind::kChunks: {
                EXPECT_TRUE(listener.head);
                EXPECT_FALSE(next.chunks.empty());
                std::size_t bytes = 0;
                for (const ChunkPtr& chunk : next.chunks) {
                    seen_[listener.chunks++] = chunk;
                    EXPECT_EQ(
                        produced_.compare(listener.got.size(), chunk->bytes.size(), chunk->bytes), 0
                    );
                    listener.got += chunk->bytes;
                    bytes += chunk->bytes.size();
                }
                EXPECT_TRUE(bytes <= 64 << 10 || next.chunks.size() == 1);
                return true;
            }
            case Kind::kEnd:
                listener.ended = true;
                EXPECT_EQ(next.end.clean, finished_ && clean_);
                if (finished_) EXPECT_EQ(listener.got, produced_);
                return true;
        }
        return false;
    }

    void check() {
        std::size_t starters = 0;
        std::size_t slowest = produced_chunks_;
        for (const Listener& listener : listeners_) {
            if (listener.starter) ++starters;
            slowest = std::min(slowest, listener.chunks);
        }
        EXPECT_LE(starters, 1U);
        if (flight_->shareable()) {
            EXPECT_LE(produced_.size(), options_.backlog_limit_bytes);
        } else {
            // What everybody has taken is gone.
            while (!seen_.empty() && seen_.begin()->first < slowest) {
                EXPECT_TRUE(seen_.begin()->second.expired());
                seen_.erase(seen_.begin());
            }
        }
        if (budget_) EXPECT_LE(budget_->used(), 6000U);
        if (listeners_.empty() && anybody_came_ && !finished_) {
            EXPECT_NE(flight_->abandoned(), flight_->unattended());
            if (!options_.may_finish) EXPECT_TRUE(flight_->abandoned());
            if (flight_->unattended() && chance(10)) expect_all_is_kept();
        } else {
            EXPECT_FALSE(flight_->unattended());
        }
        if (finished_ && clean_ && flight_->shareable() && chance(10)) expect_all_is_kept();
    }

    void expect_all_is_kept() {
        const auto kept = flight_->backlog();
        ASSERT_TRUE(kept);
        EXPECT_EQ(testing::joined(*kept), produced_);
    }

    // Everybody goes on until the end, as the header says; nobody may be left waiting.
    void finish() {
        if (listeners_.empty()) subscribe();  // also to what flies with nobody there
        if (listeners_.empty()) return;
        for (int round = 0; round < 100'000; ++round) {
            if (::testing::Test::HasFailure()) return;
            bool moved = false;
            for (Listener& listener : listeners_) {
                while (take(listener)) moved = true;
            }
            check();
            if (std::ranges::all_of(listeners_, &Listener::ended)) return;
            if (flight_->state() == FlightState::kAsking) {
                const std::size_t before = listeners_.size();
                const bool starter = std::ranges::any_of(listeners_, &Listener::starter);
                ASSERT_TRUE(starter || moved) << "asking, and nobody asks";
                ask_caps();
                if (listeners_.empty() || listeners_.size() != before || starter) moved = true;
                if (listeners_.empty()) return;
            } else if (flight_->state() == FlightState::kFlying) {
                const std::size_t before = produced_chunks_;
                const bool waited = producer_waits_;
                produce();
                if (produced_chunks_ != before || finished_ || producer_waits_ != waited || head_) {
                    moved = moved || !producer_waits_ || !waited;
                }
                if (round > 30 && !finished_ && !producer_waits_) end(true);
            }
            ASSERT_TRUE(moved) << "a lost wake-up: everybody waits";
        }
        FAIL() << "no end";
    }

    std::mt19937_64& random_;
    Bench& bench_;
    std::unique_ptr<BufferBudget> budget_;
    Flight::Options options_;
    std::shared_ptr<Flight> flight_;
    std::shared_ptr<Signal> producer_;
    std::list<Listener> listeners_;
    std::map<std::size_t, std::weak_ptr<const Chunk>> seen_;
    std::string produced_;
    std::size_t produced_chunks_ = 0;
    bool anybody_came_ = false;
    bool producer_waits_ = false;
    bool unattended_ = false;  // when it was last looked at
    bool head_ = false;
    bool finished_ = false;
    bool clean_ = false;
};

TEST(FlightProperty, WhoStaysGetsEveryByteInOrderAndNobodyWaitsForever) {
    const std::uint64_t seed = testing::seed();
    Bench bench;
    for (std::uint64_t history = 0; history < 3000; ++history) {
        std::mt19937_64 random(seed + history);
        SCOPED_TRACE(::testing::Message() << "history " << history);
        History(random, bench).run();
        if (HasFailure()) break;
    }
}

}  // namespace
}  // namespace weir::cache
