// The demo upstream's /v1/embeddings: vectors that mean nothing, but are the same for the same
// model and input, and of length 1.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <openssl/evp.h>

#include "weir/base/crypto.hpp"

#include "demo_parts.hpp"

namespace weir::app::demo {
namespace {

constexpr std::uint64_t kDefaultDimensions = 1536;  // of text-embedding-3-small
constexpr std::uint64_t kMostDimensions = 4096;
constexpr std::size_t kMostInputs = 2048;  // OpenAI's limit
// In one answer. Both limits above at once would be 8.4 million numbers for a request of 8 KB; this
// many are some 12 MB of text, and nobody tries out more with vectors that mean nothing.
constexpr std::uint64_t kMostNumbers = 1'000'000;

// splitmix64: spreads a seed over as many numbers as asked.
std::uint64_t next(std::uint64_t& state) noexcept {
    std::uint64_t z = (state += 0x9E3779B97F4A7C15ULL);
    z = (z ^ (z >> 30U)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27U)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31U);
}

std::vector<float> vector_of(std::string_view seed_text, std::uint64_t dimensions) {
    const auto digest = sha256(seed_text);
    std::uint64_t state = 0;
    std::memcpy(&state, digest.data(), sizeof(state));
    std::vector<double> raw(dimensions);
    double square = 0;
    for (auto& value : raw) {
        // 53 random bits, evenly spread over [-1, 1).
        value = static_cast<double>(next(state) >> 11U) * 0x1.0p-52 - 1.0;
        square += value * value;
    }
    const double length = std::sqrt(square);
    std::vector<float> vector(dimensions);
    for (std::size_t i = 0; i < raw.size(); ++i) {
        vector[i] = length > 0 ? static_cast<float>(raw[i] / length) : 0.0F;
    }
    return vector;
}

std::string base64(const std::vector<float>& vector) {
    std::string bytes;
    bytes.reserve(vector.size() * 4);
    for (const float value : vector) {
        const auto bits = std::bit_cast<std::uint32_t>(value);
        for (unsigned shift = 0; shift < 32; shift += 8) {
            bytes.push_back(static_cast<char>((bits >> shift) & 0xFFU));
        }
    }
    std::string text((bytes.size() + 2) / 3 * 4 + 1, '\0');  // OpenSSL writes a NUL behind it
    const auto length = EVP_EncodeBlock(
        reinterpret_cast<unsigned char*>(text.data()),
        reinterpret_cast<const unsigned char*>(bytes.data()),
        static_cast<int>(bytes.size())
    );
    text.resize(static_cast<std::size_t>(length));
    return text;
}

bool is_tokens(const Json& json) {
    if (!json.is_array() || json.empty()) return false;
    return std::ranges::all_of(json, [](const Json& token) { return token.is_number_unsigned(); });
}

bool is_input(const Json& json) {
    return is_tokens(json) || (json.is_string() && !json.get_ref<const std::string&>().empty());
}

Checked<std::vector<const Json*>> read_inputs(const Json& body) {
    std::vector<const Json*> inputs;
    const auto input = body.find("input");
    if (input != body.end() && is_input(*input)) {
        inputs.push_back(&*input);
    } else if (input != body.end() && input->is_array()) {
        for (const auto& one : *input) {
            if (is_input(one)) inputs.push_back(&one);
        }
        if (inputs.size() != input->size()) inputs.clear();
    }
    if (inputs.empty() || inputs.size() > kMostInputs) {
        return std::unexpected(http::invalid_field(
            "input", "`input` is not a text, a list of tokens, or a list of 1 to 2048 of these."
        ));
    }
    return inputs;
}

}  // namespace

DemoAnswer embeddings(const Json& body) {
    const auto inputs = read_inputs(body);
    if (!inputs) return refuse(inputs.error());
    const auto dimensions = read_count(body, {"dimensions"}, kMostDimensions);
    if (!dimensions) return refuse(dimensions.error());
    bool as_base64 = false;
    if (const auto format = body.find("encoding_format");
        format != body.end() && !format->is_null()) {
        as_base64 = *format == "base64";
        if (!as_base64 && *format != "float") {
            return refuse(
                http::invalid_field("encoding_format", "`encoding_format` is not float or base64.")
            );
        }
    }

    const std::uint64_t each = dimensions->value_or(kDefaultDimensions);
    if (inputs->size() * each > kMostNumbers) {
        return refuse(http::invalid_field(
            "input",
            fmt::format(
                "{} inputs of {} dimensions are more than the {} numbers that the demo upstream "
                "gives at once; send fewer inputs or smaller `dimensions`.",
                inputs->size(),
                each,
                kMostNumbers
            )
        ));
    }

    // Written as text at once: a tree of so many numbers would take several times the memory.
    const std::string model = dump(body.at("model"));
    std::string text = R"({"object":"list","data":[)";
    const auto out = std::back_inserter(text);
    std::uint64_t words = 0;
    std::size_t index = 0;
    for (const auto* input : *inputs) {
        words +=
            input->is_string() ? count_words(input->get_ref<const std::string&>()) : input->size();
        const auto vector = vector_of(model + dump(*input), each);
        if (index > 0) text += ',';
        fmt::format_to(out, R"({{"object":"embedding","index":{},"embedding":)", index++);
        if (as_base64) {
            fmt::format_to(out, R"("{}"}})", base64(vector));
        } else {
            fmt::format_to(out, "[{}]}}", fmt::join(vector, ","));
        }
    }
    fmt::format_to(
        out,
        R"(],"model":{},"usage":{{"prompt_tokens":{},"total_tokens":{}}}}})",
        model,
        words,
        words
    );
    DemoAnswer answer;
    answer.whole.fields.add("content-type", "application/json");
    answer.whole.body = std::move(text);
    return answer;
}

}  // namespace weir::app::demo
