#include "quota/world.hpp"

#include <algorithm>
#include <tuple>

#include <gtest/gtest.h>

namespace weir::testing {

using config::Cap;
using config::Period;
using config::Unit;
using quota::AccountId;
using quota::Amounts;
using quota::Ask;
using quota::Decision;
using quota::Level;
using quota::Reservation;
using quota::Whose;
using quota::WindowState;
using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::seconds;

namespace {

constexpr const char* kModels[] = {"gpt-4", "gpt-4-32k", "GPT-4-vision", "o1-mini", "gpt-3.5"};
constexpr const char* kPatterns[] = {"*", "*", "gpt-4*", "gpt-4", "*mini", "gpt-?.5"};
constexpr const char* kEndpoints[] = {"chat/completions", "chat/completions", "embeddings", ""};

}  // namespace

// ---------------------------------------------------------------- what is random

Cap World::random_shape() {
    static const std::shared_ptr<const TimeZone> kZones[] = {
        nullptr,
        TimeZone::find("UTC"),
        TimeZone::find("Asia/Shanghai"),
        TimeZone::find("Europe/Berlin")
    };
    constexpr Period kPeriods[] = {
        Period::kRolling,
        Period::kRolling,
        Period::kFixed,
        Period::kFixed,
        Period::kDay,
        Period::kWeek,
        Period::kMonth,
        Period::kAtOnce,
        Period::kAtOnce,
        Period::kUnlimited
    };
    constexpr seconds kSpans[] = {
        seconds(1), seconds(60), seconds(3600), seconds(14400), hours(24), hours(32 * 24)
    };
    Cap cap;
    cap.models = kPatterns[dice.below(std::size(kPatterns))];
    if (dice.one_in(4)) cap.endpoints = {"chat/*"};
    if (dice.one_in(6)) cap.endpoints = {"completions", "EMBED*"};
    do {
        cap.period = kPeriods[dice.below(std::size(kPeriods))];
    } while (!few && cap.period == Period::kFixed);
    if (cap.period != Period::kAtOnce) {
        cap.unit = dice.one_in(2) ? Unit::kMessages : dice.one_in(2) ? Unit::kTokens : Unit::kMoney;
    }
    if (cap.period == Period::kRolling || cap.period == Period::kFixed) {
        cap.span = kSpans[dice.below(std::size(kSpans))];
    } else if (cap.period != Period::kAtOnce && cap.period != Period::kUnlimited) {
        cap.zone = kZones[dice.below(std::size(kZones))];
    }
    return cap;
}

config::CapSet World::random_caps(
    const std::string& account, std::size_t most, std::uint64_t scale
) {
    config::CapSet set;
    std::vector<Cap>& known = shapes[account];
    while (few && known.size() < 4) known.push_back(random_shape());
    for (std::size_t count = dice.below(most + 1); count > 0; --count) {
        Cap& cap = set.emplace_back(few ? known[dice.below(known.size())] : random_shape());
        const std::uint64_t unit = cap.unit == Unit::kMessages ? 1 : 12;
        cap.limit = dice.one_in(25) ? 0 : 1 + dice.below(3 * unit * scale);
        cap.warn = dice.one_in(6);
    }
    return set;
}

void World::change_caps(bool all) {
    for (std::size_t i = 0; i < kKeys; ++i) {
        const std::string name = "user" + std::to_string(i);
        if (all || dice.one_in(3)) plan[i] = random_caps(name, few ? 3 : 9, 1);
        if (all || dice.one_in(3)) own[i] = random_caps(name, 1, 1);
        if (all || dice.one_in(6)) team[i] = dice.below(kTeams + 1);
    }
    for (std::size_t i = 0; i < kTeams; ++i) {
        const std::string name = "team:t" + std::to_string(i);
        if (all || dice.one_in(3)) team_caps[i] = random_caps(name, 2, 2);
    }
    if (all || dice.one_in(3)) all_caps = random_caps("all", 1, 3);
}

ModelAsk World::random_ask() {
    ModelAsk asked;
    const std::size_t key = dice.below(kKeys);
    asked.key = "user" + std::to_string(key);
    if (team[key] < kTeams) asked.team = "team:t" + std::to_string(team[key]);
    asked.levels = {{Whose::kKey, asked.key, &plan[key]}, {Whose::kKey, asked.key, &own[key]}};
    if (team[key] < kTeams) {
        asked.levels.push_back({Whose::kTeam, asked.team, &team_caps[team[key]]});
    }
    asked.levels.push_back({Whose::kAll, "all", &all_caps});
    asked.model = kModels[dice.below(std::size(kModels))];
    asked.endpoint = kEndpoints[dice.below(std::size(kEndpoints))];
    asked.reserve = {dice.below(16), dice.one_in(4) ? 0 : dice.below(24)};
    asked.hit = dice.one_in(8);
    return asked;
}

AccountId World::id_of(const std::string& account) {
    if (account == "all") return ledger->everybody();
    if (account.starts_with("team:")) return ledger->team(account.substr(5));
    return ledger->account(account);
}

std::vector<Level> World::levels_of(const ModelAsk& asked) {
    std::vector<Level> levels;
    for (const auto& level : asked.levels) {
        levels.push_back({level.whose, id_of(level.account), level.caps});
    }
    return levels;
}

// ---------------------------------------------------------------- runs and commits

void World::wipe() {
    ASSERT_TRUE(connection.execute(
        "DELETE FROM messages; DELETE FROM accounts; DELETE FROM subjects; DELETE FROM grants; "
        "DELETE FROM fixed_windows; DELETE FROM resets; UPDATE ledger_end SET seq = 0, at_us = 0"
    ));
}

void World::start() {
    auto opened = Ledger::open(connection, writer, *clock);
    ASSERT_TRUE(opened) << opened.error().detail;
    ledger = std::move(*opened);
    ASSERT_TRUE(ledger->connected(connection));
    // In another order each time: ids are of the run only.
    const std::size_t first = dice.below(kKeys);
    for (std::size_t i = 0; i < kKeys; ++i) {
        static_cast<void>(ledger->account("user" + std::to_string((first + i) % kKeys)));
    }
    down = false;
}

void World::crash() {
    // What was admitted and not written is forgotten, what was refunded and not written is back.
    ++told.restarts;
    for (auto& [sequence, reservation] : open) reservation.charge();
    open.clear();
    ledger->disconnected();
    ledger.reset();
    model.crash();
    good.clear();
    bad.clear();
    // Nobody ever got an answer for those that never came to the disk: they may be given again.
    last = written;
    // The wall clock of the next boot may be anything; the ledger's time does not go back.
    const LedgerTime before = clock->now();
    clock = std::make_unique<TestClock>(
        dice.one_in(2) ? before + seconds(dice.below(4000))
                       : before - seconds(dice.below(1'000'000))
    );
    if (dice.one_in(2)) clock->step_wall(seconds(dice.below(200'000)) - hours(24));
    start();
    for (const auto& message : model.messages) ASSERT_LE(message.at, clock->now());
}

void World::commit(bool fails, bool came_through) {
    if (!ledger->has_more() && !down) return;
    ASSERT_TRUE(connection.execute("BEGIN IMMEDIATE"));
    const Result<bool> wrote = ledger->write(connection);
    ASSERT_TRUE(wrote) << wrote.error().detail;
    ASSERT_TRUE(connection.execute(fails && !came_through ? "ROLLBACK" : "COMMIT"));
    std::vector<Sequence>& decided = fails ? bad : good;
    for (const auto& message : model.messages) {
        if (!message.undecided) continue;
        decided.push_back(message.sequence);
        if (!fails || came_through) written = std::max(written, message.sequence);
    }
    model.commit(fails, came_through, clock->now());
    down = fails;
    if (!fails) {
        ledger->committed();
        return;
    }
    ++told.failures;
    ledger->failed({ErrorCode::kStorage, "test"});
    if (dice.one_in(3)) ledger->failed({ErrorCode::kStorage, "test, again"});
    ledger->disconnected();
    ASSERT_TRUE(ledger->connected(connection));
}

// ---------------------------------------------------------------- messages

bool World::admit(const ModelAsk& asked, std::optional<Refusal>* refused) {
    const std::vector<Level> levels = levels_of(asked);
    Ask ask;
    ask.key = id_of(asked.key);
    if (!asked.team.empty()) ask.team = id_of(asked.team);
    ask.levels = levels;
    ask.model = asked.model;
    ask.endpoint = asked.endpoint;
    ask.reserve = asked.reserve;
    ask.hit = asked.hit;
    Decision decision = ledger->admit(ask);
    EXPECT_EQ(
        int(decision.admission.has_value()) + int(decision.refusal.has_value()) +
            int(decision.error.has_value()),
        1
    );
    if (down) {
        EXPECT_TRUE(decision.error && decision.error->code == ErrorCode::kStorage);
        return false;
    }
    model.see(asked, now());
    const ModelVerdict verdict = model.judge(asked, now());
    if (decision.refusal && verdict.admitted) {
        const CapState& cap = decision.refusal->cap;
        ADD_FAILURE() << "refused by " << cap.cap->counter() << " of " << int(cap.whose) << ", "
                      << cap.window.used << " of " << cap.window.limit << " used";
    }
    EXPECT_EQ(decision.admission.has_value(), verdict.admitted);
    if (decision.admission.has_value() != verdict.admitted) return false;
    if (!decision.admission) {
        check_refusal(*decision.refusal, asked, verdict);
        if (refused != nullptr) *refused = std::move(decision.refusal);
        return false;
    }
    ++told.admitted;
    told.granted += verdict.grant != 0 ? 1 : 0;
    EXPECT_EQ(decision.admission->granted, verdict.grant != 0);
    Reservation& reservation = decision.admission->reservation;
    EXPECT_GT(reservation.sequence(), last) << "a sequence was given twice";
    last = reservation.sequence();
    model.add(asked, last, verdict.grant, clock->now());
    check_states(decision.admission->caps, verdict.claims, asked.model, true);
    open.emplace(last, std::move(reservation));
    return true;
}

// Exactly then, not one microsecond before, unless what was in flight still is in the way.
void World::ask_again(const ModelAsk& asked, microseconds wait) {
    clock->advance(wait - microseconds(1));
    ASSERT_FALSE(admit(asked));
    if (::testing::Test::HasFatalFailure()) return;
    clock->advance(microseconds(1));
    const std::vector<ModelClaim> claims = model.judge(asked, now()).claims;
    const bool in_the_way = std::ranges::any_of(claims, &ModelClaim::busy);
    const bool admitted = admit(asked);
    ASSERT_TRUE(admitted || in_the_way);
    told.retried += admitted ? 1 : 0;
}

void World::one_message() {
    const ModelAsk asked = random_ask();
    std::optional<Refusal> refused;
    static_cast<void>(admit(asked, &refused));
    if (::testing::Test::HasFailure() || !refused) return;
    if (refused->why == Refusal::Why::kSpent && dice.one_in(4)) {
        ask_again(asked, refused->retry_after);
    }
}

void World::settle_one() {
    if (open.empty()) return;
    const auto which = std::next(open.begin(), std::ptrdiff_t(dice.below(open.size())));
    const Sequence sequence = which->first;
    const auto message =
        std::ranges::find(model.messages, sequence, &weir::testing::ModelMessage::sequence);
    const bool hit = message != model.messages.end() && !message->open;
    if (dice.below(5) < 3) {
        std::optional<Amounts> used;
        if (!hit && dice.one_in(2)) used = {dice.below(24), dice.below(30)};
        which->second.charge(used);
        model.settle(sequence, true, used, clock->now());
    } else {
        if (dice.one_in(2)) which->second.refund();  // or it is dropped, which is the same
        model.settle(sequence, false, {}, clock->now());
    }
    open.erase(which);
}

void World::grant_some() {
    if (down) return;
    const std::string key = "user" + std::to_string(dice.below(kKeys));
    const std::string pattern = kPatterns[dice.below(std::size(kPatterns))];
    const LedgerTime until =
        clock->now() + (dice.one_in(3) ? microseconds(hours(1 + dice.below(32 * 24)))
                                       : microseconds(1 + dice.below(8'000'000'000)));
    const auto made = ledger->grant(ledger->account(key), pattern, 1 + dice.below(3), until);
    ASSERT_TRUE(made) << made.error().detail;
    model.grants.push_back({made->id, key, pattern, made->messages, until});
}

void World::reset_some() {
    if (down) return;
    ++told.resets;
    const std::string key = "user" + std::to_string(dice.below(kKeys));
    const std::string pattern = kPatterns[dice.below(std::size(kPatterns))];
    const auto count = ledger->reset(ledger->account(key), pattern);
    ASSERT_TRUE(count) << count.error().detail;
    ASSERT_EQ(*count, model.reset(key, pattern, clock->now()));
    // A message that comes later must not be taken for one of those.
    written = std::max(written, last);
}

void World::peek_some() {
    ModelAsk asked = random_ask();
    if (dice.one_in(2)) asked.model.clear();
    model.see(asked, now());
    const std::vector<Level> levels = levels_of(asked);
    const std::vector<CapState> states = ledger->peek(levels, asked.model, asked.endpoint);
    check_states(states, model.judge(asked, now()).claims, asked.model, false);
}

// ---------------------------------------------------------------- all of it

void World::finish() {
    for (auto& [sequence, reservation] : open) {
        reservation.charge();
        model.settle(sequence, true, {}, clock->now());
    }
    open.clear();
    // A look at an account is enough for what is older than 32 days to leave it.
    const config::CapSet none;
    for (const char* const account : {"user0", "user1", "user2", "team:t0", "team:t1", "all"}) {
        const Level level{.whose = Whose::kKey, .account = id_of(account), .caps = &none};
        ASSERT_TRUE(ledger->peek({&level, 1}, "", "").empty());
    }
    while (ledger->has_more() || down) commit(false, false);
    check_rows();
}

void World::step() {
    switch (dice.below(22)) {
        case 0:
            clock->advance(seconds(dice.below(100)));
            break;
        case 1:
            clock->advance(seconds(dice.below(20'000)));
            break;
        case 2:
            clock->advance(
                dice.one_in(16) ? microseconds(hours(dice.below(40 * 24)))
                                : microseconds(dice.below(1'500'000))
            );
            break;
        case 3:
            change_caps(false);
            break;
        case 4:
            clock->step_wall(
                dice.one_in(2) ? seconds(dice.below(400'000)) - seconds(200'000)
                               : seconds(dice.below(400)) - seconds(200)
            );
            break;
        case 5:
        case 6:
            commit(false, false);
            break;
        case 7:
            if (dice.one_in(4)) commit(true, dice.one_in(2));
            break;
        case 8:
            if (dice.one_in(4)) crash();
            break;
        case 9:
            peek_some();
            break;
        case 10:
            dice.one_in(5) ? reset_some() : grant_some();
            break;
        case 11:
            check_usage();
            break;
        case 12:
        case 13:
        case 14:
            settle_one();
            break;
        default:
            one_message();
    }
    check_gates();
}

}  // namespace weir::testing
