// The ledger against a model that keeps every message in a list and counts all of them each time
// (model.hpp): caps of every kind, several at once on a key, its team and everybody; admissions,
// refusals, refunds, charges, grants, resets, time, the wall clock, changed caps and teams, failed
// commits that came through or did not, crashes and restarts. The writer's part is played by the
// test, in one thread, so that every history is the same for the same seed.
#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "weir/quota/ledger.hpp"

#include "quota/model.hpp"
#include "quota/seed.hpp"
#include "sqlite/scratch.hpp"

namespace weir::quota {
namespace {

using config::Cap;
using config::Period;
using config::Unit;
using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::seconds;
using weir::testing::Dice;
using weir::testing::Model;
using weir::testing::ModelAsk;
using weir::testing::ModelClaim;
using weir::testing::ModelNow;
using weir::testing::ModelVerdict;
using weir::testing::ScratchDir;
using weir::testing::test_seed;

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define WEIR_TEST_IS_SLOW 1
#endif
#endif
#ifdef WEIR_TEST_IS_SLOW
constexpr std::uint64_t kHistories = 1500;
#else
constexpr std::uint64_t kHistories = 10'000;
#endif
constexpr int kSteps = 80;

constexpr const char* kModels[] = {"gpt-4", "gpt-4-32k", "GPT-4-vision", "o1-mini", "gpt-3.5"};
constexpr const char* kPatterns[] = {"*", "*", "gpt-4*", "gpt-4", "*mini", "gpt-?.5"};
constexpr const char* kEndpoints[] = {"chat/completions", "chat/completions", "embeddings", ""};
constexpr std::size_t kKeys = 3;
constexpr std::size_t kTeams = 2;

struct Told {
    std::uint64_t admitted = 0, granted = 0, spent = 0, busy = 0, never = 0, retried = 0;
    std::uint64_t failures = 0, restarts = 0, resets = 0;
};

struct World {
    World(std::uint64_t seed, sqlite::Connection& to, sqlite::Writer& jobs, Told& sums)
        : dice(seed), connection(to), writer(jobs), told(sums) {}

    Dice dice;
    sqlite::Connection& connection;
    sqlite::Writer& writer;  // of grants and resets; what the ledger queues the test writes
    Told& told;
    std::unique_ptr<TestClock> clock;
    std::unique_ptr<Ledger> ledger;
    Model model;
    // Caps that may come and go, by account. Few, so that none of their windows is ever dropped;
    // or new ones each time, and many, but then no fixed ones: where a fixed window is dropped
    // while messages come and go, it is made again from what is left of them.
    bool few = true;
    std::map<std::string, std::vector<Cap>> shapes;
    std::array<config::CapSet, kKeys> plan, own;
    std::array<config::CapSet, kTeams> team_caps;
    config::CapSet all_caps;
    std::array<std::size_t, kKeys> team{};  // kTeams: none
    std::map<Sequence, Reservation> open;
    Sequence last = 0;
    Sequence written = 0;  // the highest that ever came to the disk
    bool down = false;
    std::vector<Sequence> good, bad;

    void wipe();
    void start();
    void crash();
    void commit(bool fails, bool came_through);
    void one_message();
    void ask_again(const ModelAsk& asked, microseconds wait);
    bool admit(const ModelAsk& asked, std::optional<Refusal>* refusal = nullptr);
    void settle_one();
    void grant_some();
    void reset_some();
    void peek_some();
    void check_gates();
    void check_usage();
    void check_rows();
    void step();
    void finish();

