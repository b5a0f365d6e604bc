//! Folders of safetensors that lie. Whatever one says, the engine refuses it with its path and the reason, or runs it: nothing
//! panics, nothing outside of the folder is read, and no memory is asked for that files of that size don't justify.
//!
//! `FLEET_SAFETENSORS_MUTATIONS=N` tries so many random lies instead of a few hundred, from `FLEET_SAFETENSORS_SEED=S` on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

mod outcome;
mod tiny;

use std::path::{Path, PathBuf};

use fleet_inference::{EngineError, inspect};
use outcome::{alone, judge, loaded, run};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde_json::{Value, json};
use tiny::{Gguf, Hub};

const MUTATIONS: u64 = 300;
const UP: &str = "model.layers.1.mlp.up_proj.weight";

fn folder(name: impl std::fmt::Display) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("hostile-safetensors-{name}"));
    let _ = std::fs::remove_dir_all(&path);
    path
}

#[test]
fn an_honest_folder_of_each_architecture_runs_and_is_inspected() {
    let _alone = alone();
    for architecture in ["llama", "qwen2", "qwen3"] {
        for parts in [1, 2] {
            let path = folder(architecture);
            let hub = Hub::tiny(architecture, "BF16");
            if parts == 1 {
                hub.write(&path)
            } else {
                hub.sharded(parts).write(&path)
            }
            let outcome = run(&path);
            judge(&path, &outcome);
            assert!(outcome.end.unwrap().completion_tokens >= 1, "{architecture}");
            let seen = inspect(&path).unwrap().to_string();
            assert!(seen.starts_with(architecture) && seen.contains("BF16") && seen.contains("1024"), "{seen}");
            std::fs::remove_dir_all(path).unwrap();
        }
    }
}

#[test]
fn tokens_and_prompts_are_those_of_the_gguf_file() {
    let _alone = alone();
    let (path, file) = (folder("tokens"), folder("tokens-file"));
    Hub::tiny("qwen2", "F32").write(&path);
    Gguf::tiny("qwen2").write(&file);
    // The same text makes the same prompt and the same greedy reply, tokens that look like control tokens in it too.
    let usage = |path: &Path| {
        let usage = run(path).end.unwrap();
        (usage.prompt_tokens, usage.completion_tokens, usage.finish)
    };
    assert_eq!(usage(&path), usage(&file));
    std::fs::remove_dir_all(path).unwrap();
    std::fs::remove_file(file).unwrap();
}

