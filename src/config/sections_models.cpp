#include <algorithm>
#include <map>
#include <set>
#include <string>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "weir/base/text.hpp"
#include "weir/config/endpoint_groups.hpp"

#include "sections.hpp"
#include "sections_caps.hpp"

namespace weir::config {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t kLongestChain = 16;
constexpr std::int64_t kMostOutput = 10'000'000;  // tokens of one answer

using Names = std::map<std::string, const Node*, std::less<>>;

// Puts the end of each chain of aliases into its start, and tells those that never end.
void follow_aliases(Reader& reader, Config& config, const Names& places) {
    std::map<std::string_view, const Model*> by_name;
    for (const Model& model : config.models) by_name.emplace(model.name, &model);
    std::vector<std::string> ends;
    for (const Model& model : config.models) {
        std::string end = model.serve_as;
        std::set<std::string, std::less<>> seen = {model.name};
        std::string way = model.name;
        while (!end.empty()) {
            way += " -> " + end;
            const Node& place = *places.find(model.name)->second;
            if (end == model.serve_as && end == model.name) {
                reader.fault(
                    place,
                    fmt::format("the model {} is served as itself", quoted(end)),
                    "remove `serve_as`"
                );
                break;
            }
            if (!seen.insert(end).second) {
                reader.fault(
                    place,
                    fmt::format("the model {} is served in a circle", quoted(model.name)),
                    quoted(way)
                );
                break;
            }
            if (seen.size() > kLongestChain) {
                reader.fault(
                    place, fmt::format("more than {} aliases in a row", kLongestChain - 1)
                );
                break;
            }
            const auto next = by_name.find(end);
            if (next == by_name.end() || next->second->serve_as.empty()) break;
            end = next->second->serve_as;
        }
        ends.push_back(std::move(end));
    }
    for (std::size_t i = 0; i < ends.size(); ++i) config.models[i].serve_as = std::move(ends[i]);
}

void read_aliases(Reader& reader, const Node& node, Config& config) {
    Names places;
    for (const Named& entry : named_entries(reader, node, "models", "a map of model names")) {
        if (!is_model_name(
                reader, *entry.key, entry.name, shown_name(entry.name, "this"), "an alias"
            )) {
            continue;
        }
        Model model;
        model.name = entry.name;
        const Node* place = entry.key;
        if (entry.value->kind == Node::Kind::kScalar) {
            reader.fault(
                *entry.value,
                fmt::format(
                    "`models`: expected a map for {}, found a single value",
                    shown_name(model.name, "this name")
                ),
                "write {serve_as: NAME}"
            );
            continue;
        }
        Section section(reader, *entry.value, "a model", "");
        if (const Node* const serve_as = section.find("serve_as")) {
            const auto name = reader.name(*serve_as, "serve_as");
            if (name && is_model_name(reader, *serve_as, name->text, name->shown, "an alias")) {
                model.serve_as = name->text;
                place = serve_as;
            }
        }
        section.number("max_output", model.max_output, 1, kMostOutput);
        section.later("inputs");
        section.finish();
        places.emplace(model.name, place);
        config.models.push_back(std::move(model));
    }
    follow_aliases(reader, config, places);
}

// `inputs` of a plan: what stands in the list is let through, the rest is not.
void read_inputs(Reader& reader, const Node& node, Inputs& out) {
    static constexpr std::string_view kExpected = "a list of text, image, audio and file";
    if (node.kind == Node::Kind::kScalar) {
        reader.fault(
            node,
            fmt::format("`inputs`: expected {}, found a single value", kExpected),
            "write [text], or [text, image]"
        );
        return;
    }
    if (!reader.is_list(node, "inputs", kExpected)) return;
    static const std::vector<std::string> kWords = {"text", "image", "audio", "file"};
    std::set<std::string, std::less<>> found;
    bool right = true;
    for (const NodePtr& item : node.items) {
        const auto value = reader.value(*item, "inputs", "text, image, audio or file");
        if (!value) {
            right = false;
        } else if (std::ranges::find(kWords, value->text) == kWords.end()) {
            right = false;
            std::string hint = did_you_mean(value->text, kWords);
            if (hint.empty() && value->text.starts_with("pdf")) hint = "write `file`";
            reader.fault(
                *item,
                fmt::format(
                    "`inputs`: expected text, image, audio or file, found {}", value->shown
                ),
                std::move(hint)
            );
        } else {
            found.insert(value->text);
        }
    }
    if (!right) return;
    if (!found.contains("text")) {
        reader.fault(
            node, "`inputs` lacks `text`: each request has some", "write [text, image, audio]"
        );
        return;
    }
    out = {found.contains("image"), found.contains("audio"), found.contains("file")};
}

// `endpoints` of a plan: groups of closed ones, one or a list.
void read_endpoints(Reader& reader, const Node& node, std::vector<std::string>& out) {
    static const std::vector<std::string> kGroups(kEndpointGroups.begin(), kEndpointGroups.end());
    const auto read_one = [&](const Node& one) {
        const auto name = reader.value(one, "endpoints", "a group of endpoints such as files");
        if (!name) return;
        if (std::ranges::find(kGroups, name->text) == kGroups.end()) {
            std::string hint = did_you_mean(name->text, kGroups);
            if (hint.empty()) hint = fmt::format("closed ones are: {}", fmt::join(kGroups, ", "));
            reader.fault(
                one,
                fmt::format("`endpoints`: there is no group of closed endpoints {}", name->shown),
                std::move(hint)
            );
        } else if (std::ranges::find(out, name->text) != out.end()) {
            reader.fault(one, fmt::format("`endpoints`: {} stands twice", name->shown));
        } else {
            out.push_back(name->text);
        }
    };
    if (node.kind != Node::Kind::kList) return read_one(node);
    for (const NodePtr& item : node.items) read_one(*item);
}

Plan read_plan(Reader& reader, const Named& entry, const Config& config, ThenPlaces& places) {
    Plan plan;
    plan.name = entry.name;
    const std::string shown = shown_name(plan.name, "");
    Section section(reader, *entry.value, shown.empty() ? "a plan" : "the plan " + shown, "");
    read_caps(section, reader, config, plan.caps, places);
    if (const Node* const models = section.find("models")) {
        reader.patterns(*models, "models", plan.models, false);
    }
    if (const Node* const deny = section.find("deny")) {
        reader.patterns(*deny, "deny", plan.deny, true);
    }
    if (const Node* const inputs = section.find("inputs")) {
        read_inputs(reader, *inputs, plan.inputs);
    }
    section.size("max_input", plan.max_input_bytes, 1, 4 * kGiB);
    section.number("max_output", plan.max_output, 1, kMostOutput);
    if (const Node* const endpoints = section.find("endpoints")) {
        read_endpoints(reader, *endpoints, plan.endpoints);
    }
    section.finish();
    return plan;
}

Team read_team(Reader& reader, const Named& entry, const Config& config, ThenPlaces& places) {
    Team team;
    team.name = entry.name;
    const std::string shown = shown_name(team.name, "");
    Section section(reader, *entry.value, shown.empty() ? "a team" : "the team " + shown, "");
    read_caps(section, reader, config, team.caps, places);
    section.finish();
    return team;
}

}  // namespace

void read_models(Section& root, Reader& reader, Config& config) {
    if (const Node* const models = root.find("models")) read_aliases(reader, *models, config);
}

void read_holders(Section& root, Reader& reader, Config& config, CapPlaces& places) {
    if (const Node* const node = root.find("plans")) {
        for (const Named& entry : named_entries(reader, *node, "plans", "a map of plans")) {
            config.plans.push_back(read_plan(reader, entry, config, places.plans.emplace_back()));
        }
    }
    if (const Node* const node = root.find("teams")) {
        for (const Named& entry : named_entries(reader, *node, "teams", "a map of teams")) {
            config.teams.push_back(read_team(reader, entry, config, places.teams.emplace_back()));
        }
    }
    read_caps(root, reader, config, config.caps, places.global);
}

}  // namespace weir::config
