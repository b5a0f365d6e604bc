//! Model files that lie. Whatever one says, the engine refuses it with its path and the reason, or runs it: nothing
//! panics, nothing aborts, and no memory is asked for that a file of its size doesn't justify.
//!
//! `FLEET_GGUF_MUTATIONS=N` tries so many random lies instead of a few hundred, from seed `FLEET_GGUF_SEED=S` on. The file
//! at work lies in `CARGO_TARGET_TMPDIR` under the name of its seed, so it is there even if the process died of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

mod outcome;
mod tiny;

use std::path::{Path, PathBuf};

use fleet_inference::EngineError;
use outcome::{alone, judge, run};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use tiny::{Gguf, Value};

const MUTATIONS: u64 = 400;

fn file(name: impl std::fmt::Display) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("hostile-{name}.gguf"))
}

#[test]
fn an_honest_file_of_each_architecture_runs() {
    let _alone = alone();
    for architecture in ["llama", "qwen2", "qwen3"] {
        let path = file(architecture);
        Gguf::tiny(architecture).write(&path);
        let outcome = run(&path);
        judge(&path, &outcome);
        assert!(outcome.end.unwrap().completion_tokens >= 1, "{architecture}");
        std::fs::remove_file(path).unwrap();
    }
}

type Lie = fn(&mut Gguf);

