#include "weir/app/gateway.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sys/stat.h>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "weir/admin/admin.hpp"
#include "weir/app/demo.hpp"
#include "weir/base/clock.hpp"
#include "weir/base/log.hpp"
#include "weir/base/mutex.hpp"
#include "weir/base/text.hpp"
#include "weir/cache/flight_board.hpp"
#include "weir/cache/response_cache.hpp"
#include "weir/keys/key_store.hpp"
#include "weir/metrics/metrics.hpp"
#include "weir/proxy/meters.hpp"
#include "weir/quota/ledger.hpp"
#include "weir/server/server.hpp"
#include "weir/sqlite/connection.hpp"
#include "weir/sqlite/writer.hpp"

namespace weir::app {

namespace {

namespace fs = std::filesystem;

// Answers kept by the flights of the whole process; past it flights stop being shareable.
constexpr std::size_t kBacklogBytes = 256 << 20;
constexpr std::string_view kTrialKeyName = "trial";
// Far less than a model takes; whose answer is there sooner hurries the commit.
constexpr std::chrono::milliseconds kLedgerGathers{15};

Result<> make_directory(const std::string& path) {
    std::error_code error;
    fs::create_directories(path, error);
    if (error) {
        return fail(
            ErrorCode::kStorage,
            "cannot make the data directory " + path + ": " + error.message() +
                " (make it, or set `data` to a directory that this user may write)"
        );
    }
    if (::access(path.c_str(), W_OK | X_OK) != 0) {
        return fail(
            ErrorCode::kStorage,
            "cannot write to the data directory " + path + ": " + std::strerror(errno) +
                " (give this user the right to write there, or set `data` to another directory)"
        );
    }
    return {};
}

std::optional<std::string> read_line(const std::string& path) {
    std::ifstream file(path);
    std::string line;
    if (!file || !std::getline(file, line)) return std::nullopt;
    return line;
}

Result<> write_secret(const std::string& path, const std::string& text) {
    const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    const std::string line = text + "\n";
    const bool written =
        file >= 0 && ::write(file, line.data(), line.size()) == static_cast<ssize_t>(line.size()) &&
        ::fsync(file) == 0;
    const int error = errno;
    if (file >= 0) ::close(file);
    if (!written)
        return fail(ErrorCode::kStorage, "cannot write " + path + ": " + std::strerror(error));
    return {};
}

std::string faults_text(const std::vector<config::Fault>& faults) {
    std::string text;
    for (const config::Fault& fault : faults) {
        if (!text.empty()) text += '\n';
        text += fault.text();
    }
    return text;
}

void warn_of_keys_set_aside(const keys::KeyTable& table) {
    for (const keys::SetAside& one : table.set_aside()) {
        log::warn(
            "a key is not in force",
            {{"key", std::string_view(one.key.name)},
             {"id", std::string_view(one.key.id)},
             {"plan", std::string_view(one.key.plan)},
             {"why", std::string_view(one.why)},
             {"cure", std::string_view(one.cure)}}
        );
    }
}

// What a reload cannot take over, of the settings that differ from those of the start.
std::vector<std::string> waiting_for_restart(
    const config::Config& start, const config::Config& now
) {
    const auto same = [](const config::Listen& a, const config::Listen& b) {
        return a.host == b.host && a.port == b.port;
    };
    std::vector<std::string> names;
    if (!std::ranges::equal(start.listen, now.listen, same)) names.emplace_back("listen");
    if (start.data != now.data) names.emplace_back("data");
    if (start.workers != now.workers) names.emplace_back("workers");
    if (start.log.format != now.log.format) names.emplace_back("log.format");
    return names;
}

std::string at_path(const std::string& directory, std::string_view file) {
    return (fs::path(directory) / file).string();
}

}  // namespace

// In the order of their lives: what is further down uses what is further up.
struct Gateway::Impl {
    Loader loader;
    std::string data;
    std::chrono::milliseconds demo_pace{0};

