#include "support/fake_upstream.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <cctype>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdexcept>
#include <sys/socket.h>

#include <nlohmann/json.hpp>

namespace weir::test {

namespace {

std::string lower(std::string_view text) {
    std::string result(text);
    for (char& c : result) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return result;
}

SeenRequest parse_head(std::string_view head) {
    SeenRequest request;
    std::size_t line = head.find("\r\n");
    const std::string_view first = head.substr(0, line);
    const std::size_t space = first.find(' ');
    request.method = first.substr(0, space);
    request.target = first.substr(space + 1, first.rfind(' ') - space - 1);
    for (line += 2; line < head.size();) {
        const std::size_t stop = std::min(head.find("\r\n", line), head.size());
        const std::string_view text = head.substr(line, stop - line);
        const std::size_t colon = text.find(':');
        if (colon != std::string_view::npos) {
            std::string_view value = text.substr(colon + 1);
            while (!value.empty() && value.front() == ' ') value.remove_prefix(1);
            request.fields.emplace_back(lower(text.substr(0, colon)), value);
        }
        line = stop + 2;
    }
    return request;
}

}  // namespace

std::string SeenRequest::field(std::string_view name) const {
    for (const auto& [have, value] : fields) {
        if (have == name) return value;
    }
    return {};
}

bool SeenRequest::has(std::string_view name) const {
    return std::any_of(fields.begin(), fields.end(), [&](const auto& f) {
        return f.first == name;
    });
}

bool Wire::json(std::string_view body, int status, std::string_view more_fields) {
    return send(
        "HTTP/1.1 " + std::to_string(status) + " Told\r\nContent-Type: application/json\r\n" +
        std::string(more_fields) + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
        std::string(body)
    );
}

bool Wire::begin_stream() {
    return send(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
}

bool Wire::event(std::string_view data) {
    return chunk("data: " + std::string(data) + "\n\n");
}

bool Wire::chunk(std::string_view bytes) {
    static constexpr std::string_view kDigits = "0123456789abcdef";
    std::string size;
    for (std::size_t left = bytes.size(); left > 0; left /= 16)
        size.insert(0, 1, kDigits[left % 16]);
    return send(size + "\r\n" + std::string(bytes) + "\r\n");
}

bool Wire::last_chunk() {
    return send("0\r\n\r\n");
}

bool Wire::wait_for_close(std::chrono::milliseconds patience) {
    socket_.set_patience(patience);
    while (!socket_.receive().empty()) {
    }
    return socket_.last_read() != Socket::Read::kSilent;
}

FakeUpstream::FakeUpstream(Script script, Begin begin) : script_(std::move(script)) {
    listener_ = Socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    if (::bind(listener_.descriptor(), generic, size) != 0 ||
        ::getsockname(listener_.descriptor(), generic, &size) != 0) {
        throw std::runtime_error("the fake upstream gets no port");
    }
    port_ = ntohs(address.sin_port);
    if (begin == Begin::kUp) come_up();
}

void FakeUpstream::come_up() {
    if (::listen(listener_.descriptor(), 1024) != 0) {
        throw std::runtime_error("the fake upstream cannot listen");
    }
    acceptor_ = std::thread([this] { accept_all(); });
}

FakeUpstream::~FakeUpstream() {
    stopping_ = true;
    ::shutdown(listener_.descriptor(), SHUT_RDWR);
    if (acceptor_.joinable()) acceptor_.join();
    {
        const std::lock_guard lock(mutex_);
        for (const int descriptor : descriptors_) ::shutdown(descriptor, SHUT_RDWR);
    }
    for (std::thread& thread : threads_) thread.join();
}

std::string FakeUpstream::url() const {
    return "http://127.0.0.1:" + std::to_string(port_) + "/v1";
}

std::vector<SeenRequest> FakeUpstream::seen() const {
    const std::lock_guard lock(mutex_);
    return seen_;
}

std::size_t FakeUpstream::calls() const {
    const std::lock_guard lock(mutex_);
    return seen_.size();
}

bool FakeUpstream::wait_for_calls(std::size_t count) const {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, 20s, [&] { return seen_.size() >= count; });
}

void FakeUpstream::accept_all() {
    while (!stopping_) {
        const int descriptor = ::accept4(listener_.descriptor(), nullptr, nullptr, SOCK_CLOEXEC);
        if (descriptor < 0) {
            if (stopping_) return;
            continue;
        }
        const int one = 1;
        ::setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        ++connections_;
        const std::lock_guard lock(mutex_);
        descriptors_.push_back(descriptor);
        threads_.emplace_back([this, descriptor] { serve(Socket(descriptor)); });
    }
}

namespace {

// A chunked body out of `input`, framing taken off. False: it broke.
bool read_chunks(std::string& input, std::string& body, const std::function<bool()>& more) {
    while (true) {
        std::size_t end = 0;
        while ((end = input.find("\r\n")) == std::string::npos) {
            if (!more()) return false;
        }
        const std::size_t size = std::stoull(input.substr(0, end), nullptr, 16);
        while (input.size() < end + 2 + size + 2) {
            if (!more()) return false;
        }
        body += input.substr(end + 2, size);
        input.erase(0, end + 2 + size + 2);
        if (size == 0) return true;
    }
}

}  // namespace

void FakeUpstream::serve(Socket socket) {
    const int descriptor = socket.descriptor();
    std::string input;
    const auto more = [&] {
        const std::string bytes = socket.receive();
        input += bytes;
        return !bytes.empty();
    };
    socket.set_patience(60s);
    bool good = true;
    while (good && !stopping_) {
        std::size_t end = 0;
        while (good && (end = input.find("\r\n\r\n")) == std::string::npos) good = more();
        if (!good) break;
        SeenRequest request = parse_head(std::string_view(input).substr(0, end + 2));
        input.erase(0, end + 4);
        if (request.field("transfer-encoding") == "chunked") {
            good = read_chunks(input, request.body, more);
        } else {
            const std::string length = request.field("content-length");
            const std::size_t size = length.empty() ? 0 : std::stoull(length);
            while (good && input.size() < size) good = more();
            request.body = input.substr(0, size);
            input.erase(0, std::min(size, input.size()));
        }
        if (!good) {
            ++broken_;
            break;
        }
        {
            const std::lock_guard lock(mutex_);
            seen_.push_back(request);
        }
        changed_.notify_all();
        Wire wire(socket);
        script_(wire, request);
        good = socket.open();
    }
    const std::lock_guard lock(mutex_);
    std::erase(descriptors_, descriptor);
    socket.close();
}

void answer_chat(Wire& wire, const SeenRequest& request, std::string_view content) {
    auto asked = nlohmann::json::parse(request.body, nullptr, false);
    if (!asked.is_object()) asked = nlohmann::json::object();  // a GET
    const nlohmann::json usage = {
        {"prompt_tokens", 3}, {"completion_tokens", 5}, {"total_tokens", 8}
    };
    const std::string model = asked.value("model", "none");
    if (!asked.value("stream", false)) {
        const nlohmann::json answer = {
            {"id", "chatcmpl-1"},
            {"object", "chat.completion"},
            {"created", 1},
            {"model", model},
            {"choices",
             nlohmann::json::array(
                 {{{"index", 0},
                   {"message", {{"role", "assistant"}, {"content", content}, {"refusal", nullptr}}},
                   {"logprobs", nullptr},
                   {"finish_reason", "stop"}}}
             )},
            {"usage", usage}
        };
        wire.json(answer.dump());
        return;
    }
    const auto chunk = [&](const nlohmann::json& delta, const nlohmann::json& finish) {
        const nlohmann::json event = {
            {"id", "chatcmpl-1"},
            {"object", "chat.completion.chunk"},
            {"created", 1},
            {"model", model},
            {"choices",
             nlohmann::json::array(
                 {{{"index", 0}, {"delta", delta}, {"logprobs", nullptr}, {"finish_reason", finish}}
                 }
             )}
        };
        return wire.event(event.dump());
    };
    bool sent = wire.begin_stream();
    sent = sent && chunk({{"role", "assistant"}, {"content", ""}}, nullptr);
    for (std::size_t at = 0; sent && at < content.size();) {
        std::size_t stop = content.find(' ', at);
        stop = stop == std::string_view::npos ? content.size() : stop + 1;
        sent = chunk({{"content", content.substr(at, stop - at)}}, nullptr);
        at = stop;
    }
    sent = sent && chunk(nlohmann::json::object(), "stop");
    const auto options = asked.value("stream_options", nlohmann::json::object());
    if (sent && options.is_object() && options.value("include_usage", false)) {
        const nlohmann::json event = {
            {"id", "chatcmpl-1"},
            {"object", "chat.completion.chunk"},
            {"created", 1},
            {"model", model},
            {"choices", nlohmann::json::array()},
            {"usage", usage}
        };
        sent = wire.event(event.dump());
    }
    sent = sent && wire.event("[DONE]");
    if (sent) wire.last_chunk();
}

}  // namespace weir::test
