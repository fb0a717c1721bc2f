// The one place where a request can be answered: what it names is stored in that account.
#pragma once

#include <cstddef>
#include <string>

namespace weir::proxy {

struct Pin {
    std::string upstream;  // its name in the config
    std::size_t key = 0;   // the number of the key that has it

    friend bool operator==(const Pin&, const Pin&) = default;
};

}  // namespace weir::proxy
