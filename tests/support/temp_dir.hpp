// A directory that goes away with its owner.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace weir::test {

class TempDir {
public:
    TempDir();
    ~TempDir();
    TempDir(const TempDir&) = delete;
    TempDir& operator=(const TempDir&) = delete;
    [[nodiscard]] std::string path(std::string_view file = {}) const;

private:
    std::filesystem::path path_;
};

}  // namespace weir::test