    metrics::Registry registry;
    proxy::Meters meters{registry};
    cache::Savings savings{registry};
    proxy::StoredResponses stored_responses;
    SystemClock clock;
    BufferBudget bodies{0};  // set by the server from the config
    BufferBudget backlogs{kBacklogBytes};
    std::unique_ptr<sqlite::Writer> writer;
    std::optional<admin::AuditTrail> audit;
    std::unique_ptr<keys::KeyStore> keys;
    std::unique_ptr<quota::Ledger> ledger;
    std::unique_ptr<cache::ResponseCache> cache;
    cache::FlightBoard board;
    upstream::Fleet fleet;
    std::unique_ptr<Demo> demo;
    std::optional<proxy::Shared> shared;
    std::unique_ptr<admin::Admin> admin;
    std::unique_ptr<server::Server> server;
    std::string trial_key;
    std::string trial_made;  // by this start; for the audit trail
    // For what only a start takes from the config.
    std::shared_ptr<const config::Config> started_with;
    bool drained = false;

    Mutex changing;  // one snapshot is made at a time
    std::uint64_t generation GUARDED_BY(changing) = 0;

    ~Impl() {
        stop([] { return true; });
    }

    [[nodiscard]] Result<> open_ledger() {
        const std::string path = at_path(data, "ledger.db");
        const sqlite::OpenOptions options = {
            .mode = sqlite::Mode::kReadWrite,
            .sync = sqlite::Sync::kFull,
            .exclusive = true,
            .check = true
        };
        auto connection = sqlite::Connection::open(path, options);
        if (!connection) return std::unexpected(connection.error());
        if (auto done = sqlite::migrate(
                *connection,
                {quota::kSchema, keys::kSchema, quota::kSchemaOfCaps, admin::kSchema},
                path
            );
            !done) {
            return done;
        }
        writer = std::make_unique<sqlite::Writer>(
            sqlite::Writer::Options{
                .path = path,
                .open = options,
                .on_corrupt = {},
                .name = "ledger",
                .gather = kLedgerGathers
            },
            std::move(*connection)
        );
        // What is already there is read over a connection of its own, for the length of this call.
        auto reader = sqlite::Connection::open(path, {.mode = sqlite::Mode::kReadOnly});
        if (!reader) return std::unexpected(reader.error());
        auto store = keys::KeyStore::open(data, *reader, *writer);
        if (!store) return std::unexpected(store.error());
        keys = std::move(*store);
        auto history = quota::Ledger::open(*reader, *writer, clock);
        if (!history) return std::unexpected(history.error());
        ledger = std::move(*history);
        writer->add(*ledger);
        writer->start();
        audit.emplace(*writer, path);
        return {};
    }

    [[nodiscard]] Result<> open_cache(const config::Cache& options) {
        cache::CacheOptions limits;
        limits.path = at_path(data, "cache.db");
        limits.max_size_bytes = options.max_size_bytes;
        limits.max_entry_bytes = options.max_entry_bytes;
        limits.memory_bytes = options.memory_bytes;
        auto opened = cache::ResponseCache::open(std::move(limits));
        if (!opened) return std::unexpected(opened.error());
        cache = std::move(*opened);
        return {};
    }

    // The config with the demo upstream's address put in, if it has one.
    [[nodiscard]] Result<std::shared_ptr<const config::Config>> with_demo(
        std::shared_ptr<const config::Config> config
    ) {
        bool wanted = false;
        for (const config::Upstream& upstream : config->upstreams) wanted = wanted || upstream.demo;
        if (!wanted) return config;
        if (!demo) {
            auto started = Demo::start({.pace = demo_pace});
            if (!started) return std::unexpected(started.error());
            demo = std::move(*started);
        }
        auto patched = std::make_shared<config::Config>(*config);
        for (config::Upstream& upstream : patched->upstreams) {
            if (!upstream.demo) continue;
            upstream.host = "127.0.0.1";
            upstream.port = demo->port();
            upstream.tls = false;
            upstream.base_path = "/v1";
        }
        return patched;
    }

