// Certificates made for one test run: a CA and servers that are right, or wrong in one way.
#pragma once

#include <memory>
#include <string>

#include <openssl/ssl.h>

namespace weir::test {

struct FreeTls {
    void operator()(SSL_CTX* context) const noexcept { SSL_CTX_free(context); }
};
using ServerTls = std::unique_ptr<SSL_CTX, FreeTls>;

class Certificates {
public:
    Certificates();
    ~Certificates();
    Certificates(const Certificates&) = delete;
    Certificates& operator=(const Certificates&) = delete;

    // PEM file with the CA.
    [[nodiscard]] const std::string& ca_file() const;
    struct Wanted {
        std::string names;  // subjectAltName: "DNS:localhost,IP:127.0.0.1"
        long valid_from_s = -3600;
        long valid_until_s = 3600;
        bool signed_by_ca = true;
    };
    [[nodiscard]] ServerTls server(const Wanted& wanted) const;
    // As above, and asks for a client's certificate of this CA.
    [[nodiscard]] ServerTls server_that_asks(const Wanted& wanted) const;
    // PEM files with a client's certificate of this CA and its key. They go with this object.
    struct ClientFiles {
        std::string certificate;
        std::string key;
    };
    [[nodiscard]] ClientFiles client() const;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace weir::test