    ModelNow now() const { return {clock->now(), clock->wall()}; }
    Cap random_shape();
    config::CapSet random_caps(const std::string& account, std::size_t most, std::uint64_t scale);
    void change_caps(bool all);
    ModelAsk random_ask();
    std::vector<Level> levels_of(const ModelAsk& asked);
    AccountId id_of(const std::string& account);
    void check_refusal(const Refusal& refusal, const ModelAsk& asked, const ModelVerdict& verdict);
    void check_states(
        const std::vector<CapState>& states,
        const std::vector<ModelClaim>& claims,
        const std::string& model_name,
        bool judged
    ) const;
};

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

void World::check_states(
    const std::vector<CapState>& states,
    const std::vector<ModelClaim>& claims,
    const std::string& model_name,
    bool judged
) const {
    ASSERT_EQ(states.size(), claims.size());
    for (std::size_t i = 0; i < states.size(); ++i) {
        const ModelClaim& claim = claims[i];
        SCOPED_TRACE(claim.account + ": " + claim.cap->counter());
        ASSERT_EQ(states[i].cap, claim.cap);
        ASSERT_EQ(states[i].whose, claim.whose);
        ASSERT_EQ(states[i].refuses, judged && claim.refuses);
        const WindowState expected = model.state(claim, model_name, now());
        const WindowState& window = states[i].window;
        ASSERT_EQ(window.used, expected.used);
        ASSERT_EQ(window.limit, claim.cap->limit);
        ASSERT_EQ(window.extra, expected.extra);
        ASSERT_EQ(window.next_free, expected.next_free);
        ASSERT_EQ(window.full_reset, expected.full_reset);
    }
}

void World::check_refusal(
    const Refusal& refusal, const ModelAsk& asked, const ModelVerdict& verdict
) {
    check_states(refusal.all, verdict.claims, asked.model, true);
    const auto named = std::ranges::find_if(verdict.claims, [&](const ModelClaim& claim) {
        return claim.cap == refusal.cap.cap;
    });
    ASSERT_NE(named, verdict.claims.end());
    ASSERT_TRUE(named->refuses && !named->cap->warn) << "the named cap does not refuse";
    ASSERT_TRUE(refusal.cap.refuses);
    const std::optional<LedgerTime> free = model.frees(asked, now());
    const auto expected = !free                   ? Refusal::Why::kNever
                          : *free == clock->now() ? Refusal::Why::kBusy
                                                  : Refusal::Why::kSpent;
    ASSERT_EQ(refusal.why, expected) << named->cap->counter();
    ASSERT_EQ(named->busy, refusal.why == Refusal::Why::kBusy);
    if (refusal.why != Refusal::Why::kSpent) {
        (refusal.why == Refusal::Why::kNever ? told.never : told.busy)++;
        ASSERT_EQ(refusal.retry_after, microseconds(0));
        ASSERT_EQ(named->cap->limit == 0, refusal.why == Refusal::Why::kNever);
        return;
    }
    ++told.spent;
    ASSERT_EQ(refusal.retry_after, *free - clock->now());
    // The one that holds it up until then.
    const ModelNow just_before = now().later(refusal.retry_after - microseconds(1));
    ASSERT_FALSE(model.cap_frees(*named, asked, just_before));
}

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

// ---------------------------------------------------------------- what is looked at

void World::check_gates() {
    const std::shared_ptr<Signal> nobody;
    for (const Sequence sequence : good) ASSERT_EQ(ledger->gate(sequence, nobody), true);
    for (const Sequence sequence : bad) ASSERT_EQ(ledger->gate(sequence, nobody), false);
    if (!good.empty()) ASSERT_GE(ledger->durable_sequence(), good.back());
}

void World::check_usage() {
    using Sums = std::tuple<std::uint64_t, std::uint64_t, std::uint64_t>;
    const microseconds span = hours(1 + dice.below(40));
    std::map<std::pair<std::string, std::string>, Sums> expected, sums;
    for (const auto& message : model.messages) {
        if (!message.counted || message.at <= clock->now() - span) continue;
        auto& [messages, tokens, money] = expected[{message.key, message.model}];
        ++messages;
        tokens += message.amounts.tokens;
        money += message.amounts.money;
    }
    for (const AccountUsage& line : ledger->usage(span)) {
        sums[{line.account, line.model}] = {line.messages, line.tokens, line.money};
    }
    ASSERT_EQ(sums, expected);
}

// What a clean stop leaves behind is exactly what counts.
void World::check_rows() {
    const LedgerTime oldest = clock->now() - hours(32 * 24);
    auto rows = connection.prepare(
        "SELECT seq, tokens, nano_usd, grant_id FROM messages WHERE at_us > ?1 ORDER BY seq"
    );
    ASSERT_TRUE(rows);
    rows->bind(1, to_us(oldest));
    for (const auto& message : model.messages) {
        if (!message.counted || message.at <= oldest) continue;
        ASSERT_TRUE(rows->step().value());
        ASSERT_EQ(Sequence(rows->integer(0)), message.sequence);
        ASSERT_EQ(std::uint64_t(rows->integer(1)), message.amounts.tokens);
        ASSERT_EQ(std::uint64_t(rows->integer(2)), message.amounts.money);
        ASSERT_EQ(std::uint32_t(rows->integer(3)), message.grant);
    }
    ASSERT_FALSE(rows->step().value());
    rows->reset();
    // No row of a subject outlives the messages that named it, nor is one missing (those that are
    // too old to be read again aside).
    auto subjects = connection.prepare(
        "SELECT (SELECT count(*) FROM subjects WHERE id NOT IN (SELECT subject FROM messages)), "
        "(SELECT count(*) FROM messages WHERE at_us > ?1 AND "
        "subject NOT IN (SELECT id FROM subjects))"
    );
    ASSERT_TRUE(subjects);
    ASSERT_TRUE(subjects->bind(1, to_us(oldest)).step().value());
    ASSERT_EQ(subjects->integer(0), 0);
    ASSERT_EQ(subjects->integer(1), 0);
    subjects->reset();
    auto windows = connection.prepare(
        "SELECT coalesce(name, 'all'), counter, opened_us FROM fixed_windows LEFT JOIN accounts ON "
        "id = account WHERE opened_us > ?1"
    );
    ASSERT_TRUE(windows);
    windows->bind(1, to_us(oldest));
    std::map<std::pair<std::string, std::string>, LedgerTime> opened;
    while (windows->step().value()) {
        opened[{std::string(windows->text(0)), std::string(windows->text(1))}] =
            ledger_time_us(windows->integer(2));
    }
    auto expected = model.openings();
    std::erase_if(expected, [oldest](const auto& one) { return one.second <= oldest; });
    ASSERT_EQ(opened, expected);
}

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

TEST(LedgerProperty, AgreesWithTheModelOverThousandsOfHistories) {
    const ScratchDir dir;
    const std::string path = dir / "ledger.db";
    auto connection = sqlite::Connection::open(path, {.sync = sqlite::Sync::kNormal});
    ASSERT_TRUE(connection);
    ASSERT_TRUE(sqlite::migrate(*connection, {kSchema, kSchemaOfCaps}, "ledger.db"));
    auto second = sqlite::Connection::open(path, {.sync = sqlite::Sync::kNormal});
    ASSERT_TRUE(second);
    sqlite::Writer writer(
        {.path = path, .open = {}, .on_corrupt = {}, .name = "jobs"}, std::move(*second)
    );
    writer.start();
    const std::uint64_t seed = test_seed();
    // Around days when Berlin changes its clocks, and around ends of months and of a year.
    constexpr std::int64_t kStarts[] = {
        1'805'932'800, 1'824'681'600, 1'798'761'600, 1'835'308'800, 1'800'000'000
    };
    Told told;
    for (std::uint64_t history = 0; history < kHistories; ++history) {
        SCOPED_TRACE("history " + std::to_string(history));
        World world(seed + history, *connection, writer, told);
        Dice& dice = world.dice;
        const std::int64_t start = kStarts[dice.below(std::size(kStarts))];
        world.clock = std::make_unique<TestClock>(
            ledger_time_us((start + std::int64_t(dice.below(400'000))) * 1'000'000)
        );
        world.few = !dice.one_in(3);
        world.wipe();
        world.change_caps(true);
        world.start();
        for (int step = 0; step < kSteps; ++step) {
            SCOPED_TRACE("step " + std::to_string(step));
            world.step();
            if (HasFailure()) return;
        }
        world.finish();
        if (HasFailure()) return;
    }
    writer.stop();
    std::cout << told.admitted << " admitted, " << told.granted
              << " of them by a grant; refused: " << told.spent << " spent, " << told.busy
              << " busy, " << told.never << " never; " << told.retried
              << " retried at the moment told; " << told.failures << " failed commits, "
              << told.restarts << " crashes, " << told.resets << " resets\n";
    EXPECT_GT(told.admitted, 5 * kHistories);
    EXPECT_GT(told.spent, 2 * kHistories);
    for (const std::uint64_t many :
         {told.busy,
          told.granted,
          told.never,
          told.retried,
          told.failures,
          told.restarts,
          told.resets}) {
        EXPECT_GT(many, kHistories / 20);
    }
}

}  // namespace
}  // namespace weir::quota
