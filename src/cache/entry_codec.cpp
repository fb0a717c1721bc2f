#include "entry_codec.hpp"

#include <utility>

#include "weir/base/crypto.hpp"

namespace weir::cache {

namespace {

constexpr std::uint64_t kFormat = 3;
constexpr std::size_t kIntegerBytes = 8;

void put_integer(std::string& out, std::uint64_t value) {
    char bytes[kIntegerBytes];
    for (std::size_t i = 0; i < kIntegerBytes; ++i) {
        bytes[i] = static_cast<char>(value >> (8 * i) & 0xff);
    }
    out.append(bytes, kIntegerBytes);
}

void put_text(std::string& out, std::string_view text) {
    put_integer(out, text.size());
    out.append(text);
}

// Reads from the front; once something was not there, everything after it is not there either.
class Reader {
public:
    explicit Reader(std::string_view bytes) noexcept : left_(bytes) {}

    std::uint64_t integer() noexcept {
        if (left_.size() < kIntegerBytes) {
            give_up();
            return 0;
        }
        std::uint64_t value = 0;
        for (std::size_t i = 0; i < kIntegerBytes; ++i) {
            value |= std::uint64_t{static_cast<unsigned char>(left_[i])} << (8 * i);
        }
        left_.remove_prefix(kIntegerBytes);
        return value;
    }
    std::string_view text() noexcept {
        const std::uint64_t size = integer();
        if (size > left_.size()) {
            give_up();
            return {};
        }
        const std::string_view found = left_.substr(0, size);
        left_.remove_prefix(size);
        return found;
    }
    [[nodiscard]] std::size_t left() const noexcept { return left_.size(); }
    [[nodiscard]] bool good() const noexcept { return good_; }

private:
    void give_up() noexcept {
        good_ = false;
        left_ = {};
    }
    std::string_view left_;
    bool good_ = true;
};

}  // namespace

std::string encode_entry(const Entry& entry) {
    std::size_t size = 17 * kIntegerBytes + entry.key_text.size() + entry.content_type.size() +
                       entry.model.size() + entry.owner.size() +
                       entry.times_ms.size() * kIntegerBytes;
    for (const std::string& part : entry.parts) size += kIntegerBytes + part.size();
    std::string out;
    out.reserve(size);
    put_integer(out, kFormat);
    put_text(out, entry.key_text);
    put_integer(out, entry.stream ? 1 : 0);
    put_integer(out, static_cast<std::uint64_t>(entry.status));
    put_integer(out, static_cast<std::uint64_t>(entry.stored_at_s));
    put_integer(out, static_cast<std::uint64_t>(entry.expires_at_s));
    put_text(out, entry.content_type);
    put_text(out, entry.model);
    put_text(out, entry.owner);
    put_integer(out, entry.usage ? 1 : 0);
    const http::Usage usage = entry.usage.value_or(http::Usage());
    put_integer(out, usage.input);
    put_integer(out, usage.cached_input);
    put_integer(out, usage.output);
    put_integer(out, entry.times_ms.size());
    for (const std::uint32_t time : entry.times_ms) put_integer(out, time);
    put_integer(out, entry.parts.size());
    for (const std::string& part : entry.parts) put_text(out, part);
    return out;
}

std::optional<Entry> decode_entry(std::string_view bytes) {
    Reader reader(bytes);
    if (reader.integer() != kFormat) return std::nullopt;
    Entry entry;
    entry.key_text = reader.text();
    entry.stream = reader.integer() != 0;
    entry.status = static_cast<int>(reader.integer());
    entry.stored_at_s = static_cast<std::int64_t>(reader.integer());
    entry.expires_at_s = static_cast<std::int64_t>(reader.integer());
    entry.content_type = reader.text();
    entry.model = reader.text();
    entry.owner = reader.text();
    const bool has_usage = reader.integer() != 0;
    const http::Usage usage{reader.integer(), reader.integer(), reader.integer()};
    if (has_usage) entry.usage = usage;
    const std::uint64_t times = reader.integer();
    if (times > reader.left() / kIntegerBytes) return std::nullopt;
    entry.times_ms.reserve(times);
    for (std::uint64_t i = 0; i < times; ++i) {
        entry.times_ms.push_back(static_cast<std::uint32_t>(reader.integer()));
    }
    const std::uint64_t parts = reader.integer();
    // Each part has at least its length: no reserve() of what cannot be there.
    if (parts > reader.left() / kIntegerBytes) return std::nullopt;
    entry.parts.reserve(parts);
    for (std::uint64_t i = 0; i < parts; ++i) entry.parts.emplace_back(reader.text());
    if (!reader.good() || reader.left() > 0) return std::nullopt;
    return entry;
}

std::int64_t checksum(std::string_view bytes) {
    const Digest digest = sha256(bytes);
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < kIntegerBytes; ++i) value = value << 8 | digest[i];
    return static_cast<std::int64_t>(value);
}

}  // namespace weir::cache