/// Lies, and what is said of each.
const LIES: &[(&str, Lie)] = &[
    ("version 9", |g| g.version = 9),
    ("claims 0 tensors", |g| g.claims[0] = Some(0)),
    ("claims 18446744073709551615 tensors", |g| g.claims[0] = Some(u64::MAX)),
    ("metadata keys", |g| g.claims[1] = Some(1 << 60)),
    // What follows the last tensor is read as one.
    ("has 0 dimensions", |g| g.claims[0] = Some(99)),
    ("cut short", |g| g.metadata[0].1.bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes())),
    ("which is none", |g| g.metadata[0].1.kind = 77),
    ("elements", |g| g.set("x", Value::array(0, 1 << 40, &[]))),
    ("cut short", |g| g.set("x", Value::array(8, 1 << 20, &[]))),
    ("has no place there", |g| g.set("x", Value::array(9, 1, &[Value::array(9, 0, &[])]))),
    ("power of two", |g| g.set("general.alignment", Value::u32(0))),
    ("power of two", |g| g.set("general.alignment", Value::u32(33))),
    ("power of two", |g| g.set("general.alignment", Value::text("32"))),
    ("twice", |g| g.metadata.push(g.metadata[0].clone())),
    ("twice", |g| g.tensors.push(g.tensors[0].clone())),
    ("has 0 dimensions", |g| g.tensors[0].dims.clear()),
    ("has 5 dimensions", |g| g.tensors[0].dims = vec![1; 5]),
    ("impossible shape", |g| g.tensor("token_embd.weight").dims = vec![u64::MAX, 2]),
    ("impossible shape", |g| g.tensor("token_embd.weight").dims = vec![0, 320]),
    ("impossible shape", |g| g.tensor("token_embd.weight").dims = vec![33, 1]),
    ("cut short", |g| g.tensor("token_embd.weight").dims = vec![1 << 30, 320]),
    ("impossible offset", |g| g.tensor("token_embd.weight").offset = u64::MAX),
    ("cut short", |g| g.tensor("token_embd.weight").offset = 1 << 40),
    ("begins at", |g| g.tensor("blk.1.attn_q.weight").offset = g.tensor("blk.0.attn_q.weight").offset),
    ("begins at", |g| g.tensor("output_norm.weight").offset = 32),
    ("dtype", |g| g.tensor("token_embd.weight").kind = 200),
    ("no tensor blk.1.ffn_up.weight", |g| g.tensors.retain(|t| t.name != "blk.1.ffn_up.weight")),
    ("no tensor blk.2", |g| g.set("llama.block_count", Value::u32(3))),
    ("layers", |g| g.set("llama.block_count", Value::u32(u32::MAX))),
    ("layers", |g| g.set("llama.block_count", Value::u32(0))),
    ("layers", |g| g.set("llama.context_length", Value::u32(0))),
    ("heads", |g| g.set("llama.attention.head_count", Value::u32(0))),
    ("heads", |g| g.set("llama.attention.head_count_kv", Value::u32(0))),
    ("heads", |g| g.set("llama.attention.head_count", Value::u32(u32::MAX))),
    ("heads", |g| g.set("llama.attention.key_length", Value::u32(1 << 31))),
    ("heads", |g| g.set("llama.embedding_length", Value::u32(u32::MAX))),
    ("instead of", |g| g.set("llama.embedding_length", Value::u32(128))),
    ("don't fit together", |g| g.set("llama.attention.head_count_kv", Value::u32(4))),
    ("attention.head_count is missing", |g| g.remove("llama.attention.head_count")),
    ("attention.head_count is missing", |g| g.set("llama.attention.head_count", Value::text("four"))),
    ("epsilon", |g| g.set("llama.attention.layer_norm_rms_epsilon", Value::f32(f32::NAN))),
    ("RoPE base", |g| g.set("llama.rope.freq_base", Value::f32(f32::INFINITY))),
    ("RoPE base", |g| g.set("llama.rope.freq_base", Value::f32(-1.0))),
    ("architecture", |g| g.set("general.architecture", Value::text("gpt5"))),
    ("architecture", |g| g.set("general.architecture", Value::u32(1))),
    ("output_norm.weight is", |g| g.tensor("output_norm.weight").dims = vec![32]),
    ("not UTF-8", |g| g.set("tokenizer.ggml.tokens", Value::texts([b"\xFF\xFE"; 320]))),
    ("names 321 tokens", |g| one_token_more(g)),
    ("one type for each", |g| g.set("tokenizer.ggml.token_type", Value::array(5, 1, &[Value::i32(1)]))),
    ("tokens", |g| g.remove("tokenizer.ggml.tokens")),
    ("tokens", |g| g.set("tokenizer.ggml.tokens", Value::u32(320))),
    ("tokenizer", |g| g.set("tokenizer.ggml.merges", Value::texts(["no such pair"]))),
    ("tokenizer", |g| g.set("tokenizer.ggml.merges", Value::texts(["without"]))),
    ("pre-tokenizer", |g| g.set("tokenizer.ggml.pre", Value::text("of my own"))),
    ("to begin or end texts", |g| g.set("tokenizer.ggml.eos_token_id", Value::u32(u32::MAX))),
    ("to begin or end texts", |g| begin_with(g, 320)),
    ("without a name", |g| g.set("tokenizer.ggml.tokens", tokens_ending_with(""))),
    ("chat template", |g| g.set("tokenizer.chat_template", Value::text("{% for"))),
    ("chat template", |g| {
        g.set(
            "tokenizer.chat_template",
            Value::text("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"),
        )
    }),
    ("chat template", |g| g.set("tokenizer.chat_template", Value::text("{{ 'x' * 9999999999 }}"))),
    ("chat template", |g| {
        g.set("tokenizer.chat_template", Value::text("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"))
    }),
    ("chat template", |g| g.set("tokenizer.chat_template", Value::text("{{".to_owned() + &"(".repeat(100_000)))),
];

