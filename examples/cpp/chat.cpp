/* chat.cpp - talk to a model. From the repository root:
 *
 *     cc -O2 -c slm.c && c++ -std=c++17 -O2 examples/cpp/chat.cpp slm.o -o chat -pthread && ./chat
 *
 * Or with a model of your own: ./chat model.gguf. An empty line ends. */
#define SLM_CPP_EXCEPTIONS
#include "slm.hpp"

#include <iostream>

/* A string as JSON has it. */
static std::string quoted(const std::string &text)
{
    static const char digits[] = "0123456789abcdef";
    std::string out = "\"";
    for (char c : text) {
        auto byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            out += '\\';
        }
        if (byte < 0x20) {
            out += std::string("\\u00") + digits[byte >> 4] + digits[byte & 15];
        } else {
            out += c;
        }
    }
    return out + '"';
}

static std::string message(const char *role, const std::string &content)
{
    return std::string("{\"role\": \"") + role + "\", \"content\": " + quoted(content) + "}";
}

/* How many tokens two conversations have in common at their beginning; one at least is left to do. */
static std::size_t shared(const std::vector<std::int32_t> &a, const std::vector<std::int32_t> &b)
{
    std::size_t n = 0;
    while (n + 1 < b.size() && n < a.size() && a[n] == b[n]) {
        n++;
    }
    return n;
}

static void talk(const char *path)
{
    slm::model model = slm::model::open(path);
    slm::context context = slm::context::create(model);
    slm::chat_template chat = slm::chat_template::create(model);
    slm::chat_output output = slm::chat_output::create(chat);
    slm::sampler sampler =
        slm::sampler::create(model, {slm::stage::top_k(40), slm::stage::temperature(0.7f)}, 1);
    bool keeps_states = model.info().is_recurrent != 0; /* and cannot go back by a few tokens */
    std::vector<std::int32_t> before;
    std::string conversation, line;

    while (std::cout << "> " << std::flush && std::getline(std::cin, line) && !line.empty()) {
        conversation += (conversation.empty() ? "" : ", ") + message("user", line);
        slm::chat_prompt prompt = chat.render("[" + conversation + "]");
        std::vector<std::int32_t> tokens = prompt.tokens(model);
        std::size_t n = keeps_states ? 0 : shared(before, tokens);
        context.rewind(0, static_cast<std::int32_t>(n));
        output.begin(prompt);

        slm::generate_options options;
        options.sampler = &sampler;
        options.chat_output = &output;
        slm::generator generator = slm::generator::begin(
            context, slm::tokens_view(&tokens[n], tokens.size() - n), options);
        std::string answer;
        generator.each(output, [&](const slm::event &event) {
            std::cout << event.text << std::flush;
            if (event.kind == SLM_CHAT_ANSWER) {
                answer += event.text;
            }
        });
        std::cout << '\n';
        conversation += ", " + message("assistant", answer);
        before = std::move(tokens);
    }
}

int main(int argc, char **argv)
{
    try {
        talk(argc > 1 ? argv[1] : "examples/models/storyteller-q8_0.gguf");
    } catch (const slm::error &error) {
        std::cerr << error.what() << '\n';
        return 1;
    }
}
