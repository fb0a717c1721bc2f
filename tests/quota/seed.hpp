// The seed of a property test: from WEIR_TEST_SEED, or a new one; always printed.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <random>

namespace weir::testing {

inline std::uint64_t test_seed() {
    static const std::uint64_t seed = [] {
        const char* given = std::getenv("WEIR_TEST_SEED");
        const std::uint64_t value =
            given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device()();
        std::cout << "WEIR_TEST_SEED=" << value << '\n';
        return value;
    }();
    return seed;
}

class Dice {
public:
    explicit Dice(std::uint64_t seed) : generator_(seed) {}
    // 0 .. below - 1
    std::uint64_t below(std::uint64_t end) { return generator_() % end; }
    bool one_in(std::uint64_t n) { return below(n) == 0; }

private:
    std::mt19937_64 generator_;
};

}  // namespace weir::testing
