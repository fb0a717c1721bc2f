#include "weir/upstream/target.hpp"

#include <gtest/gtest.h>

namespace weir::upstream {
namespace {

config::Upstream azure(std::string version) {
    config::Upstream out;
    out.kind = config::Kind::kAzure;
    out.api_version = std::move(version);
    out.deployments = {{"gpt-4o", "prod"}, {"o3", "o_3.b-x"}};
    return out;
}

TEST(Target, IsTheBasePathAndWhatStandsBehindV1) {
    config::Upstream plain;
    plain.base_path = "/api/v2";
    EXPECT_EQ(target_on(plain, "/v1/chat/completions", "", "m"), "/api/v2/chat/completions");
    EXPECT_EQ(target_on(plain, "/v1/files/a%2Fb", "x=1&&y", ""), "/api/v2/files/a%2Fb?x=1&&y");
    plain.base_path.clear();
    EXPECT_EQ(target_on(plain, "/v1/models", "", ""), "/models");
    EXPECT_EQ(model_on(plain, "m"), "m");
}

TEST(Target, OwnParametersAreEncodedAndReplaceTheClients) {
    config::Upstream upstream;
    upstream.base_path = "/v1";
    upstream.query = {{"key", "a&b=c d"}, {"n m", ""}};
    const auto at = [&](std::string_view query) {
        return target_on(upstream, "/v1/files", query, "");
    };
    const std::string own = "key=a%26b%3Dc%20d&n%20m=";
    EXPECT_EQ(at(""), "/v1/files?" + own);
    EXPECT_EQ(at("a=1"), "/v1/files?a=1&" + own);
    EXPECT_EQ(at("key=1"), "/v1/files?" + own);
    EXPECT_EQ(at("key=1&a=%20&key&key=2&b"), "/v1/files?a=%20&b&" + own);
    EXPECT_EQ(at("%6bey=1&k%65%79=2&Key=3&keys=4&ke=5"), "/v1/files?Key=3&keys=4&ke=5&" + own);
    EXPECT_EQ(at("n+m=1&n%20m=2&n%2bm=3"), "/v1/files?n%2bm=3&" + own);
    EXPECT_EQ(at("&&a&"), "/v1/files?a&" + own);
    EXPECT_EQ(at("%=1&%6=2&%zz=3"), "/v1/files?%=1&%6=2&%zz=3&" + own);
}

struct Row {
    std::string_view path;
    std::string_view model;
    std::string_view target;
    std::string_view query = "";
};

TEST(Target, AzureHasExactlyItsModelEndpointsBelowDeployments) {
    const config::Upstream upstream = azure("2024-10-21");
    for (const Row& row : {
             Row{"/v1/chat/completions", "gpt-4o", "/openai/deployments/prod/chat/completions"},
             Row{"/v1/chat/completions", "GPT-4o", "/openai/deployments/prod/chat/completions"},
             Row{"/v1/chat/completions", "other", "/openai/deployments/other/chat/completions"},
             Row{"/v1/completions", "o3", "/openai/deployments/o_3.b-x/completions"},
             Row{"/v1/embeddings", "..", "/openai/embeddings"},
             Row{"/v1/embeddings", "a/../b", "/openai/embeddings"},
             Row{"/v1/embeddings", "a%2Fb", "/openai/embeddings"},
             Row{"/v1/audio/transcriptions", "w", "/openai/deployments/w/audio/transcriptions"},
             Row{"/v1/audio/translations", "w", "/openai/deployments/w/audio/translations"},
             Row{"/v1/audio/speech", "t", "/openai/deployments/t/audio/speech"},
             Row{"/v1/images/generations", "d", "/openai/deployments/d/images/generations"},
             Row{"/v1/images/edits", "d", "/openai/deployments/d/images/edits"},
             Row{"/v1/images/variations", "d", "/openai/images/variations"},
             Row{"/v1/chat/completions/x", "gpt-4o", "/openai/chat/completions/x"},
             Row{"/v1/chat/completions", "", "/openai/chat/completions"},
             Row{"/v1/responses", "gpt-4o", "/openai/responses"},
             Row{"/v1/files", "", "/openai/files"},
         }) {
        EXPECT_EQ(
            target_on(upstream, row.path, "", row.model),
            std::string(row.target) + "?api-version=2024-10-21"
        );
    }
    EXPECT_EQ(
        target_on(upstream, "/v1/files", "api-version=1&limit=2", ""),
        "/openai/files?limit=2&api-version=2024-10-21"
    );
}

TEST(Target, AzuresNewerSurfaceIsShapedAsOpenAis) {
    for (const std::string_view version : {"", "preview", "latest", "v1"}) {
        const config::Upstream upstream = azure(std::string(version));
        const std::string end = version.empty() ? "" : "?api-version=" + std::string(version);
        for (const Row& row : {
                 Row{"/v1/chat/completions", "gpt-4o", "/openai/v1/chat/completions"},
                 Row{"/v1/responses", "gpt-4o", "/openai/v1/responses"},
                 Row{"/v1/models", "", "/openai/v1/models"},
             }) {
            EXPECT_EQ(target_on(upstream, row.path, "", row.model), std::string(row.target) + end);
        }
        EXPECT_EQ(model_on(upstream, "GPT-4O"), "prod");
        EXPECT_EQ(model_on(upstream, "gpt-4"), "gpt-4");
        EXPECT_EQ(model_on(upstream, ""), "");
    }
    EXPECT_EQ(
        target_on(azure(""), "/v1/files", "api-version=preview", ""),
        "/openai/v1/files?api-version=preview"
    );
}

TEST(Target, ASessionNamesItsModelInTheQuery) {
    config::Upstream plain;
    plain.base_path = "/v1";
    EXPECT_EQ(
        target_on(plain, "/v1/realtime", "model=alias&x=1", "gpt-realtime"),
        "/v1/realtime?x=1&model=gpt-realtime"
    );
    EXPECT_EQ(
        target_on(plain, "/v1/realtime", "intent=transcription", ""),
        "/v1/realtime?intent=transcription"
    );
    EXPECT_EQ(
        target_on(azure("2024-10-01-preview"), "/v1/realtime", "model=o3", "o3"),
        "/openai/realtime?deployment=o_3.b-x&api-version=2024-10-01-preview"
    );
    EXPECT_EQ(target_on(plain, "/v1/realtime", "", "a b/c"), "/v1/realtime?model=a%20b%2Fc");
    EXPECT_EQ(
        target_on(azure(""), "/v1/realtime", "model=gpt-4o", "gpt-4o"),
        "/openai/v1/realtime?model=prod"
    );
}

}  // namespace
}  // namespace weir::upstream
