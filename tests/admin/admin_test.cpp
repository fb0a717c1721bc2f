// The admin API on a real KeyStore, Ledger and ResponseCache in a directory of its own.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "weir/base/text.hpp"

#include "admin_fixture.hpp"

namespace weir::admin {
namespace {

struct Way {
    const char* method;
    const char* target;
    const char* body = "";
};

// Every route, and some that are none.
const std::vector<Way> kWays = {
    {"GET", "/api/admin/keys"},
    {"POST", "/api/admin/keys", R"({"name":"eve","plan":"plus"})"},
    {"GET", "/api/admin/keys/alice"},
    {"DELETE", "/api/admin/keys/alice"},
    {"POST", "/api/admin/keys/alice/grants", R"({"messages":1,"models":"*","until":"4h"})"},
    {"POST", "/api/admin/keys/alice/reset"},
    {"GET", "/api/admin/explain?key=alice&model=gpt-4"},
    {"GET", "/api/admin/audit"},
    {"GET", "/api/admin/usage"},
    {"GET", "/api/admin/cache"},
    {"DELETE", "/api/admin/cache"},
    {"POST", "/api/admin/reload"},
    {"GET", "/api/admin/version"},
    {"GET", "/api/admin/unknown"},
    {"PUT", "/api/admin/keys"},
    {"GET", "/api/admin"},
};

TEST_F(AdminTest, OnlyTheTokenOpensAnyRoute) {
    const std::string token(kToken);
    const auto bob = expect(201, "POST", "/api/admin/keys", R"({"name":"bob","plan":"plus"})");
    refreshed_ = 0;
    const std::vector<std::optional<std::string>> wrong = {
        std::nullopt,
        "",
        "Bearer",
        "Bearer ",
        token,
        "Basic " + token,
        "Bearer " + token + "x",
        "Bearer x" + token,
        "Bearer " + token.substr(0, token.size() - 1),
        "Bearer " + std::string(token.size(), 'x'),
        "Bearer " + std::string(kDeclaredSecret),
        "Bearer " + bob["key"].get<std::string>(),
    };
    for (const auto& way : kWays) {
        for (const auto& authorization : wrong) {
            const auto response = call(way.method, way.target, way.body, authorization);
            EXPECT_EQ(response.status, 401) << way.target << " " << authorization.value_or("-");
            EXPECT_TRUE(response.fields.find("www-authenticate"));
            const auto error = json::parse(response.body)["error"];
            EXPECT_EQ(error["type"], "invalid_request_error");
        }
    }
    EXPECT_EQ(refreshed_ + reloaded_, 0);
    EXPECT_EQ(expect(200, "GET", "/api/admin/keys")["keys"].size(), 2U);
    EXPECT_EQ(call("GET", "/api/admin/version", "", "bearer   " + token).status, 200);
}

TEST_F(AdminTest, OtherFieldsThanAuthorizationDoNotCarryTheToken) {
    http::RequestHead head;
    head.method = "GET";
    head.target = "/api/admin/version?token=" + std::string(kToken);
    head.fields.add("x-api-key", kToken);
    head.fields.add("api-key", kToken);
    head.fields.add("cookie", "token=" + std::string(kToken));
    EXPECT_EQ(admin_->handle(head, "").status, 401);
}

TEST_F(AdminTest, AnEmptyTokenLetsNobodyIn) {
    Admin open(Services{
        .keys = *keys_,
        .ledger = *ledger_,
        .cache = *cache_,
        .savings = savings_,
        .audit = *audit_,
        .clock = clock_,
        .token = "",
        .config = [this] { return config_; },
        .refresh = []() -> Result<> { return {}; },
        .reload = []() -> Result<std::vector<std::string>> { return {}; },
        .version = "1"
    });
    for (const auto* value : {"", "Bearer ", "Bearer x"}) {
        http::RequestHead head;
        head.method = "GET";
        head.target = "/api/admin/version";
        head.fields.add("authorization", value);
        EXPECT_EQ(open.handle(head, "").status, 401);
    }
}

TEST_F(AdminTest, UnknownPathsAndMethods) {
    for (const auto* path :
         {"/api/admin",
          "/api/admin/",
          "/api/admin/key",
          "/api/admin/keys/",
          "/api/admin/keys/a/b",
          "/api/admin/keys//grants",
          "/api/admin/keys/a/grants/",
          "/api/admin/keys/a/grants/b",
          "/api/admin/keys/a/b/grants",
          "/api/admin/usage/x",
          "/api/adminx",
          "/"}) {
        EXPECT_EQ(call("GET", path).status, 404) << path;
    }
    EXPECT_THAT(
        message(404, "GET", "/api/admin/key"),
        AllOf(HasSubstr("Did you mean `/api/admin/keys`?"), Not(HasSubstr("/v1")))
    );
    EXPECT_THAT(
        message(413, "POST", "/api/admin/keys", std::string(70'000, ' ')),
        AllOf(HasSubstr("64 KiB"), Not(HasSubstr("limits")))
    );
    const std::vector<std::pair<Way, std::string>> wrong = {
        {{"PUT", "/api/admin/keys"}, "GET, POST"},
        {{"PATCH", "/api/admin/keys/bob"}, "GET, DELETE"},
        {{"GET", "/api/admin/keys/bob/grants"}, "POST"},
        {{"DELETE", "/api/admin/keys/bob/reset"}, "POST"},
        {{"POST", "/api/admin/explain"}, "GET"},
        {{"DELETE", "/api/admin/audit"}, "GET"},
        {{"POST", "/api/admin/usage"}, "GET"},
        {{"POST", "/api/admin/cache"}, "GET, DELETE"},
        {{"GET", "/api/admin/reload"}, "POST"},
        {{"HEAD", "/api/admin/version"}, "GET"},
        {{"OPTIONS", "/api/admin/version"}, "GET"},
    };
    for (const auto& [way, allowed] : wrong) {
        const auto response = call(way.method, way.target);
        EXPECT_EQ(response.status, 405) << way.method << " " << way.target;
        EXPECT_EQ(response.fields.find("allow").value_or(""), allowed);
        EXPECT_EQ(response.fields.count("allow"), 1U);
    }
    EXPECT_EQ(reloaded_, 0);
}

TEST_F(AdminTest, UnknownParametersAreRefused) {
    for (const auto* target :
         {"/api/admin/keys?x=1",
          "/api/admin/usage?spam=1d",
          "/api/admin/version?span=1d",
          "/api/admin/usage?span=1d&span=2d"}) {
        EXPECT_EQ(call("GET", target).status, 400) << target;
    }
    EXPECT_EQ(call("DELETE", "/api/admin/cache?modell=x").status, 400);
}

TEST_F(AdminTest, AKeysTextIsShownOnce) {
    const auto made =
        expect(201, "POST", "/api/admin/keys", R"({"name":"bob","plan":"plus","team":"research"})");
    const auto text = made["key"].get<std::string>();
    EXPECT_TRUE(text.starts_with("sk-weir-")) << text;
    EXPECT_EQ(made["name"], "bob");
    EXPECT_EQ(made["plan"], "plus");
    EXPECT_EQ(made["team"], "research");
    EXPECT_EQ(made["declared"], false);
    EXPECT_EQ(made["created"], "2027-01-15T08:00:00Z");
    EXPECT_EQ(refreshed_, 1);
    const auto table = keys_->table(*config_);
    ASSERT_TRUE(table);
    ASSERT_NE((*table)->find(text), nullptr);
    EXPECT_EQ((*table)->find(text)->name, "bob");

    // Nothing else ever holds it, nor the part of it that is secret.
    const auto secret = text.substr(text.rfind('-') + 1);
    EXPECT_GE(secret.size(), 20U);
    for (const auto* target : {"/api/admin/keys", "/api/admin/keys/bob"}) {
        EXPECT_THAT(call("GET", target).body, AllOf(HasSubstr("bob"), Not(HasSubstr(secret))));
    }
    EXPECT_THAT(call("DELETE", "/api/admin/keys/bob").body, Not(HasSubstr(secret)));
}

TEST_F(AdminTest, ListsDeclaredAndMadeKeys) {
    expect(201, "POST", "/api/admin/keys", R"({"name":"bob","plan":"basic"})");
    const auto list = expect(200, "GET", "/api/admin/keys")["keys"];
    ASSERT_EQ(list.size(), 2U);
    for (const auto& key : list) {
        EXPECT_EQ(key.size(), 7U) << key;
        EXPECT_EQ(key["in_force"], true);
        const bool declared = key["name"] == "alice";
        EXPECT_EQ(key["declared"], declared);
        EXPECT_EQ(key["team"], declared ? json("research") : json(nullptr));
        EXPECT_EQ(key["created"].is_null(), declared);
    }
}

TEST_F(AdminTest, ShowsAKeyByNameOrIdWithItsCaps) {
    use("alice", "gpt-4-0613");
    const auto by_name = expect(200, "GET", "/api/admin/keys/alice");
    const auto by_id = expect(200, "GET", "/api/admin/keys/" + by_name["id"].get<std::string>());
    EXPECT_EQ(by_name, by_id);
    ASSERT_EQ(by_name["caps"].size(), 1U);
    const auto& cap = by_name["caps"][0];
    EXPECT_EQ(cap["allow"], "2/4h");
    EXPECT_EQ(cap["used"], 1);
    EXPECT_EQ(cap["left"], 1);
    EXPECT_EQ(cap["whose"], "key");
    EXPECT_EQ(cap["next_free_s"], 4 * 3600);
    EXPECT_THAT(message(404, "GET", "/api/admin/keys/alica"), HasSubstr("Did you mean `alice`?"));
}

TEST_F(AdminTest, NamesInPathsAreDecoded) {
    auto config = std::make_shared<config::Config>(*config_);
    config->keys.push_back(
        {.name = "\xE6\xB0\xB4 a/b", .plan = "plus", .team = "", .secret = "another-secret-0123"}
    );
    config_ = std::move(config);
    EXPECT_EQ(expect(200, "GET", "/api/admin/keys/%E6%B0%B4%20a%2Fb")["declared"], true);
    expect(404, "GET", "/api/admin/keys/%E6%B0%B4%20a");
    expect(400, "GET", "/api/admin/keys/%E6%B0%4");
    expect(400, "GET", "/api/admin/keys/a%00");
    expect(404, "GET", "/api/admin/keys/%FF");
    expect(201, "POST", "/api/admin/keys", R"({"name":"bob@example.org","plan":"plus"})");
    expect(200, "DELETE", "/api/admin/keys/bob%40example.org");
}

TEST_F(AdminTest, RefusesBadKeys) {
    const std::vector<std::pair<const char*, const char*>> bad = {
        {"", "JSON"},
        {"{", "JSON"},
        {"[]", "JSON"},
        {R"({"name":"bob"})", "`plan` is missing"},
        {R"({"plan":"plus"})", "`name` is missing"},
        {R"({"name":"bob","plan":1})", "`plan`"},
        {R"({"name":"bob","plan":"plus","declared":true})", "`declared`"},
        {R"({"name":"bob","plan":"plus","tean":"x"})", "Did you mean `team`?"},
        {R"({"name":"bob","name":"bob","plan":"plus"})", "twice"},
        {R"({"name":"bob","plan":"pluss"})", "Did you mean `plus`?"},
        {R"({"name":"bob","plan":"zzzzzzzz"})", "plus, basic"},
        {R"({"name":"a\nb","plan":"plus"})", "a name is"},
        {R"({"name":"-x","plan":"plus"})", "The name"},
        {R"({"name":"cfg-alice","plan":"plus"})", "The name"},
        {R"({"name":"bob","plan":"plus","team":" "})", "a team is"},
    };
    for (const auto& [body, said] : bad) {
        EXPECT_THAT(message(400, "POST", "/api/admin/keys", body), HasSubstr(said)) << body;
    }
    const std::string large = R"({"name":")" + std::string(70'000, 'x') + R"(","plan":"plus"})";
    EXPECT_EQ(call("POST", "/api/admin/keys", large).status, 413);
    EXPECT_EQ(refreshed_, 0);
    EXPECT_EQ(expect(200, "GET", "/api/admin/keys")["keys"].size(), 1U);
}

TEST_F(AdminTest, ANameIsTakenOnce) {
    const auto bob = expect(201, "POST", "/api/admin/keys", R"({"name":"bob","plan":"plus"})");
    const json as_id = {{"name", bob["id"]}, {"plan", "plus"}};
    for (const std::string& body :
         {std::string(R"({"name":"bob","plan":"basic"})"),
          std::string(R"({"name":"alice","plan":"plus"})"),
          as_id.dump()}) {
        EXPECT_THAT(message(409, "POST", "/api/admin/keys", body), HasSubstr("already")) << body;
    }
    EXPECT_EQ(expect(200, "GET", "/api/admin/keys")["keys"].size(), 2U);
}

TEST_F(AdminTest, RevokesByNameOrId) {
    const auto bob = expect(201, "POST", "/api/admin/keys", R"({"name":"bob","plan":"plus"})");
    const auto eve = expect(201, "POST", "/api/admin/keys", R"({"name":"eve","plan":"plus"})");
    refreshed_ = 0;
    EXPECT_EQ(expect(200, "DELETE", "/api/admin/keys/bob")["revoked"], true);
    expect(200, "DELETE", "/api/admin/keys/" + eve["id"].get<std::string>());
    EXPECT_EQ(refreshed_, 2) << "a revocation must be in force when the call returns";
    const auto table = keys_->table(*config_);
    ASSERT_TRUE(table);
    EXPECT_EQ((*table)->find(bob["key"].get<std::string>()), nullptr);
    EXPECT_EQ((*table)->find(eve["key"].get<std::string>()), nullptr);
    EXPECT_THAT(message(409, "DELETE", "/api/admin/keys/alice"), HasSubstr("config"));
    EXPECT_THAT(message(409, "DELETE", "/api/admin/keys/cfg-alice"), HasSubstr("config"));
    EXPECT_EQ(refreshed_, 2);
    expect(404, "DELETE", "/api/admin/keys/bob");
    EXPECT_EQ(refreshed_, 3) << "a revoke that failed may have come through: not on disk, in force";
}

TEST_F(AdminTest, KeysThatAreSetAsideAreShownAndCanBeRevoked) {
    const auto bob = expect(201, "POST", "/api/admin/keys", R"({"name":"bob","plan":"basic"})");
    const auto eve = expect(201, "POST", "/api/admin/keys", R"({"name":"eve","plan":"plus"})");
    auto other = std::make_shared<config::Config>(*config_);
    other->plans.pop_back();  // basic
    other->keys.push_back({"eve", "plus", "", "sk-declared-secret-9876543210"});
    config_ = other;

    const auto list = expect(200, "GET", "/api/admin/keys")["keys"];
    ASSERT_EQ(list.size(), 4U);
    EXPECT_EQ(list[2]["name"], "bob");
    EXPECT_EQ(list[2]["in_force"], false);
    EXPECT_THAT(list[2]["why"].get<std::string>(), HasSubstr("`basic`"));
    const auto shown = expect(200, "GET", "/api/admin/keys/bob");
    EXPECT_EQ(shown["in_force"], false);
    EXPECT_THAT(
        shown["cure"].get<std::string>(), HasSubstr("revoke " + bob["id"].get<std::string>())
    );
    EXPECT_TRUE(shown["caps"].empty());

    EXPECT_EQ(expect(200, "GET", "/api/admin/keys/eve")["declared"], true);
    const auto by_id = "/api/admin/keys/" + eve["id"].get<std::string>();
    EXPECT_THAT(expect(200, "GET", by_id)["why"].get<std::string>(), HasSubstr("same name"));
    EXPECT_THAT(message(409, "DELETE", "/api/admin/keys/eve"), HasSubstr("config"));
    expect(409, "POST", "/api/admin/keys", R"({"name":"bob","plan":"plus"})");

    expect(200, "DELETE", by_id);
    expect(200, "DELETE", "/api/admin/keys/bob");
    EXPECT_EQ(expect(200, "GET", "/api/admin/keys")["keys"].size(), 2U);
}

TEST_F(AdminTest, AKeyThatCannotComeIntoForceIsTakenBack) {
    refresh_error_ = Error{ErrorCode::kInternal, "a worker is stuck"};
    const auto said = message(500, "POST", "/api/admin/keys", R"({"name":"bob","plan":"plus"})");
    EXPECT_THAT(said, AllOf(HasSubstr("taken back"), HasSubstr("a worker is stuck")));
    EXPECT_THAT(said, Not(HasSubstr("sk-weir-")));
    EXPECT_EQ(expect(200, "GET", "/api/admin/keys")["keys"].size(), 1U);
    refresh_error_.reset();
    expect(201, "POST", "/api/admin/keys", R"({"name":"bob","plan":"plus"})");
}

TEST_F(AdminTest, ARevocationThatIsNotInForceSaysSo) {
    expect(201, "POST", "/api/admin/keys", R"({"name":"bob","plan":"plus"})");
    refresh_error_ = Error{ErrorCode::kInternal, "a worker is stuck"};
    EXPECT_THAT(message(500, "DELETE", "/api/admin/keys/bob"), HasSubstr("still in force"));
}

TEST_F(AdminTest, TellsUsageByKeyAndModel) {
    use("bob", "gpt-4");
    use("alice", "gpt-4");
    use("alice", "gpt-3.5-turbo");
    use("alice", "gpt-3.5-turbo");
    clock_.advance(std::chrono::hours(2));
    use("alice", "gpt-4");
    const auto day = expect(200, "GET", "/api/admin/usage");
    EXPECT_EQ(day["span"], "1d");
    EXPECT_EQ(day["span_s"], 86400);
    EXPECT_EQ(day["messages"], 5);
    EXPECT_EQ(day["usage"], json::parse(R"([
        {"key":"alice","model":"gpt-3.5-turbo","messages":2,"tokens":0,"usd":0},
        {"key":"alice","model":"gpt-4","messages":2,"tokens":0,"usd":0},
        {"key":"bob","model":"gpt-4","messages":1,"tokens":0,"usd":0}])"));
    EXPECT_EQ(day["tokens"], 0);
    EXPECT_EQ(expect(200, "GET", "/api/admin/usage?span=1h")["messages"], 1);
    for (const auto* span : {"", "1", "-1d", "33d", "1ms", "forever", "99999999999999d"}) {
        EXPECT_EQ(call("GET", "/api/admin/usage?span=" + std::string(span)).status, 400) << span;
    }
    expect(200, "GET", "/api/admin/usage?span=32d");
}

TEST_F(AdminTest, ShowsAndClearsTheCache) {
    const auto store =
        [this](std::string_view model, std::string_view owner, std::string_view canonical) {
            auto entry = std::make_shared<cache::Entry>();
            const auto key = cache::make_cache_key(
                {.scope = "all",
                 .endpoint = "/v1/chat/completions",
                 .query = "",
                 .fields = {},
                 .route = "r",
                 .shape = "",
                 .variant = {},
                 .canonical = canonical}
            );
            entry->key_text = key.text;
            entry->parts = {"{}"};
            entry->content_type = "application/json";
            entry->model = model;
            entry->owner = owner;
            entry->expires_at_s = 4'000'000'000;
            cache_->store(key, entry);
            return key.hash;
        };
    store("gpt-4", "alice", "a");
    store("gpt-4", "bob", "b");
    store("gpt-3.5-turbo", "bob", "c");
    const Digest last = store("gpt-3.5-turbo", "alice", "d");
    const auto stats = expect(200, "GET", "/api/admin/cache");
    EXPECT_EQ(stats["memory_entries"], 4);
    for (const auto* name :
         {"enabled",
          "entries",
          "bytes",
          "memory_bytes",
          "hits_memory",
          "hits_disk",
          "misses",
          "stored",
          "evicted",
          "write_failures"}) {
        EXPECT_TRUE(stats.contains(name)) << name;
    }
    // What is still on its way to the disk would be removed, but not counted.
    while (expect(200, "GET", "/api/admin/cache")["entries"] != 4) std::this_thread::yield();
    const std::string hex = to_hex(last);
    for (const std::string& wrong :
         {std::string("model="),
          std::string("key="),
          std::string("entry="),
          std::string("model=gpt-4&key="),
          "entry=" + hex.substr(1),
          "entry=" + hex + "0",
          "entry=" + hex.substr(1) + "g"}) {
        EXPECT_NE(message(400, "DELETE", "/api/admin/cache?" + wrong), "") << wrong;
    }
    EXPECT_EQ(expect(200, "GET", "/api/admin/cache")["memory_entries"], 4);
    EXPECT_EQ(expect(200, "DELETE", "/api/admin/cache?key=bob&entry=" + hex)["removed"], 0);
    EXPECT_EQ(expect(200, "DELETE", "/api/admin/cache?entry=" + hex)["removed"], 1);
    EXPECT_EQ(expect(200, "DELETE", "/api/admin/cache?key=alic")["removed"], 0);
    EXPECT_EQ(expect(200, "DELETE", "/api/admin/cache?key=bob&model=gpt-4")["removed"], 1);
    EXPECT_EQ(expect(200, "DELETE", "/api/admin/cache?model=gpt-4")["removed"], 1);
    EXPECT_EQ(expect(200, "GET", "/api/admin/cache")["memory_entries"], 1);
    EXPECT_EQ(expect(200, "DELETE", "/api/admin/cache")["removed"], 1);
    EXPECT_EQ(expect(200, "GET", "/api/admin/cache")["memory_entries"], 0);
}

TEST_F(AdminTest, ReloadTellsAllFaults) {
    EXPECT_EQ(
        expect(200, "POST", "/api/admin/reload"),
        json::parse(R"({"reloaded":true,"restart_needed":[]})")
    );
    waiting_ = {"listen", "log.format"};
    EXPECT_EQ(expect(200, "POST", "/api/admin/reload", "{}")["restart_needed"], json(waiting_));
    EXPECT_EQ(reloaded_, 2);
    expect(400, "POST", "/api/admin/reload", R"({"force":true})");
    EXPECT_EQ(reloaded_, 2);
    reload_error_ = Error{ErrorCode::kConfig, "a.yaml:1:1: one\na.yaml:2:1: two"};
    EXPECT_EQ(message(400, "POST", "/api/admin/reload"), reload_error_->detail);
}

TEST_F(AdminTest, TellsItsVersion) {
    EXPECT_EQ(expect(200, "GET", "/api/admin/version")["version"], "1.2.3");
}

TEST_F(AdminTest, AnExceptionIsAnAnswer) {
    Admin broken(Services{
        .keys = *keys_,
        .ledger = *ledger_,
        .cache = *cache_,
        .savings = savings_,
        .audit = *audit_,
        .clock = clock_,
        .token = std::string(kToken),
        .config = []() -> std::shared_ptr<const config::Config> {
            throw std::runtime_error("secret detail");
        },
        .refresh = []() -> Result<> { return {}; },
        .reload = []() -> Result<std::vector<std::string>> { return {}; },
        .version = "1"
    });
    http::RequestHead head;
    head.method = "GET";
    head.target = "/api/admin/keys";
    head.fields.add("authorization", "Bearer " + std::string(kToken));
    const auto response = broken.handle(head, "");
    EXPECT_EQ(response.status, 500);
    EXPECT_THAT(response.body, Not(HasSubstr("secret detail")));
}

}  // namespace
}  // namespace weir::admin
