#include "estimate.hpp"

#include <algorithm>

#include "weir/http/json_request.hpp"

namespace weir::proxy {

namespace {

constexpr std::uint64_t kMillion = 1'000'000;
// More than any message can take: sums of it stay far from the end of 64 bits.
constexpr std::uint64_t kMostTokens = std::uint64_t{1} << 40;

using Wide = unsigned __int128;

std::uint64_t times(std::uint64_t a, std::uint64_t b) noexcept {
    const Wide product = static_cast<Wide>(a) * b;
    return product > kMostTokens ? kMostTokens : static_cast<std::uint64_t>(product);
}

// Which kinds of cap cover the message.
struct Covered {
    bool tokens = false;
    const config::Cap* money = nullptr;  // one that refuses
};

Covered covered_by(const Exchange& x) {
    Covered covered;
    for (const quota::Level& level : x.member->levels) {
        for (const config::Cap& cap : *level.caps) {
            if (cap.unit == config::Unit::kMessages) continue;
            if (!quota::covers(cap, x.served_model, http::path_behind_v1(x.path))) continue;
            covered.tokens = true;
            if (cap.unit == config::Unit::kMoney && !cap.warn) covered.money = &cap;
        }
    }
    return covered;
}

// The model's own limit: that of the name it is served by goes before that of its alias.
std::uint64_t model_limit(const Exchange& x) {
    const config::Config& config = *x.snapshot->config;
    for (const std::string* const name : {&x.served_model, &x.asked_model}) {
        const config::Model* const model = config.find_model(*name);
        if (model != nullptr && model->max_output > 0) return model->max_output;
    }
    return 0;
}

bool has_output(const Exchange& x) noexcept {
    return x.endpoint->shape != http::Shape::kEmbedding;
}

// A limit can be put into these bodies.
bool takes_limit(const Exchange& x) noexcept {
    switch (x.endpoint->shape) {
        case http::Shape::kChat:
        case http::Shape::kCompletion:
        case http::Shape::kResponse:
        case http::Shape::kMessage:
            return true;
        case http::Shape::kEmbedding:
        case http::Shape::kOther:
            break;
    }
    return false;
}

// Tokens of one of the answers.
std::uint64_t output_bound(Exchange& x, bool counted) {
    const std::optional<std::uint64_t> own = x.json.output_limit(x.endpoint->shape);
    const std::uint64_t plan = takes_limit(x) ? x.member->plan->max_output : 0;
    std::uint64_t bound = own.value_or(0);
    if (!own && counted) bound = model_limit(x);
    if (plan > 0 && (bound == 0 || bound > plan)) bound = plan;
    x.limit_own = x.json.output_limit_set && (!own || bound == *own);
    // What the plan allows less of, and what nobody said, has to be said upstream.
    if (takes_limit(x) && bound > 0 && (!own || *own > bound)) x.output_limit = bound;
    return bound > 0 || own ? bound : kUnknownOutput;
}

}  // namespace

std::uint64_t cost(const config::Price& price, const http::Usage& usage) noexcept {
    const std::uint64_t cached = std::min(usage.cached_input, usage.input);
    const Wide sum = static_cast<Wide>(usage.input - cached) * price.input +
                     static_cast<Wide>(cached) * price.cached_input +
                     static_cast<Wide>(usage.output) * price.output;
    const Wide rounded = (sum + kMillion - 1) / kMillion;
    constexpr Wide kMost = std::uint64_t{1} << 62;
    return static_cast<std::uint64_t>(std::min(rounded, kMost));
}

quota::Amounts amounts_of(const config::Price& price, const http::Usage& usage) noexcept {
    return {std::min(usage.total(), kMostTokens), cost(price, usage)};
}

std::optional<http::ApiError> estimate(Exchange& x) {
    x.reserve = {};
    x.price = {};
    x.output_limit = 0;
    x.limit_own = x.json.output_limit_set;
    if (!x.endpoint->counts) return std::nullopt;
    const Covered covered = covered_by(x);
    const config::Price* const price = x.snapshot->config->find_price(x.served_model);
    if (covered.money != nullptr && price == nullptr) {
        return http::model_not_priced(x.served_model, covered.money->allow);
    }
    if (price != nullptr) x.price = *price;
    http::Usage most;
    most.input = http::input_tokens_bound(x.json, x.body ? x.body->size() : 0);
    const std::uint64_t one = has_output(x) ? output_bound(x, covered.tokens) : 0;
    most.output = times(x.json.choices, one);
    x.reserve = amounts_of(x.price, most);
    // A reservation is never nothing: in flight it has to be seen.
    x.reserve.tokens = std::max<std::uint64_t>(x.reserve.tokens, 1);
    return std::nullopt;
}

}  // namespace weir::proxy
