// What a key with one call at a time feels of another one that sends 200 at once, before an
// upstream that takes 4 at a time and 50 ms for each. Prints the waits of the first key alone and
// beside the other one.
//   build/bench/tests/bench/weir_fairness_bench
// The gateway and the upstream run in this process, over real sockets.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "support/client.hpp"
#include "support/fake_upstream.hpp"
#include "support/test_gateway.hpp"

namespace {

using namespace weir::test;
using Steady = std::chrono::steady_clock;

constexpr int kMeasured = 100;
constexpr int kBatch = 200;

double ms_of(Steady::duration span) {
    return std::chrono::duration<double, std::milli>(span).count();
}

void ask_once(Client& client, const char* key, const std::string& question) {
    const std::string body = chat_body(question);
    client.send(Ask{.key = key, .body = body, .fields = {}}.bytes());
    if (client.read_answer().status != 200) std::abort();
}

// Sorted.
std::vector<double> measure(std::uint16_t port, const std::string& name) {
    Client client(port);
    std::vector<double> waits;
    waits.reserve(kMeasured);
    for (int i = 0; i < kMeasured; ++i) {
        const auto begun = Steady::now();
        ask_once(client, kCarol, name + std::to_string(i));
        waits.push_back(ms_of(Steady::now() - begun));
    }
    std::ranges::sort(waits);
    return waits;
}

double print(const char* name, const std::vector<double>& waits) {
    const double p95 = waits[waits.size() * 95 / 100];
    std::printf(
        "%-12s p50 %7.1f ms  p95 %7.1f ms  most %7.1f ms\n",
        name,
        waits[waits.size() / 2],
        p95,
        waits.back()
    );
    return p95;
}

}  // namespace

int main() {
    FakeUpstream upstream([](Wire& wire, const SeenRequest&) {
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
        wire.json(
            R"({"id":"c","object":"chat.completion","created":1,"model":"gpt-4","choices":[{"index":)"
            R"(0,"message":{"role":"assistant","content":"x"},"finish_reason":"stop"}]})"
        );
    });
    TestGateway gateway(
        {.upstream_url = upstream.url(), .upstream_more = ", at_once: {calls: 4, queue: 1000}"}
    );
    const std::vector<double> alone = measure(gateway.port(), "alone ");
    std::atomic<bool> stop = false;
    std::atomic<int> answered = 0;
    std::vector<std::thread> batch;
    batch.reserve(kBatch);
    for (int i = 0; i < kBatch; ++i) {
        batch.emplace_back([&, i] {
            Client client(gateway.port());
            for (int n = 0; !stop; ++n) {
                ask_once(client, kAlice, std::to_string(i) + " of a batch " + std::to_string(n));
                ++answered;
            }
        });
    }
    std::this_thread::sleep_for(std::chrono::seconds(1));
    const int before = answered;
    const auto begun = Steady::now();
    const std::vector<double> beside = measure(gateway.port(), "beside ");
    const double span_s = ms_of(Steady::now() - begun) / 1000;
    const int served = answered - before;
    stop = true;
    for (std::thread& thread : batch) thread.join();
    const double p95_alone = print("alone", alone);
    const double p95_beside = print("beside 200", beside);
    std::printf(
        "%.2f times its p95 alone; the other key: %.1f a second\n",
        p95_beside / p95_alone,
        served / span_s
    );
    return p95_beside <= 2 * p95_alone ? 0 : 1;
}