#[test]
fn beside_the_weights_loading_takes_little() {
    let _alone = alone();
    let path = folder("large");
    let mut hub = Hub::tiny("qwen2", "BF16");
    // Twenty million weights in six matrices.
    let (width, hidden) = (64_u64, 51_200_u64);
    hub.config["intermediate_size"] = hidden.into();
    let mut whole = tiny::Shard::default();
    for (name, entry) in hub.whole().header.clone() {
        let shape: Vec<u64> = entry["shape"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect();
        let shape: Vec<u64> = shape.into_iter().map(|n| if n == 2 * width { hidden } else { n }).collect();
        let n = shape.iter().product::<u64>() as usize;
        let values: Vec<f32> = (0..n).map(|n| ((n * 37 % 255) as f32 - 127.0) / 2540.0).collect();
        whole.push(&name, "BF16", &shape, &values);
    }
    hub.shards = [("model.safetensors".to_owned(), whole)].into();
    hub.write(&path);
    drop(hub);
    let (memory, weights) = loaded(&path);
    assert!(weights > 20_000_000, "{weights} bytes");
    eprintln!("{memory} bytes at most for {weights} of weights");
    assert!(memory < weights * 13 / 10, "{memory} bytes for {weights}");
    std::fs::remove_dir_all(path).unwrap();
}

type Lie = fn(&mut Hub);

/// Lies, and what is said of each.
const LIES: &[(&str, Lie)] = &[
    // The file and its header.
    ("only 3 bytes", |h| other(h, "model.safetensors", b"GGU")),
    ("cut short", |h| h.whole().length = Some(u64::MAX)),
    ("cut short", |h| h.whole().length = Some(1 << 40)),
    ("not that of a safetensors file", |h| h.whole().length = Some(7)),
    ("not that of a safetensors file", |h| h.whole().text = Some(b"[]".to_vec())),
    ("not that of a safetensors file", |h| h.whole().text = Some(b"{\"a\": 1}".to_vec())),
    ("not that of a safetensors file", |h| h.whole().text = Some([b'['; 100_000].to_vec())),
    ("stands there twice", |h| h.whole().text = Some(twice(h))),
    ("cut short", |h| h.whole().data.truncate(1000)),
    ("says nothing of the bytes", |h| h.whole().data.extend([0; 64])),
    ("within another one", |h| place(h, "model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.gate_proj.weight")),
    ("cut short", |h| h.tensor(UP)["data_offsets"] = json!([0, u64::MAX])),
    ("cut short", |h| h.tensor(UP)["data_offsets"] = json!([20, 10])),
    ("not that of a safetensors file", |h| h.tensor(UP)["data_offsets"] = json!([-1, 10])),
    ("not that of a safetensors file", |h| h.tensor(UP)["shape"] = json!([1.5, 2])),
    ("has 9 dimensions", |h| h.tensor(UP)["shape"] = json!([1, 1, 1, 1, 1, 1, 1, 1, 1])),
    // Its tensors.
    ("instead of [128, 64]", |h| h.tensor(UP)["shape"] = json!([64, 128])),
    ("instead of [128, 64]", |h| h.tensor(UP)["shape"] = json!([1_u64 << 62, 64])),
    ("instead of [128, 64]", |h| h.tensor(UP)["shape"] = json!([8192])),
    ("type \"F64\"", |h| h.tensor(UP)["dtype"] = "F64".into()),
    ("type \"I8\"", |h| h.tensor(UP)["dtype"] = "I8".into()),
    ("type \"F8_E4M3\"", |h| h.tensor(UP)["dtype"] = "F8_E4M3".into()),
    ("which can't be", |h| h.tensor(UP)["dtype"] = "BF16".into()),
    ("no tensor model.layers.1.mlp.up_proj.weight", |h| rename(h, "other")),
    ("no place for the tensor model.layers.0.self_attn.o_proj.bias", |h| {
        h.whole().push("model.layers.0.self_attn.o_proj.bias", "F32", &[64], &[1.0; 64]);
    }),
    ("no place for the tensor model.layers.0.self_attn.q_norm.weight", |h| {
        h.whole().push("model.layers.0.self_attn.q_norm.weight", "F32", &[16], &[1.0; 16]);
    }),
    // The index.
    ("no file of safetensors beside it", |h| indexed(h, json!("../model.safetensors"))),
    ("no file of safetensors beside it", |h| indexed(h, json!("/etc/passwd"))),
    ("no file of safetensors beside it", |h| indexed(h, json!("/tmp/model.safetensors"))),
    ("no file of safetensors beside it", |h| indexed(h, json!("sub/model.safetensors"))),
    ("no file of safetensors beside it", |h| indexed(h, json!("./model-00001-of-00002.safetensors"))),
    ("no file of safetensors beside it", |h| indexed(h, json!(".hidden.safetensors"))),
    ("no file of safetensors beside it", |h| indexed(h, json!("..\u{0}.safetensor"))),
    ("no file of safetensors beside it", |h| indexed(h, json!("config.json"))),
    ("which is to be in model-00002", |h| indexed(h, json!("model-00002-of-00002.safetensors"))),
    ("no index of weights", |h| indexed(h, json!(["a"]))),
    ("No such file", |h| indexed(h, json!("gone.safetensors"))),
    ("doesn't name", |h| drop_from_index(h)),
    ("has no tensor", |h| more_in_index(h)),
    ("names 0 files", |h| empty_index(h)),
    // The configuration.
    ("no config.json", |h| remove(h, "config.json")),
    ("not a model's configuration", |h| other(h, "config.json", b"{")),
    ("bytes", |h| other(h, "config.json", &[b' '; (1 << 20) + 1])),
    ("architecture \"gpt5\"", |h| h.config["model_type"] = "gpt5".into()),
    ("architecture \"?\"", |h| h.config["model_type"] = 7.into()),
    ("quantised already", |h| h.config["quantization_config"] = json!({ "quant_method": "gptq" })),
    ("activation", |h| h.config["hidden_act"] = "gelu".into()),
    ("window", |h| h.config["use_sliding_window"] = true.into()),
    ("window", |h| h.config["layer_types"] = json!(["full_attention", "sliding_attention"])),
    ("part of each head", |h| h.config["partial_rotary_factor"] = json!(0.5)),
    ("hidden_size is missing", |h| h.config["hidden_size"] = Value::Null),
    ("hidden_size is -1", |h| h.config["hidden_size"] = json!(-1)),
    ("hidden_size is 1e+300", |h| h.config["hidden_size"] = json!(1e300)),
    ("hidden_size is", |h| h.config["hidden_size"] = json!(1_u64 << 40)),
    ("instead of", |h| h.config["hidden_size"] = json!(128)),
    ("instead of", |h| h.config["vocab_size"] = json!(u32::MAX)),
    ("instead of", |h| h.config["head_dim"] = json!(u32::MAX)),
    ("instead of", |h| h.config["head_dim"] = json!(0)),
    ("instead of", |h| h.config["num_attention_heads"] = json!(0)),
    ("instead of", |h| h.config["num_key_value_heads"] = json!(4)),
    ("such a model has", |h| h.config["num_hidden_layers"] = json!(u32::MAX)),
    ("no tensor model.layers.2", |h| h.config["num_hidden_layers"] = json!(3)),
    ("no place for the tensor model.layers.1", |h| h.config["num_hidden_layers"] = json!(1)),
    ("no tensor lm_head.weight", |h| h.config["tie_word_embeddings"] = json!(false)),
    ("no tensor model.layers.0.self_attn.q_proj.bias", |h| h.config["attention_bias"] = json!(true)),
    ("heads", |h| eight_heads_of_eight(h)),
    ("epsilon", |h| h.config["rms_norm_eps"] = json!(2.0)),
    ("rms_norm_eps is missing", |h| h.config["rms_norm_eps"] = Value::Null),
    ("RoPE base", |h| h.config["rope_theta"] = json!(-1.0)),
    ("RoPE base", |h| h.config["rope_theta"] = json!(1e300)),
    ("context", |h| h.config["max_position_embeddings"] = json!(0)),
    ("type \"yarn\" is not supported", |h| h.config["rope_scaling"] = json!({ "rope_type": "yarn", "factor": 4.0 })),
    ("no factor", |h| h.config["rope_scaling"] = json!({ "type": "linear", "factor": 0.0 })),
    ("no low_freq_factor", |h| {
        h.config["rope_scaling"] =
            json!({ "rope_type": "llama3", "factor": 8, "original_max_position_embeddings": 8192 });
    }),
    ("isn't lower", |h| {
        h.config["rope_scaling"] = json!({
            "rope_type": "llama3", "factor": 8, "original_max_position_embeddings": 8192, "low_freq_factor": 4,
            "high_freq_factor": 4,
        });
    }),
    // Words.
    ("no tokenizer.json", |h| remove(h, "tokenizer.json")),
    ("tokenizer.json: EOF", |h| other(h, "tokenizer.json", b"{")),
    ("type Unigram", |h| h.tokenizer["model"]["type"] = "Unigram".into()),
    ("BPE of bytes", |h| h.tokenizer["model"]["byte_fallback"] = true.into()),
    ("BPE of bytes", |h| h.tokenizer["pre_tokenizer"] = Value::Null),
    ("pre-tokenizer Metaspace", |h| h.tokenizer["pre_tokenizer"]["pretokenizers"][0]["type"] = "Metaspace".into()),
    ("normalizer Lowercase", |h| h.tokenizer["normalizer"] = json!({ "type": "Lowercase" })),
    ("does not give back", |h| h.tokenizer["pre_tokenizer"]["pretokenizers"][1]["add_prefix_space"] = true.into()),
    ("up to the id 4000000000", |h| h.tokenizer["added_tokens"][0]["id"] = json!(4_000_000_000_u32)),
    ("two tokens have the id 1", |h| h.tokenizer["added_tokens"][0]["id"] = json!(1)),
    ("two tokens have the id 5", |h| h.tokenizer["model"]["vocab"]["!"] = json!(5)),
    ("names 401 tokens", |h| h.tokenizer["added_tokens"][0]["id"] = json!(400)),
    ("without a name", |h| h.tokenizer["added_tokens"][0]["content"] = "".into()),
    ("tokenizer.json", |h| h.tokenizer["model"]["merges"] = json!(["no such"])),
    ("to begin or end texts", |h| h.config["eos_token_id"] = json!([1, 999])),
    ("eos_token_id is no token", |h| h.config["eos_token_id"] = json!("x")),
    ("which token ends", |h| {
        h.config["eos_token_id"] = Value::Null;
        h.tokenizer_config["eos_token"] = Value::Null;
    }),
    ("no chat template", |h| h.tokenizer_config["chat_template"] = Value::Null),
    ("chat template", |h| h.tokenizer_config["chat_template"] = "{% for".into()),
    ("chat template", |h| other(h, "chat_template.jinja", b"{{ raise_exception('no') }}")),
    ("not UTF-8", |h| other(h, "chat_template.jinja", b"\xFF")),
];

fn other(hub: &mut Hub, name: &str, bytes: &[u8]) {
    hub.others.insert(name.to_owned(), bytes.to_vec());
}

/// A file that isn't there; in its place there is a folder, so that whoever opens it notices.
fn remove(hub: &mut Hub, name: &str) {
    hub.others.insert(format!("-{name}"), Vec::new());
}

fn twice(hub: &mut Hub) -> Vec<u8> {
    let entry = hub.tensor(UP).to_string();
    format!("{{\"{UP}\": {entry}, \"{UP}\": {entry}}}").into_bytes()
}

fn place(hub: &mut Hub, one: &str, other: &str) {
    let at = hub.tensor(other)["data_offsets"].clone();
    hub.tensor(one)["data_offsets"] = at;
}

fn rename(hub: &mut Hub, name: &str) {
    let entry = hub.whole().header.remove(UP).unwrap();
    hub.whole().header.insert(name.to_owned(), entry);
}

/// In two parts, with this in the index where the norm should be.
fn indexed(hub: &mut Hub, file: Value) {
    *hub = hub.sharded(2);
    let index = hub.index.as_mut().unwrap();
    let name = index.iter().find(|(_, file)| file.as_str().unwrap().contains("-00001-")).unwrap().0.clone();
    index.insert(name, file);
}

fn drop_from_index(hub: &mut Hub) {
    *hub = hub.sharded(2);
    hub.index.as_mut().unwrap().remove(UP);
}

fn more_in_index(hub: &mut Hub) {
    *hub = hub.sharded(2);
    hub.index.as_mut().unwrap().insert("more".into(), "model-00001-of-00002.safetensors".into());
}

fn empty_index(hub: &mut Hub) {
    *hub = hub.sharded(2);
    hub.index.as_mut().unwrap().clear();
}

/// Matrices that fit, but heads that no kernel has.
fn eight_heads_of_eight(hub: &mut Hub) {
    hub.config["num_attention_heads"] = json!(8);
    hub.config["num_key_value_heads"] = json!(4);
    hub.config["head_dim"] = json!(8);
}

fn write(hub: &Hub, path: &Path) {
    hub.write(path);
    for name in hub.others.keys().filter_map(|name| name.strip_prefix('-')) {
        let _ = std::fs::remove_file(path.join(name));
    }
}

#[test]
fn each_lie_is_refused_with_its_reason() {
    let _alone = alone();
    let mut wrong = Vec::new();
    for (n, (why, lie)) in LIES.iter().enumerate() {
        let path = folder(format_args!("lie-{n}"));
        let mut hub = Hub::tiny("llama", "F32");
        lie(&mut hub);
        write(&hub, &path);
        let outcome = run(&path);
        judge(&path, &outcome);
        match outcome.end {
            Err(EngineError::Model(said)) if said.contains(why) => {}
            other => wrong.push(format!("lie {n} ({why}): {other:?}")),
        }
        std::fs::remove_dir_all(path).unwrap();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn random_lies_are_refused_or_do_no_harm() {
    let _alone = alone();
    let number = |name: &str| std::env::var(name).ok().map(|n| n.parse::<u64>().unwrap());
    let from = number("FLEET_SAFETENSORS_SEED").unwrap_or(1);
    let count = number("FLEET_SAFETENSORS_MUTATIONS").unwrap_or(MUTATIONS);
    let mut refused = 0;
    for seed in from..from + count {
        let path = folder(seed);
        lying(seed, &path);
        let tried = std::panic::catch_unwind(|| {
            let outcome = run(&path);
            judge(&path, &outcome);
            outcome.end.is_err()
        });
        match tried {
            Ok(is_refused) => refused += u64::from(is_refused),
            Err(_) => panic!(
                "again: FLEET_SAFETENSORS_SEED={seed} FLEET_SAFETENSORS_MUTATIONS=1 cargo test -p fleet-inference --test hostile_safetensors random"
            ),
        }
        std::fs::remove_dir_all(path).unwrap();
    }
    eprintln!("{count} folders from seed {from}: {refused} refused");
    assert!(count < 100 || (count / 4..count).contains(&refused), "{refused} of {count} were refused");
}

/// A folder with some lies in it.
fn lying(seed: u64, path: &Path) {
    let mut random = Random(ChaCha8Rng::seed_from_u64(seed));
    let mut hub = Hub::tiny(random.one(&["llama", "qwen2", "qwen3"]), random.one(&["F32", "F16", "BF16"]));
    if random.below(3) == 0 {
        hub = hub.sharded(2);
    }
    for _ in 0..random.one(&[0, 1, 1, 2]) {
        match random.below(5) {
            0 => random.change(&mut hub.config),
            1 => random.change(&mut hub.tokenizer),
            2 => random.change(&mut hub.tokenizer_config),
            _ => {
                let mut header = Value::Object(hub.whole().header.clone());
                random.change(&mut header);
                if let Value::Object(header) = header {
                    hub.whole().header = header;
                }
            }
        }
    }
    hub.write(path);
    let files: Vec<PathBuf> = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
    let mut files: Vec<&PathBuf> = files.iter().collect();
    files.sort();
    let file = random.one(&files);
    let mut bytes = std::fs::read(file).unwrap();
    match random.below(8) {
        0 => bytes.truncate(random.below(bytes.len())),
        1 => (0..=random.below(8)).for_each(|_| {
            let at = random.below(bytes.len().min(4000));
            bytes[at] ^= 1 << random.below(8);
        }),
        2 => (0..=random.below(500)).for_each(|_| {
            let at = random.below(bytes.len());
            bytes[at] = random.below(256) as u8;
        }),
        3 => {
            let at = random.below(bytes.len() - 8);
            bytes[at..at + 8].copy_from_slice(&random.extreme().to_le_bytes());
        }
        _ => return,
    }
    std::fs::write(file, bytes).unwrap();
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
        let near = self.one(&[0, 1, 16, 32, 64, 128, 1 << 16, 1 << 31, 1 << 32, 1 << 40, 1 << 63, u64::MAX]);
        if self.below(3) == 0 { near.wrapping_sub(1) } else { near }
    }

    /// Another value somewhere in it.
    fn change(&mut self, value: &mut Value) {
        let stop = self.below(6) == 0;
        match value {
            Value::Object(map) if !map.is_empty() && !stop => {
                let n = self.below(map.len());
                let key = map.keys().nth(n).unwrap().clone();
                match self.below(8) {
                    0 => drop(map.remove(&key)),
                    1 => {
                        let value = map[&key].clone();
                        map.insert(format!("{key}x"), value);
                    }
                    _ => self.change(map.get_mut(&key).unwrap()),
                }
            }
            Value::Array(array) if !array.is_empty() && !stop => {
                let n = self.below(array.len());
                match self.below(8) {
                    0 => drop(array.remove(n)),
                    1 => array.push(array[n].clone()),
                    _ => self.change(&mut array[n]),
                }
            }
            other => *other = self.value(),
        }
    }

    fn value(&mut self) -> Value {
        match self.below(9) {
            0 => Value::Null,
            1 | 2 => self.extreme().into(),
            3 => (-(self.below(1 << 20) as i64)).into(),
            4 => json!(self.one(&[0.0, -1.0, 0.5, 1e300, 1e-300])),
            5 => (self.below(2) == 0).into(),
            6 => json!(self.one(&[
                "",
                "x",
                "F16",
                "F64",
                "<|im_end|>",
                "../x.safetensors",
                "{{ messages }}",
                "\u{F8FE}0\u{F8FE}"
            ])),
            7 => json!([]),
            _ => json!({ "type": self.one(&["BPE", "ByteLevel", "Digits", "NFC", "Split", "Sequence"]) }),
        }
    }
}
