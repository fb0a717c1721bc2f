// The choices of completions.
#include <utility>

#include "crossing_chunks.hpp"

namespace weir::http::crossing {

namespace {

bool add(Sum& sum, Choice& choice, const std::string& key, const Json& value) {
    if (key == "text") return sum.add_member(choice.said, key, value);
    // A choice says its pieces and its names at one place; these are the pieces that vendors have.
    const bool pieces = key.starts_with("reasoning");
    return sum.add_other(choice.others, key, value, pieces, Lists::kWhole);
}

bool finish(Json said, Json& out) {
    if (!said.is_string()) return false;
    out["text"] = std::move(said);
    return true;
}

bool split(Json& choice, Json& first, Json& last) {
    const auto text = choice.find("text");
    if (text == choice.end() || !text->is_string()) return false;
    first["text"] = std::move(*text);
    choice.erase("text");
    last["text"] = "";
    return true;
}

}  // namespace

const ChoiceForm kCompletion = {
    .object = "text_completion",
    .chunk_object = "text_completion",
    .add = add,
    .finish = finish,
    .split = split,
};

}  // namespace weir::http::crossing
