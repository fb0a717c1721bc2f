#include "weir/keys/key_store.hpp"

#include <algorithm>
#include <optional>
#include <set>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include <fmt/core.h>

#include "weir/base/mutex.hpp"
#include "weir/base/text.hpp"

#include "secret_file.hpp"

namespace weir::keys {

const std::string_view kSchema = R"sql(
CREATE TABLE keys(
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    plan TEXT NOT NULL,
    team TEXT NOT NULL,
    mac BLOB NOT NULL UNIQUE,
    created_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
)sql";

namespace {

constexpr std::size_t kPepper = 32;
constexpr std::size_t kPublicId = 8;
constexpr std::size_t kSecret = 36;      // 214 bits
constexpr std::size_t kAdminToken = 40;  // 238 bits
constexpr std::size_t kLeastToken = 16;
constexpr std::size_t kLongestName = 64;

bool is_name(std::string_view text) {
    const auto allowed = [](char c) {
        return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
               c == '.' || c == '_' || c == '@' || c == '-';
    };
    return !text.empty() && text.size() <= kLongestName && std::ranges::all_of(text, allowed);
}

Result<> check_name(std::string_view what, std::string_view text) {
    if (is_name(text)) return {};
    return fail(
        ErrorCode::kBadRequest,
        fmt::format("a {} is 1 to 64 characters of letters, digits and . _ @ -", what)
    );
}

std::string_view bytes(const Digest& digest) noexcept {
    return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

Result<std::vector<Key>> read_keys(sqlite::Connection& connection) {
    auto statement =
        connection.prepare("SELECT id, name, plan, team, mac, created_us FROM keys ORDER BY name");
    if (!statement) return std::unexpected(statement.error());
    std::vector<Key> keys;
    for (;;) {
        const Result<bool> row = statement->step();
        if (!row) return std::unexpected(row.error());
        if (!*row) return keys;
        Key& key = keys.emplace_back();
        key.id = statement->text(0);
        key.name = statement->text(1);
        key.plan = statement->text(2);
        key.team = statement->text(3);
        const std::string_view mac = statement->blob(4);
        if (mac.size() != key.mac.size()) {
            return fail(
                ErrorCode::kStorage,
                fmt::format("the ledger is damaged: key {} has no whole hash", key.id)
            );
        }
        std::ranges::copy(mac, key.mac.begin());
        key.created_us = statement->integer(5);
    }
}

Result<std::string> read_or_make_pepper(const std::string& data_dir, bool any_keys) {
    const std::string path = data_dir + "/secret";
    Result<std::string> found = read_secret_file(path);
    if (!found && found.error().code == ErrorCode::kNotFound) {
        if (any_keys) {
            return fail(
                ErrorCode::kStorage,
                fmt::format(
                    "{} is missing, but the ledger has keys that only it can check: restore it "
                    "from "
                    "the backup that the ledger is from",
                    path
                )
            );
        }
        std::string pepper(kPepper, '\0');
        random_bytes(pepper.data(), pepper.size());
        const Result<> made = make_secret_file(path, pepper);
        if (made) return pepper;
        if (made.error().code != ErrorCode::kConflict) return std::unexpected(made.error());
        found = read_secret_file(path);
    }
    if (found && found->size() != kPepper) {
        return fail(
            ErrorCode::kStorage, fmt::format("{} is damaged: restore it from a backup", path)
        );
    }
    return found;
}

}  // namespace

struct KeyStore::Impl {
    Impl(sqlite::Writer& to, std::string secret) : writer(to), pepper(std::move(secret)) {}

    sqlite::Writer& writer;
    const std::string pepper;

    // Held over the wait for the disk: changes come one after the other.
    Mutex mutex;
    std::vector<Key> stored GUARDED_BY(mutex);  // by name
    bool doubtful GUARDED_BY(mutex) = false;    // the disk may know more or less than `stored`
    // Of the config that table() saw last.
    std::unordered_set<std::string> declared GUARDED_BY(mutex);
    std::optional<std::set<std::string, std::less<>>> plans GUARDED_BY(mutex);

