#include "document.hpp"

#include <algorithm>
#include <exception>
#include <map>
#include <optional>
#include <sstream>
#include <utility>

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include "syntax_hint.hpp"

namespace weir::config {

namespace {

constexpr std::string_view kTooMany = "the file has more than 100000 values, aliases included";
constexpr std::string_view kTooDeep = "more than 64 levels inside each other";

// Builds the tree from yaml-cpp's events. Our own refusals leave it as YAML::ParserException too,
// because that is the one way to end a parse early.
class Builder final : public YAML::EventHandler {
public:
    explicit Builder(const Lines& lines) : lines_(lines) {}

    void OnDocumentStart(const YAML::Mark& mark) override {
        // yaml-cpp also starts one where the indentation falls out of the first.
        if (++documents_ > 1) refuse(mark, "a second document begins here; a config is only one");
    }
    void OnDocumentEnd() override {}

    void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
        auto node = start(mark, Node::Kind::kEmpty);
        if (!written_null(mark)) empty_place(*node);
        add(std::move(node), anchor, mark);
    }

    void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
        const auto found = anchors_.find(anchor);
        if (found == anchors_.end()) refuse(mark, "an alias inside of what it names");
        put(found->second, mark);
    }

    void OnScalar(
        const YAML::Mark& mark,
        const std::string& tag,
        YAML::anchor_t anchor,
        const std::string& value
    ) override {
        check_tag(mark, tag);
        if (!closed_on_its_line(mark)) refuse(mark, kOpenQuote);
        auto node = start(mark, Node::Kind::kScalar);
        node->text = value;
        node->folded = tag != "!" && lines_[mark.line + 1].find(value) == std::string_view::npos;
        add(std::move(node), anchor, mark);
    }

    void OnSequenceStart(
        const YAML::Mark& mark,
        const std::string& tag,
        YAML::anchor_t anchor,
        YAML::EmitterStyle::value style
    ) override {
        check_tag(mark, tag);
        open(mark, anchor, style, Node::Kind::kList);
    }
    void OnSequenceEnd() override { close(); }

    void OnMapStart(
        const YAML::Mark& mark,
        const std::string& tag,
        YAML::anchor_t anchor,
        YAML::EmitterStyle::value style
    ) override {
        check_tag(mark, tag);
        open(mark, anchor, style, Node::Kind::kMap);
    }
    void OnMapEnd() override { close(); }

    [[nodiscard]] NodePtr root() const { return root_; }

    // Where the parse stood, for explain_syntax.
    void describe(SyntaxError& error) const {
        error.last_line = last_line_;
        error.last_column = last_column_;
        for (const Open& open : open_) {
            if (!open.flow) continue;
            error.open_line = open.node->line;
            error.open_column = open.node->column;
        }
    }

private:
    struct Open {
        std::shared_ptr<Node> node;
        YAML::anchor_t anchor = 0;
        bool flow = false;
        YAML::Mark mark;
        NodePtr key;  // of a map: the key that waits for its value
    };

    [[noreturn]] static void refuse(const YAML::Mark& mark, std::string_view why) {
        throw YAML::ParserException(mark, std::string(why));
    }

    static void check_tag(const YAML::Mark& mark, const std::string& tag) {
        // "?" is a plain value, "!" a quoted one.
        if (!tag.empty() && tag != "?" && tag != "!") refuse(mark, "YAML tags are not supported");
    }

    // A forgotten quote takes in the lines below, up to the next quote; and yaml-cpp may take the
    // end of the file for one. No value here needs more than a line, so each has to end on its own.
    [[nodiscard]] bool closed_on_its_line(const YAML::Mark& mark) const {
        std::string_view line = lines_[mark.line + 1];
        const auto column = static_cast<std::size_t>(std::max(mark.column, 0));
        if (column >= line.size() || (line[column] != '"' && line[column] != '\'')) return true;
        const char quote = line[column];
        for (std::size_t i = column + 1; i < line.size(); ++i) {
            if (line[i] == '\\' && quote == '"')
                ++i;
            else if (line[i] == quote)
                return true;
        }
        return false;
    }

    std::shared_ptr<Node> start(const YAML::Mark& mark, Node::Kind kind) {
        auto node = std::make_shared<Node>();
        node->kind = kind;
        node->line = mark.line + 1;
        node->column = mark.column + 1;
        return node;
    }

    // yaml-cpp marks an empty value where the next token stands, which may be lines below.
    void empty_place(Node& node) const {
        if (open_.empty()) return;
        const Open& parent = open_.back();
        const Node* place = parent.node.get();
        if (parent.node->kind == Node::Kind::kMap) {
            if (parent.key != nullptr) place = parent.key.get();
        } else if (const auto dash = dash_before(node)) {
            node.line = dash->first;
            node.column = dash->second;
            return;
        }
        node.line = place->line;
        node.column = place->column;
    }

