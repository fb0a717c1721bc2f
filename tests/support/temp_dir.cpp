#include "support/temp_dir.hpp"

#include <stdexcept>

#include <stdlib.h>

namespace weir::test {

TempDir::TempDir() {
    std::string name = (std::filesystem::temp_directory_path() / "weir-test-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    path_ = name;
}

TempDir::~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
}

std::string TempDir::path(std::string_view file) const {
    return file.empty() ? path_.string() : (path_ / file).string();
}

}  // namespace weir::test
