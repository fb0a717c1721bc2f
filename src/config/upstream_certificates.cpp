#include <string>
#include <utility>

#include <fmt/format.h>

#include "certificates.hpp"
#include "upstream_parts.hpp"

namespace weir::config {

namespace {

constexpr std::string_view kPemCertificates =
    "expected PEM: lines between -----BEGIN CERTIFICATE----- and -----END CERTIFICATE-----";

struct PemFile {
    std::string path;
    std::string shown;
    std::string text;
};

std::optional<PemFile> read_pem(Reader& reader, const Node& node, std::string_view label) {
    auto path = reader.value(node, label, "the path of a PEM file");
    if (!path) return std::nullopt;
    auto pem = reader.sources().file(path->text);
    if (!pem) {
        reader.fault(node, fmt::format("`{}`: cannot be read as a file: {}", label, path->shown));
        return std::nullopt;
    }
    return PemFile{std::move(path->text), std::move(path->shown), std::move(*pem)};
}

// A file of certificates that can all be read.
std::optional<PemFile> read_chain(Reader& reader, const Node& node, std::string_view label) {
    auto file = read_pem(reader, node, label);
    if (!file) return std::nullopt;
    if (const auto wrong = certificates_fault(file->text)) {
        reader.fault(
            node,
            fmt::format("`{}`: {} in {}", label, *wrong, file->shown),
            std::string(kPemCertificates)
        );
        return std::nullopt;
    }
    return file;
}

void read_own_certificate(
    Reader& reader, const Node& certificate, const Node& key, Upstream& upstream
) {
    auto chain = read_chain(reader, certificate, "certificate");
    auto secret = read_pem(reader, key, "certificate_key");
    if (!chain || !secret) return;
    if (const auto wrong = certificate_key_fault(secret->text, chain->text)) {
        reader.fault(
            key,
            fmt::format("`certificate_key`: {} in {}", *wrong, secret->shown),
            "expected PEM: lines between -----BEGIN PRIVATE KEY----- and -----END PRIVATE KEY-----"
        );
        return;
    }
    upstream.certificate_file = std::move(chain->path);
    upstream.certificate_key_file = std::move(secret->path);
}

}  // namespace

void read_certificates(Section& section, Reader& reader, Upstream& upstream) {
    const Node* const ca = section.find("ca");
    const Node* const certificate = section.find("certificate");
    const Node* const key = section.find("certificate_key");
    if (ca != nullptr) {
        if (auto trusted = read_chain(reader, *ca, "ca")) upstream.ca_file = trusted->path;
    }
    if (certificate != nullptr && key != nullptr) {
        read_own_certificate(reader, *certificate, *key, upstream);
    } else if (certificate != nullptr) {
        reader.fault(*certificate, "`certificate` needs a `certificate_key`");
    } else if (key != nullptr) {
        reader.fault(*key, "`certificate_key` needs a `certificate`");
    }
    if (upstream.url.empty() || upstream.tls) return;
    if (ca != nullptr && !(upstream.proxy && upstream.proxy->tls)) {
        reader.fault(*ca, "`ca` is for https, and this upstream's `url` is http");
    }
    if (certificate != nullptr) {
        reader.fault(*certificate, "`certificate` is for https, and this upstream's `url` is http");
    }
}

}  // namespace weir::config
