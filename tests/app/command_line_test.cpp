// The `weir` binary as people and scripts use it.
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "weir/app/client.hpp"

#include "process.hpp"

namespace weir::test {
namespace {

using app::call;
using app::HttpCall;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

class CommandLine : public ::testing::Test {
protected:
    void SetUp() override {
        std::string name = (std::filesystem::temp_directory_path() / "weir-app-XXXXXX").string();
        ASSERT_NE(mkdtemp(name.data()), nullptr);
        directory_ = name;
        config_ = write("weir.yaml", good());
    }
    void TearDown() override { std::filesystem::remove_all(directory_); }

    [[nodiscard]] std::string good() const {
        return "listen: \"127.0.0.1:0\"\n"
               "data: " +
               directory_ +
               "/data\n"
               "workers: 1\n"
               "demo: when no upstream has a key\n"
               "upstreams: [{name: openai, url: \"https://127.0.0.1:9/v1\", key: \"\"}]\n"
               "plans:\n"
               "  plus: {caps: [{models: \"gpt-4*\", allow: 100/4h}, {models: \"*\", allow: "
               "7/1d}]}\n"
               "  free: {}\n";
    }
    std::string write(const std::string& name, const std::string& text) {
        const auto path = directory_ + "/" + name;
        std::ofstream(path) << text;
        return path;
    }
    Finished weir(std::vector<std::string> arguments) {
        arguments.insert(arguments.begin(), WEIR_BINARY);
        return run(std::move(arguments), environment_);
    }
    // A command to the gateway that start() started.
    Finished ask(std::vector<std::string> arguments) {
        arguments.insert(arguments.end(), {"--url", url_, "--config", config_});
        return weir(std::move(arguments));
    }

    void start(std::vector<std::string> more = {}) {
        std::vector<std::string> arguments = {WEIR_BINARY, "serve", "--config", config_};
        arguments.insert(arguments.end(), more.begin(), more.end());
        gateway_ = std::make_unique<Process>(std::move(arguments), environment_);
        welcome_ = gateway_->read_until("curl -N");
        welcome_ = gateway_->read_until("-d '");
        url_ = behind("listens on ");
        key_ = behind("A key to try with: ");
        ASSERT_THAT(url_, StartsWith("http://127.0.0.1:")) << gateway_->finish().err;
    }
    // The word behind `mark` in the welcome.
    std::string behind(const std::string& mark) const {
        const auto at = welcome_.find(mark);
        if (at == std::string::npos) return "";
        const auto begin = at + mark.size();
        return welcome_.substr(begin, welcome_.find_first_of(" \n", begin) - begin);
    }

