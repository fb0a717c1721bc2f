// A port where nobody ever answers a connect.
#pragma once

#include <cstdint>
#include <netinet/in.h>
#include <vector>

namespace weir::test {

// A listener whose queue is full.
class BlackHole {
public:
    // 0: any port.
    explicit BlackHole(std::uint16_t port = 0);
    ~BlackHole();
    BlackHole(const BlackHole&) = delete;
    BlackHole& operator=(const BlackHole&) = delete;
    // False: this kernel takes connections beyond the queue.
    [[nodiscard]] bool full() const { return full_; }
    [[nodiscard]] std::uint16_t port() const;

private:
    int listener_ = -1;
    sockaddr_in address_{};
    std::vector<int> fillers_;
    bool full_ = false;
};

}  // namespace weir::test
