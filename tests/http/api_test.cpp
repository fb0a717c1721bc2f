#include "weir/http/api.hpp"

#include <set>
#include <string>

#include <gtest/gtest.h>

namespace weir::http {
namespace {

const Endpoint* found(std::string_view method, std::string_view path) {
    const Found result = find_endpoint(method, path);
    return result.match == Match::kFound ? result.endpoint : nullptr;
}
Match match(std::string_view method, std::string_view path) {
    return find_endpoint(method, path).match;
}

TEST(Api, OpenEndpointsHaveTheirShapes) {
    struct Row {
        const char* path;
        Shape shape;
        BodyKind body;
        bool cacheable;
        bool counts;
    };
    for (const Row& row : {
             Row{"/v1/chat/completions", Shape::kChat, BodyKind::kJson, true, true},
             Row{"/v1/completions", Shape::kCompletion, BodyKind::kJson, true, true},
             Row{"/v1/embeddings", Shape::kEmbedding, BodyKind::kJson, true, true},
             Row{"/v1/responses", Shape::kResponse, BodyKind::kJson, true, true},
             Row{"/v1/moderations", Shape::kOther, BodyKind::kJson, true, false},
             Row{"/v1/responses/input_tokens", Shape::kOther, BodyKind::kJson, false, false},
             Row{"/v1/images/generations", Shape::kOther, BodyKind::kJson, false, true},
             Row{"/v1/images/edits", Shape::kOther, BodyKind::kForm, false, true},
             Row{"/v1/images/variations", Shape::kOther, BodyKind::kForm, false, true},
             Row{"/v1/audio/speech", Shape::kOther, BodyKind::kJson, false, true},
             Row{"/v1/audio/transcriptions", Shape::kOther, BodyKind::kForm, false, true},
             Row{"/v1/audio/translations", Shape::kOther, BodyKind::kForm, false, true},
             Row{"/v1/messages", Shape::kMessage, BodyKind::kJson, true, true},
             Row{"/v1/messages/count_tokens", Shape::kOther, BodyKind::kJson, false, false},
         }) {
        const Endpoint* endpoint = found("POST", row.path);
        ASSERT_NE(endpoint, nullptr) << row.path;
        EXPECT_EQ(endpoint->access, Access::kOpen) << row.path;
        EXPECT_EQ(endpoint->shape, row.shape) << row.path;
        EXPECT_EQ(endpoint->body, row.body) << row.path;
        EXPECT_EQ(endpoint->cacheable, row.cacheable) << row.path;
        EXPECT_EQ(endpoint->counts, row.counts) << row.path;
        EXPECT_TRUE(endpoint->group.empty()) << row.path;
    }
}

TEST(Api, MessagesAndAllBelowAreAnthropics) {
    for (const char* const path :
         {"/v1/messages",
          "/v1/messages/",
          "/v1/messages/count_tokens",
          "/v1/messages/batches/b/results",
          "/v1/messages/nothing"}) {
        EXPECT_EQ(api_of(path), Api::kAnthropic) << path;
    }
    for (const char* const path :
         {"/v1/messagesx", "/v1/chat/completions", "/v1/threads/t/messages", "/messages", "/v1", ""
         }) {
        EXPECT_EQ(api_of(path), Api::kOpenAi) << path;
    }
}

TEST(Api, ModelsAreFree) {
    for (const char* path :
         {"/v1/models", "/v1/models/gpt-4", "/v1/models/a/b", "/v1/models/a%2Fb"}) {
        const Endpoint* endpoint = found("GET", path);
        ASSERT_NE(endpoint, nullptr) << path;
        EXPECT_EQ(endpoint->access, Access::kOpen);
        EXPECT_FALSE(endpoint->counts);
        EXPECT_EQ(endpoint->body, BodyKind::kNone);
    }
    const Endpoint* removal = found("DELETE", "/v1/models/ft:gpt-4:me");
    ASSERT_NE(removal, nullptr);
    EXPECT_EQ(removal->access, Access::kClosed);
}

TEST(Api, WhatTouchesTheSharedAccountIsClosed) {
    struct Row {
        const char* method;
        const char* path;
        const char* group;
        bool counts = false;
    };
    for (const Row& row : {
             Row{"GET", "/v1/files", "files"},
             Row{"POST", "/v1/files", "files"},
             Row{"GET", "/v1/files/file-1/content", "files"},
             Row{"POST", "/v1/uploads/u/parts", "uploads"},
             Row{"POST", "/v1/batches", "batches", true},
             Row{"POST", "/v1/fine_tuning/jobs", "fine_tuning", true},
             Row{"POST", "/v1/assistants", "assistants"},
             Row{"POST", "/v1/threads/runs", "threads", true},
             Row{"POST", "/v1/vector_stores/v/search", "vector_stores", true},
             Row{"POST", "/v1/conversations", "conversations"},
             Row{"DELETE", "/v1/containers/c", "containers"},
             Row{"POST", "/v1/evals", "evals"},
             Row{"POST", "/v1/realtime/sessions", "realtime", true},
             Row{"POST", "/v1/realtime/calls/c/hangup", "realtime"},
             Row{"POST", "/v1/videos", "videos", true},
             Row{"GET", "/v1/skills", "skills"},
             Row{"POST", "/v1/chatkit/sessions", "chatkit", true},
             Row{"POST", "/v1/audio/voices", "voices", true},
             Row{"GET", "/v1/responses/resp_1", "stored_responses"},
             Row{"DELETE", "/v1/responses/resp_1", "stored_responses"},
             Row{"POST", "/v1/responses/resp_1/cancel", "stored_responses"},
             Row{"GET", "/v1/responses/resp_1/input_items", "stored_responses"},
             Row{"GET", "/v1/chat/completions", "stored_completions"},
             Row{"GET", "/v1/chat/completions/c/messages", "stored_completions"},
             Row{"POST", "/v1/chat/completions/c", "stored_completions"},
             Row{"POST", "/v1/messages/batches", "message_batches", true},
         }) {
        const Endpoint* endpoint = found(row.method, row.path);
        ASSERT_NE(endpoint, nullptr) << row.path;
        EXPECT_EQ(endpoint->access, Access::kClosed) << row.path;
        EXPECT_EQ(endpoint->group, row.group) << row.path;
        EXPECT_FALSE(endpoint->cacheable) << row.path;
        EXPECT_EQ(endpoint->counts, row.counts) << row.method << row.path;
        EXPECT_TRUE(is_group(row.group));
    }
}

TEST(Api, OrganizationIsNeverForwarded) {
    for (const char* path :
         {"/v1/organization/users", "/v1/organization", "/v1/projects/p/roles"}) {
        for (const char* method : {"GET", "POST", "DELETE"}) {
            const Endpoint* endpoint = found(method, path);
            ASSERT_NE(endpoint, nullptr) << path;
            EXPECT_EQ(endpoint->access, Access::kNever) << path;
        }
    }
}

TEST(Api, WrongMethodNamesTheRightOne) {
    const Found result = find_endpoint("PUT", "/v1/chat/completions");
    EXPECT_EQ(result.match, Match::kWrongMethod);
    ASSERT_NE(result.endpoint, nullptr);
    EXPECT_EQ(result.endpoint->method, "POST");
    EXPECT_EQ(match("GET", "/v1/embeddings"), Match::kWrongMethod);
    EXPECT_EQ(match("POST", "/v1/models"), Match::kWrongMethod);
    EXPECT_EQ(match("post", "/v1/embeddings"), Match::kWrongMethod);
    EXPECT_EQ(match("OPTIONS", "/v1/files/x"), Match::kWrongMethod);
}

TEST(Api, OtherPathsAreUnknown) {
    for (const char* path :
         {"",
          "/",
          "/v1",
          "/v1/",
          "/v2/models",
          "/v1models",
          "/v1/model",
          "/v1/modelss",
          "/v1/models/",
          "/v1/chat",
          "/v1/chat/completions/",
          "/V1/models",
          "/v1/Models",
          "/v1/files/",
          "/x/v1/models",
          "/v1/filesystem",
          "/v1/admin",
          "/v1//models",
          "/v1/embeddings/x"}) {
        EXPECT_EQ(match("GET", path), Match::kUnknown) << path;
        EXPECT_EQ(find_endpoint("GET", path).endpoint, nullptr) << path;
    }
}

// A path that an upstream may resolve to another place must not pass as part of an opened group.
TEST(Api, PathsThatLeadElsewhereAreUnknown) {
    for (const char* path :
         {"/v1/files/../organization/users",
          "/v1/files/..",
          "/v1/files/./x",
          "/v1/files/.",
          "/v1/files/%2e%2e/organization/users",
          "/v1/files/%2E./organization",
          "/v1/files/.%2e/x",
          "/v1/files/x/%2e%2e/%2e%2e/organization",
          "/v1/files/..%2forganization",
          "/v1/files/x%2F..%2F..%2Forganization",
          "/v1/files/..\\organization",
          "/v1/files/..%5corganization",
          "/v1/files//x",
          "/v1/files/x//y",
          "/v1/files/%2f%2fx",
          "/v1/files/%252e%252e/organization",
          "/v1/files/x%00",
          "/v1/models/..",
          "/v1/models/%2e%2e"}) {
        EXPECT_EQ(match("GET", path), Match::kUnknown) << path;
    }
    for (const char* path :
         {"/v1/files/a.b", "/v1/files/...", "/v1/files/.x", "/v1/files/x..", "/v1/files/%41"}) {
        EXPECT_EQ(match("GET", path), Match::kFound) << path;
    }
}

TEST(Api, TableIsConsistent) {
    std::set<std::string> rows;
    for (const Endpoint* row = endpoints_begin(); row != endpoints_end(); ++row) {
        EXPECT_TRUE(row->path.starts_with('/')) << row->path;
        EXPECT_TRUE(rows.insert(std::string(row->method) + ' ' + std::string(row->path)).second)
            << row->path;
        EXPECT_EQ(row->access == Access::kClosed, !row->group.empty()) << row->path;
        if (row->cacheable) {
            EXPECT_TRUE(row->body == BodyKind::kJson && row->method == "POST") << row->path;
        }
        if (row->counts) EXPECT_EQ(row->method, "POST") << row->path;
        // No row is hidden by one in front of it.
        std::string path = "/v1" + std::string(row->path);
        if (path.ends_with("/*")) path.replace(path.size() - 1, 1, "below");
        EXPECT_EQ(found(row->method == "*" ? "PATCH" : row->method, path), row) << row->path;
    }
    EXPECT_GT(rows.size(), 60u);
}

TEST(Api, ASegmentIsNotSeveralAndNotNone) {
    const auto counts = [](std::string_view path) { return found("POST", path)->counts; };
    EXPECT_TRUE(counts("/v1/threads/t/runs"));
    EXPECT_FALSE(counts("/v1/threads/t/x/runs"));
    EXPECT_FALSE(counts("/v1/threads/t/runs/r"));
    EXPECT_TRUE(counts("/v1/threads/t/runs/r/submit_tool_outputs"));
    EXPECT_FALSE(counts("/v1/threads/t/runs/r/cancel"));
    EXPECT_EQ(match("POST", "/v1/threads//runs"), Match::kUnknown);
    EXPECT_FALSE(is_group(""));
    EXPECT_FALSE(is_group("file"));
}

TEST(Api, OptionalModelsHaveTheApisDefault) {
    EXPECT_EQ(found("POST", "/v1/moderations")->default_model, "omni-moderation-latest");
    EXPECT_EQ(found("POST", "/v1/images/generations")->default_model, "dall-e-2");
    EXPECT_EQ(found("POST", "/v1/chat/completions")->default_model, "");
}

TEST(Api, GlobsSeeThePathBehindTheVersion) {
    EXPECT_EQ(path_behind_v1("/v1/chat/completions"), "chat/completions");
    EXPECT_EQ(path_behind_v1("/v1/models"), "models");
    for (const char* path : {"", "/", "/v1", "/v1/", "/v2/models", "v1/models", "/V1/models"}) {
        EXPECT_EQ(path_behind_v1(path), "") << path;
    }
}

}  // namespace
}  // namespace weir::http
