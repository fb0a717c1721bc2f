// Promise 8 (secrets stay): everything that a client, an admin or a scraper is told, searched.
#include <filesystem>
#include <fstream>
#include <iterator>

#include "weir/base/text.hpp"

#include "tools.hpp"

namespace weir::test {
namespace {

std::string base64(std::string_view text) {
    static constexpr char kLetters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out;
    for (std::size_t at = 0; at + 3 <= text.size(); at += 3) {  // whole groups are enough to search
        std::uint32_t bits = 0;
        for (std::size_t i = 0; i < 3; ++i)
            bits = bits << 8 | static_cast<unsigned char>(text[at + i]);
        for (int shift = 18; shift >= 0; shift -= 6) out += kLetters[bits >> shift & 63];
    }
    return out;
}

class Secrets {
public:
    void add(const std::string& secret) {
        ASSERT_GE(secret.size(), 16U);
        std::string hex;
        for (const char byte : secret) {
            const auto value = static_cast<std::uint8_t>(byte);
            hex += to_hex({&value, 1});
        }
        forms_.insert(
            forms_.end(), {secret, std::string(secret.rbegin(), secret.rend()), base64(secret), hex}
        );
    }
    void look_at(std::string_view where, const std::string& text) const {
        for (const std::string& form : forms_) {
            EXPECT_EQ(text.find(form), std::string::npos) << where << " has " << form;
        }
    }

private:
    std::vector<std::string> forms_;
};

TEST(SecretsStay, InNoAnswerAndNoMetric) {
    FakeUpstream upstream([](Wire& wire, const SeenRequest& request) {
        // An upstream that repeats whatever it was sent.
        const std::string credentials = request.field("authorization");
        const std::string told = nlohmann::json({{"error",
                                                  {{"message", "bad key: " + credentials},
                                                   {"type", "t"},
                                                   {"param", nullptr},
                                                   {"code", nullptr}}}}
        ).dump();
        const std::string fields = "X-Their: " + credentials + "\r\nSet-Cookie: k=" + credentials +
                                   "\r\nWww-Authenticate: " + credentials + "\r\n";
        const auto json = nlohmann::json::parse(request.body, nullptr, false);
        const std::string content =
            json.is_object() && json.contains("messages") ? json["messages"][0]["content"] : "";
        if (content == "reset") {
            wire.reset();
        } else if (content == "garbage") {
            wire.send("HTTP/1.1 " + credentials + "\r\n\r\n");
            wire.close();
        } else if (content.starts_with("status ")) {
            wire.json(told, std::stoi(content.substr(7)), fields);
        } else if (content == "cut") {
            wire.begin_stream();
            wire.event(chat_chunk("x"));
            wire.close();
        } else {
            answer_chat(wire, request, "fine");
        }
    });
    TestGateway gateway(
        {.upstream_url = upstream.url(), .caps = "[{models: \"gpt-4\", allow: 3/4h}]"}
    );
    Secrets secrets;
    for (const std::string& secret :
         {std::string(kUpstreamKey),
          std::string(kAlice),
          std::string(kBob),
          std::string(kCarol),
          gateway.admin_token()}) {
        secrets.add(secret);
    }
    const Answer made = admin(gateway, "POST", "keys", R"({"name":"dora","plan":"plus"})");
    ASSERT_EQ(made.status, 201);
    const std::string dora = nlohmann::json::parse(made.body)["key"];
    secrets.look_at("a new key's answer", made.raw_head + made.body);
    secrets.add(dora);

    int looked = 0;
    const auto look = [&](const std::string& name, const Answer& answer) {
        EXPECT_NE(answer.status, 0) << name;
        secrets.look_at(name, answer.raw_head + answer.body);
        ++looked;
    };
    for (const bool stream : {false, true}) {
        std::vector<std::string> contents = {
            "fine", "fine", "reset", "garbage", "cut", "a", "b", "c"
        };
        for (const int status : {302, 400, 401, 402, 403, 404, 429, 500, 503}) {
            contents.push_back("status " + std::to_string(status));
        }
        for (const std::string& content : contents) {
            for (const std::string& key : {std::string(kAlice), dora}) {
                look(
                    content, ask(gateway.port(), {.key = key, .body = chat_body(content, stream)})
                );
            }
        }
    }
    for (const std::string& key :
         {std::string(),
          std::string("wrong-key-0123456789"),
          gateway.admin_token(),
          std::string(kAlice)}) {
        for (const char* const path :
             {"/",
              "/v1/models",
              "/v1/models/x",
              "/v1/files",
              "/v1/organization",
              "/api/admin/keys",
              "/api/admin/keys/dora",
              "/api/admin/usage",
              "/api/admin/cache",
              "/api/admin/version",
              "/api/me",
              "/healthz",
              "/readyz",
              "/metrics",
              "/debug",
              "/env"}) {
            for (const char* const method : {"GET", "POST", "DELETE"}) {
                if (std::string_view(method) == "DELETE" &&
                    std::string_view(path).ends_with("dora")) {
                    continue;
                }
                look(path, ask(gateway.port(), {.method = method, .path = path, .key = key}));
            }
        }
        // A key in places where it does not belong.
        look(
            "path", ask(gateway.port(), {.method = "GET", .path = "/v1/models/unknown", .key = key})
        );
        look("body", ask(gateway.port(), {.key = key, .body = "{\"model\":"}));
    }
    EXPECT_GT(looked, 200);
    look("metrics", ask(gateway.port(), {.method = "GET", .path = "/metrics"}));
    look("revoked", admin(gateway, "DELETE", "keys/dora"));
}

TEST(SecretsStay, OnDiskOnlyAsHashes) {
    FakeUpstream upstream(say_an_answer);
    TestGateway gateway({.upstream_url = upstream.url()});
    const Answer made = admin(gateway, "POST", "keys", R"({"name":"dora","plan":"plus"})");
    const std::string dora = nlohmann::json::parse(made.body)["key"];
    for (const std::string& key : {std::string(kAlice), dora}) {
        EXPECT_EQ(ask(gateway.port(), {.key = key, .body = chat_body("x")}).status, 200);
    }
    Secrets secrets;
    for (const std::string& secret : {std::string(kUpstreamKey), std::string(kAlice), dora}) {
        secrets.add(secret);
    }
    gateway.stop();
    int files = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(gateway.data())) {
        if (!entry.is_regular_file()) continue;
        std::ifstream file(entry.path(), std::ios::binary);
        const std::string bytes(std::istreambuf_iterator<char>(file), {});
        secrets.look_at(entry.path().filename().string(), bytes);
        const auto rights = entry.status().permissions() & std::filesystem::perms::mask;
        EXPECT_EQ(
            rights & (std::filesystem::perms::group_all | std::filesystem::perms::others_all),
            std::filesystem::perms::none
        ) << entry.path();
        ++files;
    }
    EXPECT_GE(files, 3);
}

}  // namespace
}  // namespace weir::test
