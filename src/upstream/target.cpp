#include "weir/upstream/target.hpp"

#include <algorithm>
#include <array>
#include <vector>

#include "weir/base/text.hpp"

namespace weir::upstream {
namespace {

// What Azure has below a deployment; it has everything else beside them.
constexpr auto kOfDeployments = std::to_array<std::string_view>({
    "/chat/completions",
    "/completions",
    "/embeddings",
    "/audio/transcriptions",
    "/audio/translations",
    "/audio/speech",
    "/images/generations",
    "/images/edits",
});

struct Parameter {
    std::string_view name;
    std::string_view value;  // without data: the client's is left out, none put in its place
};

// As Azure lets people name them. Other names reach no deployment, and a path must not be led
// elsewhere by one.
bool is_deployment(std::string_view name) noexcept {
    return name.find_first_not_of('.') != std::string_view::npos &&
           std::ranges::all_of(name, [](char c) {
               return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      c == '-' || c == '_' || c == '.';
           });
}

// Versions that mean Azure's newer API, which is shaped as OpenAI's own.
bool is_v1(std::string_view version) noexcept {
    return version.empty() || version == "preview" || version == "latest" || version == "v1";
}

int hex(char c) noexcept {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

// For a name or a value.
void append_encoded(std::string& out, std::string_view text) {
    constexpr std::string_view kDigits = "0123456789ABCDEF";
    for (const char c : text) {
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                           (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
        if (plain) {
            out += c;
        } else {
            const auto byte = static_cast<unsigned char>(c);
            out += '%';
            out += kDigits[byte >> 4U];
            out += kDigits[byte & 0x0FU];
        }
    }
}

// Whether the first part of "name=value" means `name`, however it is encoded.
bool is_named(std::string_view parameter, std::string_view name) noexcept {
    const std::string_view written = parameter.substr(0, parameter.find('='));
    std::size_t at = 0;
    for (std::size_t i = 0; i < written.size(); ++i) {
        char c = written[i];
        if (c == '+') c = ' ';
        if (c == '%' && i + 2 < written.size() && hex(written[i + 1]) >= 0 &&
            hex(written[i + 2]) >= 0) {
            c = static_cast<char>(hex(written[i + 1]) * 16 + hex(written[i + 2]));
            i += 2;
        }
        if (at == name.size() || name[at] != c) return false;
        ++at;
    }
    return at == name.size();
}

// The client's parameters but for those of our names, then ours.
void append_query(std::string& target, std::string_view query, const std::vector<Parameter>& own) {
    char mark = '?';
    const auto next = [&] {
        target += mark;
        mark = '&';
    };
    while (!query.empty()) {
        const std::size_t end = std::min(query.find('&'), query.size());
        const std::string_view parameter = query.substr(0, end);
        query.remove_prefix(std::min(end + 1, query.size()));
        const bool ours = std::ranges::any_of(own, [parameter](const Parameter& one) {
            return is_named(parameter, one.name);
        });
        if (ours || parameter.empty()) continue;
        next();
        target += parameter;
    }
    for (const Parameter& one : own) {
        if (one.value.data() == nullptr) continue;
        next();
        append_encoded(target, one.name);
        target += '=';
        append_encoded(target, one.value);
    }
}

}  // namespace

std::string_view model_on(const config::Upstream& upstream, std::string_view model) noexcept {
    const auto named = std::ranges::find_if(upstream.deployments, [model](const auto& one) {
        return iequals(one.first, model);
    });
    return named == upstream.deployments.end() ? model : std::string_view(named->second);
}

std::string target_on(
    const config::Upstream& upstream,
    std::string_view path,
    std::string_view query,
    std::string_view model
) {
    const std::string_view endpoint = path.substr(std::string_view("/v1").size());
    const std::string_view name = model_on(upstream, model);
    const bool azure = upstream.kind == config::Kind::kAzure;
    const bool v1 = !azure || is_v1(upstream.api_version);
    std::string target = upstream.base_path;
    if (azure) target += v1 ? "/openai/v1" : "/openai";
    if (!v1 && is_deployment(name) &&
        std::ranges::find(kOfDeployments, endpoint) != kOfDeployments.end()) {
        target.append("/deployments/").append(name);
    }
    target += endpoint;

    std::vector<Parameter> own;
    own.reserve(upstream.query.size() + 3);
    for (const config::ExtraField& field : upstream.query) own.push_back({field.name, field.value});
    // A session names its model in the query.
    if (endpoint == "/realtime" && !name.empty()) {
        own.push_back({"model", v1 ? name : std::string_view()});
        if (!v1) own.push_back({"deployment", name});
    }
    if (azure && !upstream.api_version.empty()) {
        own.push_back({"api-version", upstream.api_version});
    }
    if (own.empty()) {
        if (!query.empty()) target.append("?").append(query);
    } else {
        append_query(target, query, own);
    }
    return target;
}

}  // namespace weir::upstream
