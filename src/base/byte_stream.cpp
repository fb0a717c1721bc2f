#include "weir/base/byte_stream.hpp"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include <boost/asio/post.hpp>

namespace weir {

namespace {

class TcpStream final : public ByteStream, public std::enable_shared_from_this<TcpStream> {
public:
    TcpStream(TcpSocket socket, std::string before)
        : home_(socket.get_executor()), socket_(std::move(socket)), before_(std::move(before)) {}

    [[nodiscard]] Executor home() const noexcept override { return home_; }

    void read_some(asio::mutable_buffer into, Done done) override {
        if (before_.empty()) {
            socket_.async_read_some(
                into,
                [self = shared_from_this(), done = std::move(done)](
                    SysError error, std::size_t size
                ) mutable { std::move(done)(error, size); }
            );
            return;
        }
        const std::size_t size = std::min(before_.size(), into.size());
        std::memcpy(into.data(), before_.data(), size);
        before_.erase(0, size);
        if (before_.empty()) std::string().swap(before_);
        asio::post(home_, [done = std::move(done), size]() mutable {
            std::move(done)(SysError(), size);
        });
    }

    void write_some(std::span<const asio::const_buffer> from, Done done) override {
        const std::vector<asio::const_buffer> buffers(from.begin(), from.end());
        socket_.async_write_some(
            buffers,
            [self = shared_from_this(), done = std::move(done)](
                SysError error, std::size_t size
            ) mutable { std::move(done)(error, size); }
        );
    }

    void finish_sending() noexcept override {
        SysError ignored;
        socket_.shutdown(TcpSocket::shutdown_send, ignored);
    }

    void close() noexcept override {
        SysError ignored;
        socket_.close(ignored);
    }

private:
    Executor home_;
    TcpSocket socket_;
    std::string before_;
};

}  // namespace

std::shared_ptr<ByteStream> make_tcp_stream(TcpSocket socket, std::string before) {
    return std::make_shared<TcpStream>(std::move(socket), std::move(before));
}

}  // namespace weir
