// Why an operation did not happen. Expected outcomes only; bugs throw or abort.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <utility>

namespace weir {

// What went wrong, as far as a caller may have to choose by it. Branch on the code, never on the
// text.
enum class ErrorCode : std::uint8_t {
    kInternal,
    kBadRequest,        // the client's bytes or JSON are wrong
    kUnauthenticated,   // no key, or one that nobody has
    kForbidden,         // known key, but not for this
    kNotFound,          // unknown path, model or entry
    kTooLarge,          // past a configured limit
    kCapReached,        // a message, token or money cap is used up
    kOverloaded,        // a limit of the process: connections, bodies in flight
    kStorage,           // the ledger cannot be written
    kConfig,            // a configuration that cannot work
    kConflict,          // exists already, or is being changed
    kClientGone,        // the client closed or broke its connection
    kTimeout,           // a deadline passed
    kUpstreamConnect,   // resolve, connect or TLS failed
    kUpstreamClosed,    // it closed or reset before its answer was whole
    kUpstreamProtocol,  // it broke HTTP
    kUpstreamTimeout,   // it was too slow
    kUpstreamStatus,    // it answered, but with an error
    kDraining,          // the process is going down
    kCancelled,         // given up by us: nobody wants the result any more
};

// One failed operation. `detail` is for our log and for operators, never for a client, and never
// holds a secret.
struct Error {
    ErrorCode code = ErrorCode::kInternal;
    std::string detail;
};

template <class T = void>
using Result = std::expected<T, Error>;

[[nodiscard]] inline std::unexpected<Error> fail(ErrorCode code, std::string detail) {
    return std::unexpected(Error{code, std::move(detail)});
}

}  // namespace weir
