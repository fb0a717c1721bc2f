#include "curl_library.hpp"

#include <string>

#include <dlfcn.h>
#include <fmt/format.h>

namespace weir::app {

namespace {

// What headers of libcurl 7 and 8 stand for, whatever the version.
constexpr const char* kFile = "libcurl.so.4";

Result<CurlLibrary> load() {
    const auto failed = [] {
        const char* const why = ::dlerror();
        return fail(
            ErrorCode::kInternal,
            fmt::format(
                "libcurl is needed to talk to a running Weir, and cannot be loaded ({}); install "
                "the package libcurl4",
                why != nullptr ? why : kFile
            )
        );
    };
    void* const library = ::dlopen(kFile, RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) return failed();
    bool all = true;
    const auto find = [library, &all](auto& function, const char* name) {
        // POSIX lets a function's address come as a void pointer.
        function =
            reinterpret_cast<std::remove_reference_t<decltype(function)>>(::dlsym(library, name));
        all = all && function != nullptr;
    };
    CurlLibrary curl{};
    find(curl.global_init, "curl_global_init");
    find(curl.easy_init, "curl_easy_init");
    find(curl.easy_cleanup, "curl_easy_cleanup");
    find(curl.easy_setopt, "curl_easy_setopt");
    find(curl.easy_perform, "curl_easy_perform");
    find(curl.easy_getinfo, "curl_easy_getinfo");
    find(curl.easy_strerror, "curl_easy_strerror");
    find(curl.slist_append, "curl_slist_append");
    find(curl.slist_free_all, "curl_slist_free_all");
    if (!all) return failed();
    if (curl.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        return fail(ErrorCode::kInternal, "libcurl does not start");
    }
    return curl;
}

}  // namespace

Result<const CurlLibrary*> curl_library() {
    static const Result<CurlLibrary> loaded = load();
    if (!loaded) return std::unexpected(loaded.error());
    return &*loaded;
}

}  // namespace weir::app
