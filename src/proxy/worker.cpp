#include "weir/proxy/worker.hpp"

namespace weir::proxy {

Worker::Worker(std::uint32_t n, Shared& all)
    : number(n), shared(all), client(std::make_unique<upstream::Client>(context)) {}

Worker::~Worker() = default;

}  // namespace weir::proxy
