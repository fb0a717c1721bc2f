// The admin API under /api/admin, for the bearer of the admin token. Every call runs on the admin
// thread and may block on the disk; one at a time. docs/admin.md lists the calls.
//
// Every act that changes something leaves a line in the log ("admin: key created") and a row in the
// audit trail, without secrets. The row is written after the act: if it cannot be, the log says so
// and the act stands. A key's text appears once, in the answer that made it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "weir/admin/audit.hpp"
#include "weir/base/clock.hpp"
#include "weir/base/crypto.hpp"
#include "weir/base/error.hpp"
#include "weir/cache/response_cache.hpp"
#include "weir/cache/savings.hpp"
#include "weir/config/config.hpp"
#include "weir/http/message.hpp"
#include "weir/keys/key_store.hpp"
#include "weir/quota/ledger.hpp"

namespace weir::admin {

// What the API works on. All outlive the Admin.
struct Services {
    keys::KeyStore& keys;
    quota::Ledger& ledger;
    cache::ResponseCache& cache;
    cache::Savings& savings;
    AuditTrail& audit;
    const Clock& clock;
    std::string token;  // secret
    // The config in force.
    std::function<std::shared_ptr<const config::Config>()> config;
    // Makes a new snapshot of config and keys and returns when it is in force on every worker.
    std::function<Result<>()> refresh;
    // Reads the config file again, all or nothing; kConfig holds the faults, one a line. The
    // settings that changed and that only a restart takes over: "listen", "log.format".
    std::function<Result<std::vector<std::string>>()> reload;
    std::string version;
};

class Admin {
public:
    explicit Admin(Services services);
    // The refusal of whoever does not bear the token, to be given before a body is read. Any
    // thread, never blocks.
    [[nodiscard]] std::optional<http::Response> check_token(const http::RequestHead& head) const;
    static constexpr std::size_t kLargestBody = 64 << 10;
    // What a larger body gets; for those who read it.
    [[nodiscard]] static http::Response body_too_large();
    // Never throws. `body` is the whole request body; over kLargestBody it is refused.
    [[nodiscard]] http::Response handle(const http::RequestHead& head, std::string_view body);
    // For the audit trail, also of what came another way than by a call. Waits for the disk. Any
    // thread but a worker's.
    void record(const Act& act);

private:
    struct Call;
    struct Route;
    [[nodiscard]] bool has_token(const http::Fields& fields) const;
    [[nodiscard]] http::Response dispatch(const http::RequestHead& head, std::string_view body);

    [[nodiscard]] http::Response list_keys(const Call& call);
    [[nodiscard]] http::Response create_key(const Call& call);
    [[nodiscard]] http::Response show_key(const Call& call);
    [[nodiscard]] http::Response revoke_key(const Call& call);
    [[nodiscard]] http::Response grant(const Call& call);
    [[nodiscard]] http::Response reset(const Call& call);
    [[nodiscard]] http::Response explain(const Call& call);
    [[nodiscard]] http::Response show_audit(const Call& call);
    [[nodiscard]] http::Response show_usage(const Call& call);
    [[nodiscard]] http::Response show_cache(const Call& call);
    [[nodiscard]] http::Response clear_cache(const Call& call);
    [[nodiscard]] http::Response reload(const Call& call);
    [[nodiscard]] http::Response show_version(const Call& call);

    Services services_;
    Digest token_hash_;  // equal lengths to compare, whatever is presented
};

}  // namespace weir::admin
