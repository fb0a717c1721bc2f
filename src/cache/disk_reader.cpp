#include "disk_reader.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include "entry_codec.hpp"

namespace weir::cache {

namespace {

using namespace std::chrono_literals;

// More are misses: who waits that long is better off upstream.
constexpr std::size_t kQueue = 1024;
// Stores of this span share a transaction (a transaction each costs 79 us, performance.md 8.5);
// until then they are found in the queue.
constexpr auto kGather = 20ms;
constexpr auto kTidyEvery = 60s;
constexpr auto kRetryAfter = 250ms;

}  // namespace

void Lookup::answer(EntryPtr entry) {
    {
        const MutexLock lock(mutex_);
        answered_ = true;
        entry_ = std::move(entry);
    }
    signal_->notify();
}

std::optional<EntryPtr> Lookup::answer() const {
    const MutexLock lock(mutex_);
    if (!answered_) return std::nullopt;
    return entry_;
}

DiskReader::DiskReader(
    std::string path,
    const std::function<std::int64_t()>& now_s,
    MemoryTier& memory,
    DiskWriter& disk,
    sqlite::Writer& writer
)
    : path_(std::move(path)), now_s_(now_s), memory_(memory), disk_(disk), writer_(writer) {}

DiskReader::~DiskReader() {
    stop();
}

void DiskReader::start() {
    {
        const MutexLock lock(mutex_);
        running_ = true;
    }
    thread_ = std::thread([this] { loop(); });
}

void DiskReader::stop() {
    {
        const MutexLock lock(mutex_);
        stopping_ = true;
        changed_.notify_one();
    }
    if (thread_.joinable()) thread_.join();
}

bool DiskReader::ask(std::shared_ptr<Lookup> lookup) {
    const MutexLock lock(mutex_);
    if (!running_ || stopping_ || asked_.size() >= kQueue) return false;
    asked_.push_back(std::move(lookup));
    // A thread that is at work looks again by itself.
    if (asked_.size() == 1) changed_.notify_one();
    return true;
}

void DiskReader::flush_soon() {
    const MutexLock lock(mutex_);
    if (!flush_at_.is_never()) return;
    flush_at_ = Deadline::in(kGather);
    changed_.notify_one();
}

void DiskReader::loop() {
    Deadline tidy_at = Deadline::in(kTidyEvery);
    for (;;) {
        std::deque<std::shared_ptr<Lookup>> asked;
        bool flush = false;
        bool last = false;
        {
            const MutexLock lock(mutex_);
            while (!stopping_ && asked_.empty() && !flush_at_.passed() && !tidy_at.passed()) {
                changed_.wait_until(mutex_, flush_at_.earlier(tidy_at).at());
            }
            asked.swap(asked_);
            flush = flush_at_.passed();
            if (flush) flush_at_ = Deadline::never();
            last = stopping_;
        }
        const bool tidy = tidy_at.passed();
        if (tidy) tidy_at = Deadline::in(kTidyEvery);
        if ((flush || tidy) && !last) {
            disk_.flush(tidy);
            writer_.wake();
        }
        for (const std::shared_ptr<Lookup>& lookup : asked) {
            lookup->answer(last ? nullptr : read(lookup->key()));
        }
        if (last) break;
    }
    open_.reset();
}

bool DiskReader::ready() {
    const std::uint64_t epoch = disk_.epoch();
    if (open_ && open_->epoch == epoch) return true;
    open_.reset();
    // A new file is worth a try at once.
    if (tried_epoch_ == epoch && !retry_at_.passed()) return false;
    tried_epoch_ = epoch;
    retry_at_ = Deadline::in(kRetryAfter);
    Result<sqlite::Connection> connection =
        sqlite::Connection::open(path_, {.mode = sqlite::Mode::kReadOnly});
    if (!connection) return false;
    Result<sqlite::Statement> find = connection->prepare(
        "SELECT e.expires_at, e.used_at, b.packed, b.checksum "
        "FROM entries e JOIN bodies b ON b.id = e.id WHERE e.hash = ?"
    );
    if (!find) {
        if (connection->is_corrupt()) {
            disk_.report_damage(epoch);
            writer_.wake();
        }
        return false;
    }
    open_.emplace(std::move(*connection), std::move(*find), epoch);
    return true;
}

void DiskReader::failed() {
    if (open_->connection.is_corrupt()) {
        disk_.report_damage(open_->epoch);
        writer_.wake();
    }
    // Statement before its connection.
    open_->find = {};
    open_.reset();
    retry_at_ = Deadline::in(kRetryAfter);
}

EntryPtr DiskReader::read(const CacheKey& key) {
    const std::uint64_t generation = memory_.generation();
    if (!ready()) return nullptr;
    EntryPtr entry = row(key);
    if (!entry) return nullptr;
    memory_.insert_read(key.hash, entry, now_s_(), generation);
    return entry;
}

// What a row holds; nullptr: it is damaged.
EntryPtr DiskReader::unpacked(const Digest& hash, std::string_view packed, std::int64_t written) {
    // What is not what was written is not even unpacked.
    if (checksum(packed) != written) return nullptr;
    // Many who ask for one that the memory tier does not take shall not hold a copy each.
    Lent& lent = lent_[hash];
    if (EntryPtr still_sent = lent.entry.lock(); still_sent && lent.written == written) {
        return still_sent;
    }
    const std::optional<std::string> bytes = unpacker_.unpack(packed, kLargestEntry);
    std::optional<Entry> entry = bytes ? decode_entry(*bytes) : std::nullopt;
    if (!entry) return nullptr;
    auto shared = std::make_shared<const Entry>(std::move(*entry));
    lent = {written, shared};
    if (lent_.size() >= sweep_at_) {
        std::erase_if(lent_, [](const auto& one) { return one.second.entry.expired(); });
        sweep_at_ = std::max(kFirstSweep, 2 * lent_.size());
    }
    return shared;
}

EntryPtr DiskReader::row(const CacheKey& key) {
    sqlite::Statement& find = open_->find;
    find.bind_blob(1, {reinterpret_cast<const char*>(key.hash.data()), key.hash.size()});
    const Result<bool> found = find.step();
    if (!found) {
        failed();
        return nullptr;
    }
    // An open read would pin the WAL: whatever happens, the statement is reset before the return.
    const std::int64_t now_s = now_s_();
    EntryPtr entry;
    bool touch = false;
    bool damaged = false;
    if (*found && find.integer(0) > now_s) {
        entry = unpacked(key.hash, find.blob(2), find.integer(3));
        damaged = !entry;
        touch = now_s - find.integer(1) >= MemoryTier::kTouchEverySeconds;
    }
    find.reset();
    if (damaged) {
        disk_.forget(key.hash);
        disk_.flush(true);
        writer_.wake();
    }
    if (!entry || entry->key_text != key.text) return nullptr;
    if (touch) disk_.touch(key.hash);
    return entry;
}

}  // namespace weir::cache
