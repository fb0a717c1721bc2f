#include "join_base64.hpp"

#include <algorithm>
#include <cstddef>
#include <string_view>
#include <utility>

#include <openssl/evp.h>

namespace weir::http {

namespace {

// OpenSSL takes signed bytes counts, and unsigned bytes.
int size_of(std::string_view text) noexcept {
    return static_cast<int>(text.size());
}
const unsigned char* data_of(std::string_view text) noexcept {
    return reinterpret_cast<const unsigned char*>(text.data());
}
unsigned char* data_of(std::string& text) noexcept {
    return reinterpret_cast<unsigned char*>(text.data());
}

// Appends the bytes of a text that ends with `padding`. False: it is not base64.
bool decode(std::string_view text, std::size_t padding, std::string& out) {
    if (text.size() % 4 != 0 || padding > 2) return false;
    std::string bytes(text.size() / 4 * 3, '\0');
    const int size = EVP_DecodeBlock(data_of(bytes), data_of(text), size_of(text));
    if (size != size_of(bytes)) return false;
    out.append(bytes, 0, bytes.size() - padding);
    return true;
}

}  // namespace

std::string join_base64(std::string texts) {
    constexpr std::size_t kLongest = std::size_t{1} << 30;  // sizes are ints there
    const std::string_view all(texts);
    const std::size_t inside = all.find_first_not_of('=', std::min(all.find('='), all.size()));
    if (inside == std::string_view::npos || all.size() > kLongest) return texts;
    std::string bytes;
    for (std::size_t at = 0; at < all.size();) {
        const std::size_t padding = std::min(all.find('=', at), all.size());
        const std::size_t end = std::min(all.find_first_not_of('=', padding), all.size());
        if (!decode(all.substr(at, end - at), end - padding, bytes)) return texts;
        at = end;
    }
    std::string out((((bytes.size() + 2) / 3) * 4) + 1, '\0');  // OpenSSL ends it with a NUL
    EVP_EncodeBlock(data_of(out), data_of(bytes), size_of(bytes));
    out.pop_back();
    return out;
}

}  // namespace weir::http
