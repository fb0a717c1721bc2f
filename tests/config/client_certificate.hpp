// A certificate that signed itself with its private key, both PEM, made for one test run.
#pragma once

#include <string>

namespace weir::config::testing {

struct ClientCertificate {
    std::string certificate;
    std::string key;
};
[[nodiscard]] ClientCertificate make_client_certificate();

}  // namespace weir::config::testing
