// Answers that are errors by their status. The client's own faults reach it as they are; what is
// the gateway's is told in its words; how long to wait is told, and bounded.
#include <algorithm>
#include <iterator>

#include "fault_matrix.hpp"

namespace weir::test {

namespace {

const std::string kKey = kUpstreamKey;

// What another call may mend, and what another upstream may, and what none may.
Tries again(int status) {
    return {std::to_string(status), 3, true};
}
Tries elsewhere(int status) {
    return {std::to_string(status), 1, true};
}
Tries never(int status) {
    return {std::to_string(status), 1, false};
}

std::string said(const std::string& message, const std::string& code = "null") {
    return R"({"error": {"message": ")" + message +
           R"(", "type": "theirs", "param": null, "code": )" + code + "}}";
}

std::string answer(int status, const std::string& body, const std::string& fields = "") {
    return json_answer(body, std::to_string(status) + " Told", fields);
}

// Passed on as it is, with a bounded wait.
Row theirs(
    const std::string& more,
    int status,
    Tries tries,
    const std::string& fields = "",
    const std::string& wait = ""
) {
    const std::string body = said("as it is");
    Row row;
    row.name = "status " + std::to_string(status) + more;
    row.does = say(answer(status, body, fields));
    row.told = passed_on(status, body);
    row.told.retry_after = wait;
    row.tries = std::move(tries);
    return row;
}

Row ours(
    std::string name, const std::string& all, Told told, Tries tries, Then then = Then::kKeep
) {
    return {
        .name = std::move(name),
        .does = say(all, then),
        .told = std::move(told),
        .tries = std::move(tries)
    };
}

// Their 429 with those fields: ours names the wait. The key rests, so that nobody is asked again
// where that would take long.
Row busy(std::string name, const std::string& fields, std::string wait, int alone = 1) {
    Told told = failed("takes no more requests", 429);
    told.code = "rate_limit_exceeded";
    told.type = "requests";
    told.retry_after = std::move(wait);
    const std::string body = said("slow down", "\"rate_limit_exceeded\"");
    return ours("429 " + name, answer(429, body, fields), told, {"429", alone, true});
}

// Only a person can mend it, unless another upstream does.
Row for_a_person(int status, const std::string& body, std::string says, std::string code) {
    Told told = failed(std::move(says), code.empty() ? 502 : 503);
    if (!code.empty()) told.code = std::move(code);
    told.should_retry = "false";
    return ours(
        "status " + std::to_string(status) + " of our account",
        answer(status, body),
        told,
        elsewhere(status)
    );
}

Told no_reason(int status) {
    return failed("answered " + std::to_string(status), status);
}

std::vector<Row> refusals() {
    const std::string cut_head = "Content-Type: application/json\r\nContent-Length: 99\r\n";
    const std::string html = "Content-Type: text/html\r\nContent-Length: 18\r\n";
    Told told = passed_on(404, said("no such model"));
    told.field = {"x-upstream-request-id", "their-id"};
    return {
        ours(
            "a refusal with a number",
            answer(404, said("no such model"), "X-Request-Id: their-id\r\n"),
            told,
            never(404)
        ),
        ours(
            "HTML of a 502",
            head(html, "502 Bad") + "<html>nginx</html>",
            no_reason(502),
            again(502)
        ),
        ours("a 500 that says nothing", answer(500, ""), no_reason(500), again(500)),
        ours("a 504 that says nothing", answer(504, ""), no_reason(504), again(504)),
        ours(
            "our key in a refusal",
            answer(400, said("no such thing for " + kKey), "OpenAI-Model: " + kKey + "\r\n"),
            passed_on(400, said("no such thing for [redacted]")),
            never(400)
        ),
        ours(
            "a refusal that is too long",
            answer(400, said(std::string(300 << 10, 'x'))),
            no_reason(400),
            never(400)
        ),
        ours(
            "a refusal that is cut",
            head(cut_head, "404 No") + "{\"error\":",
            no_reason(404),
            never(404),
            Then::kReset
        ),
        ours(
            "a failure that is cut",
            head(cut_head, "500 No") + "{\"error\":",
            no_reason(500),
            again(500),
            Then::kReset
        ),
    };
}

}  // namespace

std::vector<Row> rows_of_statuses() {
    std::vector<Row> rows = {
        for_a_person(401, said("Incorrect key: " + kKey), "does not accept the key", ""),
        for_a_person(403, said("not you"), "does not accept the key", ""),
        for_a_person(402, said("pay"), "out of quota or money", "upstream_quota_exhausted"),
        for_a_person(
            429,
            said("pay", "\"insufficient_quota\""),
            "out of quota or money",
            "upstream_quota_exhausted"
        ),
        theirs(" that asks for much time", 503, elsewhere(503), "Retry-After: 900\r\n", "60"),
        theirs(
            " that asks for much time in milliseconds",
            503,
            elsewhere(503),
            "Retry-After-Ms: 900000\r\n",
            "2"
        ),
        theirs(" that asks for little time", 503, again(503), "Retry-After-Ms: 5\r\n", "2"),
        theirs(" that wants no retry", 503, elsewhere(503), "X-Should-Retry: false\r\n"),
        theirs(" with advice of its own", 400, never(400), "X-Should-Retry: true\r\n"),
        busy("that asks for no time", "", "2"),
        busy("that asks for little time", "Retry-After-Ms: 5\r\n", "2", 3),
        busy("that asks for seconds", "Retry-After: 3\r\n", "3"),
        busy("that asks for parts of seconds", "Retry-After: 2.2\r\n", "3"),
        busy("that asks for milliseconds", "Retry-After-Ms: 900000\r\n", "2"),
        busy("that asks for an hour", "Retry-After: 3600\r\n", "60"),
        busy("that names a time", "Retry-After: Wed, 21 Oct 2099 07:28:00 GMT\r\n", "2"),
        busy("that asks for nonsense", "Retry-After: soon\r\n", "2"),
    };
    for (const int status : {400, 404, 405, 413, 415, 422, 424, 501}) {
        rows.push_back(theirs("", status, never(status)));
    }
    for (const int status : {408, 409, 500, 502, 503, 529}) {
        rows.push_back(theirs("", status, again(status)));
    }
    for (const int status : {301, 302, 304, 307, 308}) {
        const std::string there = "Location: http://127.0.0.1:1/v1/x\r\n";
        rows.push_back(ours(
            "status " + std::to_string(status),
            status == 304 ? head("", "304 Not Modified") : answer(status, "{}", there),
            failed("cannot be understood"),
            never(status)
        ));
    }
    std::ranges::move(refusals(), std::back_inserter(rows));
    return rows;
}

}  // namespace weir::test
