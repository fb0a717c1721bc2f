#include "expand.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "reader.hpp"

namespace weir::config {

namespace {

bool is_name(std::string_view name) {
    const auto letter = [](char c) {
        return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
    };
    return !name.empty() && letter(name.front()) &&
           std::ranges::all_of(name, [&](char c) { return letter(c) || (c >= '0' && c <= '9'); });
}

std::expected<std::string, ExpandFault> from_file(std::string_view path, const Sources& sources) {
    if (path.empty()) {
        return std::unexpected(
            ExpandFault{"`${file:}` names no file", "write ${file:/run/secrets/name}"}
        );
    }
    std::optional<std::string> content = sources.file(std::string(path));
    if (!content) {
        return std::unexpected(ExpandFault{
            fmt::format("the file {} cannot be read", quoted(path)),
            "it is missing, not permitted, not a file or larger than 1 MiB"
        });
    }
    if (content->ends_with('\n')) content->pop_back();
    if (content->ends_with('\r')) content->pop_back();
    return std::move(*content);
}

std::expected<std::string, ExpandFault> from_environment(
    std::string_view inside, const Sources& sources
) {
    const std::size_t dash = inside.find(":-");
    const std::string_view name = inside.substr(0, dash);
    if (!is_name(name)) {
        std::string hint = "write ${NAME}, ${NAME:-default} or ${file:/path}";
        if (name.find('-') != std::string_view::npos && is_name(name.substr(0, name.find('-')))) {
            hint = "a default is written with a colon: ${NAME:-default}";
        }
        return std::unexpected(
            ExpandFault{"a `${...}` that does not name a variable", std::move(hint)}
        );
    }
    std::optional<std::string> value = sources.environment(std::string(name));
    if (dash != std::string_view::npos && (!value || value->empty())) {
        return std::string(inside.substr(dash + 2));
    }
    if (!value) {
        return std::unexpected(ExpandFault{
            fmt::format("the environment has no `{}`", name),
            fmt::format("set it, or give a default: ${{{}:-...}}", name)
        });
    }
    return std::move(*value);
}

}  // namespace

std::expected<Expanded, ExpandFault> expand(std::string_view text, const Sources& sources) {
    Expanded result;
    for (;;) {
        const std::size_t start = text.find("${");
        result.text += text.substr(0, start);
        if (start == std::string_view::npos) return result;
        text.remove_prefix(start + 2);
        const std::size_t end = text.find('}');
        if (end == std::string_view::npos) {
            return std::unexpected(ExpandFault{
                "a `${` without its `}`", "write ${NAME}, ${NAME:-default} or ${file:/path}"
            });
        }
        const std::string_view inside = text.substr(0, end);
        text.remove_prefix(end + 1);
        if (inside.find("${") != std::string_view::npos) {
            return std::unexpected(
                ExpandFault{"a `${...}` inside of another one", "a default is plain text"}
            );
        }
        auto value = inside.starts_with("file:") ? from_file(inside.substr(5), sources)
                                                 : from_environment(inside, sources);
        if (!value) return std::unexpected(std::move(value.error()));
        result.text += *value;
        result.replaced = true;
    }
}

}  // namespace weir::config
