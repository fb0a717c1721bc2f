// libcurl, loaded when something is first asked with it: the commands that talk to a running Weir
// need it, the gateway itself does not, and with what libcurl loads it would hold 4 MB and make
// each start slower. Private to the room; thread-safe.
#pragma once

#include <curl/curl.h>

#include "weir/base/error.hpp"

namespace weir::app {

// Its functions (https://curl.se/libcurl/c/allfuncs.html), without the curl_ of their names.
struct CurlLibrary {
    decltype(&::curl_global_init) global_init;
    decltype(&::curl_easy_init) easy_init;
    decltype(&::curl_easy_cleanup) easy_cleanup;
    decltype(&::curl_easy_setopt) easy_setopt;
    decltype(&::curl_easy_perform) easy_perform;
    decltype(&::curl_easy_getinfo) easy_getinfo;
    decltype(&::curl_easy_strerror) easy_strerror;
    decltype(&::curl_slist_append) slist_append;
    decltype(&::curl_slist_free_all) slist_free_all;
};

// Initialised. kInternal if this machine does not have it; the detail says what to install.
[[nodiscard]] Result<const CurlLibrary*> curl_library();

}  // namespace weir::app
