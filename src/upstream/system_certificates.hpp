// Whom the system trusts. Thread-safe.
#pragma once

struct ssl_ctx_st;

namespace weir::upstream {

// Adds the certificates of OpenSSL's default file (or that of SSL_CERT_FILE) to those that the
// context trusts, and has it look into the default directory (SSL_CERT_DIR). The file is parsed
// when it is first needed and when it is another one: its 140 certificates take 80 ms, which every
// context of every upstream would cost the worker's other streams. One that is missing or cannot be
// read is none.
void trust_system_certificates(ssl_ctx_st& context);

}  // namespace weir::upstream