    Result<> look_again() REQUIRES_LOCK(mutex);
    [[nodiscard]] bool has_id(std::string_view id) REQUIRES_LOCK(mutex) {
        return std::ranges::find(stored, id, &Key::id) != stored.end();
    }
};

Result<> KeyStore::Impl::look_again() {
    if (!doubtful) return {};
    std::vector<Key> found;
    const Result<> read = writer.run([&found](sqlite::Connection& connection) -> Result<> {
        Result<std::vector<Key>> keys = read_keys(connection);
        if (!keys) return std::unexpected(keys.error());
        found = std::move(*keys);
        return {};
    });
    if (!read) return read;
    stored = std::move(found);
    doubtful = false;
    return {};
}

Result<std::unique_ptr<KeyStore>> KeyStore::open(
    const std::string& data_dir, sqlite::Connection& connection, sqlite::Writer& writer
) {
    Result<std::vector<Key>> keys = read_keys(connection);
    if (!keys) return std::unexpected(keys.error());
    Result<std::string> pepper = read_or_make_pepper(data_dir, !keys->empty());
    if (!pepper) return std::unexpected(pepper.error());
    auto impl = std::make_shared<Impl>(writer, std::move(*pepper));
    {
        MutexLock lock(impl->mutex);
        impl->stored = std::move(*keys);
    }
    return std::unique_ptr<KeyStore>(new KeyStore(std::move(impl)));
}

Result<std::shared_ptr<const KeyTable>> KeyStore::table(
    const config::Config& config, const KeyTable* in_force
) const {
    MutexLock lock(impl_->mutex);
    if (const Result<> fresh = impl_->look_again(); !fresh) return std::unexpected(fresh.error());
    std::vector<Key> all;
    all.reserve(config.keys.size() + impl_->stored.size());
    std::unordered_set<std::string> names;
    std::unordered_map<std::string, std::string> macs;
    for (const config::Key& declared : config.keys) {
        Key& key = all.emplace_back();
        key.id = "cfg-" + declared.name;
        key.name = declared.name;
        key.plan = declared.plan;
        key.team = declared.team;
        key.declared = true;
        key.mac = hmac_sha256(impl_->pepper, declared.secret);
        if (!names.insert(key.name).second) {
            return fail(ErrorCode::kConflict, fmt::format("two keys have the name `{}`", key.name));
        }
        const auto [other, added] = macs.emplace(bytes(key.mac), key.name);
        if (!added) {
            return fail(
                ErrorCode::kConflict,
                fmt::format("keys `{}` and `{}` have the same secret", other->second, key.name)
            );
        }
    }
    std::vector<SetAside> set_aside;
    for (const Key& key : impl_->stored) {
        // Stored keys differ among each other, so only the config can be in their way.
        const auto same = macs.find(std::string(bytes(key.mac)));
        if (config.find_plan(key.plan) == nullptr) {
            set_aside.push_back(
                {key,
                 fmt::format("its plan `{}` is not in the config", key.plan),
                 fmt::format("define the plan and reload, or `weir keys revoke {}`", key.id)}
            );
        } else if (names.contains(key.name)) {
            set_aside.push_back(
                {key,
                 "the config declares a key of the same name",
                 fmt::format("rename that one and reload, or `weir keys revoke {}`", key.id)}
            );
        } else if (same != macs.end()) {
            set_aside.push_back(
                {key,
                 fmt::format("the key `{}` of the config has the same secret", same->second),
                 fmt::format("give that one another and reload, or `weir keys revoke {}`", key.id)}
            );
        } else {
            all.push_back(key);
        }
    }
    std::string faults;
    for (const SetAside& one : set_aside) {
        const Key* const now = in_force == nullptr ? nullptr : in_force->find_name(one.key.name);
        if (now == nullptr || now->id != one.key.id) continue;
        if (!faults.empty()) faults += '\n';
        faults += fmt::format(
            "the key `{}` would stop working: {} ({})", one.key.name, one.why, one.cure
        );
    }
    if (!faults.empty()) return fail(ErrorCode::kConfig, std::move(faults));
    impl_->declared.clear();
    for (const config::Key& declared : config.keys) impl_->declared.insert(declared.name);
    impl_->plans.emplace();
    for (const config::Plan& plan : config.plans) impl_->plans->insert(plan.name);
    return std::make_shared<const KeyTable>(std::move(all), impl_->pepper, std::move(set_aside));
}

Result<NewKey> KeyStore::create(
    std::string_view name, std::string_view plan, std::string_view team, LedgerTime now
) {
    if (const Result<> good = check_name("name", name); !good) return std::unexpected(good.error());
    if (!team.empty()) {
        if (const Result<> good = check_name("team", team); !good) {
            return std::unexpected(good.error());
        }
    }
    MutexLock lock(impl_->mutex);
    if (const Result<> fresh = impl_->look_again(); !fresh) return std::unexpected(fresh.error());
    if (impl_->plans && !impl_->plans->contains(plan)) {
        return fail(ErrorCode::kBadRequest, "the config has no such plan");
    }
    const auto after = std::ranges::lower_bound(impl_->stored, name, {}, &Key::name);
    if (impl_->declared.contains(std::string(name)) ||
        (after != impl_->stored.end() && after->name == name)) {
        return fail(ErrorCode::kConflict, fmt::format("there is a key named `{}` already", name));
    }
    NewKey made;
    Key& key = made.key;
    do {
        key.id = random_token(kPublicId);
    } while (impl_->has_id(key.id));
    key.name = name;
    key.plan = plan;
    key.team = team;
    key.created_us = to_us(now);
    made.text = fmt::format("sk-weir-{}-{}", key.id, random_token(kSecret));
    key.mac = hmac_sha256(impl_->pepper, made.text);
    const Result<> written = impl_->writer.run([&key](sqlite::Connection& connection) -> Result<> {
        auto statement = connection.prepare(
            "INSERT INTO keys(id, name, plan, team, mac, created_us) "
            "VALUES (?1, ?2, ?3, ?4, ?5, ?6)"
        );
        if (!statement) return std::unexpected(statement.error());
        return statement->bind(1, std::string_view(key.id))
            .bind(2, std::string_view(key.name))
            .bind(3, std::string_view(key.plan))
            .bind(4, std::string_view(key.team))
            .bind_blob(5, bytes(key.mac))
            .bind(6, key.created_us)
            .run();
    });
    if (!written) {
        impl_->doubtful = true;
        return std::unexpected(written.error());
    }
    impl_->stored.insert(after, key);
    return made;
}

Result<Key> KeyStore::revoke(std::string_view name_or_id) {
    MutexLock lock(impl_->mutex);
    if (const Result<> fresh = impl_->look_again(); !fresh) return std::unexpected(fresh.error());
    // A name goes before an id that looks the same.
    auto found = std::ranges::find(impl_->stored, name_or_id, &Key::name);
    if (found == impl_->stored.end()) {
        const std::string name(name_or_id.starts_with("cfg-") ? name_or_id.substr(4) : name_or_id);
        if (impl_->declared.contains(name) || impl_->declared.contains(std::string(name_or_id))) {
            return fail(
                ErrorCode::kConflict,
                fmt::format(
                    "key `{}` is declared in the config: take it out there and reload", name
                )
            );
        }
        found = std::ranges::find(impl_->stored, name_or_id, &Key::id);
    }
    if (found == impl_->stored.end()) {
        return fail(ErrorCode::kNotFound, "no key has that name or id");
    }
    const Result<> written =
        impl_->writer.run([&id = found->id](sqlite::Connection& connection) -> Result<> {
            auto statement = connection.prepare("DELETE FROM keys WHERE id = ?1");
            if (!statement) return std::unexpected(statement.error());
            return statement->bind(1, std::string_view(id)).run();
        });
    if (!written) {
        impl_->doubtful = true;
        return std::unexpected(written.error());
    }
    Key gone = std::move(*found);
    impl_->stored.erase(found);
    return gone;
}

Result<std::string> admin_token(const std::string& data_dir) {
    const std::string path = data_dir + "/admin-token";
    Result<std::string> found = read_secret_file(path);
    if (!found && found.error().code == ErrorCode::kNotFound) {
        std::string token = "weir-admin-" + random_token(kAdminToken);
        const Result<> made = make_secret_file(path, token + "\n");
        if (made) return token;
        if (made.error().code != ErrorCode::kConflict) return std::unexpected(made.error());
        found = read_secret_file(path);
    }
    if (!found) return found;
    std::string token(trim(*found));
    if (token.size() < kLeastToken) {
        return fail(
            ErrorCode::kStorage,
            fmt::format(
                "{} holds no token of {} or more characters: put one in, or delete the file and a "
                "new one is made",
                path,
                kLeastToken
            )
        );
    }
    return token;
}

}  // namespace weir::keys
