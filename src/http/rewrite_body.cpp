// What of a request's body changes on its way upstream: the model's name, the wish for usage, the
// bound of the answer.
#include <algorithm>
#include <charconv>
#include <cstring>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "weir/base/text.hpp"
#include "weir/http/json_request.hpp"

namespace weir::http {

namespace {

// Whether the API whose own name for the limit is `own` reads `field`, too.
bool same_api(std::string_view own, std::string_view field) noexcept {
    constexpr std::string_view kResponses = "max_output_tokens";
    return own.empty() || (own == kResponses) == (field == kResponses);
}

class Splicer {
public:
    Splicer(std::string_view body, const JsonRequest& request) : body_(body), request_(request) {}

    void model(std::string_view name) {
        if (request_.model_at) {
            replace(*request_.model_at, json_quote(name));
        } else {
            put_in(R"("model":)" + json_quote(name));
        }
    }

    void include_usage() {
        if (request_.include_usage) return;
        if (request_.include_usage_at) {
            replace(*request_.include_usage_at, "true");
        } else if (request_.stream_options_at && request_.stream_options_empty) {
            replace(*request_.stream_options_at, R"({"include_usage":true})");
        } else if (request_.stream_options_at) {
            replace({request_.stream_options_at->offset + 1, 0}, R"("include_usage":true,)");
        } else {
            put_in(R"("stream_options":{"include_usage":true})");
        }
    }

    void output_limit(std::uint64_t limit, std::string_view own) {
        const std::string number = std::to_string(limit);
        bool bounded = own.empty();
        for (const OutputLimit& given : request_.output_limits) {
            if (given.tokens > limit) replace(given.at, number);
            bounded = bounded || same_api(own, given.field);
        }
        const TextSpan* own_null = nullptr;
        for (const UnclearLimit& given : request_.unclear_limits) {
            const char first = body_[given.at.offset];
            if (first == 'n') {
                if (given.field == own) own_null = &given.at;
            } else if (first == '"' || first == '-' || (first >= '0' && first <= '9')) {
                replace(given.at, number);
                bounded = bounded || same_api(own, given.field);
            } else if (given.field == own) {
                // The upstream refuses it; another one beside it would be a repeated key.
                bounded = true;
            }
        }
        if (bounded) return;
        if (own_null != nullptr) {
            replace(*own_null, number);
        } else {
            put_in(json_quote(own) + ":" + number);
        }
    }

    Result<Buffer> finish(BufferBudget* budget) {
        if (!front_.empty()) {
            if (!request_.body_empty) front_ += ',';
            replace({request_.body_open, 0}, std::move(front_));
        }
        std::ranges::sort(splices_, {}, [](const Splice& splice) { return splice.at.offset; });
        std::size_t grown = body_.size();
        for (const Splice& splice : splices_) grown += splice.text.size();
        Buffer out(budget);
        if (auto room = out.reserve(grown); !room) return std::unexpected(std::move(room.error()));
        std::size_t done = 0;
        const auto put = [&out](std::string_view bytes) {
            std::memcpy(out.room().data(), bytes.data(), bytes.size());
            out.commit(bytes.size());
        };
        for (const Splice& splice : splices_) {
            put(body_.substr(done, splice.at.offset - done));
            put(splice.text);
            done = splice.at.offset + splice.at.length;
        }
        put(body_.substr(done));
        return out;
    }

private:
    struct Splice {
        TextSpan at;
        std::string text;
    };

    void replace(TextSpan at, std::string text) { splices_.push_back({at, std::move(text)}); }
    void put_in(std::string_view member) {
        if (!front_.empty()) front_ += ',';
        front_ += member;
    }

    std::string_view body_;
    const JsonRequest& request_;
    std::vector<Splice> splices_;
    std::string front_;  // members that go right behind the body's opening brace
};

// The number that `text` begins with; 0: none.
unsigned leading_number(std::string_view text) noexcept {
    unsigned number = 0;
    const auto result = std::from_chars(text.data(), text.data() + text.size(), number);
    return result.ec == std::errc() ? number : 0;
}

bool refuses_max_tokens(std::string_view model) noexcept {
    if (const auto slash = model.rfind('/'); slash != std::string_view::npos) {
        model.remove_prefix(slash + 1);
    }
    if (iequals(model.substr(0, 3), "ft:")) model.remove_prefix(3);
    if (iequals(model.substr(0, 4), "gpt-")) return leading_number(model.substr(4)) >= 5;
    return iequals(model.substr(0, 1), "o") && leading_number(model.substr(1)) > 0;
}

std::optional<std::uint64_t> larger(
    std::optional<std::uint64_t> known, const OutputLimit& limit
) noexcept {
    return std::max(known.value_or(0), limit.tokens);
}

}  // namespace

std::optional<std::uint64_t> JsonRequest::output_limit() const {
    std::optional<std::uint64_t> largest;
    for (const OutputLimit& limit : output_limits) largest = larger(largest, limit);
    return largest;
}

std::optional<std::uint64_t> JsonRequest::output_limit(Shape shape) const {
    if (shape == Shape::kEmbedding) return std::nullopt;
    const std::string_view own = shape == Shape::kResponse ? "max_output_tokens" : "max_tokens";
    std::optional<std::uint64_t> largest;
    for (const OutputLimit& limit : output_limits) {
        const bool also = shape == Shape::kChat && limit.field == "max_completion_tokens";
        if (limit.field == own || also) largest = larger(largest, limit);
    }
    return largest;
}

std::string_view output_limit_field(Shape shape, std::string_view model) noexcept {
    switch (shape) {
        case Shape::kResponse:
            return "max_output_tokens";
        case Shape::kChat:
            return refuses_max_tokens(model) ? "max_completion_tokens" : "max_tokens";
        case Shape::kEmbedding:
            return {};
        case Shape::kCompletion:
        case Shape::kMessage:
        case Shape::kOther:
            break;
    }
    return "max_tokens";
}

Result<Buffer> rewrite_body(
    std::string_view body, const JsonRequest& request, const Rewrite& rewrite, BufferBudget* budget
) {
    Splicer splicer(body, request);
    if (rewrite.model) splicer.model(*rewrite.model);
    if (rewrite.add_include_usage) splicer.include_usage();
    if (rewrite.output_limit) {
        splicer.output_limit(*rewrite.output_limit, rewrite.output_limit_field);
    }
    return splicer.finish(budget);
}

}  // namespace weir::http
