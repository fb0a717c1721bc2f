// The upstreams as this process knows them: which are broken, which keys rest, how many calls are
// in flight, who waits. It tells where a message goes next. States belong to an upstream's name and
// url, and to a key (by a digest); they outlive reloads.
//
// - An upstream, or a key of it, that failed `break_after` times in a row is left alone for `rest`;
//   then exactly one call tries whether it is back.
// - A key that an upstream called too busy (429), or whose room it told to be used up, rests as
//   long as it says, for that model.
// - At most `at_once.calls` calls are in flight to an upstream. Who finds no room waits in its
//   line: first come, first served within one of our keys; between keys, who has the fewest calls
//   in flight, then in turn. The last place is left for a moment to a key that is between two
//   calls.
//
// Thread-safe. A Permit or a Place must not outlive the Fleet.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "weir/base/deadline.hpp"
#include "weir/base/mutex.hpp"
#include "weir/base/signal.hpp"
#include "weir/config/config.hpp"
#include "weir/upstream/retry.hpp"
#include "weir/upstream/route.hpp"

namespace weir::upstream {

// One of an upstream's keys there; number 0 also where it has none.
struct Target {
    const config::Upstream* upstream = nullptr;  // owned by its config
    std::size_t key = 0;
    friend bool operator==(const Target&, const Target&) = default;
};

// Where one message has been, and may still go. REQUIRES: the route's config outlives it.
class Errand {
public:
    Errand() noexcept = default;  // goes nowhere
    // `pin`: only there. `model`: as served. `who`: our key, for the line.
    Errand(
        const config::Config& config,
        const Route& route,
        std::optional<Target> pin,
        std::string_view model,
        std::uint64_t who
    );
    // A call to `target` ended so, and may be followed by another one as `next` says. False: by
    // none.
    bool tried(const Target& target, const Outcome& outcome, Next next);
    // The pause that Choice::kPause asks for is over.
    void paused() noexcept { paused_ = true; }
    [[nodiscard]] std::size_t calls() const noexcept { return tried_.size(); }

private:
    friend class Fleet;
    struct Tried {
        Target target;
        bool of_upstream = false;  // what failed has nothing to do with the key
        Next next = Next::kAnywhere;
    };
    const config::Config* config_ = nullptr;
    std::vector<const config::Upstream*> upstreams_;  // by priority
    std::optional<Target> pin_;
    std::uint64_t model_ = 0;
    std::uint64_t who_ = 0;
    std::vector<Tried> tried_;
    bool sent_again_ = false;  // what may have been worked on
    bool paid_ = false;        // the next call, where it is an extra one
    bool paused_ = false;      // before the next call
};

class Fleet;
struct UpstreamState;
struct KeyState;
struct UpstreamTicket;

// One call's place at its upstream, from before it begins to the end of its answer.
class Permit {
public:
    Permit() noexcept = default;
    Permit(Permit&& other) noexcept;
    Permit& operator=(Permit&& other) noexcept;
    ~Permit();

    [[nodiscard]] explicit operator bool() const noexcept { return fleet_ != nullptr; }
    // How the call went, as soon as that is known; the first word counts. `fields`: of its answer.
    void note(const Outcome& outcome, const http::Fields& fields, Deadline::Clock::time_point now);

private:
    friend class Fleet;
    Fleet* fleet_ = nullptr;
    std::shared_ptr<UpstreamState> state_;
    std::shared_ptr<KeyState> key_;
    std::uint64_t model_ = 0;
    std::uint64_t who_ = 0;
    bool counted_ = false;       // in the line's account of `who`
    bool probes_state_ = false;  // it tries whether the upstream is back
    bool probes_key_ = false;
    bool noted_ = false;
};

// A place in an upstream's line. Dropping it leaves the line.
class Place {
public:
    Place() noexcept = default;
    Place(Place&& other) noexcept = default;
    Place& operator=(Place&& other) noexcept;
    ~Place();

