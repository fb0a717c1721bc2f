#include "weir/app/demo_answers.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "demo_parts.hpp"

namespace weir::app {
namespace demo {
namespace {

// What the list of models names. The demo answers for any model; these are the ones that people
// look for first.
constexpr std::array<std::string_view, 6> kModels = {
    "gpt-4",
    "gpt-4-0613",
    "gpt-4o",
    "gpt-4o-mini",
    "gpt-3.5-turbo",
    "text-embedding-3-small",
};
constexpr std::int64_t kModelsCreated = 1'687'882'411;  // when gpt-4-0613 came out
constexpr std::size_t kQuotedBytes = 240;               // of the question, repeated in the answer

Json model(std::string_view id) {
    return Json{
        {"id", id}, {"object", "model"}, {"created", kModelsCreated}, {"owned_by", "weir-demo"}
    };
}

DemoAnswer models(std::string_view id) {
    if (id.empty()) {
        Json list = Json::array();
        for (const auto name : kModels) list.push_back(model(name));
        return whole(Json{{"object", "list"}, {"data", std::move(list)}});
    }
    if (std::ranges::find(kModels, id) == kModels.end()) return refuse(http::model_not_found(id));
    return whole(model(id));
}

bool is_blank(char c) noexcept {
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

// The beginning of `text` on one line, cut between characters.
std::string quoted(std::string_view text) {
    const bool cut = text.size() > kQuotedBytes;
    if (cut) {
        std::size_t end = kQuotedBytes;
        while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;
        text = text.substr(0, end);
    }
    std::string line(text);
    std::ranges::replace_if(line, [](char c) { return static_cast<unsigned char>(c) < 0x20; }, ' ');
    return cut ? line + "..." : line;
}

}  // namespace

Checked<Json> read_body(std::string_view body) {
    Json json = Json::parse(body, nullptr, false);
    if (json.is_discarded()) {
        return std::unexpected(http::invalid_json("The body is not valid JSON."));
    }
    if (!json.is_object()) {
        return std::unexpected(http::invalid_json("The body is not a JSON object."));
    }
    const auto name = json.find("model");
    if (name == json.end() || !name->is_string() || name->get_ref<const std::string&>().empty()) {
        return std::unexpected(http::invalid_field("model", "`model` is missing or not a text."));
    }
    return json;
}

Checked<bool> read_flag(const Json& body, const char* name) {
    const auto found = body.find(name);
    if (found == body.end() || found->is_null()) return false;
    if (!found->is_boolean()) {
        return std::unexpected(
            http::invalid_field(name, fmt::format("`{}` is not true or false.", name))
        );
    }
    return found->get<bool>();
}

Checked<std::optional<std::uint64_t>> read_count(
    const Json& body, std::initializer_list<const char*> names, std::uint64_t most
) {
    for (const auto* name : names) {
        const auto found = body.find(name);
        if (found == body.end() || found->is_null()) continue;
        const auto value = found->is_number_unsigned() ? found->get<std::uint64_t>() : 0;
        if (value < 1 || value > most) {
            return std::unexpected(http::invalid_field(
                name, fmt::format("`{}` is not a whole number from 1 to {}.", name, most)
            ));
        }
        return value;
    }
    return std::nullopt;
}

std::string text_of(const Json& content) {
    if (content.is_string()) return content.get<std::string>();
    std::string text;
    if (!content.is_array()) return text;
    for (const auto& part : content) {
        if (!part.is_object()) continue;
        const auto found = part.find("text");
        if (found == part.end() || !found->is_string()) continue;
        if (!text.empty()) text += ' ';
        text += found->get_ref<const std::string&>();
    }
    return text;
}

std::uint64_t count_words(std::string_view text) {
    std::uint64_t words = 0;
    bool inside = false;
    for (const char c : text) {
        const bool blank = is_blank(c);
        if (!blank && !inside) ++words;
        inside = !blank;
    }
    return words;
}

std::string Speech::text() const {
    std::string all;
    for (const auto& word : words) all += word;
    return all;
}

Speech speak(std::string_view question, std::optional<std::uint64_t> most_words) {
    std::string text = "This is the demo upstream inside Weir: no model was asked. ";
    if (question.empty()) {
        text += "Your message had no text.";
    } else {
        text += fmt::format("You wrote: \"{}\"", quoted(question));
    }
    text +=
        " Put the key of a real upstream into the config, and a model answers here, word by word "
        "as this does.";

    Speech speech;
    // A word takes the blanks before it along, as a model's tokens do.
    std::size_t begin = 0;
    while (begin < text.size()) {
        if (most_words && speech.words.size() == *most_words) {
            speech.cut = true;
            break;
        }
        std::size_t end = begin;
        while (end < text.size() && is_blank(text[end])) ++end;
        while (end < text.size() && !is_blank(text[end])) ++end;
        speech.words.push_back(text.substr(begin, end - begin));
        begin = end;
    }
    return speech;
}

std::string dump(const Json& json) {
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

DemoAnswer whole(const Json& json) {
    DemoAnswer answer;
    answer.whole.fields.add("content-type", "application/json");
    answer.whole.body = dump(json);
    return answer;
}

DemoAnswer refuse(const http::ApiError& error, http::Api api) {
    DemoAnswer answer;
    answer.whole = error.response(api);
    return answer;
}

}  // namespace demo

DemoAnswer demo_answer(
    const http::RequestHead& head, std::string_view body, const DemoStamp& stamp
) {
    using Maker = DemoAnswer (*)(const demo::Json&, const DemoStamp&);
    struct Route {
        std::string_view path;
        Maker make;
    };
    static constexpr std::array<Route, 6> kRoutes = {{
        {"/v1/chat/completions", demo::chat_completion},
        {"/v1/completions", demo::completion},
        {"/v1/responses", demo::response},
        {"/v1/embeddings",
         [](const demo::Json& json, const DemoStamp&) { return demo::embeddings(json); }},
        {"/v1/messages", demo::message},
        {"/v1/messages/count_tokens",
         [](const demo::Json& json, const DemoStamp&) { return demo::count_message_tokens(json); }},
    }};
    constexpr std::string_view kModelsPath = "/v1/models";

    const auto path = head.path();
    const http::Api api = http::api_of(path);
    const bool is_models = path.starts_with(kModelsPath) &&
                           (path.size() == kModelsPath.size() || path[kModelsPath.size()] == '/');
    const auto* const route = std::ranges::find(kRoutes, path, &Route::path);
    if (!is_models && route == kRoutes.end()) {
        return demo::refuse(http::unknown_path(head.method, path), api);
    }
    const std::string_view allowed = is_models ? "GET" : "POST";
    if (head.method != allowed) {
        return demo::refuse(http::wrong_method(head.method, path, allowed), api);
    }
    if (is_models) {
        return demo::models(
            path.size() > kModelsPath.size() ? path.substr(kModelsPath.size() + 1)
                                             : std::string_view()
        );
    }
    const auto json = demo::read_body(body);
    if (!json) return demo::refuse(json.error(), api);
    return route->make(*json, stamp);
}

}  // namespace weir::app
