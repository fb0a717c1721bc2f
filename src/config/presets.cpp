#include "weir/config/presets.hpp"

#include <algorithm>

namespace weir::config {

namespace {

// Addresses and variables as the vendors' own documents and SDKs have them, as of 2026-10.
constexpr auto kPresets = std::to_array<Preset>({
    {.name = "openai",
     .url = "https://api.openai.com/v1",
     .key_variable = "OPENAI_API_KEY",
     .url_variable = "OPENAI_BASE_URL",
     .models =
         {"gpt-*",
          "chatgpt-*",
          "o?",
          "o?-*",
          "codex-*",
          "computer-use-*",
          "text-embedding-3-*",
          "text-embedding-ada-*",
          "*-moderation-*",
          "dall-e-*",
          "whisper-1",
          "tts-*",
          "sora-*",
          "babbage-*",
          "davinci-*",
          "ft:*"},
     .trial_model = "gpt-4"},
    {.name = "anthropic",
     .url = "https://api.anthropic.com/v1",
     .kind = Kind::kAnthropic,
     .key_variable = "ANTHROPIC_API_KEY",
     .models = {"claude-*"},
     .trial_model = "claude-haiku-4-5"},
    {.name = "azure",
     .kind = Kind::kAzure,
     .key_variable = "AZURE_OPENAI_API_KEY",
     .url_variable = "AZURE_OPENAI_ENDPOINT",
     .models =
         {"gpt-*",
          "o?",
          "o?-*",
          "codex-*",
          "text-embedding-3-*",
          "text-embedding-ada-*",
          "dall-e-*",
          "whisper*",
          "tts*",
          "sora*"},
     .trial_model = "gpt-4o"},
    {.name = "deepseek",
     .url = "https://api.deepseek.com/v1",
     .key_variable = "DEEPSEEK_API_KEY",
     .models = {"deepseek-*"},
     .trial_model = "deepseek-chat"},
    {.name = "mistral",
     .url = "https://api.mistral.ai/v1",
     .key_variable = "MISTRAL_API_KEY",
     .models =
         {"mistral-*",
          "ministral-*",
          "magistral-*",
          "codestral-*",
          "devstral-*",
          "pixtral-*",
          "voxtral-*",
          "open-mistral-*",
          "open-mixtral-*"},
     .trial_model = "mistral-small-latest",
     .stream_usage = false},  // tells it unasked, and refuses members that it does not know
    {.name = "groq",
     .url = "https://api.groq.com/openai/v1",
     .key_variable = "GROQ_API_KEY",
     .models =
         {"llama-*",
          "groq/*",
          "meta-llama/*",
          "openai/gpt-oss-*",
          "qwen/*",
          "moonshotai/*",
          "whisper-large-*"},
     .trial_model = "llama-3.3-70b-versatile"},
    {.name = "xai",
     .url = "https://api.x.ai/v1",
     .key_variable = "XAI_API_KEY",
     .models = {"grok-*"},
     .trial_model = "grok-4"},
    {.name = "gemini",
     .url = "https://generativelanguage.googleapis.com/v1beta/openai",
     .key_variable = "GEMINI_API_KEY",
     .models = {"gemini-*", "gemma-*"},
     .trial_model = "gemini-2.5-flash"},
    {.name = "moonshot",
     .url = "https://api.moonshot.ai/v1",
     .key_variable = "MOONSHOT_API_KEY",
     .url_variable = "MOONSHOT_BASE_URL",
     .models = {"kimi-*", "moonshot-*"},
     .trial_model = "kimi-k2.5"},
    {.name = "zhipu",
     .url = "https://open.bigmodel.cn/api/paas/v4",
     .key_variable = "ZHIPUAI_API_KEY",
     .models = {"glm-*", "cogview-*", "embedding-2", "embedding-3"},
     .trial_model = "glm-4.5-air"},
    {.name = "dashscope",
     .url = "https://dashscope.aliyuncs.com/compatible-mode/v1",
     .key_variable = "DASHSCOPE_API_KEY",
     .models = {"qwen*", "qwq-*", "qvq-*", "text-embedding-v*"},
     .trial_model = "qwen-plus"},
    {.name = "cerebras",
     .url = "https://api.cerebras.ai/v1",
     .key_variable = "CEREBRAS_API_KEY",
     .models = {"llama3.1-*", "llama-3.3-*", "qwen-3-*", "gpt-oss-*", "zai-glm-*"},
     .trial_model = "gpt-oss-120b"},
    {.name = "perplexity",
     .url = "https://api.perplexity.ai",
     .key_variable = "PERPLEXITY_API_KEY",
     .models = {"sonar", "sonar-*"},
     .trial_model = "sonar"},
    {.name = "cohere",
     .url = "https://api.cohere.ai/compatibility/v1",
     .key_variable = "COHERE_API_KEY",
     .models = {"command-*", "embed-*", "c4ai-*"},
     .trial_model = "command-a-03-2025",
     .stream_usage = false},  // refuses `stream_options`
    {.name = "fireworks",
     .url = "https://api.fireworks.ai/inference/v1",
     .key_variable = "FIREWORKS_API_KEY",
     .models = {"accounts/*"}},
    {.name = "openrouter",
     .url = "https://openrouter.ai/api/v1",
     .key_variable = "OPENROUTER_API_KEY",
     .models = {"*/*"},
     .trial_model = "openrouter/auto"},
    {.name = "together",
     .url = "https://api.together.xyz/v1",
     .key_variable = "TOGETHER_API_KEY",
     .models = {"*/*"},
     .trial_model = "meta-llama/Llama-3.3-70B-Instruct-Turbo"},
    {.name = "siliconflow",
     .url = "https://api.siliconflow.cn/v1",
     .key_variable = "SILICONFLOW_API_KEY",
     .models = {"*/*"},
     .trial_model = "Qwen/Qwen3-8B"},
    {.name = "nvidia",
     .url = "https://integrate.api.nvidia.com/v1",
     .key_variable = "NVIDIA_API_KEY",
     .models = {"*/*"},
     .trial_model = "meta/llama-3.1-8b-instruct"},
    // On one's own machine, at the port that each takes by itself.
    {.name = "ollama", .url = "http://127.0.0.1:11434/v1", .models = {"*"}},
    {.name = "vllm", .url = "http://127.0.0.1:8000/v1", .models = {"*"}},
    {.name = "llama.cpp", .url = "http://127.0.0.1:8080/v1", .models = {"*"}},
    {.name = "lmstudio", .url = "http://127.0.0.1:1234/v1", .models = {"*"}},
});

}  // namespace

std::vector<std::string> Preset::model_globs() const {
    std::vector<std::string> globs;
    globs.reserve(models.size());
    for (const std::string_view glob : models) {
        if (!glob.empty()) globs.emplace_back(glob);
    }
    return globs;
}

std::span<const Preset> presets() noexcept {
    return kPresets;
}

const Preset* find_preset(std::string_view name) noexcept {
    const auto* const found = std::ranges::find(kPresets, name, &Preset::name);
    return found == kPresets.end() ? nullptr : found;
}

}  // namespace weir::config
