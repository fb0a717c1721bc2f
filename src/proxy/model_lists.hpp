// What the upstreams list as their models, for one worker: asked when a key asks, all at the same
// time, kept for a minute. Home worker only.
//
// An upstream is asked by one call at a time, whoever waits for it; the call ends when the last one
// who waits leaves, so that a drain waits for nothing that nobody wants. A call that fails leaves
// the list from before in place: models do not vanish because of a blip. The next one is made with
// the upstream's next key.
//
// Azure lists what could be deployed, not what is: it is not asked, its deployments are its list.
//
// Ownership: the Worker has it. What it is made of outlives the coroutines that it spawns; itself
// it need not.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "weir/base/awaitable.hpp"
#include "weir/base/signal.hpp"
#include "weir/proxy/snapshot.hpp"
#include "weir/upstream/client.hpp"

namespace weir::proxy {

// OpenAI's members of a model, and nothing else that an upstream may say with it.
struct ListedModel {
    std::string id;
    std::int64_t created = 0;
    std::string owned_by;
};
using ModelList = std::shared_ptr<const std::vector<ListedModel>>;

// What an upstream's answer lists, OpenAI's or Anthropic's, without its key; nullptr: it is no list
// of models.
[[nodiscard]] ModelList read_model_list(std::string_view body, const config::Upstream& upstream);

struct ModelListTimes {
    std::chrono::milliseconds kept{60'000};      // a list, good or from before
    std::chrono::milliseconds again{10'000};     // until who never gave one is asked again
    std::chrono::milliseconds patience{10'000};  // with a call
};

class ModelLists {
public:
    // `calls` counts those in progress.
    ModelLists(
        Executor home, upstream::Client& client, std::uint64_t& calls, ModelListTimes times = {}
    ) noexcept
        : home_(std::move(home)), client_(client), calls_(calls), times_(times) {}
    ModelLists(const ModelLists&) = delete;
    ModelLists& operator=(const ModelLists&) = delete;

    // The lists in the order of the config's upstreams, empty where none was ever had. Waits
    // until `enough` says so at the latest; it is asked when `signal` is notified.
    [[nodiscard]] Awaitable<std::vector<ModelList>> get(
        SnapshotPtr snapshot, std::function<bool()> enough, std::shared_ptr<Signal> signal
    );

private:
    struct Source;
    class Waiter;
    using Sources = std::vector<std::shared_ptr<Source>>;

    [[nodiscard]] Sources sources_of(const SnapshotPtr& snapshot);
    // Calls it unless its list is still good or a call is on its way. True: there is something to
    // wait for.
    bool call_if_due(const std::shared_ptr<Source>& source);
    [[nodiscard]] static Awaitable<> ask(
        Executor home, std::shared_ptr<Source> source, ModelListTimes times
    );

    const Executor home_;
    upstream::Client& client_;
    std::uint64_t& calls_;
    const ModelListTimes times_;
    std::map<std::string, std::shared_ptr<Source>> sources_;  // by the upstream's name
};

}  // namespace weir::proxy
