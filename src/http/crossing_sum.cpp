#include "crossing_sum.hpp"

#include "weir/http/bounded_json.hpp"

namespace weir::http::crossing {

namespace {

// As of one object of a text (parse_bounded_json): what adds up here may have to be read again.
constexpr std::size_t kMostMembers = 1024;

// What looking at an element of a list costs more than looking at a member.
constexpr std::size_t kElement = 4;

// Strings inside a delta that name something: each part that has them says them whole.
constexpr std::array<std::string_view, 5> kNames = {"role", "type", "id", "object", "format"};

std::string_view id_of(const Json& item) {
    const auto id = item.find("id");
    return id != item.end() && id->is_string()
               ? std::string_view(id->get_ref<const Json::string_t&>())
               : std::string_view();
}

// The element of `list` that a fragment belongs to: by `index`; without one by a known id; without
// both the last one. nullptr: a new one.
Json* find_fragment(Json& list, const Json& fragment) {
    const auto index = fragment.find("index");
    const std::string_view id = id_of(fragment);
    if (index == fragment.end() && id.empty()) return list.empty() ? nullptr : &list.back();
    // The newest first: some vendors number every call 0, and tell them apart by id alone.
    for (auto item = list.rbegin(); item != list.rend(); ++item) {
        if (!item->is_object()) continue;
        if (index == fragment.end()) {
            if (id_of(*item) == id) return &*item;
            continue;
        }
        const auto known = item->find("index");
        if (known == item->end() || *known != *index) continue;
        if (id.empty() || id_of(*item).empty() || id_of(*item) == id) return &*item;
    }
    return nullptr;
}

}  // namespace

std::optional<Json> parse_object(std::string_view text) {
    std::optional<Json> json = parse_bounded_json(text);
    if (json && !json->is_object()) return std::nullopt;
    return json;
}

std::string dump(const Json& json) {
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

bool Sum::look(std::size_t size) noexcept {
    if (size > looks_left_) return false;
    looks_left_ -= size;
    return true;
}

bool Sum::add_list(Json& into, const Json& from, bool pieces, Lists lists) {
    for (const Json& item : from) {
        const bool fragment =
            lists == Lists::kFragments && item.is_object() && (pieces || item.contains("index"));
        if (fragment && !look(into.size() * kElement)) return false;
        Json* known = fragment ? find_fragment(into, item) : nullptr;
        if (known != nullptr && known->is_object()) {
            if (!add_object(*known, item, lists)) return false;
        } else {
            into.push_back(item);
        }
    }
    return true;
}

bool Sum::add_member(Json& into, std::string_view key, const Json& from, Lists lists) {
    const auto adds_up = [](const Json& json) { return json.is_string() || json.is_structured(); };
    if (from.is_null()) return true;
    // What comes first may itself have several fragments of one element.
    if (into.is_null() && from.is_structured()) {
        into = from.is_array() ? Json::array() : Json::object();
    }
    if (into.is_string() && from.is_string()) {
        auto& text = into.get_ref<Json::string_t&>();
        const auto& more = from.get_ref<const Json::string_t&>();
        if (one_of(kNames, key)) {
            if (!more.empty()) text = more;
        } else if (key != "name" || more != text) {  // some vendors repeat the whole name
            text += more;
        }
    } else if (into.is_array() && from.is_array()) {
        return add_list(into, from, key == "tool_calls", lists);
    } else if (into.is_object() && from.is_object()) {
        return add_object(into, from, lists);
    } else if (!into.is_null() && (adds_up(into) || adds_up(from))) {
        return false;
    } else {
        into = from;
    }
    return true;
}

bool Sum::add_object(Json& into, const Json& from, Lists lists) {
    for (const auto& [key, value] : from.items()) {
        if (!look(into.size())) return false;
        const auto known = into.find(key);
        if (known == into.end() && into.size() >= kMostMembers) return false;
        Json& sum = known == into.end() ? into[key] : *known;
        if (!add_member(sum, key, value, lists)) return false;
    }
    return true;
}

bool Sum::replace_member(Json& into, const std::string& key, const Json& from) {
    if (!look(into.size())) return false;
    const auto known = into.find(key);
    if (known == into.end()) {
        if (into.size() >= kMostMembers) return false;
        into[key] = from;
    } else if (known->is_object() && from.is_object()) {
        for (const auto& [name, value] : from.items()) {
            if (!replace_member(*known, name, value)) return false;
        }
    } else if (!from.is_null() && !(from.is_string() && from == "")) {
        *known = from;
    }
    return true;
}

bool Sum::add_other(
    Json& into, const std::string& key, const Json& from, bool pieces, Lists lists
) {
    if (!look(into.size())) return false;
    const auto known = into.find(key);
    const bool joined = known != into.end() && (pieces || known->is_array() || from.is_array());
    return joined ? add_member(*known, key, from, lists) : replace_member(into, key, from);
}

}  // namespace weir::http::crossing
