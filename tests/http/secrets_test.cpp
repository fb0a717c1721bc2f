// A secret is found in each of its forms, and masked wherever a stream is cut.
#include "weir/http/secrets.hpp"

#include <algorithm>
#include <cstdint>
#include <random>

#include <gtest/gtest.h>

namespace weir::http {
namespace {

constexpr std::string_view kSecret = "sk-proj-a/b+c_D\"9\\xYz0123456789";

bool has(const std::vector<std::string>& forms, std::string_view form) {
    return std::ranges::find(forms, form) != forms.end();
}

TEST(SecretForms, AreThoseThatServersWrite) {
    const auto forms = secret_forms(kSecret);
    EXPECT_TRUE(has(forms, kSecret));
    EXPECT_TRUE(has(forms, "9876543210zYx\\9\"D_c+b/a-jorp-ks"));
    EXPECT_TRUE(has(forms, R"(sk-proj-a/b+c_D\"9\\xYz0123456789)"));
    EXPECT_TRUE(has(forms, R"(sk-proj-a\/b+c_D\"9\\xYz0123456789)"));
    EXPECT_TRUE(has(forms, "sk-proj-a%2Fb%2Bc_D%229%5CxYz0123456789"));
    EXPECT_TRUE(has(forms, "sk-proj-a%2fb%2bc_D%229%5cxYz0123456789"));
    EXPECT_TRUE(
        has(forms,
            "736b2d70726f6a2d612f622b635f442239"
            "5c78597a30313233343536373839")
    );
    for (std::size_t i = 1; i < forms.size(); ++i) {
        EXPECT_GE(forms[i - 1].size(), forms[i].size()) << "a form must not hide a longer one";
    }
    EXPECT_TRUE(secret_forms("short").empty());
}

// Whatever stands before and behind it in the encoded text.
TEST(SecretForms, FindItInBase64AtEachAlignment) {
    const auto forms = secret_forms("upstream-secret-key-1234");
    for (const std::string_view text :
         {"dXBzdHJlYW0tc2VjcmV0LWtleS0xMjM0",              // alone
          "QmVhcmVyIHVwc3RyZWFtLXNlY3JldC1rZXktMTIzNA==",  // "Bearer " before it
          "S2V5IHVwc3RyZWFtLXNlY3JldC1rZXktMTIzNCE=",      // "Key " before, "!" behind
          "YWJ1cHN0cmVhbS1zZWNyZXQta2V5LTEyMzQ="}) {       // "ab" before
        EXPECT_TRUE(std::ranges::any_of(forms, [text](const std::string& form) {
            return text.find(form) != std::string_view::npos;
        })) << text;
    }
}

TEST(SecretMask, FindsItAtEveryCutAndKeepsEveryLength) {
    const std::string text =
        "data: sk-pro sk-proj-a/b+c_D\"9\\xYz0123456789 and sk-proj-a\\/b+c_D\\\"9"
        "\\\\xYz0123456789sk-proj-a/b+c_D\"9\\xYz0123456789 end sk-proj-a/b";
    std::string wanted = text;
    const auto blacken = [&wanted](std::string_view form) {
        for (std::size_t at = 0; (at = wanted.find(form)) != std::string::npos;) {
            wanted.replace(at, form.size(), form.size(), '*');
        }
    };
    blacken(R"(sk-proj-a\/b+c_D\"9\\xYz0123456789)");
    blacken(kSecret);
    for (std::size_t first = 0; first <= text.size(); ++first) {
        for (std::size_t second = first; second <= text.size(); second += 3) {
            SecretMask mask(kSecret);
            std::string out;
            const std::string parts[] = {
                text.substr(0, first), text.substr(first, second - first), text.substr(second), ""
            };
            for (std::string part : parts) {
                mask.mask(part, false);
                out += part;
            }
            std::string rest;
            mask.mask(rest, true);
            out += rest;
            ASSERT_EQ(out, wanted) << first << " " << second;
            ASSERT_TRUE(mask.seen());
        }
    }
}

// An event waits for nothing unless it ends in what may be the beginning of the secret.
TEST(SecretMask, HoldsNothingElseBack) {
    SecretMask mask(kSecret);
    std::string part = "data: {\"content\":\"sk\"}\n\n";
    const std::string same = part;
    mask.mask(part, false);
    EXPECT_EQ(part, same);
    part = "what sk-pro";
    mask.mask(part, false);
    EXPECT_EQ(part, "what ");
    part = "gramm";
    mask.mask(part, false);
    EXPECT_EQ(part, "sk-programm");
    EXPECT_FALSE(mask.seen());
    SecretMask none("");
    part = "anything";
    none.mask(part, false);
    EXPECT_EQ(part, "anything");
}

TEST(SecretMask, CoversValuesAndNothingAcrossThem) {
    const std::string secret(kSecret);
    Fields fields;
    fields.add("x-before", "b");
    fields.add("x-debug", "key " + secret + " of " + secret);
    fields.add("x-behind", "c");
    SecretMask mask(kSecret);
    mask.mask_values(fields);
    EXPECT_TRUE(mask.seen());
    const std::string stars(secret.size(), '*');
    EXPECT_EQ(fields.find("x-debug"), "key " + stars + " of " + stars);
    EXPECT_EQ(fields.find("x-before"), "b");
    EXPECT_EQ(fields.find("x-behind"), "c");

    Fields apart;
    apart.add("x-name", "first half");
    SecretMask across("name: first");  // stands in the head's text, not in a value
    across.mask_values(apart);
    EXPECT_FALSE(across.seen());
    EXPECT_EQ(apart.find("x-name"), "first half");
}

}  // namespace
}  // namespace weir::http