fn one_token_more(gguf: &mut Gguf) {
    let mut tokens: Vec<String> = (0..319).map(|n| format!("word{n}")).collect();
    tokens.extend(["Ġ".to_owned(), "<|im_end|>".to_owned()]);
    let honest = gguf.metadata.iter().find(|(key, _)| key == "tokenizer.ggml.tokens").unwrap().1.clone();
    let count = u64::from(tiny::VOCABULARY) + 1;
    let mut longer = honest;
    longer.bytes[4..12].copy_from_slice(&count.to_le_bytes());
    longer.bytes.extend(Value::text("one more").bytes);
    gguf.set("tokenizer.ggml.tokens", longer);
    let types: Vec<Value> =
        (0..=tiny::VOCABULARY).map(|id| Value::i32(if tiny::is_control(id) && id < 320 { 3 } else { 1 })).collect();
    gguf.set("tokenizer.ggml.token_type", Value::array(5, count, &types));
}

fn begin_with(gguf: &mut Gguf, id: u32) {
    gguf.set("tokenizer.ggml.add_bos_token", Value::bool(true));
    gguf.set("tokenizer.ggml.bos_token_id", Value::u32(id));
}

/// Tokens of which the last, a control token, has this name.
fn tokens_ending_with(name: &str) -> Value {
    let words = (0..tiny::VOCABULARY - 1).map(|n| format!("word{n}"));
    Value::texts(words.chain([name.to_owned()]))
}

