// The admin API on a real KeyStore, Ledger and ResponseCache in a directory of its own.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "weir/admin/admin.hpp"
#include "weir/base/clock.hpp"
#include "weir/sqlite/connection.hpp"
#include "weir/sqlite/writer.hpp"

namespace weir::admin {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

inline constexpr std::string_view kToken = "the-admin-token-of-this-test";
inline constexpr std::string_view kDeclaredSecret = "sk-declared-secret-0123456789";

class AdminTest : public ::testing::Test {
protected:
    void SetUp() override {
        std::string name = (std::filesystem::temp_directory_path() / "weir-admin-XXXXXX").string();
        ASSERT_NE(mkdtemp(name.data()), nullptr);
        directory_ = name;

        auto config = std::make_shared<config::Config>();
        config->data = directory_;
        config::Plan plus;
        plus.name = "plus";
        config::Cap cap;
        cap.models = "gpt-4*";
        cap.limit = 2;
        cap.span = std::chrono::hours(4);
        cap.allow = "2/4h";
        plus.caps.push_back(cap);
        config->plans.push_back(plus);
        config::Plan basic;
        basic.name = "basic";
        config->plans.push_back(basic);
        config->keys.push_back(
            {.name = "alice",
             .plan = "plus",
             .team = "research",
             .secret = std::string(kDeclaredSecret)}
        );
        config_ = std::move(config);

        const auto path = directory_ + "/ledger.db";
        auto connection = sqlite::Connection::open(path, {});
        ASSERT_TRUE(connection) << connection.error().detail;
        ASSERT_TRUE(sqlite::migrate(
            *connection, {quota::kSchema, keys::kSchema, quota::kSchemaOfCaps, kSchema}, path
        ));
        writer_ = std::make_unique<sqlite::Writer>(
            sqlite::Writer::Options{.path = path, .open = {}, .on_corrupt = {}, .name = "ledger"},
            std::move(*connection)
        );
        auto reader = sqlite::Connection::open(path, {.mode = sqlite::Mode::kReadOnly});
        ASSERT_TRUE(reader) << reader.error().detail;
        auto keys = keys::KeyStore::open(directory_, *reader, *writer_);
        ASSERT_TRUE(keys) << keys.error().detail;
        keys_ = std::move(*keys);
        auto ledger = quota::Ledger::open(*reader, *writer_, clock_);
        ASSERT_TRUE(ledger) << ledger.error().detail;
        ledger_ = std::move(*ledger);
        writer_->add(*ledger_);
        writer_->start();
        cache::CacheOptions options;
        options.path = directory_ + "/cache.db";
        auto cache = cache::ResponseCache::open(options);
        ASSERT_TRUE(cache) << cache.error().detail;
        cache_ = std::move(*cache);

        audit_ = std::make_unique<AuditTrail>(*writer_, path);
        admin_ = std::make_unique<Admin>(Services{
            .keys = *keys_,
            .ledger = *ledger_,
            .cache = *cache_,
            .savings = savings_,
            .audit = *audit_,
            .clock = clock_,
            .token = std::string(kToken),
            .config = [this] { return config_; },
            .refresh = [this]() -> Result<> {
                ++refreshed_;
                if (refresh_error_) return std::unexpected(*refresh_error_);
                return {};
            },
            .reload = [this]() -> Result<std::vector<std::string>> {
                ++reloaded_;
                if (reload_error_) return std::unexpected(*reload_error_);
                return waiting_;
            },
            .version = "1.2.3"
        });
    }

    void TearDown() override {
        admin_.reset();
        audit_.reset();
        cache_.reset();
        if (writer_) writer_->stop();
        ledger_.reset();
        keys_.reset();
        writer_.reset();
        std::filesystem::remove_all(directory_);
    }

    http::Response call(
        std::string_view method,
        std::string_view target,
        std::string_view body = "",
        std::optional<std::string> authorization = "Bearer " + std::string(kToken)
    ) {
        http::RequestHead head;
        head.method = method;
        head.target = target;
        if (authorization) head.fields.add("Authorization", *authorization);
        auto response = admin_->handle(head, body);
        EXPECT_EQ(response.fields.find("content-type").value_or(""), "application/json");
        EXPECT_EQ(response.fields.find("cache-control").value_or(""), "no-store");
        EXPECT_TRUE(json::accept(response.body)) << response.body;
        EXPECT_THAT(response.body, Not(HasSubstr(kToken)));
        EXPECT_THAT(response.body, Not(HasSubstr(kDeclaredSecret)));
        return response;
    }

    // An answer of that status, as JSON.
    json expect(
        int status, std::string_view method, std::string_view target, std::string_view body = ""
    ) {
        const auto response = call(method, target, body);
        EXPECT_EQ(response.status, status) << method << " " << target << ": " << response.body;
        return json::parse(response.body);
    }

    std::string message(
        int status, std::string_view method, std::string_view target, std::string_view body = ""
    ) {
        return expect(status, method, target, body)["error"]["message"].get<std::string>();
    }

    // Uses up one message.
    void use(std::string_view account, std::string_view model) {
        const quota::Level own{
            quota::Whose::kKey, ledger_->account(account), &config_->plans[0].caps
        };
        auto decision =
            ledger_->admit({.key = own.account, .levels = {&own, 1}, .model = model, .endpoint = {}}
            );
        ASSERT_TRUE(decision.admission);
        decision.admission->reservation.charge();
    }

    std::string directory_;
    std::shared_ptr<const config::Config> config_;
    TestClock clock_;
    std::unique_ptr<sqlite::Writer> writer_;
    std::unique_ptr<keys::KeyStore> keys_;
    std::unique_ptr<quota::Ledger> ledger_;
    std::unique_ptr<cache::ResponseCache> cache_;
    metrics::Registry registry_;
    cache::Savings savings_{registry_};
    std::unique_ptr<AuditTrail> audit_;
    std::unique_ptr<Admin> admin_;
    int refreshed_ = 0;
    int reloaded_ = 0;
    std::optional<Error> refresh_error_;
    std::optional<Error> reload_error_;
    std::vector<std::string> waiting_;
};

}  // namespace weir::admin