    // `in_force`: a table whose keys must all stay in force; nullptr: none.
    [[nodiscard]] Result<proxy::SnapshotPtr> next_snapshot(
        std::shared_ptr<const config::Config> config, const keys::KeyTable* in_force
    ) REQUIRES_LOCK(changing) {
        auto table = keys->table(*config, in_force);
        if (!table) return std::unexpected(table.error());
        return proxy::make_snapshot(std::move(config), std::move(*table), *ledger, ++generation);
    }

    [[nodiscard]] Result<> refresh() {
        const MutexLock lock(changing);
        auto snapshot = next_snapshot(server->snapshot()->config, nullptr);
        if (!snapshot) return std::unexpected(snapshot.error());
        server->publish(std::move(*snapshot));
        return {};
    }

    [[nodiscard]] Result<std::vector<std::string>> reload() {
        const MutexLock lock(changing);
        const auto current = server->snapshot();
        auto loaded = loader();
        if (!loaded) return fail(ErrorCode::kConfig, faults_text(loaded.error()));
        auto config = with_demo(std::move(*loaded));
        if (!config) return std::unexpected(config.error());
        auto snapshot = next_snapshot(*config, current->keys.get());
        if (!snapshot) return std::unexpected(snapshot.error());
        warn_of_keys_set_aside(*(*snapshot)->keys);
        const config::Config& now = **config;
        cache->set_limits(
            now.cache.max_size_bytes, now.cache.max_entry_bytes, now.cache.memory_bytes
        );
        log::set_level(now.log.level);
        fleet.follow(now);
        proxy::show_upstreams(registry, fleet, now);
        server->publish(std::move(*snapshot));
        auto waiting = waiting_for_restart(*started_with, now);
        if (!waiting.empty()) {
            log::warn(
                "changed settings wait for a restart",
                {{"settings", std::string_view(fmt::format("{}", fmt::join(waiting, ", ")))}}
            );
        }
        return waiting;
    }

    // A key to try with: a declared one, else one that the first start makes and keeps in a file.
    [[nodiscard]] Result<> choose_trial_key(const config::Config& config) {
        if (!config.keys.empty()) {
            trial_key = config.keys.front().secret;
            return {};
        }
        const std::string path = at_path(data, "trial-key");
        auto table = keys->table(config);
        if (!table) return std::unexpected(table.error());
        const std::string kept = read_line(path).value_or("");
        if (!kept.empty()) {
            if ((*table)->find(kept) != nullptr) trial_key = kept;
            return {};  // revoked: it is not made again
        }
        // Made by a start that was killed before it could write it down: nobody knows that key.
        std::error_code ignored;
        const bool unfinished = fs::exists(path, ignored);
        const bool there = (*table)->find_name(kTrialKeyName) != nullptr ||
                           (*table)->find_set_aside(kTrialKeyName) != nullptr;
        if (unfinished && there) {
            if (auto gone = keys->revoke(kTrialKeyName); !gone) {
                return std::unexpected(gone.error());
            }
            table = keys->table(config);
            if (!table) return std::unexpected(table.error());
        }
        const bool any = !(*table)->all().empty() || !(*table)->set_aside().empty();
        if (any || config.plans.empty()) return {};
        if (auto begun = write_secret(path, ""); !begun) return begun;
        auto made = keys->create(kTrialKeyName, config.plans.front().name, "", clock.now());
        if (!made) return std::unexpected(made.error());
        trial_key = made->text;
        trial_made = "id " + made->key.id + ", plan " + made->key.plan;
        return write_secret(path, trial_key);
    }

