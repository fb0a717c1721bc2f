#include "weir/keys/key_store.hpp"

#include <filesystem>
#include <fstream>
#include <set>
#include <sys/stat.h>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sqlite/faulty_vfs.hpp"
#include "sqlite/scratch.hpp"

namespace weir::keys {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;
using weir::testing::eventually;
using weir::testing::FaultyVfs;
using weir::testing::ScratchDir;

constexpr LedgerTime kNow = ledger_time_us(1'800'000'000'000'000);

struct Process {
    explicit Process(const ScratchDir& dir) {
        const std::string path = dir / "ledger.db";
        auto opened = sqlite::Connection::open(path, {.exclusive = true});
        if (!opened) throw std::runtime_error(opened.error().detail);
        if (const auto done = sqlite::migrate(*opened, {kSchema}, path); !done) {
            throw std::runtime_error(done.error().detail);
        }
        auto reader = sqlite::Connection::open(path, {.mode = sqlite::Mode::kReadOnly});
        writer = std::make_unique<sqlite::Writer>(
            sqlite::Writer::Options{path, {.exclusive = true}, {}, "ledger"}, std::move(*opened)
        );
        writer->start();
        auto made = KeyStore::open(dir.path(), *reader, *writer);
        if (!made) throw std::runtime_error(made.error().detail);
        store = std::move(*made);
    }
    std::shared_ptr<const KeyTable> table(const config::Config& config) {
        auto made = store->table(config);
        EXPECT_TRUE(made) << made.error().detail;
        return made.value_or(nullptr);
    }
    std::unique_ptr<sqlite::Writer> writer;
    std::unique_ptr<KeyStore> store;
};

config::Config config_with_alice() {
    config::Config config;
    config.plans.emplace_back().name = "plus";
    config.keys.push_back({"alice", "plus", "research", "alice-secret-0123456789"});
    return config;
}

std::string read(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

class KeyStoreTest : public ::testing::Test {
protected:
    void SetUp() override { FaultyVfs::instance().heal(); }
    void TearDown() override { FaultyVfs::instance().heal(); }
    const ScratchDir dir;
};

TEST_F(KeyStoreTest, FindsDeclaredAndMadeKeysAndNothingElse) {
    Process run(dir);
    const auto made = run.store->create("bob", "plus", "research", kNow);
    ASSERT_TRUE(made) << made.error().detail;
    EXPECT_THAT(made->text, MatchesRegex("sk-weir-[A-Za-z0-9]{8}-[A-Za-z0-9]{32,}"));
    EXPECT_THAT(made->text, HasSubstr(made->key.id));
    const auto table = run.table(config_with_alice());
    const Key* alice = table->find("alice-secret-0123456789");
    ASSERT_NE(alice, nullptr);
    EXPECT_EQ(alice->id, "cfg-alice");
    EXPECT_TRUE(alice->declared);
    EXPECT_EQ(alice->team, "research");
    const Key* bob = table->find(made->text);
    ASSERT_NE(bob, nullptr);
    EXPECT_EQ(bob->name, "bob");
    EXPECT_EQ(bob->plan, "plus");
    EXPECT_EQ(bob->created_us, to_us(kNow));
    EXPECT_FALSE(bob->declared);
    EXPECT_EQ(table->find_name("bob"), bob);
    EXPECT_EQ(table->find_name("carol"), nullptr);
    EXPECT_EQ(table->all().size(), 2U);
    std::string near = made->text;
    near.back() = near.back() == 'a' ? 'b' : 'a';
    for (const std::string& wrong :
         {near, made->text + "x", made->key.id, std::string(), std::string("alice")}) {
        EXPECT_EQ(table->find(wrong), nullptr) << wrong;
    }
}

TEST_F(KeyStoreTest, KeysOutliveARestartAndTheirTextIsNowhereOnDisk) {
    std::string text;
    {
        Process run(dir);
        const auto made = run.store->create("bob", "plus", "", kNow);
        ASSERT_TRUE(made);
        text = made->text;
    }
    Process run(dir);
    const auto table = run.table(config_with_alice());
    ASSERT_NE(table->find(text), nullptr);
    for (const auto& file : std::filesystem::directory_iterator(dir.path())) {
        const std::string contents = read(file.path());
        EXPECT_THAT(contents, Not(HasSubstr(text.substr(17)))) << file.path();
        EXPECT_THAT(contents, Not(HasSubstr("alice-secret"))) << file.path();
    }
}

TEST_F(KeyStoreTest, ARevokedKeyIsGoneForGoodAndItsNameIsFree) {
    std::string text;
    {
        Process run(dir);
        const auto config = config_with_alice();
        const auto bob = run.store->create("bob", "plus", "", kNow);
        const auto carol = run.store->create("carol", "plus", "", kNow);
        ASSERT_TRUE(bob && carol);
        text = bob->text;
        const auto old = run.table(config);
        const auto gone = run.store->revoke("bob");
        ASSERT_TRUE(gone);
        EXPECT_EQ(gone->id, bob->key.id);
        EXPECT_EQ(run.table(config)->find(text), nullptr);
        EXPECT_NE(old->find(text), nullptr) << "a snapshot does not change";
        EXPECT_TRUE(run.store->revoke(carol->key.id)) << "by public id";
        EXPECT_EQ(run.store->revoke("bob").error().code, ErrorCode::kNotFound);
        EXPECT_TRUE(run.store->create("bob", "plus", "", kNow));
    }
    Process run(dir);
    const auto table = run.table(config_with_alice());
    EXPECT_EQ(table->find(text), nullptr);
    EXPECT_NE(table->find_name("bob"), nullptr);
    EXPECT_EQ(table->find_name("carol"), nullptr);
}

TEST_F(KeyStoreTest, RefusesNamesThatAreTakenOrCannotBe) {
    Process run(dir);
    ASSERT_TRUE(run.store->create("bob", "plus", "", kNow));
    EXPECT_EQ(run.store->create("bob", "plus", "", kNow).error().code, ErrorCode::kConflict);
    run.table(config_with_alice());
    EXPECT_EQ(run.store->create("alice", "plus", "", kNow).error().code, ErrorCode::kConflict);
    EXPECT_EQ(run.store->revoke("alice").error().code, ErrorCode::kConflict);
    EXPECT_EQ(run.store->revoke("cfg-alice").error().code, ErrorCode::kConflict);
    for (const std::string& name :
         {std::string(),
          std::string("a b"),
          std::string("a/b"),
          std::string("a\n"),
          std::string("\xc3\xa9"),
          std::string("a\0b", 3),
          std::string(65, 'a')}) {
        const auto made = run.store->create(name, "plus", "", kNow);
        ASSERT_FALSE(made) << name;
        EXPECT_EQ(made.error().code, ErrorCode::kBadRequest);
    }
    EXPECT_EQ(
        run.store->create("dan", "plus", "a team", kNow).error().code, ErrorCode::kBadRequest
    );
    EXPECT_EQ(run.store->create("dan", "gold", "", kNow).error().code, ErrorCode::kBadRequest);
    EXPECT_TRUE(run.store->create("Dan.O_x@example-1.org", "plus", "t-1", kNow));
    EXPECT_TRUE(run.store->create(std::string(64, 'a'), "plus", "", kNow));
}

TEST_F(KeyStoreTest, AStoredKeyWithoutAPlaceInTheConfigIsSetAside) {
    Process run(dir);
    const auto bob = run.store->create("bob", "plus", "", kNow);
    ASSERT_TRUE(bob);
    auto no_plan = config_with_alice();
    no_plan.plans[0].name = "gold";
    no_plan.keys.clear();
    auto same_name = config_with_alice();
    same_name.keys.push_back({"bob", "plus", "", "another-secret-0123456789"});
    auto same_secret = config_with_alice();
    same_secret.keys.push_back({"eve", "plus", "", bob->text});
    const std::vector<std::pair<config::Config, std::string>> cases = {
        {no_plan, "plan `plus`"}, {same_name, "same name"}, {same_secret, "`eve`"}
    };
    for (const auto& [config, why] : cases) {
        const auto table = run.table(config);
        ASSERT_NE(table, nullptr);
        EXPECT_EQ(table->all().size(), config.keys.size());
        ASSERT_EQ(table->set_aside().size(), 1U);
        const SetAside& aside = table->set_aside().front();
        EXPECT_EQ(aside.key.name, "bob");
        EXPECT_THAT(aside.why, HasSubstr(why));
        EXPECT_THAT(aside.cure, HasSubstr("weir keys revoke " + bob->key.id));
        EXPECT_EQ(table->find_set_aside("bob"), &aside);
        EXPECT_EQ(table->find_set_aside("alice"), nullptr);
        const Key* const found = table->find(bob->text);
        EXPECT_TRUE(found == nullptr || found->declared) << "only the config's key opens anything";
    }
    EXPECT_NE(run.table(config_with_alice())->find(bob->text), nullptr) << "back in its place";
    run.table(no_plan);
    EXPECT_EQ(run.store->create("bob", "gold", "", kNow).error().code, ErrorCode::kConflict);
    EXPECT_TRUE(run.store->revoke("bob"));
    EXPECT_TRUE(run.table(no_plan)->set_aside().empty());
}

TEST_F(KeyStoreTest, AKeyInForceIsNotSetAsideAndAllOfThemAreNamed) {
    Process run(dir);
    ASSERT_TRUE(run.store->create("bob", "plus", "", kNow));
    ASSERT_TRUE(run.store->create("carol", "plus", "", kNow));
    ASSERT_TRUE(run.store->create("dan", "gold", "", kNow));
    const auto before = run.table(config_with_alice());
    ASSERT_EQ(before->set_aside().size(), 1U);
    auto other = config_with_alice();
    other.plans[0].name = "silver";
    other.keys[0].plan = "silver";
    const auto refused = run.store->table(other, before.get());
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kConfig);
    EXPECT_THAT(refused.error().detail, MatchesRegex(".*`bob`[^\n]*\n[^\n]*`carol`[^\n]*"));
    EXPECT_THAT(refused.error().detail, Not(HasSubstr("`dan`"))) << "it was aside before";
    EXPECT_TRUE(run.store->create("eve", "plus", "", kNow)) << "the old config's plans hold";
    EXPECT_TRUE(run.store->table(config_with_alice(), before.get()));
}

TEST_F(KeyStoreTest, DeclaredKeysWithOneSecretAreNoTable) {
    Process run(dir);
    auto same_secret = config_with_alice();
    same_secret.keys.push_back({"eve", "plus", "", "alice-secret-0123456789"});
    const auto made = run.store->table(same_secret);
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, ErrorCode::kConflict);
    EXPECT_THAT(made.error().detail, Not(HasSubstr("secret-0123")));
}

TEST_F(KeyStoreTest, ManyThreadsMakeKeysAndOneNameGoesToOneOfThem) {
    Process run(dir);
    std::atomic<int> same = 0;
    std::vector<std::thread> threads;
    for (int t = 0; t < 6; ++t) {
        threads.emplace_back([&, t] {
            if (run.store->create("wanted", "plus", "", kNow)) ++same;
            for (int i = 0; i < 5; ++i) {
                const auto name = "k" + std::to_string(t) + "-" + std::to_string(i);
                EXPECT_TRUE(run.store->create(name, "plus", "", kNow));
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(same, 1);
    std::set<std::string> ids;
    for (const Key& key : run.table(config_with_alice())->all()) ids.insert(key.id);
    EXPECT_EQ(ids.size(), 32U);
}

TEST_F(KeyStoreTest, AfterAFailedCommitItLooksAtTheDiskAgain) {
    Process run(dir);
    ASSERT_TRUE(run.store->create("bob", "plus", "", kNow));
    FaultyVfs::instance().fail_syncs = 1;
    const auto lost = run.store->create("carol", "plus", "", kNow);
    ASSERT_FALSE(lost);
    EXPECT_EQ(lost.error().code, ErrorCode::kStorage);
    ASSERT_TRUE(eventually([&] { return run.writer->healthy(); }));
    // Whether it came through or not: after a revoke the name can be given again.
    const auto gone = run.store->revoke("carol");
    EXPECT_TRUE(gone || gone.error().code == ErrorCode::kNotFound);
    const auto carol = run.store->create("carol", "plus", "", kNow);
    ASSERT_TRUE(carol) << carol.error().detail;
    EXPECT_NE(run.table(config_with_alice())->find(carol->text), nullptr);
}

TEST_F(KeyStoreTest, TheSecretIsMadeOncePrivateAndNeverMissedInSilence) {
    const std::string path = dir / "secret";
    {
        Process run(dir);
        EXPECT_EQ(std::filesystem::file_size(path), 32U);
        struct stat info{};
        ASSERT_EQ(::stat(path.c_str(), &info), 0);
        EXPECT_EQ(info.st_mode & 0777U, 0600U);
    }
    const std::string first = read(path);
    {
        Process run(dir);
        EXPECT_EQ(read(path), first);
        ASSERT_TRUE(run.store->create("bob", "plus", "", kNow));
    }
    std::filesystem::rename(path, dir / "away");
    try {
        const Process run(dir);
        FAIL() << "it made another secret, and no key will ever match";
    } catch (const std::runtime_error& error) {
        EXPECT_THAT(error.what(), HasSubstr("restore it"));
    }
    EXPECT_FALSE(std::filesystem::exists(path));
    std::ofstream(path) << "short";
    EXPECT_THROW(Process{dir}, std::runtime_error);
    std::filesystem::rename(dir / "away", path);
    EXPECT_NO_THROW(Process{dir});
}

TEST_F(KeyStoreTest, TheAdminTokenIsMadeOnceAndReadAfterwards) {
    const auto first = admin_token(dir.path());
    ASSERT_TRUE(first);
    EXPECT_GE(first->size(), 40U);
    EXPECT_EQ(admin_token(dir.path()), *first);
    struct stat info{};
    ASSERT_EQ(::stat((dir / "admin-token").c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777U, 0600U);
    EXPECT_EQ(read(dir / "admin-token"), *first + "\n");
    std::ofstream(dir / "admin-token") << "  my-own-token-of-the-house \n";
    EXPECT_EQ(admin_token(dir.path()), "my-own-token-of-the-house");
    std::ofstream(dir / "admin-token") << "\n";
    const auto empty = admin_token(dir.path());
    ASSERT_FALSE(empty);
    EXPECT_EQ(empty.error().code, ErrorCode::kStorage);
    EXPECT_FALSE(admin_token(dir / "none"));
}

TEST_F(KeyStoreTest, ThreadsThatMakeTheTokenAtOnceGetTheSameOne) {
    std::vector<std::string> tokens(6);
    std::vector<std::thread> threads;
    for (std::string& token : tokens) {
        threads.emplace_back([&] { token = admin_token(dir.path()).value_or(""); });
    }
    for (std::thread& thread : threads) thread.join();
    for (const std::string& token : tokens) EXPECT_EQ(token, tokens[0]);
    EXPECT_FALSE(tokens[0].empty());
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir.path()), {}), 1)
        << "a draft was left behind";
}

}  // namespace
}  // namespace weir::keys
