// How caps stand, what was granted, and why a message goes or does not, for people.
#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "weir/base/text.hpp"

#include "tables_parts.hpp"

namespace weir::app {
namespace {

std::string in_seconds(std::uint64_t seconds) {
    return seconds == 0 ? "-" : human_duration(std::chrono::seconds(seconds));
}

std::string table_of_caps(const Json& caps) {
    Table table({"WHOSE", "CAP", "USED", "LEFT", "NEXT FREE", "ALL FREE"});
    for (const auto& cap : caps) {
        const auto granted = number_at(cap, "granted");
        table.add({
            text_at(cap, "whose"),
            text_at(cap, "in_words"),
            amount_at(cap, "used") + "/" + amount_at(cap, "limit"),
            amount_at(cap, "left") +
                (granted == 0 ? "" : fmt::format(" ({} granted)", grouped(granted))),
            in_seconds(number_at(cap, "next_free_s")),
            in_seconds(number_at(cap, "full_reset_s")),
        });
    }
    return table.text();
}

std::string table_of_grants(const Json& grants) {
    Table table({"GRANTED", "MODELS", "LEFT", "UNTIL"});
    for (const auto& grant : grants) {
        table.add({
            grouped(number_at(grant, "messages")),
            text_at(grant, "models"),
            grouped(number_at(grant, "left")),
            text_at(grant, "until"),
        });
    }
    return table.text();
}

std::string messages(std::uint64_t count) {
    return fmt::format("{} message{}", grouped(count), count == 1 ? "" : "s");
}

}  // namespace

std::string tell_key(const Json& answer) {
    std::string out = fmt::format(
        "name  {}\nid    {}\nplan  {}\nteam  {}\nmade  {}\n",
        text_at(answer, "name"),
        text_at(answer, "id"),
        text_at(answer, "plan"),
        or_dash(text_at(answer, "team")),
        when_made(answer)
    );
    const auto note = not_in_force(answer);
    if (!note.empty()) return out + "\nIt is " + note;
    const auto& caps = list_at(answer, "caps");
    if (caps.empty()) out += "caps  none\n";
    if (!caps.empty()) out += "\n" + table_of_caps(caps);
    const auto& grants = list_at(answer, "grants");
    if (!grants.empty()) out += "\n" + table_of_grants(grants);
    return out;
}

std::string tell_granted(const Json& answer) {
    return fmt::format(
        "{} has {} more for {}, until {}.\n",
        text_at(answer, "key"),
        messages(number_at(answer, "messages")),
        text_at(answer, "models"),
        text_at(answer, "until")
    );
}

std::string tell_reset(const Json& answer) {
    return fmt::format(
        "The caps of {} begin anew for {}: {} taken out.\n",
        text_at(answer, "key"),
        text_at(answer, "models"),
        messages(number_at(answer, "reset"))
    );
}

std::string tell_explained(const Json& answer) {
    std::string out;
    for (const auto& line : list_at(answer, "why")) {
        if (line.is_string()) out += printable(line.get_ref<const std::string&>()) + "\n";
    }
    if (out.empty()) out = "There is nothing to say.\n";
    const auto& caps = list_at(answer, "caps");
    if (!caps.empty()) out += "\n" + table_of_caps(caps);
    const auto& grants = list_at(answer, "grants");
    if (!grants.empty()) out += "\n" + table_of_grants(grants);
    return out;
}

std::string tell_audit(const Json& answer) {
    const auto& rows = list_at(answer, "audit");
    if (rows.empty()) return "Nothing was changed yet.\n";
    Table table({"WHEN", "WHO", "WHAT", "OF", "HOW"});
    for (const auto& row : rows) {
        table.add({
            text_at(row, "at"),
            text_at(row, "actor"),
            text_at(row, "act"),
            text_at(row, "subject"),
            or_dash(text_at(row, "detail")),
        });
    }
    return table.text();
}

}  // namespace weir::app