    [[nodiscard]] Result<> start(std::shared_ptr<const config::Config> loaded) {
        started_with = loaded;
        data = loaded->data;
        if (auto made = make_directory(data); !made) return made;
        if (auto opened = open_ledger(); !opened) return opened;
        if (auto opened = open_cache(loaded->cache); !opened) return opened;
        const auto token = keys::admin_token(data);
        if (!token) return std::unexpected(token.error());
        auto config = with_demo(std::move(loaded));
        if (!config) return std::unexpected(config.error());
        if (auto chosen = choose_trial_key(**config); !chosen) return chosen;

        shared.emplace(proxy::Shared{
            *ledger, *cache, board, bodies, backlogs, savings, meters, stored_responses, fleet
        });
        fleet.follow(**config);
        proxy::show_upstreams(registry, fleet, **config);
        {
            const MutexLock lock(changing);
            // The config may have changed while nothing ran that could have refused it, or revoked
            // a key: such keys must not keep the others from their gateway.
            auto snapshot = next_snapshot(*config, nullptr);
            if (!snapshot) return std::unexpected(snapshot.error());
            warn_of_keys_set_aside(*(*snapshot)->keys);
            server = std::make_unique<server::Server>(*shared, registry, std::move(*snapshot));
        }
        admin = std::make_unique<admin::Admin>(admin::Services{
            .keys = *keys,
            .ledger = *ledger,
            .cache = *cache,
            .savings = savings,
            .audit = *audit,
            .clock = clock,
            .token = *token,
            .config = [this] { return server->snapshot()->config; },
            .refresh = [this] { return refresh(); },
            .reload = [this] { return reload(); },
            .version = WEIR_VERSION
        });
        if (!trial_made.empty()) {
            admin->record(
                {.actor = "start",
                 .what = "key.create",
                 .subject = fmt::format("key {}", kTrialKeyName),
                 .detail = trial_made}
            );
        }
        register_gauges();
        return server->start(*admin);
    }

    void register_gauges() {
        registry.gauge("weir_ledger_commits", "Commits of ledger.db since the start.", [this] {
            return static_cast<double>(writer->commits());
        });
        const auto gauge = [this](const char* name, const char* help, auto member) {
            registry.gauge(name, help, [this, member] {
                return static_cast<double>(cache->stats().*member);
            });
        };
        using Stats = cache::CacheStats;
        gauge("weir_cache_entries", "Answers in cache.db.", &Stats::entries);
        gauge("weir_cache_bytes", "Bytes of the answers in cache.db.", &Stats::bytes);
        gauge("weir_cache_memory_bytes", "Bytes of the memory tier.", &Stats::memory_bytes);
        gauge("weir_cache_evicted", "Answers that left for want of room.", &Stats::evicted);
        gauge(
            "weir_cache_write_failures", "Answers that could not be stored.", &Stats::write_failures
        );
    }

    void stop(const std::function<bool()>& hurry) {
        if (std::exchange(drained, true)) return;
        if (server) server->drain(hurry);
        demo.reset();
        // Its reader may still hold wake-up calls of the workers, whose contexts go with the
        // server.
        cache.reset();
        if (writer) writer->stop();
    }
};

Gateway::Gateway(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}

Gateway::~Gateway() = default;

Result<std::unique_ptr<Gateway>> Gateway::start(
    std::shared_ptr<const config::Config> config, Loader loader, Options options
) {
    auto impl = std::make_unique<Impl>();
    impl->loader = std::move(loader);
    impl->demo_pace = options.demo_pace;
    if (auto started = impl->start(std::move(config)); !started) {
        return std::unexpected(started.error());
    }
    return std::unique_ptr<Gateway>(new Gateway(std::move(impl)));
}

Result<> Gateway::reload() {
    const auto done = impl_->reload();
    if (!done) return std::unexpected(done.error());
    impl_->admin->record({.actor = "signal", .what = "reload", .subject = "config", .detail = ""});
    return {};
}

void Gateway::drain(const std::function<bool()>& hurry) {
    impl_->stop(hurry);
}

std::uint16_t Gateway::port() const {
    return impl_->server->port();
}

std::vector<std::string> Gateway::addresses() const {
    return impl_->server->addresses();
}

const std::string& Gateway::trial_key() const noexcept {
    return impl_->trial_key;
}

Gateway::Keys Gateway::keys() const {
    const auto snapshot = impl_->server->snapshot();
    return {snapshot->keys->all().size(), snapshot->keys->set_aside().size()};
}

bool Gateway::uses_demo() const noexcept {
    return impl_->demo != nullptr;
}

std::string Gateway::data() const {
    return impl_->data;
}

}  // namespace weir::app
