#include "model_lists.hpp"

#include <algorithm>
#include <chrono>
#include <exception>
#include <iterator>
#include <set>
#include <tuple>
#include <utility>

#include <boost/asio/co_spawn.hpp>
#include <nlohmann/json.hpp>

#include "weir/base/log.hpp"
#include "weir/base/text.hpp"
#include "weir/base/time_zone.hpp"
#include "weir/base/watchdog.hpp"
#include "weir/http/bounded_json.hpp"
#include "weir/http/secrets.hpp"
#include "weir/upstream/target.hpp"

namespace weir::proxy {

namespace {

constexpr std::size_t kLongestList = 4 << 20;
// The longest known list, OpenRouter's, has some 400; each one costs memory in every worker.
constexpr std::size_t kMostModels = 10'000;
constexpr std::string_view kAnthropicVersion = "2023-06-01";
constexpr std::size_t kLongestName = 256;  // a request that names a longer model is refused

// A member that is a text of sensible length; empty if it is not.
std::string text_in(const nlohmann::ordered_json& model, const char* name) {
    const auto member = model.find(name);
    if (member == model.end() || !member->is_string()) return {};
    const auto& text = member->get_ref<const std::string&>();
    return text.size() <= kLongestName ? text : std::string();
}

ModelList deployments_of(const config::Upstream& upstream) {
    auto list = std::make_shared<std::vector<ListedModel>>();
    list->reserve(upstream.deployments.size());
    for (const auto& [model, deployment] : upstream.deployments) {
        list->push_back({.id = model, .owned_by = upstream.name});
    }
    return list;
}

}  // namespace

ModelList read_model_list(std::string_view body, const config::Upstream& upstream) {
    const auto answer = http::parse_bounded_json(body);
    if (!answer || !answer->is_object()) return nullptr;
    const auto data = answer->find("data");
    if (data == answer->end() || !data->is_array()) return nullptr;
    std::vector<std::string> secrets;
    for (const std::string_view secret : upstream.secrets()) {
        std::ranges::move(http::secret_forms(secret), std::back_inserter(secrets));
    }
    auto list = std::make_shared<std::vector<ListedModel>>();
    for (const auto& model : *data) {
        if (list->size() == kMostModels) break;
        if (!model.is_object()) continue;
        ListedModel listed;
        listed.id = redact(text_in(model, "id"), secrets);
        if (listed.id.empty()) continue;
        listed.owned_by = redact(text_in(model, "owned_by"), secrets);
        if (listed.owned_by.empty()) listed.owned_by = upstream.name;
        const auto created = model.find("created");
        const bool told = created != model.end() && created->is_number_integer();
        if (told) {
            listed.created = created->get<std::int64_t>();
        } else if (const auto at =
                       parse_iso_time(text_in(model, "created_at"))) {  // Anthropic's way
            listed.created =
                std::chrono::floor<std::chrono::seconds>(*at).time_since_epoch().count();
        }
        list->push_back(std::move(listed));
    }
    return list;
}

// One upstream, as long as the config has it at the same place with the same key.
struct ModelLists::Source {
    explicit Source(std::shared_ptr<const config::Upstream> which) : upstream(std::move(which)) {
        if (!is_asked()) list = deployments_of(*upstream);
    }

    [[nodiscard]] bool is_asked() const { return upstream->kind != config::Kind::kAzure; }
    [[nodiscard]] bool is_for(const config::Upstream& other) const {
        const auto identity = [](const config::Upstream& one) {
            return std::tie(
                one.url,
                one.kind,
                one.keys,
                one.headers,
                one.query,
                one.deployments,
                one.proxy,
                one.ca_file,
                one.certificate_file
            );
        };
        return identity(*upstream) == identity(other);
    }
    void came(ModelList fresh, const ModelListTimes& times) {
        list = std::move(fresh);
        good_until = Deadline::in(times.kept);
        ++answers;
    }
    // Who has the list from before can wait for the next one.
    void failed(const ModelListTimes& times) {
        good_until = Deadline::in(list->empty() ? times.again : times.kept);
        ++answers;
        ++key;  // the one that was sent may be turned away
    }

