// What a request is to be refused with, or nothing. A pointer, since every coroutine of the line
// has room for a few of them in its frame, and most of them stay empty.
#pragma once

#include <memory>
#include <optional>
#include <utility>

#include "weir/http/error_body.hpp"

namespace weir::proxy {

class Problem {
public:
    Problem() = default;
    Problem(std::nullopt_t /*none*/) noexcept {}
    Problem(http::ApiError error) : error_(std::make_unique<http::ApiError>(std::move(error))) {}
    Problem(std::optional<http::ApiError> error) {
        if (error) error_ = std::make_unique<http::ApiError>(std::move(*error));
    }

    [[nodiscard]] explicit operator bool() const noexcept { return error_ != nullptr; }
    // REQUIRES: there is one.
    [[nodiscard]] http::ApiError& operator*() const noexcept { return *error_; }
    [[nodiscard]] http::ApiError* operator->() const noexcept { return error_.get(); }

private:
    std::unique_ptr<http::ApiError> error_;
};

}  // namespace weir::proxy