    // Whether `~` or `null` stands at the mark itself.
    [[nodiscard]] bool written_null(const YAML::Mark& mark) const {
        std::string_view line = lines_[mark.line + 1];
        const auto column = static_cast<std::size_t>(std::max(mark.column, 0));
        if (column >= line.size()) return false;
        line.remove_prefix(column);
        return line.starts_with('~') || line.starts_with("null") || line.starts_with("Null") ||
               line.starts_with("NULL");
    }

    // The "-", "[" or "," of an empty list entry: the last thing before `node` but for blanks and
    // comments.
    [[nodiscard]] std::optional<std::pair<int, int>> dash_before(const Node& node) const {
        std::string_view text = lines_[node.line];
        text = text.substr(0, std::min(text.size(), static_cast<std::size_t>(node.column - 1)));
        for (int line = node.line; line > 0; text = lines_[--line]) {
            text = text.substr(0, text.find('#'));
            const std::size_t last = text.find_last_not_of(" \t\r");
            if (last == std::string_view::npos) continue;
            if (text[last] != '-' && text[last] != ',' && text[last] != '[') break;
            return std::pair(line, static_cast<int>(last) + 1);
        }
        return std::nullopt;
    }

    void open(
        const YAML::Mark& mark,
        YAML::anchor_t anchor,
        YAML::EmitterStyle::value style,
        Node::Kind kind
    ) {
        if (open_.size() >= static_cast<std::size_t>(kMostDepth)) refuse(mark, kTooDeep);
        open_.push_back(
            {start(mark, kind), anchor, style == YAML::EmitterStyle::Flow, mark, nullptr}
        );
    }

    void close() {
        Open done = std::move(open_.back());
        open_.pop_back();
        add(std::move(done.node), done.anchor, done.mark);
    }

    void add(std::shared_ptr<Node> node, YAML::anchor_t anchor, const YAML::Mark& mark) {
        last_line_ = node->line;
        last_column_ = node->column;
        NodePtr whole = std::move(node);
        if (anchor != 0) anchors_[anchor] = whole;
        put(std::move(whole), mark);
    }

    void put(NodePtr node, const YAML::Mark& mark) {
        if (open_.empty()) {
            root_ = std::move(node);
            return;
        }
        Open& parent = open_.back();
        // Counted while it grows: a few nested aliases would unfold to billions.
        parent.node->weight += node->weight;
        parent.node->height = std::max(parent.node->height, node->height + 1);
        if (parent.node->weight > kMostNodes) refuse(mark, kTooMany);
        if (parent.node->height + static_cast<int>(open_.size()) - 1 > kMostDepth) {
            refuse(mark, kTooDeep);
        }
        if (parent.node->kind == Node::Kind::kList) {
            parent.node->items.push_back(std::move(node));
        } else if (parent.key == nullptr) {
            parent.key = std::move(node);
        } else {
            parent.node->entries.push_back({std::exchange(parent.key, nullptr), std::move(node)});
        }
    }

    const Lines& lines_;
    NodePtr root_;
    std::vector<Open> open_;
    std::map<YAML::anchor_t, NodePtr> anchors_;
    int documents_ = 0;
    int last_line_ = 0;
    int last_column_ = 0;
};

}  // namespace

std::string_view kind_name(Node::Kind kind) noexcept {
    switch (kind) {
        case Node::Kind::kEmpty:
            return "nothing";
        case Node::Kind::kScalar:
            return "a single value";
        case Node::Kind::kList:
            return "a list";
        case Node::Kind::kMap:
            return "a map";
    }
    return "something else";
}

std::expected<NodePtr, Fault> read_document(std::string_view yaml, const std::string& file) {
    if (yaml.size() > kMostBytes) {
        return std::unexpected(Fault{file, 0, 0, "the file is larger than 1 MiB", ""});
    }
    const Lines lines(yaml);
    Builder builder(lines);
    try {
        std::istringstream stream{std::string(yaml)};
        YAML::Parser parser(stream);
        while (parser.HandleNextDocument(builder)) {
        }
    } catch (const YAML::Exception& error) {
        SyntaxError told;
        told.message = error.msg;
        if (!error.mark.is_null()) {
            told.line = error.mark.line + 1;
            told.column = error.mark.column + 1;
        }
        builder.describe(told);
        return std::unexpected(explain_syntax(told, lines, file));
    } catch (const std::exception&) {
        return std::unexpected(Fault{file, 0, 0, "not readable as YAML", ""});
    }
    if (builder.root() != nullptr) return builder.root();
    auto empty = std::make_shared<Node>();
    empty->kind = Node::Kind::kMap;
    empty->line = 1;
    empty->column = 1;
    return empty;
}

}  // namespace weir::config