    std::shared_ptr<const config::Upstream> upstream;
    ModelList list = std::make_shared<std::vector<ListedModel>>();
    Deadline good_until{Deadline::Clock::time_point::min()};
    std::uint64_t answers = 0;             // good or bad
    std::size_t key = 0;                   // counts on past the last one
    std::unique_ptr<upstream::Call> call;  // while it is asked
    std::set<std::shared_ptr<Signal>> waiting;
};

// One who waits for some sources, until it leaves.
class ModelLists::Waiter {
public:
    Waiter(Sources sources, std::shared_ptr<Signal> signal)
        : sources_(std::move(sources)), signal_(std::move(signal)) {
        for (const auto& source : sources_) source->waiting.insert(signal_);
    }
    ~Waiter() {
        for (const auto& source : sources_) {
            source->waiting.erase(signal_);
            if (source->waiting.empty() && source->call) source->call->cancel();
        }
    }
    Waiter(const Waiter&) = delete;
    Waiter& operator=(const Waiter&) = delete;

private:
    Sources sources_;
    std::shared_ptr<Signal> signal_;
};

Awaitable<std::vector<ModelList>> ModelLists::get(
    SnapshotPtr snapshot, std::function<bool()> enough, std::shared_ptr<Signal> signal
) {
    const Sources sources = sources_of(snapshot);
    std::vector<std::uint64_t> before;
    for (const auto& source : sources) before.push_back(source->answers);
    const Waiter waiter(sources, signal);
    while (!enough()) {
        bool asking = false;
        for (std::size_t i = 0; i < sources.size(); ++i) {
            // One answer of each is waited for, and a call that was cancelled is none.
            const bool open = sources[i]->answers == before[i];
            if (open && call_if_due(sources[i])) asking = true;
        }
        if (!asking) break;
        co_await signal->wait();
    }
    std::vector<ModelList> lists;
    lists.reserve(sources.size());
    for (const auto& source : sources) lists.push_back(source->list);
    co_return lists;
}

// What the config does not have any more, or has otherwise, is forgotten.
ModelLists::Sources ModelLists::sources_of(const SnapshotPtr& snapshot) {
    Sources sources;
    std::map<std::string, std::shared_ptr<Source>> kept;
    for (const config::Upstream& upstream : snapshot->config->upstreams) {
        std::shared_ptr<const config::Upstream> shared(snapshot->config, &upstream);
        const auto known = sources_.find(upstream.name);
        if (known != sources_.end() && known->second->is_for(upstream)) {
            known->second->upstream = std::move(shared);  // its timeouts may be others
            sources.push_back(known->second);
        } else {
            sources.push_back(std::make_shared<Source>(std::move(shared)));
        }
        kept.emplace(upstream.name, sources.back());
    }
    sources_ = std::move(kept);
    return sources;
}

bool ModelLists::call_if_due(const std::shared_ptr<Source>& source) {
    if (source->call) return true;
    if (!source->is_asked() || !source->good_until.passed()) return false;
    const std::size_t keys = std::max<std::size_t>(1, source->upstream->keys.size());
    source->call = client_.call(source->upstream, source->key % keys);
    ++calls_;
    asio::co_spawn(
        home_,
        ask(home_, source, times_),
        [&calls = calls_, source, times = times_](const std::exception_ptr& bug) {
            --calls;
            if (bug) {
                log::error("listing an upstream's models ended by an exception");
                source->failed(times);
            }
            source->call.reset();
            for (const auto& signal : source->waiting) signal->notify_home();
        }
    );
    return true;
}

Awaitable<> ModelLists::ask(Executor home, std::shared_ptr<Source> source, ModelListTimes times) {
    upstream::Call& call = *source->call;
    Watchdog patience(home, [&call] { call.cancel(); });
    patience.set(Deadline::in(times.patience));
    upstream::CallRequest request;
    request.method = "GET";
    const bool anthropic = source->upstream->kind == config::Kind::kAnthropic;
    // Anthropic lists 20 at a time if nobody asks for more, and answers nobody who names no
    // version.
    request.target =
        upstream::target_on(*source->upstream, "/v1/models", anthropic ? "limit=1000" : "", "");
    if (anthropic) request.fields.set("anthropic-version", kAnthropicVersion);
    Result<> outcome = co_await call.start(std::move(request));
    if (outcome && call.head().status != 200) {
        outcome =
            fail(ErrorCode::kUpstreamStatus, "it answered " + std::to_string(call.head().status));
    }
    std::string body;
    std::string part;
    bool more = outcome.has_value();
    while (more) {
        const Result<bool> read = co_await call.read(part);
        more = read.value_or(false);
        if (!read) outcome = std::unexpected(read.error());
        body += part;
        if (body.size() > kLongestList) {
            outcome = fail(ErrorCode::kUpstreamProtocol, "the list is too long");
            more = false;
        }
    }
    if (outcome) {
        ModelList fresh = read_model_list(body, *source->upstream);
        if (fresh) {
            source->came(std::move(fresh), times);
            co_return;
        }
        outcome = fail(ErrorCode::kUpstreamProtocol, "the answer is no list of models");
    }
    // Nobody waited for it any more: no fault of the upstream's. Who came since asks again.
    if (outcome.error().code == ErrorCode::kCancelled && !patience.expired()) co_return;
    source->failed(times);
    log::warn(
        "an upstream does not list its models",
        {{"upstream", std::string_view(source->upstream->name)},
         {"why", std::string_view(outcome.error().detail)}}
    );
}

}  // namespace weir::proxy
