// What is told about wrong configs; those with one thing wrong are in bad_configs.cpp.
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bad_configs.hpp"
#include "client_certificate.hpp"
#include "helpers.hpp"

namespace weir::config::testing {
namespace {

using ::testing::HasSubstr;

TEST(Faults, EachHasItsPlaceItsWordsAndItsHint) {
    const std::string whole = kCertificate;
    const ClientCertificate client = make_client_certificate();
    const Sources sources = sources_of(
        {},
        {{"/ca.pem", "# of the house\n" + whole + whole},
         {"/empty", ""},
         {"/cut", whole + whole.substr(0, 300)},
         {"/words", "-----BEGIN CERTIFICATE-----\nYWJj\n-----END CERTIFICATE-----\n"},
         {"/begun", "-----BEGIN CERTIFICATE-----\n"},
         {"/client.pem", client.certificate},
         {"/client.key", client.key},
         {"/other.key", make_client_certificate().key}}
    );
    std::vector<Bad> all(bad_configs().begin(), bad_configs().end());
    all.insert(all.end(), bad_upstreams().begin(), bad_upstreams().end());
    for (const Bad& bad : all) {
        std::string yaml(bad.yaml);
        const bool alone = yaml.find("upstreams") != std::string::npos || yaml.front() == '-' ||
                           yaml.front() == '#' || yaml.starts_with("just");
        if (!alone && bad.message.find("escape") == std::string_view::npos) {
            yaml += "\nupstreams: [{name: u, url: \"http://h\"}]\n";
        }
        const auto faults = faults_of(yaml, sources);
        ASSERT_EQ(faults.size(), 1U) << yaml << "\n" << all_texts(faults);
        const Fault& fault = faults.front();
        EXPECT_EQ(fault.file, "t.yaml");
        EXPECT_EQ(fault.line, bad.line) << yaml << "\n" << fault.text();
        EXPECT_EQ(fault.column, bad.column) << yaml << "\n" << fault.text();
        EXPECT_THAT(fault.message, HasSubstr(std::string(bad.message))) << yaml;
        EXPECT_THAT(fault.hint, HasSubstr(std::string(bad.hint))) << yaml;
        EXPECT_EQ(fault.text().find('\n'), std::string::npos);
    }
}

TEST(Faults, AllAreToldAtOnceInTheOrderOfTheFile) {
    const auto faults = faults_of(R"(workers: none
lisen: x
teams: []
workers: 3
upstreams:
  - name: a
    url: nowhere
    key: "${GONE}"
    timeouts: {connect: 5, totl: 1s}
  - {name: a, url: "http://h"}
keys:
  - {name: alice, plan: nobody, secret: short}
models: {a: {serve_as: b}, b: {serve_as: a}}
cache: {ttl: soon}
)");
    std::vector<std::pair<int, int>> places;
    for (const Fault& fault : faults) places.emplace_back(fault.line, fault.column);
    const std::vector<std::pair<int, int>> expected = {
        {1, 10},
        {2, 1},
        {3, 8},
        {4, 1},
        {7, 10},
        {8, 10},
        {9, 25},
        {9, 28},
        {10, 12},
        {12, 25},
        {12, 41},
        {13, 24},
        {13, 42},
        {14, 14},
    };
    EXPECT_EQ(places, expected) << all_texts(faults);
}

TEST(Faults, OneMistakeIsOneFault) {
    for (const std::string_view yaml : {
             "upstreams: [{name: a, url: \"http://h\"}]\n"
             "plans: {p: {caps: [{models: [a, b], allow: 1/day}, {allow: 2/day}]}}",
             "upstreams: [{name: a, url: \"http://h\"}]\n"
             "plans: {p: {caps: [{models: \"a, b\", allow: 1/day}, {models: \"*\", allow: "
             "2/day}]}}",
             "upstreams: [{name: a, url: \"http://h\"}]\nlimits: {body: 600MiB, bodies: 2GB2}",
             "upstreams: [{name: a, url: \"http://h\"}]\nlimits: {body: 600miles, bodies: 1MiB}",
             "upstreams: [{name: a, url: \"http://h\"}]\ncache: {max_size: 1MiB, max_entry: 2x}",
         }) {
        const auto faults = faults_of(yaml);
        EXPECT_EQ(faults.size(), 1U) << all_texts(faults);
    }
}

TEST(Faults, CirclesOfAliasesAreToldWithTheirWay) {
    const auto faults = faults_of(
        "models:\n  a: {serve_as: b}\n  b: {serve_as: c}\n  c: {serve_as: b}\n"
        "upstreams: [{name: u, url: \"http://h\"}]"
    );
    ASSERT_EQ(faults.size(), 3U) << all_texts(faults);
    EXPECT_EQ(faults[0].hint, "`a -> b -> c -> b`");
    EXPECT_EQ(faults[1].line, 3);
    std::string chain = "models:\n";
    for (int i = 0; i < 17; ++i) {
        chain += "  m" + std::to_string(i) + ": {serve_as: m" + std::to_string(i + 1) + "}\n";
    }
    EXPECT_THAT(
        all_texts(faults_of(chain + "upstreams: [{name: u, url: \"http://h\"}]")),
        HasSubstr("aliases in a row")
    );
}

TEST(Faults, AreBoundedInNumberAndToldOnceThroughAliases) {
    std::string many = "upstreams:\n";
    for (int i = 0; i < 500; ++i) many += "  - {x: 1}\n";
    const auto faults = faults_of(many);
    ASSERT_EQ(faults.size(), 101U);
    EXPECT_EQ(faults[0].line, 2);
    EXPECT_EQ(faults.back().message, "and 1400 more faults");

    const auto once = faults_of(
        "plans:\n  a: {caps: &c [{allow: x}]}\n  b: {caps: *c}\nupstreams: [{name: u, url: "
        "\"http://h\"}]"
    );
    EXPECT_EQ(once.size(), 1U) << all_texts(once);
}

}  // namespace
}  // namespace weir::config::testing
