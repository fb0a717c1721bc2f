// Requests that are malformed, ambiguous or odd, and what must become of each. Shared by the tests
// of the parser and its fuzzer.
#pragma once

#include <string>
#include <vector>

namespace weir::http::test {

struct RequestCase {
    std::string name;
    std::string bytes;
    int refused = 0;           // 0: accepted
    std::size_t requests = 1;  // how many are read before the end or the refusal
    std::string body;          // of the first one
};

std::vector<RequestCase> request_corpus();

}  // namespace weir::http::test