    [[nodiscard]] explicit operator bool() const noexcept { return ticket_ != nullptr; }
    // It is this one's turn: ask Fleet::choose() again, with it.
    [[nodiscard]] bool called() const;

private:
    friend class Fleet;
    Fleet* fleet_ = nullptr;
    std::shared_ptr<UpstreamTicket> ticket_;
};

struct Choice {
    enum class Kind : std::uint8_t {
        kCall,     // `target`, now
        kPause,    // back off; then ask again: `target` failed this message before
        kWait,     // in the line of `target`
        kResting,  // all that is left rests; `target` first, until `until`
        kFull,     // more wait for `target` than may
        kNothing,  // there is nowhere to go (any more)
    } kind = Kind::kNothing;
    Target target = {};
    Permit permit = {};
    Place place = {};
    Deadline::Clock::time_point until = {};
};

class Fleet {
public:
    using Time = Deadline::Clock::time_point;
    explicit Fleet(std::uint64_t seed = std::random_device()());
    ~Fleet();
    Fleet(const Fleet&) = delete;
    Fleet& operator=(const Fleet&) = delete;

    // Takes a config into force: its bounds and its policy. What it does not name is forgotten.
    void follow(const config::Config& config);

    // Where the message goes next. Ready ones by priority, within one by weight, keys in turn;
    // where it has not been before where it has. A first call goes to a broken one rather than
    // nowhere. `signal` is notified at its turn in a line; `place`: of the line that it waited in.
    [[nodiscard]] Choice choose(
        Errand& errand, const std::shared_ptr<Signal>& signal, Time now, Place place = {}
    );

    struct Shown {
        bool broken = false;  // it is left alone, or is being tried
        std::uint32_t in_flight = 0;
        std::size_t waiting = 0;
        std::size_t keys_broken = 0;
        std::size_t keys_resting = 0;  // for some model
        std::uint64_t opened = 0;      // how often it, or a key of it, was found broken
    };
    // All zero for a name that nobody knows.
    [[nodiscard]] Shown show(std::string_view upstream, Time now) const;

private:
    friend class Permit;
    friend class Place;
    struct Candidate;
    struct Hash {
        using is_transparent = void;  // NOLINT(readability-identifier-naming): the standard's name
        std::size_t operator()(std::string_view text) const noexcept {
            return std::hash<std::string_view>()(text);
        }
    };
    using StatePtr = std::shared_ptr<UpstreamState>;

    [[nodiscard]] StatePtr state_of(const config::Upstream& upstream) REQUIRES_LOCK(mutex_);
    [[nodiscard]] static bool same_rank(const Candidate& a, const Candidate& b) noexcept;
    [[nodiscard]] std::vector<Candidate> candidates(
        const Errand& errand, Time now, const UpstreamState* held
    ) REQUIRES_LOCK(mutex_);
    void add_candidate(
        const Errand& errand,
        const config::Upstream& upstream,
        Time now,
        std::vector<Candidate>& all
    ) REQUIRES_LOCK(mutex_);
    [[nodiscard]] Permit call(
        const Errand& errand, const Candidate& chosen, bool has_place, Time now
    ) REQUIRES_LOCK(mutex_);
    [[nodiscard]] bool pays(Errand& errand, const Candidate& one, Time now) REQUIRES_LOCK(mutex_);
    [[nodiscard]] Choice wait(
        const Errand& errand,
        const Candidate& chosen,
        const std::shared_ptr<Signal>& signal,
        Place& place
    ) REQUIRES_LOCK(mutex_);
    void give_back(UpstreamState& state, std::uint64_t who, bool counted) REQUIRES_LOCK(mutex_);
    void leave(UpstreamTicket& ticket) REQUIRES_LOCK(mutex_);

    mutable Mutex mutex_;
    std::unordered_map<std::string, StatePtr, Hash, std::equal_to<>> states_ GUARDED_BY(mutex_);
    config::Retry policy_ GUARDED_BY(mutex_);
    std::mt19937_64 random_ GUARDED_BY(mutex_);
};

}  // namespace weir::upstream
