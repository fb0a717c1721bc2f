#include "weir/proxy/worker.hpp"

#include "model_lists.hpp"

namespace weir::proxy {

Worker::Worker(std::uint32_t n, Shared& all)
    : number(n),
      shared(all),
      client(std::make_unique<upstream::Client>(context)),
      model_lists(std::make_unique<ModelLists>(context.get_executor(), *client, flights)) {}

Worker::~Worker() = default;

}  // namespace weir::proxy
