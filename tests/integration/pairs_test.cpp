// Thousands of near twins through the gateway. The upstream signs each answer with what
// the body means; an equal one is a hit, a twin never is, and nobody gets another one's sign.
#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_set>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "weir/base/crypto.hpp"
#include "weir/base/text.hpp"

#include "http/random_change.hpp"
#include "http/random_json.hpp"
#include "tools.hpp"

namespace weir::test {
namespace {

// Reads a body on a way of its own, so that what Weir overlooks is seen here. Numbers keep what
// tells them apart: an integer has one spelling ("-0" is the only one that does not say its
// value), all others come with their text.
class Reader : public nlohmann::json_sax<nlohmann::json> {
public:
    bool null() override { return put(Node::word("null")); }
    bool boolean(bool value) override { return put(Node::word(value ? "true" : "false")); }
    bool number_integer(std::int64_t value) override {
        return put(Node::number(value == 0 ? "-0" : std::to_string(value)));
    }
    bool number_unsigned(std::uint64_t value) override {
        return put(Node::number(std::to_string(value)));
    }
    bool number_float(double, const std::string& text) override { return put(Node::number(text)); }
    bool string(std::string& text) override { return put(Node::string(text)); }
    bool binary(nlohmann::json::binary_t&) override { return false; }
    bool start_object(std::size_t) override { return open(Node::object({})); }
    bool start_array(std::size_t) override { return open(Node::array({})); }
    bool end_object() override { return close(); }
    bool end_array() override { return close(); }
    bool key(std::string& name) override {
        names_.back() = name;
        return true;
    }
    bool parse_error(std::size_t, const std::string&, const nlohmann::json::exception&) override {
        return false;
    }
    [[nodiscard]] Node take() { return std::move(top_); }

private:
    bool put(Node node) {
        if (open_.empty()) {
            top_ = std::move(node);
        } else if (open_.back().kind == Node::Kind::kObject) {
            open_.back().members.emplace_back(names_.back(), std::move(node));
        } else {
            open_.back().items.push_back(std::move(node));
        }
        return true;
    }
    bool open(Node node) {
        open_.push_back(std::move(node));
        names_.emplace_back();
        return true;
    }
    bool close() {
        Node node = std::move(open_.back());
        open_.pop_back();
        names_.pop_back();
        return put(std::move(node));
    }

