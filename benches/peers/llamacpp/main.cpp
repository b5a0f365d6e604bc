// llama.cpp's side of `make bench AREA=inference`: one measurement a call, one line of JSON.
//
//   llamacpp speed MODEL            prefill of 512 tokens, decoding of 1, 8 and 16 streams at 128 tokens, in tokens/s
//   llamacpp nll MODEL FILE         negative log-likelihood a token of a text, in nats
//   llamacpp start MODEL            prints "first" after the first token
//   llamacpp ids MODEL              the tokens of each text on standard input, which end with a zero byte; control tokens are
//                                   taken for text
//
// Two threads, everything else as by default.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "ggml-backend.h"
#include "llama.h"

namespace {

constexpr int THREADS = 2;

double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct Model {
    llama_model* model;
    const llama_vocab* vocab;
    int words;

    explicit Model(const char* path) {
        auto params = llama_model_default_params();
        params.n_gpu_layers = 0;
        model = llama_model_load_from_file(path, params);
        if (!model) {
            std::fprintf(stderr, "can't load %s\n", path);
            std::exit(1);
        }
        vocab = llama_model_get_vocab(model);
        words = llama_vocab_n_tokens(vocab);
    }

    llama_context* context(int tokens, int sequences) const {
        auto params = llama_context_default_params();
        params.n_ctx = tokens;
        params.n_batch = 2048;
        params.n_ubatch = 512;
        params.n_seq_max = sequences;
        params.n_threads = THREADS;
        params.n_threads_batch = THREADS;
        return llama_init_from_model(model, params);
    }

    std::vector<llama_token> tokens(const std::string& text) const {
        std::vector<llama_token> ids(text.size() + 16);
        int n = llama_tokenize(vocab, text.data(), static_cast<int>(text.size()), ids.data(),
                               static_cast<int>(ids.size()), false, false);
        ids.resize(std::max(n, 0));
        return ids;
    }

    llama_token likeliest(const float* logits) const {
        return static_cast<llama_token>(std::max_element(logits, logits + words) - logits);
    }
};

void add(llama_batch& batch, llama_token token, int position, int sequence, bool wanted) {
    int i = batch.n_tokens++;
    batch.token[i] = token;
    batch.pos[i] = position;
    batch.n_seq_id[i] = 1;
    batch.seq_id[i][0] = sequence;
    batch.logits[i] = wanted;
}

// Any tokens: what they say doesn't change how long they take.
llama_token filler(int i) { return static_cast<llama_token>(i * 7919 % 40000 + 20); }

double prefill(const Model& model) {
    llama_context* context = model.context(1024, 1);
    llama_batch batch = llama_batch_init(2048, 0, 1);
    double best = 0;
    for (int round = 0; round < 3; round++) {
        llama_memory_clear(llama_get_memory(context), true);
        batch.n_tokens = 0;
        for (int i = 0; i < 512; i++) add(batch, filler(i + round), i, 0, i == 511);
        double began = now();
        llama_decode(context, batch);
        llama_synchronize(context);
        best = std::max(best, 512 / (now() - began));
    }
    llama_batch_free(batch);
    llama_free(context);
    return best;
}

double decode(const Model& model, int streams) {
    constexpr int before = 128, steps = 64;
    llama_context* context = model.context(streams * (before + steps + 64), streams);
    llama_batch batch = llama_batch_init(2048, 0, 1);
    for (int s = 0; s < streams; s++) {
        batch.n_tokens = 0;
        for (int i = 0; i < before; i++) add(batch, filler(i + s), i, s, i == before - 1);
        llama_decode(context, batch);
    }
    double began = now();
    for (int step = 0; step < steps; step++) {
        batch.n_tokens = 0;
        for (int s = 0; s < streams; s++) add(batch, filler(s + step + 7), before + step, s, true);
        llama_decode(context, batch);
        for (int s = 0; s < streams; s++) {
            volatile llama_token chosen = model.likeliest(llama_get_logits_ith(context, s));
            (void)chosen;
        }
    }
    double rate = streams * steps / (now() - began);
    llama_batch_free(batch);
    llama_free(context);
    return rate;
}

void speed(const Model& model) {
    double one = prefill(model);
    std::printf("{\"prefill\":%.2f", one);
    for (int streams : {1, 8, 16}) std::printf(",\"decode%d\":%.2f", streams, decode(model, streams));
    std::printf("}\n");
}

void nll(const Model& model, const std::string& text) {
    auto ids = model.tokens(text);
    if (ids.size() > 512) ids.resize(512);
    llama_context* context = model.context(1024, 1);
    llama_batch batch = llama_batch_init(1024, 0, 1);
    for (size_t i = 0; i < ids.size(); i++) add(batch, ids[i], static_cast<int>(i), 0, true);
    llama_decode(context, batch);
    double sum = 0;
    for (size_t i = 0; i + 1 < ids.size(); i++) {
        const float* row = llama_get_logits_ith(context, static_cast<int>(i));
        double highest = *std::max_element(row, row + model.words), total = 0;
        for (int j = 0; j < model.words; j++) total += std::exp(row[j] - highest);
        sum -= row[ids[i + 1]] - highest - std::log(total);
    }
    std::printf("{\"nll\":%.6f,\"tokens\":%zu}\n", sum / (ids.size() - 1), ids.size());
}

void start(const Model& model) {
    auto ids = model.tokens("Write a function that adds two numbers.");
    llama_context* context = model.context(4096, 1);
    llama_batch batch = llama_batch_init(64, 0, 1);
    for (size_t i = 0; i < ids.size(); i++) add(batch, ids[i], static_cast<int>(i), 0, i + 1 == ids.size());
    llama_decode(context, batch);
    volatile llama_token chosen = model.likeliest(llama_get_logits_ith(context, -1));
    (void)chosen;
    std::printf("first\n");
}

std::string read(const char* path) {
    std::ifstream file(path);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

void ids(const Model& model) {
    for (std::string text; std::getline(std::cin, text, '\0');) {
        std::printf("[");
        const auto tokens = model.tokens(text);
        for (size_t i = 0; i < tokens.size(); i++) std::printf("%s%d", i ? "," : "", tokens[i]);
        std::printf("]\n");
    }
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 3) return 2;
    llama_log_set([](ggml_log_level level, const char* text, void*) { if (level >= GGML_LOG_LEVEL_ERROR) std::fputs(text, stderr); }, nullptr);
    ggml_backend_load_all();
    const std::string what = argv[1];
    const Model model(argv[2]);
    if (what == "speed") speed(model);
    else if (what == "nll" && argc > 3) nll(model, read(argv[3]));
    else if (what == "start") start(model);
    else if (what == "ids") ids(model);
    else return 2;
    return 0;
}
