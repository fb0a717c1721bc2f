// Connections that a protocol takes over: who is at the other end, and bytes both ways.
#include "weir/upstream/channel.hpp"

#include <string>

#include "call_fixture.hpp"
#include "support/certificates.hpp"

namespace weir::test {
namespace {

const Certificates& certificates() {
    static const Certificates made;
    return made;
}

struct Dialled {
    bool done = false;
    std::optional<Error> error;
    std::shared_ptr<ByteStream> stream;
};

Awaitable<> run_dial(upstream::Channel& dial, Dialled& out) {
    auto stream = co_await dial.run();
    if (stream) {
        out.stream = std::move(*stream);
    } else {
        out.error = stream.error();
    }
    out.done = true;
}

class ChannelTest : public CallTest {
protected:
    [[nodiscard]] Dialled dial(const std::shared_ptr<const config::Upstream>& upstream) {
        const auto dialling = client.channel(upstream);
        Dialled out;
        asio::co_spawn(worker.get_executor(), run_dial(*dialling, out), &rethrow);
        run_until([&] { return out.done; });
        return out;
    }

    // Sends `bytes` and reads as many, at the same time.
    [[nodiscard]] std::string exchange(ByteStream& stream, const std::string& bytes) {
        std::size_t sent = 0;
        std::string got;
        std::string into(64 << 10, '\0');
        std::string failed;
        std::function<void()> write = [&] {
            // In pieces, as a frame's head and its payload are.
            const std::size_t cut = std::min<std::size_t>(sent + 7, bytes.size());
            const asio::const_buffer parts[] = {
                asio::buffer(bytes.data() + sent, cut - sent),
                asio::buffer(bytes.data() + cut, bytes.size() - cut)
            };
            stream.write_some(parts, [&](SysError error, std::size_t size) {
                if (error) failed = error.message();
                sent += size;
                if (!error && sent < bytes.size()) write();
            });
        };
        std::function<void()> read = [&] {
            stream.read_some(asio::buffer(into), [&](SysError error, std::size_t size) {
                if (error) failed = error.message();
                got.append(into, 0, size);
                if (!error && got.size() < bytes.size()) read();
            });
        };
        write();
        read();
        run_until([&] { return got.size() >= bytes.size() || !failed.empty(); });
        EXPECT_EQ(failed, "");
        return got;
    }
    // The error of the next read.
    [[nodiscard]] SysError read_end(ByteStream& stream) {
        std::string into(100, '\0');
        std::optional<SysError> end;
        stream.read_some(asio::buffer(into), [&](SysError error, std::size_t) { end = error; });
        run_until([&] { return end.has_value(); });
        return *end;
    }

    [[nodiscard]] static std::shared_ptr<config::Upstream> secure(const ScriptServer& server) {
        const auto out = at("https://localhost:" + std::to_string(server.port()));
        out->ca_file = certificates().ca_file();
        return out;
    }
    // Says the body of a request back, then closes.
    static void say_back(Peer& peer, std::size_t size, bool politely) {
        // read_head() wants an empty line.
        if (!peer.read_head() || !peer.read_body(size - 4)) return;
        peer.send("\r\n\r\n" + peer.body());
        politely ? peer.close() : peer.cut();
    }

    ServerTls right = certificates().server({.names = "DNS:localhost"});
    std::string payload = [] {
        std::string made = "\r\n\r\n";
        for (std::size_t i = 0; i < (2 << 20); ++i) made += static_cast<char>(i * 31 % 251);
        return made;
    }();
};

TEST_F(ChannelTest, CarriesBytesBothWaysWithAndWithoutTls) {
    const auto script = [this](Peer& peer, int) { say_back(peer, payload.size(), true); };
    ScriptServer plain(script);
    ScriptServer tls(script, right.get());
    for (const auto& upstream : {at(plain), secure(tls)}) {
        const Dialled out = dial(upstream);
        ASSERT_FALSE(out.error) << out.error->detail;
        EXPECT_TRUE(exchange(*out.stream, payload) == payload);
        EXPECT_EQ(read_end(*out.stream), asio::error::eof);
        out.stream->close();
    }
    EXPECT_EQ(client.stats().idle, 0U) << "nobody else may get it";
    EXPECT_EQ(client.stats().active, 0U);
}

TEST_F(ChannelTest, ACutIsNoEndUnderTls) {
    ScriptServer server(
        [this](Peer& peer, int) { say_back(peer, payload.size(), false); }, right.get()
    );
    const Dialled out = dial(secure(server));
    ASSERT_FALSE(out.error) << out.error->detail;
    EXPECT_TRUE(exchange(*out.stream, payload) == payload);
    const SysError end = read_end(*out.stream);
    EXPECT_TRUE(end);
    EXPECT_NE(end, asio::error::eof);
}

TEST_F(ChannelTest, TellsNothingToAStranger) {
    const ServerTls wrong = certificates().server({.names = "DNS:elsewhere.example"});
    std::size_t seen = 0;
    ScriptServer server(
        [&seen](Peer& peer, int) {
            peer.wait_for_close();
            seen = peer.bytes_seen();
        },
        wrong.get()
    );
    const Dialled out = dial(secure(server));
    ASSERT_TRUE(out.error);
    EXPECT_EQ(out.error->code, ErrorCode::kUpstreamConnect);
    EXPECT_EQ(out.stream, nullptr);
}

TEST_F(ChannelTest, CloseEndsWhatIsUnderWay) {
    ScriptServer server([](Peer& peer, int) { peer.wait_for_close(); }, right.get());
    const Dialled out = dial(secure(server));
    ASSERT_FALSE(out.error) << out.error->detail;
    std::string into(100, '\0');
    bool ended = false;
    out.stream->read_some(asio::buffer(into), [&](SysError error, std::size_t) {
        EXPECT_TRUE(error);
        ended = true;
    });
    worker.restart();
    worker.run_for(20ms);
    out.stream->close();
    run_until([&] { return ended; });
}

TEST_F(ChannelTest, CredentialsAreOfTheUpstreamsKind) {
    config::Upstream upstream = *at("http://127.0.0.1:9");
    upstream.keys = {"first", "second"};
    upstream.headers = {{"x-extra", "1"}};
    const auto fields = [&](config::Kind kind, std::size_t key) {
        upstream.kind = kind;
        http::Fields out;
        out.add("authorization", "Bearer of-a-client");
        out.add("API-Key", "of-a-client");
        out.add("x-api-key", "of-a-client");
        upstream::add_own_fields(out, upstream, key);
        std::string all;
        for (const http::Field& field : out) {
            all.append(field.name).append("=").append(field.value).append(";");
        }
        return all;
    };
    EXPECT_EQ(fields(config::Kind::kOpenAi, 1), "Authorization=Bearer second;x-extra=1;");
    EXPECT_EQ(fields(config::Kind::kAzure, 0), "api-key=first;x-extra=1;");
    EXPECT_EQ(
        fields(config::Kind::kAnthropic, 0),
        "anthropic-version=2023-06-01;x-api-key=first;x-extra=1;"
    );
    EXPECT_EQ(fields(config::Kind::kOpenAi, 7), "x-extra=1;");
}

}  // namespace
}  // namespace weir::test