    std::string directory_;
    std::string config_;
    Process::Environment environment_ = {"PATH=/usr/bin:/bin"};
    std::unique_ptr<Process> gateway_;
    std::string welcome_;
    std::string url_;
    std::string key_;
};

TEST_F(CommandLine, EveryCommandHasHelpWithExamples) {
    const std::vector<std::vector<std::string>> commands = {
        {},
        {"serve"},
        {"check"},
        {"health"},
        {"reload"},
        {"keys"},
        {"keys", "create"},
        {"keys", "list"},
        {"keys", "show"},
        {"keys", "grant"},
        {"keys", "reset"},
        {"keys", "revoke"},
        {"explain"},
        {"audit"},
        {"usage"},
        {"cache"},
        {"cache", "stats"},
        {"cache", "clear"},
        {"version"},
    };
    for (auto command : commands) {
        command.emplace_back("--help");
        const auto done = weir(command);
        EXPECT_EQ(done.exit_code, 0);
        EXPECT_THAT(done.out, AllOf(HasSubstr("Examples:\n  "), HasSubstr("Exit codes")));
        EXPECT_THAT(done.err, IsEmpty());
    }
}

TEST_F(CommandLine, WrongUseIsTwo) {
    const std::vector<std::vector<std::string>> wrong = {
        {},
        {"serv"},
        {"--wrong"},
        {"serve", "extra"},
        {"keys"},
        {"keys", "create"},
        {"keys", "create", "bob"},
        {"keys", "show"},
        {"keys", "grant", "bob", "50", "gpt-4*"},
        {"keys", "grant", "bob", "--until", "4h"},
        {"keys", "grant", "bob", "many", "gpt-4*", "--until", "4h"},
        {"keys", "grant", "bob", "-5", "gpt-4*", "--until", "4h"},
        {"keys", "reset"},
        {"explain", "bob"},
        {"audit", "--limit", "x"},
        {"cache", "clear", "--model"},
        {"cache", "clear", "--key"},
        {"version", "--josn"},
    };
    for (const auto& arguments : wrong) {
        const auto done = weir(arguments);
        EXPECT_EQ(done.exit_code, 2) << done.out;
        EXPECT_THAT(done.err, Not(IsEmpty()));
        EXPECT_THAT(done.out, IsEmpty());
    }
}

TEST_F(CommandLine, AnUnknownCommandIsNamedWithTheNearest) {
    EXPECT_THAT(weir({"serv"}).err, HasSubstr("`weir serv`; did you mean `weir serve`?"));
    EXPECT_THAT(
        weir({"keys", "creat", "bob", "--plan", "plus"}).err,
        HasSubstr("`weir keys creat`; did you mean `weir keys create`?")
    );
    EXPECT_THAT(weir({"xyzzy"}).err, HasSubstr("`weir xyzzy`; `weir --help` lists them"));
    EXPECT_THAT(weir({"version", "extra"}).err, Not(HasSubstr("no command")));
}

TEST_F(CommandLine, OutputThatCannotBeWrittenIsOne) {
    start();
    for (const std::string& command : {
             std::string("version"),
             std::string("--help"),
             "check --config " + config_,
             "keys create bob --plan plus --url " + url_ + " --config " + config_,
             "health --url " + url_,
         }) {
        const auto done =
            run({"/bin/sh", "-c", "exec " WEIR_BINARY " " + command + " >/dev/full"}, environment_);
        EXPECT_EQ(done.exit_code, 1) << command;
        EXPECT_THAT(done.err, HasSubstr("cannot be written")) << command;
    }
}

TEST_F(CommandLine, TellsItsVersion) {
    EXPECT_EQ(weir({"version"}).out, "weir " WEIR_VERSION "\n");
    EXPECT_EQ(weir({"--version"}).out, "weir " WEIR_VERSION "\n");
    EXPECT_EQ(json::parse(weir({"version", "--json"}).out)["version"], WEIR_VERSION);
}

TEST_F(CommandLine, CheckSaysWhatAConfigAllows) {
    const auto done = weir({"check", "--config", config_});
    EXPECT_EQ(done.exit_code, 0) << done.err;
    EXPECT_THAT(done.out, StartsWith("config ok"));
    EXPECT_THAT(
        done.out, AllOf(HasSubstr("plan plus:"), HasSubstr("100 messages"), HasSubstr("4 h"))
    );
    EXPECT_THAT(done.out, HasSubstr("plan free: no caps"));
    const auto machine = json::parse(weir({"check", "--config", config_, "--json"}).out);
    EXPECT_EQ(machine["ok"], true);
    EXPECT_EQ(machine["plans"].size(), 2U);
}

TEST_F(CommandLine, CheckSaysWhereMessagesGo) {
    const auto path = write("routes.yaml", R"(
upstreams:
  - {name: one, url: "http://h", key: sk-secret-1, models: ["gpt-*", "o?"]}
  - {name: two, url: "https://e", kind: azure, key: [sk-secret-2, sk-secret-3], priority: 2, weight: 3,
     at_once: 7, proxy: "http://user:sk-secret-4@p:1"}
  - {use: anthropic, priority: 3}
plans: {p: {endpoints: [files, batches]}}
)");
    const auto done = weir({"check", "--config", path});
    EXPECT_EQ(done.out, "config ok: " + path + R"(
upstream one (http://h): gpt-*, o?
upstream two (https://e):
  *
  azure, the v1 API
  2 keys, in turn
  priority 2, weight 3
  at most 7 calls at once
  through the proxy p:1
upstream anthropic (https://api.anthropic.com/v1):
  claude-*, of /v1/messages
  no key
  priority 3, weight 1
plan p:
  no caps
  closed endpoints too: files, batches
)") << done.err;
    const auto machine = json::parse(weir({"check", "--config", path, "--json"}).out);
    EXPECT_EQ(machine["upstreams"][1]["kind"], "azure");
    EXPECT_EQ(machine["upstreams"][1]["keys"], 2);
    EXPECT_EQ(machine["plans"][0]["endpoints"], (json{"files", "batches"}));
    EXPECT_THAT(machine.dump(), Not(HasSubstr("sk-secret")));
}

TEST_F(CommandLine, CheckSaysAllCapsInPlainWords) {
    const auto path = write("caps.yaml", R"(
demo: when no upstream has a key
timezone: Asia/Shanghai
models: {gpt-4: {serve_as: gpt-4-0613, max_output: 8192}, other: {}}
plans:
  plus:
    caps:
      - {models: "gpt-4*", allow: 100/4h, then: gpt-3.5-turbo}
      - {allow: 4 at once, queue: 30s, endpoints: [chat/completions]}
    inputs: [text, image]
    max_input: 1MiB
    max_output: 4096
  free: {caps: [{allow: unlimited}]}
teams: {research: {caps: [{allow: 9 tokens/1h fixed}]}, idle: {}}
keys:
  - {name: alice, plan: plus, team: research, secret: 0123456789abcdef, caps: [{allow: 5/1m}]}
  - {name: bob, plan: free, secret: 1123456789abcdef}
caps: [{allow: 0.5 usd/day, mode: warn}]
)");
    const auto done = weir({"check", "--config", path});
    EXPECT_EQ(done.out, "config ok: " + path + R"(
upstream demo: the built-in demo answers, since no upstream has a key
days, weeks and months are those of Asia/Shanghai
model gpt-4: at most 8192 tokens out
plan plus:
  100 messages in any 4 h for gpt-4*; then gpt-3.5-turbo answers
  4 messages at once for all models on chat/completions; up to 30 s in the queue
  only text, image in
  at most 1 MiB in
  at most 4096 tokens out
plan free: no limit for all models
team research, all its keys together: 9 tokens per 1 h, counted from the first message, for all models
team idle, all its keys together: no caps
key alice: 5 messages in any 1 min for all models
everybody together: 0.5 usd per calendar day (Asia/Shanghai) for all models; only a warning
)") << done.err;

    const auto machine = json::parse(weir({"check", "--config", path, "--json"}).out);
    EXPECT_EQ(machine["timezone"], "Asia/Shanghai");
    EXPECT_EQ(machine["models"][0]["max_output"], 8192);
    const json& plus = machine["plans"][0];
    EXPECT_EQ(plus["inputs"], (json{"text", "image"}));
    EXPECT_EQ(plus["max_input"], 1 << 20);
    EXPECT_EQ(plus["max_output"], 4096);
    EXPECT_EQ(
        plus["caps"][0],
        (json{
            {"models", "gpt-4*"},
            {"endpoints", json::array()},
            {"allow", "100/4h"},
            {"unit", "messages"},
            {"period", "rolling"},
            {"span_s", 14400},
            {"limit", 100},
            {"in_words", "100 messages in any 4 h for gpt-4*; then gpt-3.5-turbo answers"},
            {"then", "gpt-3.5-turbo"},
            {"queue_s", 0},
            {"mode", "enforce"}
        })
    );
    EXPECT_EQ(plus["caps"][1]["period"], "at_once");
    EXPECT_EQ(plus["caps"][1]["queue_s"], 30);
    EXPECT_EQ(plus["caps"][1]["endpoints"], json::array({"chat/completions"}));
    EXPECT_EQ(plus["caps"][1]["then"], nullptr);
    EXPECT_EQ(machine["plans"][1]["caps"][0]["limit"], nullptr);
    EXPECT_EQ(machine["plans"][1]["max_output"], nullptr);
    EXPECT_EQ(machine["teams"][0]["caps"][0]["unit"], "tokens");
    EXPECT_EQ(machine["teams"][0]["caps"][0]["period"], "fixed");
    EXPECT_EQ(machine["keys"][0]["caps"][0]["allow"], "5/1m");
    EXPECT_EQ(machine["caps"][0]["limit"], 0.5);
    EXPECT_EQ(machine["caps"][0]["unit"], "usd");
    EXPECT_EQ(machine["caps"][0]["mode"], "warn");
    EXPECT_THAT(machine.dump(), Not(HasSubstr("0123456789abcdef")));

    // Where nothing is counted by the calendar, nobody needs to know the zone.
    EXPECT_THAT(weir({"check", "--config", config_}).out, Not(HasSubstr("days, weeks")));
}

TEST_F(CommandLine, CheckTellsAllFaults) {
    const auto bad = write("bad.yaml", "listen: 5\nplanz: {}\ndemo: maybe\n");
    const auto done = weir({"check", "--config", bad});
    EXPECT_EQ(done.exit_code, 2);
    EXPECT_THAT(done.out, IsEmpty());
    EXPECT_THAT(
        done.err, AllOf(HasSubstr(bad + ":1:"), HasSubstr(bad + ":2:"), HasSubstr(bad + ":3:"))
    );
    const auto machine = json::parse(weir({"check", "--config", bad, "--json"}).out);
    EXPECT_EQ(machine["ok"], false);
    EXPECT_GE(machine["faults"].size(), 3U);
    EXPECT_EQ(weir({"check", "--config", directory_ + "/none.yaml"}).exit_code, 2);
    EXPECT_EQ(weir({"serve", "--config", bad}).exit_code, 2);
    environment_.push_back("WEIR_CONFIG=" + bad);
    EXPECT_EQ(weir({"check"}).exit_code, 2) << "WEIR_CONFIG names the config";
}

TEST_F(CommandLine, NobodyThereIsOne) {
    // Port 9 (discard) is not served on a machine that runs tests; a refused connection at once.
    const auto health = weir({"health", "--url", "http://127.0.0.1:9"});
    EXPECT_EQ(health.exit_code, 1);
    EXPECT_THAT(health.err, HasSubstr("127.0.0.1:9"));
    environment_.emplace_back("WEIR_ADMIN_TOKEN=some-secret-token");
    for (const std::vector<std::string>& command : std::vector<std::vector<std::string>>{
             {"reload"}, {"usage"}, {"keys", "list"}, {"cache", "stats"}
         }) {
        auto arguments = command;
        arguments.insert(arguments.end(), {"--url", "127.0.0.1:9"});
        const auto done = weir(arguments);
        EXPECT_EQ(done.exit_code, 1) << done.err;
        EXPECT_THAT(done.err, AllOf(HasSubstr("127.0.0.1:9"), Not(HasSubstr("some-secret-token"))));
    }
    EXPECT_EQ(weir({"health", "--url", "ftp://127.0.0.1:9"}).exit_code, 1);
}

TEST_F(CommandLine, AMissingTokenOrConfigIsTwo) {
    const auto no_token = weir({"usage", "--config", config_});
    EXPECT_EQ(no_token.exit_code, 2);
    EXPECT_THAT(no_token.err, HasSubstr(directory_ + "/data/admin-token"));
    const auto no_config = weir({"usage", "--config", directory_ + "/none.yaml"});
    EXPECT_EQ(no_config.exit_code, 2);
    const auto two_lines = write("token", "one\ntwo\n");
    EXPECT_EQ(weir({"usage", "--url", "127.0.0.1:9", "--token-file", two_lines}).exit_code, 2);
}

TEST_F(CommandLine, AsksTheGatewayOfAConfigWithoutItsSecrets) {
    start();
    auto text = good();
    text.replace(text.find("127.0.0.1:0"), 11, url_.substr(url_.find("//") + 2));
    text.replace(text.find("key: \"\""), 7, "key: \"${NOT_SET_HERE}\"");
    const auto needy = write("needy.yaml", text);
    EXPECT_EQ(weir({"check", "--config", needy}).exit_code, 2);
    const auto list = weir({"keys", "list", "--config", needy});
    EXPECT_EQ(list.exit_code, 0) << list.err;
    EXPECT_THAT(list.out, HasSubstr("trial"));
    const auto health = weir({"health", "--config", needy});
    EXPECT_EQ(health.exit_code, 0) << health.err;
    environment_.emplace_back("WEIR_LISTEN=127.0.0.1:9");
    environment_.push_back("WEIR_CONFIG=" + needy);
    EXPECT_EQ(weir({"health"}).out, "alive\n") << "the config tells where its gateway listens";
    environment_.back() = "WEIR_CONFIG=" + directory_ + "/none.yaml";
    EXPECT_EQ(weir({"health"}).exit_code, 2);
    environment_.pop_back();
    environment_.back() = "WEIR_LISTEN=" + url_.substr(url_.find("//") + 2);
    // No config at all where this runs.
    const auto elsewhere =
        run({"/bin/sh", "-c", "cd " + directory_ + "/data && exec " WEIR_BINARY " health"},
            environment_);
    EXPECT_EQ(elsewhere.exit_code, 0) << elsewhere.err;
}

TEST_F(CommandLine, ServeWelcomesWithACurlLineThatWorks) {
    start();
    EXPECT_THAT(welcome_, HasSubstr("demo upstream"));
    EXPECT_THAT(welcome_, HasSubstr(directory_ + "/data/admin-token"));
    EXPECT_EQ(weir({"health", "--url", url_}).exit_code, 0);

    // What it prints is what works: run its line in a shell.
    welcome_ = gateway_->read_until("}]}'\n");
    const auto line = welcome_.substr(welcome_.find("curl -N"));
    const auto answer = run({"/bin/sh", "-c", "exec " + line}, environment_);
    EXPECT_EQ(answer.exit_code, 0) << answer.err;
    EXPECT_THAT(answer.out, AllOf(StartsWith("data: "), HasSubstr("data: [DONE]")));
    EXPECT_THAT(answer.out, HasSubstr("chat.completion.chunk"));

    gateway_->signal(SIGTERM);
    const auto end = gateway_->finish();
    EXPECT_EQ(end.exit_code, 0) << end.err;
    EXPECT_THAT(end.err, Not(HasSubstr(key_)));
}

TEST_F(CommandLine, LaterStartsTellTheSameKeyAndOneThatWasCutOffIsMadeAnew) {
    const auto stop = [this] {
        gateway_->signal(SIGTERM);
        EXPECT_EQ(gateway_->finish().exit_code, 0);
    };
    const auto works = [this] {
        HttpCall models;
        models.url = url_ + "/v1/models";
        models.bearer = key_;
        const auto answer = call(models);
        return answer && answer->status == 200;
    };
    start();
    const std::string first = key_;
    stop();
    start();
    EXPECT_EQ(key_, first);
    EXPECT_TRUE(works());
    stop();
    // As after a kill between the key and its file.
    std::ofstream(directory_ + "/data/trial-key", std::ios::trunc).close();
    start();
    EXPECT_NE(key_, first);
    EXPECT_TRUE(works());
    key_ = first;
    EXPECT_FALSE(works());
}

TEST_F(CommandLine, AConfigWithoutAKeysPlanStartsAndSaysWhichKeyIsOut) {
    start();
    const std::string first = key_;
    ASSERT_EQ(ask({"keys", "create", "bob", "--plan", "free"}).exit_code, 0);
    auto renamed = good();
    renamed.replace(renamed.find("  plus:"), 7, "  gold:");
    renamed += "keys: [{name: bob, plan: free, secret: bob-0123456789abcdef}]\n";
    write("weir.yaml", renamed);
    const auto token = directory_ + "/data/admin-token";
    const auto reload = weir({"reload", "--url", url_, "--token-file", token});
    EXPECT_EQ(reload.exit_code, 2) << "nothing that works stops working by a reload";
    EXPECT_THAT(reload.err, AllOf(HasSubstr("`trial`"), HasSubstr("`bob`")));
    EXPECT_EQ(weir({"keys", "show", "trial", "--url", url_, "--token-file", token}).exit_code, 0);
    gateway_->signal(SIGTERM);
    EXPECT_EQ(gateway_->finish().exit_code, 0);

    start();
    EXPECT_EQ(key_, "bob-0123456789abcdef");
    HttpCall models;
    models.url = url_ + "/v1/models";
    models.bearer = first;
    EXPECT_EQ(call(models)->status, 401);
    models.bearer = key_;
    EXPECT_EQ(call(models)->status, 200);
    EXPECT_THAT(
        ask({"keys", "list"}).out,
        AllOf(HasSubstr("trial ("), HasSubstr("not in force: its plan `plus`"), HasSubstr("bob ("))
    );
    EXPECT_THAT(ask({"keys", "show", "trial"}).out, HasSubstr("not in force"));
    EXPECT_EQ(ask({"reload"}).exit_code, 0) << "what is out already does not stop a reload";
    EXPECT_EQ(ask({"keys", "revoke", "trial"}).exit_code, 0);
    EXPECT_THAT(ask({"keys", "list"}).out, Not(HasSubstr("trial")));
    gateway_->signal(SIGTERM);
    const auto end = gateway_->finish();
    EXPECT_EQ(end.exit_code, 0);
    EXPECT_THAT(end.err, AllOf(HasSubstr("a key is not in force"), HasSubstr("trial")));
}

TEST_F(CommandLine, TheWelcomeTellsOfKeysWhoseTextIsNotKept) {
    start();
    ASSERT_EQ(ask({"keys", "create", "bob", "--plan", "plus"}).exit_code, 0);
    ASSERT_EQ(ask({"keys", "revoke", "trial"}).exit_code, 0);
    const auto welcome = [this] {
        gateway_->signal(SIGTERM);
        EXPECT_EQ(gateway_->finish().exit_code, 0);
        gateway_ = std::make_unique<Process>(
            std::vector<std::string>{WEIR_BINARY, "serve", "--config", config_}, environment_
        );
        return gateway_->read_until("admin-token\n");  // it comes in one piece
    };
    EXPECT_THAT(welcome(), AllOf(HasSubstr("text is not kept"), Not(HasSubstr("no key yet"))));
    auto renamed = good();
    renamed.replace(renamed.find("  plus:"), 7, "  gold:");
    write("weir.yaml", renamed);
    EXPECT_THAT(welcome(), HasSubstr("No key is in force"));
    std::filesystem::remove(directory_ + "/data/trial-key");
    EXPECT_THAT(welcome(), HasSubstr("No key is in force")) << "this is no first start";
}

TEST_F(CommandLine, QuietPrintsNothing) {
    Process quiet({WEIR_BINARY, "serve", "--quiet", "--config", config_}, environment_);
    // Nothing tells that it started: a signal before or after is an orderly end as well.
    quiet.signal(SIGINT);
    const auto end = quiet.finish();
    EXPECT_THAT(end.out, IsEmpty());
}

TEST_F(CommandLine, ASecondGatewayOnTheSameDataFails) {
    start();
    const auto second = weir({"serve", "--config", config_});
    EXPECT_EQ(second.exit_code, 1);
    EXPECT_THAT(second.err, HasSubstr("ledger"));
}

TEST_F(CommandLine, APortInUseIsTwo) {
    start();
    const auto address = url_.substr(url_.find("//") + 2);
    auto text = good();
    text.replace(text.find("127.0.0.1:0"), 11, address);
    text.replace(text.find("/data\n"), 5, "/data2");
    const auto done = weir({"serve", "--config", write("second.yaml", text)});
    EXPECT_EQ(done.exit_code, 2);
    EXPECT_THAT(done.err, HasSubstr(address));
}

TEST_F(CommandLine, KeysAreMadeShownAndRevoked) {
    start();
    const auto made =
        ask({"keys", "create", "bob", "--plan", "plus", "--team", "research", "--json"});
    ASSERT_EQ(made.exit_code, 0) << made.err;
    const auto key = json::parse(made.out)["key"].get<std::string>();
    const auto list = ask({"keys", "list"});
    EXPECT_THAT(list.out, AllOf(HasSubstr("NAME"), HasSubstr("bob"), HasSubstr("research")));
    EXPECT_THAT(list.out, Not(HasSubstr(key)));

    HttpCall models;
    models.url = url_ + "/v1/models";
    models.bearer = key;
    EXPECT_EQ(call(models)->status, 200);

    const auto shown = ask({"keys", "show", "bob"});
    EXPECT_THAT(
        shown.out, AllOf(HasSubstr("100 messages in any 4 h for gpt-4*"), HasSubstr("0/100"))
    );
    EXPECT_THAT(ask({"keys", "create", "eve", "--plan", "plus"}).out, HasSubstr("sk-weir-"));

    EXPECT_EQ(ask({"keys", "create", "bob", "--plan", "plus"}).exit_code, 1) << "conflict";
    const auto no_plan = ask({"keys", "create", "tom", "--plan", "pluss"});
    EXPECT_EQ(no_plan.exit_code, 2);
    EXPECT_THAT(no_plan.err, HasSubstr("Did you mean `plus`?"));
    const auto nobody = ask({"keys", "show", "bobb"});
    EXPECT_EQ(nobody.exit_code, 1);
    EXPECT_THAT(nobody.err, HasSubstr("`bob`"));

    EXPECT_EQ(ask({"keys", "revoke", "bob"}).exit_code, 0);
    EXPECT_EQ(call(models)->status, 401) << "revoked is in force when the command returns";
    EXPECT_EQ(ask({"keys", "revoke", "bob"}).exit_code, 1);
}

TEST_F(CommandLine, GrantsResetsAndTheirTrail) {
    start();
    ASSERT_EQ(ask({"keys", "create", "bob", "--plan", "plus"}).exit_code, 0);
    const auto granted = ask({"keys", "grant", "bob", "50", "gpt-4*", "--until", "4h"});
    EXPECT_EQ(granted.exit_code, 0) << granted.err;
    EXPECT_THAT(granted.out, StartsWith("bob has 50 messages more for gpt-4*, until 20"));
    const auto shown = ask({"keys", "show", "bob"});
    EXPECT_THAT(shown.out, AllOf(HasSubstr("150 (50 granted)"), HasSubstr("GRANTED")));
    EXPECT_EQ(json::parse(ask({"keys", "show", "bob", "--json"}).out)["grants"][0]["messages"], 50);
    const auto never = ask({"keys", "grant", "bob", "50", "gpt-4*", "--until", "33d"});
    EXPECT_EQ(never.exit_code, 2);
    EXPECT_THAT(never.err, HasSubstr("32 days"));
    EXPECT_EQ(ask({"keys", "grant", "bobb", "5", "*", "--until", "4h"}).exit_code, 1);

    EXPECT_EQ(
        ask({"keys", "reset", "bob"}).out,
        "The caps of bob begin anew for *: 0 messages taken out.\n"
    );
    EXPECT_EQ(ask({"keys", "reset", "bob", "--models", ""}).exit_code, 2);
    EXPECT_EQ(ask({"keys", "reset", "bobb"}).exit_code, 1);

    const auto trail = ask({"audit"});
    EXPECT_EQ(trail.exit_code, 0) << trail.err;
    EXPECT_THAT(
        trail.out,
        AllOf(
            HasSubstr("reset"),
            HasSubstr("50 messages for gpt-4* until"),
            HasSubstr("key bob"),
            HasSubstr("start  key.create  key trial"),
            Not(HasSubstr("sk-weir"))
        )
    );
    const auto one = json::parse(ask({"audit", "--limit", "1", "--json"}).out)["audit"];
    ASSERT_EQ(one.size(), 1U);
    EXPECT_EQ(one[0]["act"], "reset");
    EXPECT_EQ(ask({"audit", "--limit", "0"}).exit_code, 2);
}

TEST_F(CommandLine, ExplainSaysWhatAppliesAndWhy) {
    start();
    const auto done = ask({"explain", "trial", "gpt-4"});
    EXPECT_EQ(done.exit_code, 0) << done.err;
    EXPECT_THAT(
        done.out,
        AllOf(
            HasSubstr("The plan plus allows it"),
            HasSubstr("100 messages in any 4 h for gpt-4*"),
            HasSubstr("So a message goes now."),
            HasSubstr("WHOSE")
        )
    );
    const auto free =
        json::parse(ask({"explain", "trial", "m", "--endpoint", "moderations", "--json"}).out);
    EXPECT_EQ(free["endpoint"]["counts"], false);
    EXPECT_EQ(ask({"explain", "trial", "gpt-4", "--endpoint", "chat"}).exit_code, 2);
    const auto nobody = ask({"explain", "tria", "gpt-4"});
    EXPECT_EQ(nobody.exit_code, 1);
    EXPECT_THAT(nobody.err, HasSubstr("`trial`"));
}

TEST_F(CommandLine, UsageAndCacheTellWhatHappened) {
    start();
    HttpCall chat;
    chat.method = "POST";
    chat.url = url_ + "/v1/chat/completions";
    chat.bearer = key_;
    chat.body = R"({"model":"gpt-4","messages":[{"role":"user","content":"hello"}]})";
    ASSERT_EQ(call(chat)->status, 200);
    const auto usage = json::parse(ask({"usage", "--json"}).out);
    EXPECT_EQ(usage["messages"], 1);
    EXPECT_THAT(
        ask({"usage", "--span", "2h"}).out,
        AllOf(HasSubstr("gpt-4"), HasSubstr("TOKENS"), HasSubstr("1 in the last 2h: "))
    );
    EXPECT_EQ(ask({"usage", "--span", "2 hours"}).exit_code, 2);

    EXPECT_THAT(ask({"cache", "stats"}).out, HasSubstr("in memory  1 answers"));
    // What is still on its way to the disk would be removed, but not counted.
    while (json::parse(ask({"cache", "stats", "--json"}).out)["entries"] != 1) {
    }
    EXPECT_EQ(ask({"cache", "clear", "--model", ""}).exit_code, 2);
    EXPECT_EQ(ask({"cache", "clear", "--model", "gpt-4", "--key", ""}).exit_code, 2);
    EXPECT_EQ(ask({"cache", "clear", "--entry", "abc"}).exit_code, 2);
    EXPECT_EQ(ask({"cache", "clear", "--key", "no one"}).out, "0 answers removed.\n");
    EXPECT_EQ(
        ask({"cache", "clear", "--model", "gpt-4", "--key", "no one"}).out, "0 answers removed.\n"
    );
    EXPECT_EQ(ask({"cache", "clear", "--model", "gpt-4"}).out, "1 answer removed.\n");
    EXPECT_EQ(ask({"cache", "clear"}).out, "0 answers removed.\n");
}

TEST_F(CommandLine, ReloadIsAllOrNothing) {
    start();
    EXPECT_EQ(ask({"keys", "create", "ann", "--plan", "extra"}).exit_code, 2);
    write("weir.yaml", good() + "  extra: {}\n");
    const auto done = ask({"reload"});
    EXPECT_EQ(done.exit_code, 0) << done.err;
    EXPECT_EQ(ask({"keys", "create", "ann", "--plan", "extra"}).exit_code, 0);

    write("weir.yaml", good() + "  extra: {}\nwrong: 1\nworse: 2\n");
    const auto token = directory_ + "/data/admin-token";
    const auto bad = weir({"reload", "--url", url_, "--token-file", token});
    EXPECT_EQ(bad.exit_code, 2);
    EXPECT_THAT(bad.err, AllOf(HasSubstr("wrong"), HasSubstr("worse")));
    EXPECT_EQ(weir({"keys", "show", "ann", "--url", url_, "--token-file", token}).exit_code, 0);
}

TEST_F(CommandLine, AReloadNamesWhatWaitsForARestart) {
    start();
    const auto token = directory_ + "/data/admin-token";
    const auto reload = [&] { return weir({"reload", "--url", url_, "--token-file", token}); };
    auto other = good();
    other.replace(other.find("127.0.0.1:0"), 11, "127.0.0.1:9");
    other.replace(other.find("/data\n"), 6, "/data2\n");
    other.replace(other.find("workers: 1"), 10, "workers: 2");
    write("weir.yaml", other + "log: {format: text, level: error}\n");
    for (int i = 0; i < 2; ++i) {
        const auto done = reload();
        EXPECT_EQ(done.exit_code, 0) << done.err;
        EXPECT_THAT(done.out, HasSubstr("a restart: listen, data, workers, log.format\n")) << i;
    }
    write("weir.yaml", good());
    EXPECT_THAT(reload().out, Not(HasSubstr("restart")));
}

TEST_F(CommandLine, AWrongTokenIsRefused) {
    start();
    environment_.emplace_back("WEIR_ADMIN_TOKEN=not-the-token");
    const auto done = ask({"keys", "list"});
    EXPECT_EQ(done.exit_code, 1);
    EXPECT_THAT(done.err, AllOf(HasSubstr("admin token"), Not(HasSubstr("not-the-token"))));
    const auto with_key = [&] {
        environment_.back() = "WEIR_ADMIN_TOKEN=" + key_;
        return ask({"keys", "list"});
    }();
    EXPECT_EQ(with_key.exit_code, 1) << "a client's key is not the admin token";
}

TEST_F(CommandLine, HangupReloadsAndASecondSignalHurries) {
    start();
    write("weir.yaml", good() + "  extra: {}\n");
    gateway_->signal(SIGHUP);
    // The reload runs on another thread than ours: it is done when the plan is there.
    bool there = false;
    for (int i = 0; i < 200 && !there; ++i) {
        there = ask({"keys", "create", "k" + std::to_string(i), "--plan", "extra"}).exit_code == 0;
    }
    EXPECT_TRUE(there);
    gateway_->signal(SIGTERM);
    gateway_->signal(SIGTERM);
    EXPECT_EQ(gateway_->finish().exit_code, 0);
}

}  // namespace
}  // namespace weir::test
