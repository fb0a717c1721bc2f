// Sources of a test's own, and short ways to load a text.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "weir/config/load.hpp"

namespace weir::config::testing {

using Texts = std::map<std::string, std::string>;

// A certificate that signed itself, valid until 2126; nobody has its key.
inline constexpr char kCertificate[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBfjCCASWgAwIBAgIUbTgjQ4K+oeKLJjQTR1gzqlT0UB8wCgYIKoZIzj0EAwIw\n"
    "FDESMBAGA1UEAwwJd2VpciB0ZXN0MCAXDTI2MTEyNTA4NDUzOVoYDzIxMjYxMTAx\n"
    "MDg0NTM5WjAUMRIwEAYDVQQDDAl3ZWlyIHRlc3QwWTATBgcqhkjOPQIBBggqhkjO\n"
    "PQMBBwNCAARmxvmTOR6KG75Xi50/HP/pxQiF+oQSEothklT9VuiKBHq1KdJqQykH\n"
    "z2DmlPbT6/yxhbaVP89/+aHv9F5U9evjo1MwUTAdBgNVHQ4EFgQUNTquXJWspi95\n"
    "wOeKG0Oc7h2TsKAwHwYDVR0jBBgwFoAUNTquXJWspi95wOeKG0Oc7h2TsKAwDwYD\n"
    "VR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNHADBEAiB/u0Wrt47tx8mM/b5SLhT6\n"
    "YXqLFXBaIIQ3cqjQCnSNfgIgKf8v5l9shvEIN1FiA6K31F8W+RKSi+N8MbwqSxOM\n"
    "NXU=\n"
    "-----END CERTIFICATE-----\n";

inline Sources sources_of(Texts environment = {}, Texts files = {}) {
    const auto look_up = [](Texts texts) {
        return [texts = std::move(texts)](const std::string& name) -> std::optional<std::string> {
            const auto found = texts.find(name);
            if (found == texts.end()) return std::nullopt;
            return found->second;
        };
    };
    return {look_up(std::move(environment)), look_up(std::move(files))};
}

inline std::string all_texts(const std::vector<Fault>& faults) {
    std::string all;
    for (const Fault& fault : faults) all += fault.text() + "\n";
    return all;
}

// The config, which must be good.
inline std::shared_ptr<const Config> good(std::string_view yaml, const Sources& sources) {
    const Loaded loaded = load_text(yaml, "t.yaml", sources);
    EXPECT_TRUE(loaded.has_value()) << all_texts(loaded.error()) << yaml;
    return loaded.has_value() ? *loaded : std::make_shared<const Config>();
}

// As above, with an upstream added behind.
inline std::shared_ptr<const Config> good_with_upstream(
    std::string_view yaml, const Sources& sources = sources_of()
) {
    return good(std::string(yaml) + "\nupstreams: [{name: a, url: \"http://h\"}]\n", sources);
}

// The faults, which there must be.
inline std::vector<Fault> faults_of(std::string_view yaml, const Sources& sources = sources_of()) {
    const Loaded loaded = load_text(yaml, "t.yaml", sources);
    EXPECT_FALSE(loaded.has_value()) << "taken as right:\n" << yaml;
    return loaded.has_value() ? std::vector<Fault>{} : loaded.error();
}

}  // namespace weir::config::testing
