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
constexpr auto kTidyEvery = 60s;
constexpr auto kRetryAfter = 250ms;
// One step of reading them all; who asks for an entry waits for one at most.
constexpr std::size_t kDigestsAtOnce = 1024;

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

void DiskReader::flush_in(std::chrono::milliseconds span) {
    const MutexLock lock(mutex_);
    if (!flush_at_.is_never()) return;
    flush_at_ = Deadline::in(span);
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
            const Deadline other = tidy_at.earlier(digests_at_);
            while (!stopping_ && asked_.empty() && !flush_at_.passed() && !other.passed()) {
                changed_.wait_until(mutex_, flush_at_.earlier(other).at());
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
        if (digests_at_.passed()) read_digests();
        if (tidy && digests_at_.is_never() && disk_.filter().worn()) {
            disk_.begin_reading_again();
            digests_behind_ = {};
            digests_at_ = Deadline::in({});
        }
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
    Result<sqlite::Statement> digests =
        connection->prepare("SELECT hash FROM entries WHERE hash > ? ORDER BY hash LIMIT ?");
    if (!find || !digests) {
        if (connection->is_corrupt()) {
            disk_.report_damage(epoch);
            writer_.wake();
        }
        return false;
    }
    open_.emplace(std::move(*connection), std::move(*find), std::move(*digests), epoch);
    return true;
}

void DiskReader::failed() {
    if (open_->connection.is_corrupt()) {
        disk_.report_damage(open_->epoch);
        writer_.wake();
    }
    // Statement before its connection.
    open_->find = {};
    open_->digests = {};
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

void DiskReader::read_digests() {
    digests_at_ = Deadline::in(kRetryAfter);
    if (!ready()) return;
    // Another file: what was read of the one before it does no harm.
    if (std::exchange(digests_epoch_, open_->epoch) != open_->epoch) digests_behind_ = {};
    sqlite::Statement& digests = open_->digests;
    digests.bind_blob(1, as_blob(digests_behind_)).bind(2, std::int64_t{kDigestsAtOnce});
    std::vector<Digest> read;
    read.reserve(kDigestsAtOnce);
    bool more = true;
    std::size_t rows = 0;
    while (more) {
        const Result<bool> row = digests.step();
        if (!row) return failed();
        more = *row;
        if (!more) break;
        ++rows;
        const std::string_view hash = digests.blob(0);
        if (hash.size() != digests_behind_.size()) continue;
        std::ranges::copy(hash, digests_behind_.begin());
        read.push_back(digests_behind_);
    }
    digests.reset();
    disk_.filter().add_read(read);
    const bool done = rows < kDigestsAtOnce;
    if (done) disk_.filter().complete();
    digests_at_ = done ? Deadline::never() : Deadline::in({});
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
    find.bind_blob(1, as_blob(key.hash));
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
