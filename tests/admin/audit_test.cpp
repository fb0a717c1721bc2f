// The audit trail: each act leaves its row, and the rows have a bound.
#include <string>
#include <vector>

#include "admin_fixture.hpp"

namespace weir::admin {
namespace {

class AuditTest : public AdminTest {
protected:
    json rows(const std::string& query = "") {
        return expect(200, "GET", "/api/admin/audit" + query)["audit"];
    }
};

TEST_F(AuditTest, EachActLeavesItsRowWithoutASecret) {
    const auto bob =
        expect(201, "POST", "/api/admin/keys", R"({"name":"bob","plan":"plus","team":"red"})");
    expect(
        201,
        "POST",
        "/api/admin/keys/bob/grants",
        R"({"messages":50,"models":"gpt-4*","until":"2h"})"
    );
    expect(200, "POST", "/api/admin/keys/bob/reset", R"({"models":"gpt-4*"})");
    clock_.advance(std::chrono::minutes(1));
    expect(200, "DELETE", "/api/admin/keys/bob");
    expect(200, "DELETE", "/api/admin/cache?model=gpt-4");
    expect(200, "DELETE", "/api/admin/cache?model=gpt-4&key=bob");
    expect(200, "DELETE", "/api/admin/cache");
    expect(200, "POST", "/api/admin/reload");
    const auto id = bob["id"].get<std::string>();
    std::vector<std::string> told;
    const auto all = rows();
    for (const auto& row : all) {
        EXPECT_EQ(row["actor"], "admin");
        told.push_back(
            row["act"].get<std::string>() + "|" + row["subject"].get<std::string>() + "|" +
            row["detail"].get<std::string>()
        );
    }
    EXPECT_EQ(
        told,
        std::vector<std::string>(
            {"reload|config|",
             "cache.clear|all models|0 removed",
             "cache.clear|model gpt-4, key bob|0 removed",
             "cache.clear|model gpt-4|0 removed",
             "key.revoke|key bob|id " + id,
             "reset|key bob|0 messages for gpt-4*",
             "grant|key bob|50 messages for gpt-4* until 2027-01-15T10:00:00Z",
             "key.create|key bob|id " + id + ", plan plus, team red"}
        )
    );
    EXPECT_EQ(all[0]["at"], "2027-01-15T08:01:00Z");
    EXPECT_EQ(all[7]["at"], "2027-01-15T08:00:00Z");
    const auto text = bob["key"].get<std::string>();
    EXPECT_THAT(all.dump(), Not(HasSubstr(text.substr(text.rfind('-') + 1))));
}

TEST_F(AuditTest, WhatChangesNothingLeavesNone) {
    reload_error_ = Error{ErrorCode::kConfig, "weir.yaml:1:1: wrong"};
    expect(400, "POST", "/api/admin/reload");
    expect(400, "POST", "/api/admin/keys", R"({"name":"bob","plan":"pluss"})");
    expect(404, "DELETE", "/api/admin/keys/bob");
    expect(409, "DELETE", "/api/admin/keys/alice");
    expect(200, "GET", "/api/admin/keys");
    refresh_error_ = Error{ErrorCode::kInternal, "a worker is stuck"};
    expect(500, "POST", "/api/admin/keys", R"({"name":"bob","plan":"plus"})");
    EXPECT_TRUE(rows().empty());
    refresh_error_.reset();
    expect(201, "POST", "/api/admin/keys", R"({"name":"bob","plan":"plus"})");
    refresh_error_ = Error{ErrorCode::kInternal, "a worker is stuck"};
    expect(500, "DELETE", "/api/admin/keys/bob");
    EXPECT_THAT(rows()[0]["detail"].get<std::string>(), HasSubstr("on disk only"));
}

TEST_F(AuditTest, TheNewestComeFirstUpToALimit) {
    for (int i = 0; i < 120; ++i) {
        admin_->record({"signal", "reload", std::to_string(i), ""});
    }
    EXPECT_EQ(rows().size(), 100U);
    const auto three = rows("?limit=3");
    ASSERT_EQ(three.size(), 3U);
    EXPECT_EQ(three[0]["subject"], "119");
    EXPECT_EQ(three[2]["subject"], "117");
    EXPECT_EQ(rows("?limit=10000").size(), 120U);
    for (const auto* bad : {"0", "-1", "10001", "x", "", "1.5"}) {
        expect(400, "GET", "/api/admin/audit?limit=" + std::string(bad));
    }
}

TEST_F(AuditTest, KeepsTheNewestRows) {
    // As many as it keeps, at once; the next act pushes the oldest out.
    ASSERT_TRUE(writer_->run([](sqlite::Connection& connection) {
        return connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000) "
            "INSERT INTO audit (id, at_us, actor, act, subject, detail) "
            "SELECT i, 0, '', '', '', '' FROM n"
        );
    }));
    admin_->record({"admin", "reload", "config", std::string(5'000, 'x')});
    const auto newest = rows("?limit=10000");
    ASSERT_EQ(newest.size(), 10'000U);
    EXPECT_EQ(newest.front()["id"], 10'001);
    EXPECT_EQ(newest.front()["detail"].get<std::string>().size(), 512U);
    EXPECT_EQ(newest.back()["id"], 2);
    auto reader =
        sqlite::Connection::open(directory_ + "/ledger.db", {.mode = sqlite::Mode::kReadOnly});
    ASSERT_TRUE(reader);
    auto count = reader->prepare("SELECT count(*) FROM audit");
    ASSERT_TRUE(count && count->step());
    EXPECT_EQ(count->integer(0), 10'000);
}

TEST_F(AuditTest, AnActStandsWhereItsRowCannotBeWritten) {
    ASSERT_TRUE(writer_->run([](sqlite::Connection& connection) {
        return connection.execute("DROP TABLE audit");
    }));
    expect(201, "POST", "/api/admin/keys", R"({"name":"bob","plan":"plus"})");
    expect(200, "GET", "/api/admin/keys/bob");
    EXPECT_GE(call("GET", "/api/admin/audit").status, 500);
}

}  // namespace
}  // namespace weir::admin
