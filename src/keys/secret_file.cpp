#include "secret_file.hpp"

#include <array>
#include <cerrno>
#include <sys/stat.h>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include "weir/base/crypto.hpp"
#include "weir/base/log.hpp"

namespace weir::keys {
namespace {

constexpr std::size_t kMost = 4096;

class File {
public:
    explicit File(int fd) noexcept : fd_(fd) {}
    ~File() {
        if (fd_ >= 0) ::close(fd_);
    }
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    [[nodiscard]] int fd() const noexcept { return fd_; }

private:
    int fd_;
};

std::unexpected<Error> failed(std::string_view what, std::string_view path, int code) {
    return fail(
        code == ENOENT   ? ErrorCode::kNotFound
        : code == EEXIST ? ErrorCode::kConflict
                         : ErrorCode::kStorage,
        fmt::format("cannot {} {}: {}", what, path, std::generic_category().message(code))
    );
}

Result<> write_all(int fd, std::string_view contents, const std::string& path) {
    while (!contents.empty()) {
        const ssize_t wrote = ::write(fd, contents.data(), contents.size());
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote < 0) return failed("write", path, errno);
        contents.remove_prefix(static_cast<std::size_t>(wrote));
    }
    if (::fsync(fd) != 0) return failed("sync", path, errno);
    return {};
}

Result<> sync_directory(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    const std::string name = slash == std::string::npos ? "." : path.substr(0, slash + 1);
    const File directory(::open(name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (directory.fd() < 0) return failed("open", name, errno);
    if (::fsync(directory.fd()) != 0) return failed("sync", name, errno);
    return {};
}

}  // namespace

Result<std::string> read_secret_file(const std::string& path) {
    const File file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (file.fd() < 0) return failed("open", path, errno);
    struct stat info{};
    if (::fstat(file.fd(), &info) != 0) return failed("look at", path, errno);
    if ((info.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
        log::warn(
            "a secret file is open to others: chmod 600 it", {{"file", std::string_view(path)}}
        );
    }
    std::string contents;
    std::array<char, 512> part{};
    for (;;) {
        const ssize_t got = ::read(file.fd(), part.data(), part.size());
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return failed("read", path, errno);
        if (got == 0) return contents;
        contents.append(part.data(), static_cast<std::size_t>(got));
        if (contents.size() > kMost) {
            return fail(ErrorCode::kStorage, path + " is too long to be what it should be");
        }
    }
}

Result<> make_secret_file(const std::string& path, std::string_view contents) {
    const std::string draft = fmt::format("{}.{}", path, random_token(8));
    Result<> done;
    {
        const File file(::open(draft.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
        if (file.fd() < 0) return failed("create", path, errno);
        done = write_all(file.fd(), contents, path);
    }
    // link() is the atomic step that never replaces a file; rename() would.
    if (done && ::link(draft.c_str(), path.c_str()) != 0) done = failed("create", path, errno);
    ::unlink(draft.c_str());
    if (done) done = sync_directory(path);
    return done;
}

}  // namespace weir::keys