#[test]
fn each_lie_is_refused_with_its_reason() {
    let _alone = alone();
    let mut wrong = Vec::new();
    for (n, (why, lie)) in LIES.iter().enumerate() {
        let path = file(format_args!("lie-{n}"));
        let mut gguf = Gguf::tiny("llama");
        lie(&mut gguf);
        gguf.write(&path);
        let outcome = run(&path);
        judge(&path, &outcome);
        match outcome.end {
            Err(EngineError::Model(said)) if said.contains(why) => {}
            other => wrong.push(format!("lie {n} ({why}): {other:?}")),
        }
        std::fs::remove_file(path).unwrap();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn random_lies_are_refused_or_do_no_harm() {
    let _alone = alone();
    let number = |name: &str| std::env::var(name).ok().map(|n| n.parse::<u64>().unwrap());
    let from = number("FLEET_GGUF_SEED").unwrap_or(1);
    let count = number("FLEET_GGUF_MUTATIONS").unwrap_or(MUTATIONS);
    let mut refused = 0;
    for seed in from..from + count {
        let path = file(seed);
        std::fs::write(&path, lying(seed)).unwrap();
        let tried = std::panic::catch_unwind(|| {
            let outcome = run(&path);
            judge(&path, &outcome);
            outcome.end.is_err()
        });
        match tried {
            Ok(is_refused) => refused += u64::from(is_refused),
            Err(_) => panic!(
                "again: FLEET_GGUF_SEED={seed} FLEET_GGUF_MUTATIONS=1 cargo test -p fleet-inference --test hostile_gguf random"
            ),
        }
        std::fs::remove_file(path).unwrap();
    }
    eprintln!("{count} files from seed {from}: {refused} refused");
    // Neither is everything refused nor let in: the lies reach what loads a file.
    assert!(count < 100 || (count / 4..count).contains(&refused), "{refused} of {count} were refused");
}

/// A file with some lies in it.
fn lying(seed: u64) -> Vec<u8> {
    let mut random = Random(ChaCha8Rng::seed_from_u64(seed));
    let mut gguf = Gguf::tiny(random.one(&["llama", "qwen2", "qwen3"]));
    for _ in 0..random.one(&[0, 1, 1, 1, 2]) {
        random.lie(&mut gguf);
    }
    let mut bytes = gguf.bytes();
    let header = gguf.header().len();
    match random.below(9) {
        0 => bytes.truncate(random.below(bytes.len())),
        1 => bytes.truncate(random.below(header)),
        2 => (0..=random.below(8)).for_each(|_| bytes[random.below(header)] ^= 1 << random.below(8)),
        3 => {
            let at = random.below(header - 8);
            bytes[at..at + 8].copy_from_slice(&random.extreme().to_le_bytes());
        }
        4..=6 => (0..=random.below(500)).for_each(|_| {
            let at = header + random.below(bytes.len() - header);
            bytes[at] = random.below(256) as u8;
        }),
        _ => {}
    }
    bytes
}

struct Random(ChaCha8Rng);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        (self.0.next_u64() % n.max(1) as u64) as usize
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn extreme(&mut self) -> u64 {
        let near =
            self.one(&[0, 1, 16, 32, 63, 64, 128, 1 << 16, 1 << 20, 1 << 31, 1 << 32, 1 << 40, 1 << 63, u64::MAX]);
        match self.below(3) {
            0 => near.wrapping_add(self.one(&[1, u64::MAX])),
            1 => self.0.next_u64() >> self.below(64),
            _ => near,
        }
    }

    fn lie(&mut self, gguf: &mut Gguf) {
        let (key, tensor) = (self.below(gguf.metadata.len()), self.below(gguf.tensors.len()));
        match self.below(12) {
            0 => drop(gguf.metadata.remove(key)),
            1..=3 => gguf.metadata[key].1 = self.value(),
            4 => drop(gguf.tensors.remove(tensor)),
            5 => {
                let n = self.below(gguf.tensors[tensor].dims.len());
                gguf.tensors[tensor].dims[n] = self.extreme();
            }
            6 => gguf.tensors[tensor].dims.reverse(),
            7 => gguf.tensors[tensor].kind = self.below(32) as u32,
            8 => gguf.tensors[tensor].offset = self.extreme(),
            9 => {
                let other = self.below(gguf.tensors.len());
                gguf.tensors[tensor].name = gguf.tensors[other].name.clone() + self.one(&["", "x"]);
            }
            10 => self.tokens(gguf),
            _ => {
                let n = self.below(2);
                gguf.claims[n] = Some(self.extreme());
            }
        }
    }

    fn value(&mut self) -> Value {
        let n = self.extreme();
        match self.below(9) {
            0 => Value::u64(n),
            1..=3 => Value::u32(n as u32),
            4 => Value::i32(n as i32),
            5 => Value::f32(self.one(&[0.0, -1.0, f32::NAN, f32::INFINITY, f32::MIN_POSITIVE, f32::MAX])),
            6 => Value::bool(n.is_multiple_of(2)),
            7 => Value::text(self.text()),
            _ => {
                let elements: Vec<Value> = (0..self.below(400)).map(|_| Value::text(self.text())).collect();
                let len = if self.below(2) == 0 { n } else { elements.len() as u64 };
                Value::array(8, len, &elements)
            }
        }
    }

    fn text(&mut self) -> Vec<u8> {
        let known: [&[u8]; 12] = [
            b"",
            b"\0",
            b"\xFF\xFE\xC3",
            b"<|im_end|>",
            b"llama",
            b"qwen2",
            b"gpt2",
            b"t h",
            b"{{ messages }}",
            b"{% for i in range(99999) %}{% for i in range(99999) %}x{% endfor %}{% endfor %}",
            b"{{ messages[0]['content'] }}{{ bos_token }}{{ eos_token * 3 }}",
            "\u{F8FE}7\u{F8FE}".as_bytes(),
        ];
        match self.below(4) {
            0 => (0..self.below(40)).map(|_| self.below(256) as u8).collect(),
            _ => self.one(&known).to_vec(),
        }
    }

    /// Other tokens, or other types of them.
    fn tokens(&mut self, gguf: &mut Gguf) {
        let count = match self.below(3) {
            0 => self.below(700),
            _ => tiny::VOCABULARY as usize,
        };
        if self.below(2) == 0 {
            let tokens: Vec<Vec<u8>> = (0..count).map(|_| self.text()).collect();
            gguf.set("tokenizer.ggml.tokens", Value::texts(tokens));
        }
        let types: Vec<Value> = (0..count).map(|_| Value::i32(self.below(9) as i32 - 1)).collect();
        gguf.set("tokenizer.ggml.token_type", Value::array(5, types.len() as u64, &types));
    }
}
