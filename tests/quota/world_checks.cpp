// What a history is looked at for, besides what each message was told.
#include <algorithm>
#include <tuple>

#include <gtest/gtest.h>

#include "quota/world.hpp"

namespace weir::testing {

using quota::AccountUsage;
using quota::Refusal;
using quota::WindowState;
using std::chrono::hours;
using std::chrono::microseconds;

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

}  // namespace weir::testing
