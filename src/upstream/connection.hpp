// One connection to an upstream: socket, TLS if it has to be, read buffer, parser, watchdog. Knows
// bytes and deadlines; what they mean is its owner's (a call, or the pool) business.
//
// Home worker only. Shared, since an operation of the kernel may still be coming back when the
// owner has closed it. close() may be called at any time and ends every operation soon; after it
// no borrowed byte is touched any more.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "weir/base/awaitable.hpp"
#include "weir/base/error.hpp"
#include "weir/base/watchdog.hpp"
#include "weir/http/parser.hpp"
#include "weir/upstream/client.hpp"

#include "tls.hpp"

namespace weir::upstream {

class Connection : public std::enable_shared_from_this<Connection> {
public:
    // Who is told what happens. Called on the home worker.
    class Owner {
    public:
        virtual void deadline_passed(Connection& connection) = 0;
        virtual void some_written() = 0;  // progress, not the end
        virtual void all_written() = 0;
        virtual void write_failed() = 0;
        virtual void source_awaited() = 0;  // not the peer's time, until some_written()
        virtual void source_failed(Error error) = 0;

    protected:
        ~Owner() = default;
    };

    struct Read {
        enum class Kind : std::uint8_t {
            kBytes,   // there is more in unread()
            kEnd,     // the peer closed, and said so if it speaks TLS
            kBroken,  // reset, cut, closed by us, or unread() is full
        };
        Kind kind = Kind::kBroken;
        std::string detail;
    };

    [[nodiscard]] static std::shared_ptr<Connection> create(Executor home);
    explicit Connection(Executor home);
    ~Connection();
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    // Null: nobody. The owner must take itself out before it goes.
    void set_owner(Owner* owner) noexcept { owner_ = owner; }
    // When it passes, the owner is told, once.
    void set_deadline(Deadline deadline) { watchdog_.set(deadline); }

    [[nodiscard]] Awaitable<SysError> connect(asio::ip::tcp::endpoint endpoint);
    // Where it was connected to.
    [[nodiscard]] const asio::ip::address& peer() const noexcept { return peer_; }
    // REQUIRES: connected. Nothing is sent in clear from here on. A second one runs inside the
    // first.
    [[nodiscard]] Awaitable<Result<>> start_tls(
        std::shared_ptr<TlsContext> context, std::string host
    );

    // Sends both with as few writes as the socket allows; what it does not take at once goes on in
    // the background, while the answer is read. `body` is borrowed until all_written(),
    // write_failed(), stop_sending() or close().
    void send(std::string head, std::string_view body);
    // As above, with a body that `source` gives while the answer is read. `bytes`: how many there
    // must be; nullopt: in chunks. Fewer or more are source_failed().
    void send(
        std::string head, std::shared_ptr<BodySource> source, std::optional<std::uint64_t> bytes
    );
    // The rest will not be sent. The connection is of no use for another request.
    void stop_sending() noexcept;
    [[nodiscard]] bool sent_all() const noexcept { return sent_all_; }

    // Waits for bytes and adds them to unread().
    [[nodiscard]] Awaitable<Read> read_more();
    [[nodiscard]] std::string_view unread() const noexcept {
        return {buffer_.get() + begin_, end_ - begin_};
    }
    void consume(std::size_t bytes) noexcept { begin_ += bytes; }

    [[nodiscard]] http::ResponseParser& parser() noexcept { return parser_; }
    enum class Idle : std::uint8_t {
        kQuiet,   // open, and nothing came
        kClosed,  // by the peer
        kNoisy,   // the peer sent what nobody asked for
    };
    // REQUIRES: no answer is being read.
    [[nodiscard]] Idle look();
    // The kernel's mean so far, also after the peer closed or reset it; 0: it does not say.
    [[nodiscard]] std::chrono::microseconds round_trip();
    // It is idle from now on: gives back what it does not need.
    void rest() noexcept;
    [[nodiscard]] std::chrono::steady_clock::time_point idle_since() const noexcept {
        return idle_since_;
    }
    [[nodiscard]] bool is_open() const noexcept { return open_; }
    // What it is made of, for a protocol of its own: from here on it is closed to everybody else.
    // REQUIRES: connected, and nothing was sent or is unread.
    struct Wire {
        TcpSocket socket;
        std::unique_ptr<TlsSession> below;  // to a proxy, if `tls` runs inside it
        std::unique_ptr<TlsSession> tls;    // null: none
    };
    [[nodiscard]] Wire release();
    void close() noexcept;
    // As close(), but TLS says goodbye first, if the socket takes it at once.
    void close_politely() noexcept;

private:
    static constexpr std::size_t kSmallRead = 4 << 10;  // performance.md 8.9
    static constexpr std::size_t kLargeRead = 64 << 10;
    static constexpr std::chrono::milliseconds kSlow{100};
    static constexpr std::size_t kMostUnread = 128 << 10;  // over the parser's head limit
    static constexpr std::size_t kWriteBurst = 1 << 20;    // then other connections get a turn

    struct Write {
        std::size_t bytes = 0;
        bool blocked = false;
        bool until_readable = false;  // TLS may have to read before it can write
    };
    [[nodiscard]] Result<Write> write_once();
    enum class Pumped : std::uint8_t { kAll, kMore, kStopped };
    // What goes out next. `body` is borrowed until it is out.
    void load(std::string head, std::string_view body);
    // Writes until all is out, the socket is full or the burst is over.
    [[nodiscard]] Pumped pump();
    // Until what was loaded is out. False: it will not be.
    [[nodiscard]] Awaitable<bool> flush();
    void all_sent();
    void source_broke(Error error);
    // False: they are not what was told.
    [[nodiscard]] bool load_part(
        std::string_view part, std::optional<std::uint64_t>& left, bool& begun
    );
    [[nodiscard]] static Awaitable<> write_rest(std::shared_ptr<Connection> self);
    [[nodiscard]] static Awaitable<> write_source(
        std::shared_ptr<Connection> self,
        std::shared_ptr<BodySource> source,
        std::optional<std::uint64_t> left
    );
    // False: unread() has reached its bound.
    [[nodiscard]] bool make_room();
    void received(std::size_t bytes) noexcept;
    // Gives the buffer back, if it is empty and the last wait was long: so will the next one be.
    // False: it was not.
    bool give_back_if_slow() noexcept;

    Executor home_;
    TcpSocket socket_;
    asio::ip::address peer_;
    std::unique_ptr<TlsSession> below_;  // to a proxy, if `tls_` runs inside it
    std::unique_ptr<TlsSession> tls_;
    http::ResponseParser parser_;
    Owner* owner_ = nullptr;
    bool open_ = true;

    std::unique_ptr<char[]> buffer_;
    std::size_t capacity_ = 0;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
    std::size_t want_ = kSmallRead;                  // capacity that the last read suggests
    unsigned reads_in_a_row_ = 0;                    // TLS reads without a wait
    std::chrono::steady_clock::time_point read_at_;  // the last bytes
    bool slow_ = false;

    std::string head_;       // being sent; under TLS with the body's first bytes
    std::string_view rest_;  // the body behind it, or the part of it that the source gave last
    std::shared_ptr<BodySource> source_;  // while it may be asked
    std::size_t written_ = 0;
    bool sending_ = false;
    bool sent_all_ = false;
    bool until_readable_ = false;

    std::chrono::steady_clock::time_point idle_since_;
    Watchdog watchdog_;
};

}  // namespace weir::upstream