    Node top_;
    std::vector<Node> open_;
    std::vector<std::string> names_;
};

void tell(const Node& node, std::string& out) {
    out += "owsna"[static_cast<std::size_t>(node.kind)];
    out += std::to_string(node.text.size()) + ":" + node.text;
    out += std::to_string(node.items.size()) + "," + std::to_string(node.members.size()) + ";";
    for (const Node& item : node.items) tell(item, out);
    for (const auto& [name, value] : node.members) {
        out += std::to_string(name.size()) + ":" + name;
        tell(value, out);
    }
}

bool is_how(const std::pair<std::string, Node>& member) {
    return member.first == "stream" || member.first == "stream_options";
}

// One word for what a body means, without how its answer is to be sent.
std::string sign_of(Node body) {
    std::erase_if(body.members, is_how);
    std::string meaning;
    tell(body.sorted(), meaning);
    return "sign-" + to_hex(sha256(meaning)).substr(0, 24);
}

std::string sign_of(std::string_view body) {
    Reader reader;
    if (!nlohmann::json::sax_parse(body, &reader)) return "not-JSON";
    return sign_of(reader.take());
}

const Node* member(const Node& body, std::string_view name) {
    const auto found = std::ranges::find(body.members, name, &std::pair<std::string, Node>::first);
    return found == body.members.end() ? nullptr : &found->second;
}

// What the gateway takes for a chat: other changes are refused, and prove nothing.
bool is_chat(const Node& body) {
    const Node* const model = member(body, "model");
    const Node* const messages = member(body, "messages");
    return model != nullptr && model->kind == Node::Kind::kString && !model->text.empty() &&
           model->text.size() <= 256 && messages != nullptr && messages->kind == Node::Kind::kArray;
}

bool has_a_name_twice(const Node& node) {
    std::unordered_set<std::string_view> names;
    for (const auto& [name, value] : node.members) {
        if (!names.insert(name).second || has_a_name_twice(value)) return true;
    }
    return std::ranges::any_of(node.items, has_a_name_twice);
}

Node random_chat(Random& random) {
    Node body = random_body(random);
    std::vector<Node> messages;
    for (std::size_t i = 1 + random.below(3); i > 0; --i) {
        messages.push_back(Node::object(
            {{"role", Node::string(i % 2 == 1 ? "user" : "assistant")},
             {"content", Node::string(random_text(random, 40))}}
        ));
    }
    body.members.emplace_back("messages", Node::array(std::move(messages)));
    const std::pair<std::string, Node> known[] = {
        {"seed", Node::number(std::to_string(random.below(1000)))},
        {"temperature", Node::number(random.one_in(2) ? "0" : "0.7")},
        {"user", Node::string(random_text(random))},
        {"stop", Node::array({Node::string("a"), Node::string("b")})},
    };
    for (const auto& one : known) {
        if (random.one_in(3)) body.members.push_back(one);
    }
    return body;
}

struct Pair {
    std::string first;
    std::string second;
    std::string first_sign;
    std::string second_sign;
};

constexpr Style kAnyhow = {.shuffle = true, .space = true, .escapes = true};

Node as_stream(Random& random, Node body) {
    body.members.emplace_back("stream", Node::word("true"));
    if (random.one_in(2)) {
        body.members.emplace_back(
            "stream_options", Node::object({{"include_usage", Node::word("true")}})
        );
    }
    return body;
}

// nullopt: no pair came of it that tells anything.
std::optional<Pair> random_pair(Random& random, bool equal) {
    Node body = random_chat(random);
    if (random.one_in(50)) lengthen(random, body);
    Node other = body;
    if (!equal && !change(random, other)) return std::nullopt;
    if (!is_chat(body) || !is_chat(other) || has_a_name_twice(other)) return std::nullopt;
    Pair pair;
    pair.first_sign = sign_of(body);
    pair.second_sign = sign_of(other);
    if ((pair.first_sign == pair.second_sign) != equal) return std::nullopt;
    pair.first = write(random, {}, body);
    // Near twins stay near: half of them differ in nothing but what was changed.
    const Style style = equal || random.one_in(2) ? kAnyhow : Style{};
    if (random.one_in(4)) other = as_stream(random, std::move(other));
    pair.second = write(random, style, other);
    return pair;
}

// Half of them equal. Of no two bodies that are not a pair the meaning is the same.
std::vector<Pair> random_pairs(Random& random, std::size_t count) {
    std::vector<Pair> pairs;
    std::unordered_set<std::string> signs;
    while (pairs.size() < count) {
        std::optional<Pair> pair = random_pair(random, pairs.size() % 2 == 0);
        if (!pair || signs.contains(pair->first_sign) || signs.contains(pair->second_sign))
            continue;
        signs.insert(pair->first_sign);
        signs.insert(pair->second_sign);
        pairs.push_back(std::move(*pair));
    }
    return pairs;
}

TEST(Pairs, EqualOnesAreHitsAndTwinsNeverAre) {
    constexpr std::size_t kPairs = 5000;
    constexpr std::size_t kClients = 8;
    Random random("Pairs");
    FakeUpstream upstream([](Wire& wire, const SeenRequest& request) {
        answer_chat(wire, request, sign_of(request.body));
    });
    TestGateway gateway({.upstream_url = upstream.url()});
    const std::vector<Pair> pairs = random_pairs(random, kPairs);
    std::vector<std::thread> clients;
    clients.reserve(kClients);
    for (std::size_t begin = 0; begin < kClients; ++begin) {
        clients.emplace_back([&, begin] {
            Client client(gateway.port());
            const auto get = [&](const std::string& body, const std::string& sign) {
                Answer answer;
                if (client.send(Ask{.key = kAlice, .body = body}.bytes())) {
                    answer = client.read_answer();
                }
                EXPECT_EQ(answer.status, 200) << body << "\n" << answer.body;
                EXPECT_EQ(chat_text(answer), sign) << body;
                return answer.field("x-cache");
            };
            for (std::size_t i = begin; i < pairs.size() && !testing::Test::HasFailure();
                 i += kClients) {
                const Pair& pair = pairs[i];
                const bool equal = pair.first_sign == pair.second_sign;
                EXPECT_EQ(get(pair.first, pair.first_sign), "MISS") << pair.first;
                EXPECT_EQ(get(pair.second, pair.second_sign), equal ? "HIT" : "MISS")
                    << pair.first << "\n"
                    << pair.second;
            }
        });
    }
    for (std::thread& client : clients) client.join();
    if (HasFailure()) return;
    EXPECT_EQ(upstream.calls(), kPairs + kPairs / 2);
}

}  // namespace
}  // namespace weir::test
