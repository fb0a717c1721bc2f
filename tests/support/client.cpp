#include "support/client.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>

#include <nlohmann/json.hpp>

namespace weir::test {

namespace {

std::string lower(std::string_view text) {
    std::string result(text);
    std::transform(result.begin(), result.end(), result.begin(), [](unsigned char c) {
        return static_cast<char>(std::tolower(c));
    });
    return result;
}

}  // namespace

std::string Answer::field(std::string_view name) const {
    for (const auto& [have, value] : fields) {
        if (have == name) return value;
    }
    return {};
}

bool Answer::has(std::string_view name) const {
    return std::any_of(fields.begin(), fields.end(), [&](const auto& field) {
        return field.first == name;
    });
}

bool Client::more() {
    const std::string bytes = socket_.receive();
    input_ += bytes;
    return !bytes.empty();
}

Answer Client::read_head() {
    Answer answer;
    do {
        answer = {};
        std::size_t end = 0;
        while ((end = input_.find("\r\n\r\n")) == std::string::npos) {
            if (!more()) return answer;
        }
        answer.raw_head = input_.substr(0, end + 4);
        input_.erase(0, end + 4);
        std::size_t line = answer.raw_head.find("\r\n");
        const std::string_view status = std::string_view(answer.raw_head).substr(9, 3);
        std::from_chars(status.data(), status.data() + status.size(), answer.status);
        for (line += 2; line < end;) {
            const std::size_t stop = answer.raw_head.find("\r\n", line);
            const std::string_view text =
                std::string_view(answer.raw_head).substr(line, stop - line);
            const std::size_t colon = text.find(':');
            std::string_view value = text.substr(std::min(colon + 1, text.size()));
            while (!value.empty() && value.front() == ' ') value.remove_prefix(1);
            answer.fields.emplace_back(lower(text.substr(0, colon)), value);
            line = stop + 2;
        }
    } while (answer.status >= 100 && answer.status < 200 && answer.status != 101);
    return answer;
}

void Client::read_body(Answer& answer, const std::function<bool(const std::string&)>& enough) {
    const auto stop = [&] { return enough && enough(answer.body); };
    if (answer.status == 204 || answer.status == 304) {
        answer.complete = true;
    } else if (answer.field("transfer-encoding") == "chunked") {
        while (!stop()) {
            std::size_t line = 0;
            while ((line = input_.find("\r\n")) == std::string::npos) {
                if (!more()) return;
            }
            std::size_t size = 0;
            const auto [end, error] =
                std::from_chars(input_.data(), input_.data() + line, size, 16);
            if (error != std::errc{} || end != input_.data() + line) return;
            while (input_.size() < line + 2 + size + 2) {
                if (!more()) return;
            }
            if (input_.substr(line + 2 + size, 2) != "\r\n") return;
            answer.body += input_.substr(line + 2, size);
            input_.erase(0, line + 2 + size + 2);
            if (size == 0) {
                answer.complete = true;
                return;
            }
        }
    } else if (answer.has("content-length")) {
        const std::size_t size = std::stoull(answer.field("content-length"));
        while (answer.body.size() < size && !stop()) {
            if (input_.empty() && !more()) return;
            const std::size_t take = std::min(input_.size(), size - answer.body.size());
            answer.body += input_.substr(0, take);
            input_.erase(0, take);
        }
        answer.complete = answer.body.size() == size;
    } else {
        do {
            answer.body += input_;
            input_.clear();
            if (stop()) return;
        } while (more());
        answer.complete = socket_.last_read() == Socket::Read::kClosed;
    }
}

Answer Client::read_answer(bool to_head) {
    Answer answer = read_head();
    if (answer.status == 0) return answer;
    if (to_head) {
        answer.complete = true;
    } else {
        read_body(answer);
    }
    return answer;
}

std::string Ask::bytes() const {
    std::string text = method + " " + path + " HTTP/1.1\r\nHost: weir.test\r\n";
    if (!key.empty()) text += "Authorization: Bearer " + key + "\r\n";
    for (const auto& [name, value] : fields) text += name + ": " + value + "\r\n";
    if (!body.empty() || method == "POST") {
        text += "Content-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) +
                "\r\n";
    }
    return text + "\r\n" + body;
}

Answer ask(std::uint16_t port, const Ask& request) {
    Client client(port);
    if (!client.send(request.bytes())) return {};
    return client.read_answer(request.method == "HEAD");
}

std::string chat_body(
    std::string_view content, bool stream, std::string_view model, std::string_view more
) {
    nlohmann::json body = {
        {"model", model},
        {"messages", nlohmann::json::array({{{"role", "user"}, {"content", content}}})}
    };
    std::string text = body.dump();
    text.pop_back();
    if (stream) text += ",\"stream\":true";
    if (!more.empty()) text += "," + std::string(more);
    return text + "}";
}

std::string chat_text(const Answer& answer) {
    const auto content_of = [](const nlohmann::json& choice, const char* member) {
        const auto part = choice.value(member, nlohmann::json::object());
        return part.contains("content") && part["content"].is_string()
                   ? part["content"].get<std::string>()
                   : std::string();
    };
    if (!answer.field("content-type").starts_with("text/event-stream")) {
        const auto json = nlohmann::json::parse(answer.body, nullptr, false);
        if (!json.is_object() || !json.contains("choices") || json["choices"].empty()) return "?";
        return content_of(json["choices"][0], "message");
    }
    std::string text;
    std::size_t at = 0;
    while ((at = answer.body.find("data: ", at)) != std::string::npos) {
        const std::size_t end = answer.body.find("\n", at);
        const std::string data = answer.body.substr(at + 6, end - at - 6);
        at = end;
        const auto json = nlohmann::json::parse(data, nullptr, false);
        if (!json.is_object() || !json.contains("choices") || json["choices"].empty()) continue;
        text += content_of(json["choices"][0], "delta");
    }
    return text;
}

}  // namespace weir::test
