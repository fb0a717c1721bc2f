#include "weir/http/multipart.hpp"

#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace weir::http {
namespace {

constexpr std::string_view kType = "multipart/form-data; boundary=B";

std::string part(
    std::string_view name,
    std::string_view value,
    std::string_view more = "",
    std::string_view fields = ""
) {
    std::string text = "--B\r\nContent-Disposition: form-data; name=\"";
    text.append(name).append("\"").append(more).append("\r\n").append(fields).append("\r\n");
    return text.append(value).append("\r\n");
}
std::string file(std::string_view name, std::string_view bytes) {
    return part(name, bytes, "; filename=\"f\"", "Content-Type: audio/mpeg\r\n");
}
constexpr std::string_view kEnd = "--B--\r\n";

auto read(const std::string& body, Files files = Files::kAudio) {
    return read_form(body, kType, files);
}

TEST(FormBoundary, IsReadQuotedOrNot) {
    struct Row {
        std::string_view type;
        std::optional<std::string> boundary;
    };
    for (const Row& row : {
             Row{"multipart/form-data; boundary=abc", "abc"},
             Row{"Multipart/Form-Data;BOUNDARY=abc", "abc"},
             Row{"multipart/form-data; charset=utf-8; boundary=\"a b?c\"", "a b?c"},
             Row{"multipart/form-data; boundary=\"a:b\" ; x=y;", "a:b"},
             Row{"multipart/form-data; boundary=----WebKitFormBoundary7MA",
                 "----WebKitFormBoundary7MA"},
             Row{"multipart/form-data", std::nullopt},
             Row{"multipart/form-data; boundary=", std::nullopt},
             Row{"multipart/form-data; boundary=a; boundary=b", std::nullopt},
             Row{"multipart/form-data; boundary=\"a", std::nullopt},
             Row{"multipart/form-data; boundary=\"a\\b\"", std::nullopt},
             Row{"multipart/form-data; boundary=\"a \"", std::nullopt},
             Row{"multipart/form-data; boundary=a\xc3\xa9", std::nullopt},
             Row{"multipart/mixed; boundary=a", std::nullopt},
             Row{"application/json; boundary=a", std::nullopt},
             Row{"", std::nullopt},
         }) {
        EXPECT_EQ(form_boundary(row.type), row.boundary) << row.type;
    }
    EXPECT_TRUE(form_boundary("multipart/form-data; boundary=" + std::string(70, 'x')));
    EXPECT_FALSE(form_boundary("multipart/form-data; boundary=" + std::string(71, 'x')));
}

TEST(Form, NamesItsModelWhereverItStands) {
    const std::string sound(3000, '\r');  // looks like the beginning of a boundary all the time
    for (const std::string& body : {
             part("model", "whisper-1") + file("file", sound) + std::string(kEnd),
             file("file", sound) + part("model", "whisper-1") + std::string(kEnd),
             "a preamble\r\n--Bx is none\r\n" + file("file", sound) + part("model", "whisper-1") +
                 "--B--\r\nan epilogue\r\n--B\r\n",
             file("file", sound) + part("model", "whisper-1") + "--B--",
         }) {
        const auto form = read(body);
        const bool odd = body.starts_with("a preamble");
        ASSERT_EQ(form.has_value(), !odd) << body.substr(0, 40);  // "--Bx": some would take it
        if (odd) continue;
        EXPECT_EQ(form->request.model, "whisper-1");
        ASSERT_TRUE(form->request.model_at);
        EXPECT_EQ(body.substr(form->request.model_at->offset, 9), "whisper-1");
        EXPECT_TRUE(form->request.has_audio);
        EXPECT_EQ(form->request.media_bytes, sound.size());
        EXPECT_EQ(form->request.media_tokens, sound.size());
        EXPECT_EQ(form->request.media_parts.audios, 1U);
    }
}

TEST(Form, ReadsWhatTheGatewayDecidesBy) {
    const std::string body = "preamble\r\n" + part("stream", "true") + part("n", "3") +
                             file("image", "1") + file("image[]", "22") + part("prompt", "") +
                             std::string(kEnd);
    const auto form = read(body, Files::kImage);
    ASSERT_TRUE(form) << form.error().message;
    EXPECT_TRUE(form->request.stream);
    EXPECT_EQ(form->request.choices, 3U);
    EXPECT_FALSE(form->request.model);
    EXPECT_TRUE(form->request.has_image);
    EXPECT_EQ(form->request.media_parts.images, 2U);
    EXPECT_EQ(form->request.media_bytes, 3U);
    EXPECT_EQ(form->request.media_tokens, 2 * kTokensOfAnImage);
    EXPECT_EQ(form->place.first, 10U);
    EXPECT_FALSE(read(part("stream", "false") + std::string(kEnd))->request.stream);
    // A long sound is no more than one that stands elsewhere.
    EXPECT_EQ(
        read(file("file", std::string(1 << 20, 'x')) + std::string(kEnd))->request.media_tokens,
        kTokensOfAudioElsewhere
    );
}

TEST(Form, TakesOddNamesOfFiles) {
    for (const std::string_view more : {
             "; filename=\"\xe6\xb0\xb4.mp3\"",
             "; filename*=UTF-8''%e6%b0%b4.mp3",
             "; filename=\"a \\\"b\\\"; name=c.mp3\"",
             "; filename=\"C:\\music\\x.mp3\"",
             ";filename=plain.mp3",
             "; filename=\"\"",
         }) {
        const auto form = read(part("file", "x", more) + part("model", "m") + std::string(kEnd));
        ASSERT_TRUE(form) << more << form.error().message;
        EXPECT_EQ(form->request.model, "m") << more;
        EXPECT_EQ(form->request.media_parts.audios, 1U) << more;
    }
}

// What two readers could understand differently is refused: the upstream may be the other one.
TEST(Form, ThatIsBrokenOrUnclearIsRefused) {
    const std::string good = part("model", "m");
    const std::string end(kEnd);
    for (const std::string& body : {
             std::string(),
             std::string("x"),
             good,  // no final boundary
             good + "--B",
             good + "--B-",
             good + "--B-x--B--",
             std::string("--B"),
             std::string("--B\r\n\r\nno head\r\n--B--"),
             std::string("--B\r\nContent-Disposition: form-data; name=\"a\"\r\n--B--"),
             std::string("--B\nContent-Disposition: form-data; name=\"a\"\n\nx\n--B--\n"),
             std::string("--B\r\nContent-Disposition: form-data; name=\"a\"\n\r\n\r\nx\r\n--B--"),
             std::string("--B\r\nContent-Disposition: attachment; name=\"a\"\r\n\r\nx\r\n--B--"),
             std::string("--B\r\nContent-Disposition: form-data\r\n\r\nx\r\n--B--"),
             std::string("--B\r\n folded\r\n\r\nx\r\n--B--"),
             part("model", "a", "; name=\"b\"") + end,
             part("model", "a", "; name*=UTF-8''b") + end,
             part("mo\\del", "a") + end,
             part("x", "a", "", "Content-Disposition: form-data; name=\"model\"\r\n") + end,
             part("x", "a", "", "X: \x01\r\n").replace(20, 1, "\r") + end,
             part("file", "a", "; filename=\"x\\\"; name=\"model\"; y=\"") + end,
             good + good + end,  // twice
             part("stream", "true") + part("stream", "false") + end,
             part("model", "m", "; filename=\"m\"") + end,
             part("model", "bQ==", "", "Content-Transfer-Encoding: base64\r\n") + end,
             part("model", "m", "", "Content-Type: text/plain; charset=utf-16\r\n") + end,
             part("model", "m\r\n") + end,
             part("_charset_", "utf-7") + good + end,
             "--B" + std::string(100, ' ') + good.substr(3) + end,
             part("x", "y", "", "X: " + std::string(MultipartReader::kLongestHead, 'x') + "\r\n") +
                 end,
         }) {
        EXPECT_FALSE(read(body)) << body.substr(0, 120);
    }
    EXPECT_FALSE(read_form(good + end, "multipart/form-data", Files::kAudio));
    std::string many;
    for (std::size_t i = 0; i < MultipartReader::kMostParts; ++i) many += part("x", "");
    EXPECT_TRUE(read(many + end));
    EXPECT_FALSE(read(many + good + end));
    EXPECT_TRUE(read("--B \t\r\n" + good.substr(5) + end)) << "blanks behind a boundary";
    EXPECT_TRUE(read(part("model", "m", "", "Content-Type: text/plain; charset=UTF-8\r\n") + end));
}

TEST(Form, TakesAnotherModel) {
    const std::string sound = file("file", std::string("\0\r\n--\xff", 6));
    const std::string end(kEnd);
    const auto with = [](const std::string& body, std::string_view model) {
        const auto form = read(body);
        EXPECT_TRUE(form);
        auto out = rewrite_form(body, form->request, form->place, model);
        EXPECT_TRUE(out);
        return std::string(out->view());
    };
    EXPECT_EQ(
        with(sound + part("model", "a") + part("n", "1") + end, "another"),
        sound + part("model", "another") + part("n", "1") + end
    );
    EXPECT_EQ(with(part("model", "") + sound + end, "b"), part("model", "b") + sound + end);
    // None there: the API's default has another name here.
    EXPECT_EQ(with("pre\r\n" + sound + end, "c"), "pre\r\n" + part("model", "c") + sound + end);
    BufferBudget nothing(10);
    const std::string body = sound + end;
    const auto form = read(body);
    const auto out = rewrite_form(body, form->request, form->place, "c", &nothing);
    ASSERT_FALSE(out);
    EXPECT_EQ(out.error().code, ErrorCode::kOverloaded);
    EXPECT_EQ(nothing.used(), 0U);
}

std::string random_form(std::mt19937& random) {
    const auto dice = [&random](unsigned sides) { return random() % sides; };
    static const std::string_view kPieces[] = {
        "\r\n",
        "--B",
        "\r\n--B",
        "\r",
        "\n",
        "-",
        "--",
        "B",
        "x",
        "Content-Disposition: form-data; ",
        "name=\"a\"",
        "\r\n\r\n",
        ": ",
        ";",
        "\"",
        "--B--",
        " ",
        std::string_view("\0", 1),
        "\xff"
    };
    std::string body;
    if (dice(2) == 0) body = "pre\r\n";
    for (auto parts = dice(4); parts > 0; --parts) {
        std::string content;
        for (auto i = dice(8); i > 0; --i) content += kPieces[dice(std::size(kPieces))];
        body += part(dice(3) == 0 ? "model" : "x", content, dice(2) == 0 ? "; filename=\"f\"" : "");
    }
    body += kEnd;
    for (auto changes = dice(3); changes > 0 && !body.empty(); --changes) {
        const std::size_t at = dice(static_cast<unsigned>(body.size()));
        if (dice(2) == 0) {
            body.erase(at, 1 + dice(3));
        } else {
            body.insert(at, kPieces[dice(std::size(kPieces))]);
        }
    }
    return body;
}

TEST(MultipartProperty, ReadingDoesNotDependOnCuts) {
    std::mt19937 random(7578);
    std::size_t whole_forms = 0;
    for (int round = 0; round < 20'000; ++round) {
        const std::string body = random_form(random);
        MultipartReader whole("B");
        const bool fine = whole.feed(body) && whole.finish();
        whole_forms += fine ? 1 : 0;
        MultipartReader pieces("B");
        bool same = true;
        const std::size_t step = 1 + random() % 7;
        for (std::size_t at = 0; at < body.size() && same; at += step) {
            same = pieces.feed(std::string_view(body).substr(at, step));
        }
        same = same && pieces.finish();
        ASSERT_EQ(same, fine) << body;
        ASSERT_EQ(pieces.why(), whole.why()) << body;
        ASSERT_EQ(pieces.parts(), whole.parts()) << body;
        if (!fine) continue;
        ASSERT_EQ(pieces.first_boundary(), whole.first_boundary());
        for (const FormPart& one : whole.parts()) {
            const std::string_view content =
                std::string_view(body).substr(one.content.offset, one.content.length);
            ASSERT_EQ(content.find("\r\n--B"), std::string_view::npos) << body;
            ASSERT_TRUE(std::string_view(body)
                            .substr(one.content.offset + one.content.length)
                            .starts_with("\r\n--B"));
        }
    }
    EXPECT_GT(whole_forms, 3000U);
    EXPECT_LT(whole_forms, 17'000U);
}

}  // namespace
}  // namespace weir::http
