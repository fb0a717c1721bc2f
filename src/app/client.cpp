#include "weir/app/client.hpp"

#include <cstddef>
#include <memory>
#include <new>

#include <fmt/format.h>

#include "curl_library.hpp"

namespace weir::app {
namespace {

constexpr std::size_t kLargestAnswer = 64 << 20;

struct EasyCloser {
    const CurlLibrary* curl;
    void operator()(CURL* easy) const noexcept { curl->easy_cleanup(easy); }
};
struct ListCloser {
    const CurlLibrary* curl;
    void operator()(curl_slist* list) const noexcept { curl->slist_free_all(list); }
};

struct Sink {
    std::string body;
    bool too_large = false;
};

std::size_t take(char* data, std::size_t size, std::size_t count, void* out) {
    auto& sink = *static_cast<Sink*>(out);
    const std::size_t bytes = size * count;
    if (sink.body.size() + bytes > kLargestAnswer) {
        sink.too_large = true;
        return 0;
    }
    sink.body.append(data, bytes);
    return bytes;
}

ErrorCode code_of(CURLcode code) noexcept {
    switch (code) {
        case CURLE_URL_MALFORMAT:
        case CURLE_UNSUPPORTED_PROTOCOL:
            return ErrorCode::kBadRequest;
        case CURLE_COULDNT_RESOLVE_HOST:
        case CURLE_COULDNT_CONNECT:
        case CURLE_SSL_CONNECT_ERROR:
        case CURLE_PEER_FAILED_VERIFICATION:
            return ErrorCode::kUpstreamConnect;
        case CURLE_OPERATION_TIMEDOUT:
            return ErrorCode::kTimeout;
        default:
            return ErrorCode::kUpstreamProtocol;
    }
}

bool is_unreserved(char c) noexcept {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

}  // namespace

Result<HttpAnswer> call(const HttpCall& call) {
    const Result<const CurlLibrary*> loaded = curl_library();
    if (!loaded) return std::unexpected(loaded.error());
    const CurlLibrary& curl = **loaded;
    const std::unique_ptr<CURL, EasyCloser> owner(curl.easy_init(), EasyCloser{&curl});
    if (!owner) throw std::bad_alloc();
    CURL* const easy = owner.get();

    std::unique_ptr<curl_slist, ListCloser> fields(nullptr, ListCloser{&curl});
    const auto add = [&curl, &fields](const std::string& line) {
        auto* const longer = curl.slist_append(fields.get(), line.c_str());
        if (longer == nullptr) throw std::bad_alloc();
        static_cast<void>(fields.release());
        fields.reset(longer);
    };
    add("Accept: application/json");
    add("Expect:");
    if (!call.bearer.empty()) add("Authorization: Bearer " + call.bearer);
    if (!call.body.empty()) add("Content-Type: application/json");

    Sink sink;
    char why[CURL_ERROR_SIZE] = "";
    curl.easy_setopt(easy, CURLOPT_URL, call.url.c_str());
    curl.easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl.easy_setopt(easy, CURLOPT_CUSTOMREQUEST, call.method.c_str());
    curl.easy_setopt(easy, CURLOPT_HTTPHEADER, fields.get());
    curl.easy_setopt(easy, CURLOPT_NOPROXY, "*");
    curl.easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl.easy_setopt(easy, CURLOPT_NETRC, static_cast<long>(CURL_NETRC_IGNORED));
    curl.easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl.easy_setopt(easy, CURLOPT_USERAGENT, "weir/" WEIR_VERSION);
    curl.easy_setopt(
        easy, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(call.connect_timeout.count())
    );
    curl.easy_setopt(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(call.timeout.count()));
    curl.easy_setopt(easy, CURLOPT_ERRORBUFFER, why);
    curl.easy_setopt(easy, CURLOPT_WRITEFUNCTION, take);
    curl.easy_setopt(easy, CURLOPT_WRITEDATA, &sink);
    if (!call.body.empty()) {
        curl.easy_setopt(easy, CURLOPT_POSTFIELDS, call.body.c_str());
        curl.easy_setopt(
            easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(call.body.size())
        );
    }

    const CURLcode code = curl.easy_perform(easy);
    if (sink.too_large) {
        return fail(ErrorCode::kTooLarge, fmt::format("{}: the answer is too large", call.url));
    }
    if (code != CURLE_OK) {
        const std::string_view reason = why[0] != '\0' ? why : curl.easy_strerror(code);
        return fail(code_of(code), fmt::format("{}: {}", call.url, reason));
    }
    long status = 0;
    curl.easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    return HttpAnswer{static_cast<int>(status), std::move(sink.body)};
}

std::string percent_encode(std::string_view text) {
    std::string encoded;
    for (const char c : text) {
        if (is_unreserved(c)) {
            encoded += c;
        } else {
            encoded += fmt::format("%{:02X}", static_cast<unsigned char>(c));
        }
    }
    return encoded;
}

std::string url_of_listener(std::string_view address) {
    const auto colon = std::min(address.rfind(':'), address.size());
    auto host = address.substr(0, colon);
    if (host.empty() || host == "0.0.0.0") host = "127.0.0.1";
    if (host == "[::]") host = "[::1]";
    return fmt::format("http://{}{}", host, address.substr(colon));
}

}  // namespace weir::app
