// Prices change, and discounts, batches, audio and long contexts have others: these are the list
// prices of text tokens, in usd per million, as of July 2026. The config's `prices` come first.
// Families whose next member may cost otherwise have no pattern for it: an unknown price is better
// than a wrong one.
#include "price_table.hpp"

#include "usd.hpp"

namespace weir::config {

namespace {

consteval Price usd(
    std::string_view input, std::string_view cached_input, std::string_view output
) {
    return {
        nano_dollars(input).value(),
        nano_dollars(cached_input).value(),
        nano_dollars(output).value()
    };
}

constexpr ShippedPrice kShipped[] = {
    // OpenAI.
    {"gpt-5.5-pro*", usd("30", "3", "180")},
    {"gpt-5.5", usd("5", "0.5", "30")},
    {"gpt-5.5-20*", usd("5", "0.5", "30")},
    {"gpt-5.4-pro*", usd("30", "3", "180")},
    {"gpt-5.4-mini*", usd("0.75", "0.075", "4.5")},
    {"gpt-5.4-nano*", usd("0.2", "0.02", "1.25")},
    {"gpt-5.4", usd("2.5", "0.25", "15")},
    {"gpt-5.4-20*", usd("2.5", "0.25", "15")},
    {"gpt-5.3-*", usd("1.75", "0.175", "14")},
    {"gpt-5.2-pro*", usd("21", "21", "168")},
    {"gpt-5.2*", usd("1.75", "0.175", "14")},
    {"gpt-5.1-codex-mini*", usd("0.25", "0.025", "2")},
    {"gpt-5.1*", usd("1.25", "0.125", "10")},
    {"gpt-5-pro*", usd("15", "15", "120")},
    {"gpt-5-mini*", usd("0.25", "0.025", "2")},
    {"gpt-5-nano*", usd("0.05", "0.005", "0.4")},
    {"gpt-5-*", usd("1.25", "0.125", "10")},
    {"gpt-5", usd("1.25", "0.125", "10")},
    {"gpt-4.1-mini*", usd("0.4", "0.1", "1.6")},
    {"gpt-4.1-nano*", usd("0.1", "0.025", "0.4")},
    {"gpt-4.1*", usd("2", "0.5", "8")},
    {"gpt-4o-mini-transcribe*", usd("1.25", "1.25", "5")},
    {"gpt-4o-mini-tts*", usd("2.5", "2.5", "10")},
    {"gpt-4o-mini-realtime*", usd("0.6", "0.3", "2.4")},
    {"gpt-4o-mini*", usd("0.15", "0.075", "0.6")},
    {"gpt-4o-realtime*", usd("5", "2.5", "20")},
    {"gpt-4o-audio*", usd("2.5", "2.5", "10")},
    {"gpt-4o-transcribe*", usd("2.5", "2.5", "10")},
    {"gpt-4o-2024-05-13", usd("5", "5", "15")},
    {"gpt-4o*", usd("2.5", "1.25", "10")},
    {"chatgpt-4o*", usd("5", "5", "15")},
    {"gpt-4-turbo*", usd("10", "10", "30")},
    {"gpt-4-*-preview", usd("10", "10", "30")},
    {"gpt-4-32k*", usd("60", "60", "120")},
    {"gpt-4-0*", usd("30", "30", "60")},
    {"gpt-4", usd("30", "30", "60")},
    {"gpt-3.5-turbo-instruct*", usd("1.5", "1.5", "2")},
    {"gpt-3.5-turbo-16k*", usd("3", "3", "4")},
    {"gpt-3.5-turbo-1106", usd("1", "1", "2")},
    {"gpt-3.5-turbo-0613", usd("1.5", "1.5", "2")},
    {"gpt-3.5-turbo-0301", usd("1.5", "1.5", "2")},
    {"gpt-3.5-turbo*", usd("0.5", "0.5", "1.5")},
    {"o1-pro*", usd("150", "150", "600")},
    {"o1-mini*", usd("1.1", "0.55", "4.4")},
    {"o1*", usd("15", "7.5", "60")},
    {"o3-deep-research*", usd("10", "2.5", "40")},
    {"o3-pro*", usd("20", "20", "80")},
    {"o3-mini*", usd("1.1", "0.55", "4.4")},
    {"o3*", usd("2", "0.5", "8")},
    {"o4-mini-deep-research*", usd("2", "0.5", "8")},
    {"o4-mini*", usd("1.1", "0.275", "4.4")},
    {"text-embedding-3-small*", usd("0.02", "0.02", "0")},
    {"text-embedding-3-large*", usd("0.13", "0.13", "0")},
    {"text-embedding-ada-002*", usd("0.1", "0.1", "0")},
    // Anthropic; a prompt that is written to its cache costs more than `input`.
    {"claude-opus-4-20*", usd("15", "1.5", "75")},
    {"claude-opus-4-0*", usd("15", "1.5", "75")},
    {"claude-opus-4-1*", usd("15", "1.5", "75")},
    {"claude-opus-4-*", usd("5", "0.5", "25")},
    {"claude-sonnet-4-*", usd("3", "0.3", "15")},
    {"claude-haiku-4-5*", usd("1", "0.1", "5")},
    {"claude-3-7-sonnet*", usd("3", "0.3", "15")},
    {"claude-3-5-sonnet*", usd("3", "0.3", "15")},
    {"claude-3-5-haiku*", usd("0.8", "0.08", "4")},
    {"claude-3-opus*", usd("15", "1.5", "75")},
    {"claude-3-haiku*", usd("0.25", "0.03", "1.25")},
    // DeepSeek.
    {"deepseek-chat*", usd("0.28", "0.028", "0.42")},
    {"deepseek-reasoner*", usd("0.28", "0.028", "0.42")},
    {"deepseek-v4-flash*", usd("0.14", "0.0028", "0.28")},
    {"deepseek-v4-pro*", usd("0.435", "0.003625", "0.87")},
};

}  // namespace

std::span<const ShippedPrice> shipped_prices() noexcept {
    return kShipped;
}

}  // namespace weir::config
