// Any bytes as a form, cut in two places that the input names: the parts are the same as without
// cuts, each stands between two boundaries, and what can be read can be given another model.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "weir/http/multipart.hpp"

namespace {

void require(bool condition) {
    if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace weir::http;
    if (size < 2) return 0;
    const std::string_view text(reinterpret_cast<const char*>(data) + 2, size - 2);
    const std::size_t first = text.empty() ? 0 : data[0] % (text.size() + 1);
    const std::size_t second = first + data[1] % (text.size() - first + 1);

    MultipartReader whole("B");
    const bool fine = whole.feed(text) && whole.finish();
    MultipartReader pieces("B");
    const bool same = pieces.feed(text.substr(0, first)) &&
                      pieces.feed(text.substr(first, second - first)) &&
                      pieces.feed(text.substr(second)) && pieces.finish();
    require(fine == same && whole.parts() == pieces.parts() && whole.why() == pieces.why());
    for (const FormPart& part : whole.parts()) {
        if (!fine) break;
        const std::size_t end = part.content.offset + part.content.length;
        require(end <= text.size() && text.substr(end).starts_with("\r\n--B"));
    }

    (void)form_boundary(text);
    constexpr std::string_view kType = "multipart/form-data; boundary=B";
    const auto form = read_form(text, kType, Files::kImage);
    if (!form) return 0;
    const auto changed = rewrite_form(text, form->request, form->place, "another");
    require(changed.has_value());
    const auto again = read_form(changed->view(), kType, Files::kImage);
    require(again.has_value() && again->request.model == "another");
    require(again->request.media_bytes == form->request.media_bytes);
    return 0;
}
