#include "syntax_hint.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "weir/base/text.hpp"

namespace weir::config {

namespace {

// Byte `column` (1-based) of `line`, or 0 past its end.
char at(std::string_view line, int column) {
    return column >= 1 && static_cast<std::size_t>(column) <= line.size()
               ? line[static_cast<std::size_t>(column - 1)]
               : '\0';
}

struct Wording {
    std::string_view theirs;
    std::string_view ours;
    std::string_view hint;
};

// yaml-cpp's words that say little, and what mostly is behind them.
constexpr std::array<Wording, 14> kWordings = {{
    {"end of map not found",
     "this line does not belong to the map above it",
     "indent it like the other keys; text with quotes around a part of it needs quotes around all"},
    {"end of sequence not found",
     "this line does not belong to the list above it",
     "indent it like the other `-` entries"},
    {"illegal map value",
     "a `:` where no key can stand",
     "put text that has `: ` in it in quotes; otherwise check the indentation"},
    {"illegal map key", "a key where none can stand", "check the indentation"},
    {"illegal block entry", "a `-` where no list can begin", "put the list on lines of its own"},
    {"illegal flow end", "a closing bracket without an opening one", ""},
    {"unknown token", "a value cannot begin with this character", "put it in quotes"},
    {"illegal character in scalar", "a character that plain text cannot have", "put it in quotes"},
    {"illegal tab when looking for indentation", "a tab in the indentation", "indent with spaces"},
    {"unknown escape character: ",
     "an escape that YAML does not know",
     "in double quotes write `\\\\` for a backslash, or use single quotes"},
    {"the referenced anchor is not defined",
     "a word that begins with `*` refers to an anchor, and there is none of that name",
     "put it in quotes"},
    {"alias not found after *", "a bare `*` means something else in YAML", "write \"*\", in quotes"
    },
    {"anchor not found after &", "a bare `&` means something else in YAML", "put it in quotes"},
    {"end of verbatim tag not found",
     "a word that begins with `!` is a YAML tag",
     "put it in quotes"},
}};

// The unquoted ${...} on this line whose brace YAML took for a map, if there is one. Returns the
// column of its "$", or 0.
int bare_variable(std::string_view line) {
    char quote = '\0';
    int depth = 0;
    for (std::size_t i = 0; i < line.size(); ++i) {
        const char c = line[i];
        if (quote != '\0') {
            if (c == quote) quote = '\0';
        } else if (c == '"' || c == '\'') {
            quote = c;
        } else if (c == '#' && (i == 0 || line[i - 1] == ' ')) {
            break;
        } else if (c == '$' && i + 1 < line.size() && line[i + 1] == '{') {
            if (depth > 0) return static_cast<int>(i) + 1;
            i = std::min(line.find('}', i), line.size() - 1);
        } else if (c == '{' || c == '[') {
            ++depth;
        } else if (c == '}' || c == ']') {
            --depth;
        }
    }
    return 0;
}

// The name alone: a default may be a secret.
std::string_view variable_name(std::string_view line, int column) {
    const std::string_view rest = line.substr(static_cast<std::size_t>(column + 1));
    const std::size_t end =
        rest.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");
    const std::string_view name = rest.substr(0, end);
    return name.empty() || name.size() > 60 ? std::string_view("NAME") : name;
}

}  // namespace

Lines::Lines(std::string_view text) : text_(text), starts_{0} {
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\n') starts_.push_back(i + 1);
    }
}

std::string_view Lines::operator[](int number) const noexcept {
    if (number < 1 || static_cast<std::size_t>(number) > starts_.size()) return {};
    const std::string_view rest = text_.substr(starts_[static_cast<std::size_t>(number - 1)]);
    std::string_view found = rest.substr(0, rest.find('\n'));
    if (found.ends_with('\r')) found.remove_suffix(1);
    return found;
}

Fault explain_syntax(const SyntaxError& error, const Lines& lines, const std::string& file) {
    Fault fault{file, error.line, error.column, error.message, ""};
    const std::string_view line = lines[error.line];

    // A "{" inside braces that follows a "$": the most usual mistake of all in this file.
    const bool flow = error.message.ends_with("flow not found");
    for (const int number : {error.line, error.open_line, error.last_line}) {
        if (!flow || number == 0) continue;
        const std::string_view here = lines[number];
        const int column = bare_variable(here);
        if (column == 0) continue;
        fault.line = number;
        fault.column = column;
        fault.message = "inside of braces or brackets, `${...}` needs quotes";
        fault.hint = fmt::format("write \"${{{}}}\"", variable_name(here, column));
        return fault;
    }
    if (flow && error.open_line > 0) {
        const char bracket = error.message.starts_with("end of map") ? '{' : '[';
        fault.line = error.open_line;
        fault.column = error.open_column;
        fault.message = fmt::format("this `{}` is not closed", bracket);
        fault.hint = error.line > error.open_line || error.column > error.open_column
                         ? fmt::format(
                               "something is missing before line {} column {}: a comma, a quote "
                               "or a closing bracket",
                               error.line,
                               error.column
                           )
                         : "";
        return fault;
    }
    if (error.message == "illegal EOF in scalar") {
        fault.message = kOpenQuote;
        // yaml-cpp tells the end of the file; the quote is the next one after what was whole.
        for (int number = std::max(error.last_line, 1); number <= error.line; ++number) {
            const std::string_view here = lines[number];
            const std::size_t from =
                number == error.last_line ? static_cast<std::size_t>(error.last_column) : 0;
            const std::size_t quote = here.find_first_of("\"'", from);
            if (quote == std::string_view::npos) continue;
            fault.line = number;
            fault.column = static_cast<int>(quote) + 1;
            break;
        }
        fault.hint = "close it on the same line";
        return fault;
    }
    // yaml-cpp sees a tab only sometimes, and then often calls it something else.
    const std::size_t first = line.find_first_not_of(' ');
    if (first != std::string_view::npos && line[first] == '\t') {
        fault.column = static_cast<int>(first) + 1;
        fault.message = "a tab in the indentation";
        fault.hint = "indent with spaces";
        return fault;
    }
    for (const Wording& wording : kWordings) {
        if (!error.message.starts_with(wording.theirs)) continue;
        fault.message = wording.ours;
        fault.hint = wording.hint;
        break;
    }
    // The mark is behind the star.
    if (error.message == "alias not found after *" && at(line, error.column - 1) == '*') {
        --fault.column;
    }
    if (error.message.starts_with("unknown escape") && at(line, error.column - 2) == '\\') {
        fault.column -= 2;
    }
    if (error.message == kOpenQuote) fault.hint = "close it on the same line";
    if (error.message.starts_with("a second document")) {
        fault.hint = "check the indentation, or remove the `---`";
    }
    if (error.message == "YAML tags are not supported") {
        fault.hint = "put a word that begins with `!` in quotes";
    }
    return fault;
}

}  // namespace weir::config
