// Extra messages, counts that begin anew, and why a message goes or does not.
#include <chrono>
#include <string>
#include <vector>

#include "admin_fixture.hpp"

namespace weir::admin {
namespace {

using std::chrono::hours;

class CapsTest : public AdminTest {
protected:
    void SetUp() override {
        AdminTest::SetUp();
        if (HasFatalFailure()) return;
        auto config = std::make_shared<config::Config>(*config_);
        config::Upstream upstream;
        upstream.name = "backup";
        upstream.priority = 2;
        config->upstreams.push_back(upstream);
        upstream.name = "openai";
        upstream.priority = 1;
        upstream.models = {"gpt-*"};
        config->upstreams.push_back(upstream);
        config->models.push_back({.name = "smart", .serve_as = "gpt-4-0613", .max_output = 8192});
        config->plans[0].models = {"gpt-*", "smart"};
        config->plans[0].deny = {"gpt-5*"};
        config->plans[0].inputs.audio = false;
        config->plans[0].max_output = 4096;
        config->plans[0].caps[0].then = "gpt-3.5-turbo";
        config->prices.push_back(
            {.models = "gpt-4*", .price = {30'000'000'000, 15'000'000'000, 60'000'000'000}}
        );
        config::Cap team = cap("*", 5, "5/1d");
        config->teams.push_back({.name = "research", .caps = {team}});
        config->keys[0].caps = {cap("o1*", 1, "1/1h")};
        config->caps = {cap("*", 100, "100/1d")};
        config_ = std::move(config);
    }

    static config::Cap cap(std::string models, std::uint64_t limit, std::string allow) {
        config::Cap cap;
        cap.models = std::move(models);
        cap.limit = limit;
        cap.span = hours(24);
        cap.allow = std::move(allow);
        return cap;
    }

    // True: it was admitted, under the caps of alice's plan.
    bool admitted(std::string_view model) {
        const quota::Level own{
            quota::Whose::kKey, ledger_->account("alice"), &config_->plans[0].caps
        };
        auto decision = ledger_->admit(
            {.key = own.account, .levels = {&own, 1}, .model = model, .endpoint = "chat/completions"
            }
        );
        if (decision.admission) decision.admission->reservation.charge();
        return decision.admission.has_value();
    }

    json explain(const std::string& query) {
        return expect(200, "GET", "/api/admin/explain?" + query);
    }
    static std::string why(const json& explained) {
        std::string all;
        for (const auto& line : explained["why"]) all += line.get<std::string>() + "\n";
        return all;
    }
};

TEST_F(CapsTest, AKeyShowsTheCapsOfAllLevels) {
    const auto caps = expect(200, "GET", "/api/admin/keys/alice")["caps"];
    std::vector<std::string> told;
    for (const auto& cap : caps) {
        told.push_back(cap["whose"].get<std::string>() + " " + cap["allow"].get<std::string>());
    }
    EXPECT_EQ(told, std::vector<std::string>({"key 2/4h", "key 1/1h", "team 5/1d", "all 100/1d"}));
}

TEST_F(CapsTest, AGrantIsTakenPastTheCapAndNoFurther) {
    EXPECT_TRUE(admitted("gpt-4"));
    EXPECT_TRUE(admitted("gpt-4"));
    EXPECT_FALSE(admitted("gpt-4"));
    const auto grant = expect(
        201,
        "POST",
        "/api/admin/keys/alice/grants",
        R"({"messages":2,"models":"gpt-4*","until":"1h"})"
    );
    EXPECT_EQ(grant["key"], "alice");
    EXPECT_EQ(grant["messages"], 2);
    EXPECT_EQ(grant["until"], "2027-01-15T09:00:00Z");
    auto shown = expect(200, "GET", "/api/admin/keys/alice");
    EXPECT_EQ(shown["caps"][0]["granted"], 2);
    EXPECT_EQ(shown["caps"][0]["left"], 2);
    EXPECT_TRUE(admitted("gpt-4"));
    EXPECT_EQ(expect(200, "GET", "/api/admin/keys/alice")["grants"][0]["used"], 1);
    EXPECT_TRUE(admitted("gpt-4"));
    EXPECT_FALSE(admitted("gpt-4"));
    clock_.advance(hours(1));
    shown = expect(200, "GET", "/api/admin/keys/alice");
    EXPECT_TRUE(shown["grants"].empty());
    EXPECT_EQ(shown["caps"][0]["granted"], 0);
}

TEST_F(CapsTest, AGrantEndsByTheWallClockOfItsDay) {
    // The wall clock was set forward by an hour while Weir ran: the ledger's goes on as it did.
    clock_.step_wall(hours(1));
    const auto grant = expect(
        201,
        "POST",
        "/api/admin/keys/alice/grants",
        R"({"messages":2,"models":"*","until":"10:00"})"
    );
    EXPECT_EQ(grant["until"], "2027-01-15T10:00:00Z");
    clock_.advance(hours(1) - std::chrono::seconds(1));  // 09:59:59
    EXPECT_EQ(expect(200, "GET", "/api/admin/keys/alice")["grants"].size(), 1U);
    clock_.advance(std::chrono::seconds(1));
    EXPECT_TRUE(expect(200, "GET", "/api/admin/keys/alice")["grants"].empty());
}

TEST_F(CapsTest, BadGrantsAndResetsChangeNothing) {
    const std::vector<std::pair<const char*, const char*>> bad = {
        {"", "JSON"},
        {R"({"messages":2,"models":"*"})", "`until` is missing"},
        {R"({"models":"*","until":"4h"})", "`messages` is missing"},
        {R"({"messages":2,"until":"4h"})", "`models` is missing"},
        {R"({"messages":0,"models":"*","until":"4h"})", "1 to 1000000000"},
        {R"({"messages":1000000001,"models":"*","until":"4h"})", "1 to 1000000000"},
        {R"({"messages":"2","models":"*","until":"4h"})", "not a whole number"},
        {R"({"messages":2,"models":"*","until":"33d"})", "32 days"},
        {R"({"messages":2,"models":"*","until":"soon"})", "not a time"},
        {R"({"messages":2,"models":"a\nb","until":"4h"})", "`models`"},
        {R"({"messages":2,"model":"*","until":"4h"})", "Did you mean `models`?"},
    };
    for (const auto& [body, said] : bad) {
        EXPECT_THAT(message(400, "POST", "/api/admin/keys/alice/grants", body), HasSubstr(said))
            << body;
    }
    use("alice", "gpt-4");
    EXPECT_THAT(
        message(400, "POST", "/api/admin/keys/alice/reset", R"({"models":""})"),
        HasSubstr("`models`")
    );
    expect(400, "POST", "/api/admin/keys/alice/reset", R"({"modells":"*"})");
    EXPECT_THAT(
        message(
            404,
            "POST",
            "/api/admin/keys/alica/grants",
            R"({"messages":2,"models":"*","until":"4h"})"
        ),
        HasSubstr("Did you mean `alice`?")
    );
    const auto shown = expect(200, "GET", "/api/admin/keys/alice");
    EXPECT_TRUE(shown["grants"].empty());
    EXPECT_EQ(shown["caps"][0]["used"], 1);
    EXPECT_TRUE(expect(200, "GET", "/api/admin/audit")["audit"].empty());
}

TEST_F(CapsTest, AResetFreesTheKeysOwnCapsOnly) {
    EXPECT_TRUE(admitted("gpt-4"));
    EXPECT_TRUE(admitted("gpt-4"));
    EXPECT_FALSE(admitted("gpt-4"));
    const auto path = "/api/admin/keys/alice/reset";
    EXPECT_EQ(expect(200, "POST", path, R"({"models":"gpt-3*"})")["reset"], 0);
    EXPECT_FALSE(admitted("gpt-4"));
    EXPECT_EQ(expect(200, "POST", path)["reset"], 2);
    auto caps = expect(200, "GET", "/api/admin/keys/alice")["caps"];
    EXPECT_EQ(caps[0]["used"], 0);
    EXPECT_EQ(caps[3]["used"], 2) << "everybody's";
    EXPECT_TRUE(admitted("gpt-4"));
    EXPECT_TRUE(admitted("gpt-4"));
    EXPECT_FALSE(admitted("gpt-4"));
    EXPECT_EQ(expect(200, "POST", path, R"({"models":"gpt-4"})")["reset"], 2);
}

TEST_F(CapsTest, AKeyThatIsNotInForceIsNeitherGrantedNorReset) {
    expect(201, "POST", "/api/admin/keys", R"({"name":"bob","plan":"basic"})");
    auto config = std::make_shared<config::Config>(*config_);
    config->plans.pop_back();
    config_ = std::move(config);
    EXPECT_THAT(message(409, "POST", "/api/admin/keys/bob/reset"), HasSubstr("`basic`"));
    const auto explained = explain("key=bob&model=gpt-4");
    EXPECT_EQ(explained["goes"], false);
    EXPECT_THAT(why(explained), AllOf(HasSubstr("not in force"), HasSubstr("`basic`")));
}

TEST_F(CapsTest, ExplainsWhatCoversAModel) {
    const auto told = explain("key=alice&model=smart");
    EXPECT_EQ(told["model"], json::parse(R"({"asked":"smart","served":"gpt-4-0613"})"));
    EXPECT_EQ(told["allowed"], true);
    EXPECT_EQ(told["decided_by"], json::parse(R"({"list":"models","pattern":"gpt-*"})"));
    EXPECT_EQ(
        told["route"],
        json::parse(R"([{"name":"openai","priority":1},{"name":"backup","priority":2}])")
    );
    EXPECT_EQ(told["inputs"], json::parse(R"(["text","image","file"])"));
    EXPECT_EQ(told["max_input"], nullptr);
    EXPECT_EQ(told["max_output"], 4096);
    EXPECT_EQ(told["price"], json::parse(R"({"input":30,"cached_input":15,"output":60})"));
    EXPECT_EQ(
        told["cache"],
        json::parse(R"({"enabled":true,"scope":"team:research","when":"always","ttl_s":86400})")
    );
    EXPECT_EQ(told["caps"].size(), 3U) << "not that of o1";
    ASSERT_EQ(told["then"].size(), 1U);
    EXPECT_EQ(told["then"][0]["model"], "gpt-3.5-turbo");
    EXPECT_EQ(told["then"][0]["cap"], "gpt-4* 2/4h");
    EXPECT_EQ(told["then"][0]["open"], true);
    EXPECT_EQ(told["goes"], true);
    EXPECT_THAT(
        why(told),
        AllOf(
            HasSubstr("`smart` is served as `gpt-4-0613`"),
            HasSubstr("openai, backup"),
            HasSubstr("0 messages of 2 messages used"),
            HasSubstr("So a message goes now.")
        )
    );
}

TEST_F(CapsTest, ExplainsRefusals) {
    const auto denied = explain("key=alice&model=gpt-5-mini");
    EXPECT_EQ(denied["allowed"], false);
    EXPECT_EQ(denied["goes"], false);
    EXPECT_EQ(denied["decided_by"], json::parse(R"({"list":"deny","pattern":"gpt-5*"})"));
    const auto unlisted = explain("key=alice&model=claude");
    EXPECT_EQ(unlisted["allowed"], false);
    EXPECT_EQ(unlisted["decided_by"], nullptr);
    EXPECT_THAT(why(unlisted), HasSubstr("gpt-*, smart"));

    use("alice", "gpt-4");
    use("alice", "gpt-4");
    const auto falls_back = explain("key=alice&model=gpt-4");
    EXPECT_EQ(falls_back["goes"], true);
    EXPECT_THAT(
        why(falls_back),
        AllOf(HasSubstr("free in 4 h"), HasSubstr("`gpt-3.5-turbo` answers a message now"))
    );
    auto config = std::make_shared<config::Config>(*config_);
    config->plans[0].deny = {"gpt-3.5*"};
    config_ = config;
    const auto refused = explain("key=alice&model=gpt-4");
    EXPECT_EQ(refused["goes"], false);
    EXPECT_EQ(refused["then"][0]["open"], false);
    EXPECT_THAT(why(refused), AllOf(HasSubstr("the plan does not allow it"), HasSubstr("429")));

    config = std::make_shared<config::Config>(*config_);
    config->plans[0].caps[0].unit = config::Unit::kMoney;
    config->prices.clear();
    config->upstreams.erase(config->upstreams.begin());
    config_ = config;
    EXPECT_THAT(why(explain("key=alice&model=gpt-4")), HasSubstr("`prices`"));
    EXPECT_THAT(why(explain("key=alice&model=gpt-4")), HasSubstr("So a message is refused"));
    config = std::make_shared<config::Config>(*config_);
    config->upstreams.clear();
    config_ = config;
    EXPECT_THAT(why(explain("key=alice&model=gpt-4")), HasSubstr("No upstream"));
}

TEST_F(CapsTest, ExplainTakesAnEndpoint) {
    auto config = std::make_shared<config::Config>(*config_);
    config->plans[0].caps[0].endpoints = {"embeddings"};
    config_ = config;
    EXPECT_EQ(explain("key=alice&model=gpt-4")["caps"].size(), 2U);
    EXPECT_EQ(explain("key=alice&model=gpt-4&endpoint=embeddings")["caps"].size(), 3U);
    const auto free = explain("key=alice&model=gpt-4&endpoint=moderations");
    EXPECT_TRUE(free["caps"].empty());
    EXPECT_THAT(why(free), HasSubstr("free"));
    const auto closed = explain("key=alice&model=gpt-4&endpoint=files");
    EXPECT_EQ(closed["goes"], false);
    EXPECT_THAT(why(closed), HasSubstr("closed"));
    EXPECT_EQ(explain("key=alice&model=gpt-4&endpoint=images/edits")["goes"], true);
    const auto target = "/api/admin/explain?key=alice&model=gpt-4&endpoint=";
    EXPECT_THAT(
        message(400, "GET", std::string(target) + "chat/completion"),
        HasSubstr("Did you mean `chat/completions`?")
    );
    expect(400, "GET", std::string(target) + "models");
    expect(400, "GET", "/api/admin/explain?key=alice");
    expect(400, "GET", "/api/admin/explain?model=gpt-4");
    expect(404, "GET", "/api/admin/explain?key=nobody&model=gpt-4");
    expect(400, "GET", "/api/admin/explain?key=alice&model=" + std::string(300, 'x'));
}

TEST_F(CapsTest, ChainsOfThenEndWhereTheyBegan) {
    auto config = std::make_shared<config::Config>(*config_);
    auto back = cap("gpt-3.5*", 1, "1/1d");
    back.then = "gpt-4";
    config->plans[0].caps.push_back(back);
    config_ = config;
    const auto told = explain("key=alice&model=gpt-4");
    ASSERT_EQ(told["then"].size(), 1U);
    use("alice", "gpt-4");
    use("alice", "gpt-4");
    use("alice", "gpt-3.5-turbo");
    EXPECT_EQ(explain("key=alice&model=gpt-4")["goes"], false);
    EXPECT_THAT(why(explain("key=alice&model=gpt-4")), HasSubstr("its own caps are used up"));
}

}  // namespace
}  // namespace weir::admin
