#include "digest_filter.hpp"

#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "disk_writer.hpp"

namespace weir::cache {
namespace {

std::vector<Digest> digests(std::string_view name, std::size_t count) {
    std::vector<Digest> made;
    made.reserve(count);
    for (std::size_t i = 0; i < count; ++i)
        made.push_back(sha256(std::string(name) + std::to_string(i)));
    return made;
}

std::size_t held(const DigestFilter& filter, const std::vector<Digest>& of) {
    std::size_t count = 0;
    for (const Digest& digest : of) count += filter.may_hold(digest) ? 1 : 0;
    return count;
}

TEST(DigestFilter, SaysMaybeUntilTheFileWasRead) {
    DigestFilter filter;
    filter.begin(0);
    filter.add(sha256("stored"));
    EXPECT_TRUE(filter.may_hold(sha256("another")));
    filter.complete();
    EXPECT_FALSE(filter.may_hold(sha256("another")));
    EXPECT_TRUE(filter.may_hold(sha256("stored")))
        << "also what came before the end of the reading";
}

TEST(DigestFilter, AddingTellsWhatSurelyWasNotThere) {
    DigestFilter filter;
    filter.begin(0);
    EXPECT_TRUE(filter.add(sha256("early"))) << "the file may have it";
    filter.complete();
    EXPECT_TRUE(filter.add(sha256("early")));
    EXPECT_FALSE(filter.add(sha256("new")));
    EXPECT_TRUE(filter.add(sha256("new")));
}

TEST(DigestFilter, DeniesNothingThatItWasToldAndMostOfTheRest) {
    const std::vector<Digest> read = digests("read", 100'000);
    const std::vector<Digest> stored = digests("stored", 100'000);
    const std::vector<Digest> others = digests("other", 100'000);
    DigestFilter filter;
    filter.begin(read.size());
    filter.add_read(read);
    filter.complete();
    EXPECT_LT(held(filter, others), others.size() / 500);
    for (const Digest& digest : stored) filter.add(digest);
    EXPECT_EQ(held(filter, read), read.size());
    EXPECT_EQ(held(filter, stored), stored.size());
    EXPECT_LT(held(filter, others), others.size() / 100) << "as full as it was made for";
    EXPECT_FALSE(filter.worn());
    filter.add(sha256("one more"));
    EXPECT_TRUE(filter.worn());
}

TEST(DigestFilter, AnotherReadingForgetsWhatLeftTheFileAndMissesNothingMeanwhile) {
    const std::vector<Digest> gone = digests("gone", 1000);
    const std::vector<Digest> kept = digests("kept", 1000);
    const std::vector<Digest> stored = digests("stored", 1000);
    DigestFilter filter;
    filter.begin(0);
    filter.complete();
    for (const Digest& digest : gone) filter.add(digest);
    for (const Digest& digest : kept) filter.add(digest);
    filter.begin(kept.size());
    EXPECT_EQ(held(filter, kept), kept.size());
    filter.add_read(kept);
    for (const Digest& digest : stored) filter.add(digest);
    EXPECT_EQ(held(filter, stored), stored.size()) << "in the one that is asked";
    filter.complete();
    EXPECT_EQ(held(filter, kept), kept.size());
    EXPECT_EQ(held(filter, stored), stored.size()) << "and in the one that comes after it";
    EXPECT_LT(held(filter, gone), 50U);
}

TEST(DigestFilter, WhatWaitsForTheDiskIsInTheNextOneToo) {
    DiskWriter writer("nowhere.db", [] { return std::int64_t{1}; }, 1 << 20, 0);
    writer.filter().complete();
    const Digest waits = sha256("waits");
    ASSERT_FALSE(writer.may_hold(waits));
    writer.store(waits, std::make_shared<const Entry>());
    EXPECT_TRUE(writer.may_hold(waits));
    // No reading of the file finds it yet.
    writer.begin_reading_again();
    writer.filter().complete();
    EXPECT_TRUE(writer.may_hold(waits));
    EXPECT_FALSE(writer.may_hold(sha256("another")));
}

}  // namespace
}  // namespace weir::cache
