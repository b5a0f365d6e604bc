//! Text becomes the tokens that llama.cpp makes of it, text for text over a corpus: code in many languages, scripts,
//! emoji, whitespace, digits, and text that looks like control tokens. `scripts/tokenizer-golden` made what is expected.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::Cursor;
use std::path::Path;

use super::*;
use crate::Quantise;
use crate::models::ModelStore;

const CORPUS: &str = include_str!("../../tests/tokenizer/corpus.jsonl");
const GOLDEN: &str = include_str!("../../tests/tokenizer/golden.jsonl");
/// A model of nothing but its tokenizer: the real one is a gigabyte.
const QWEN2: &[u8] = include_bytes!("../../tests/tokenizer/qwen2-tokenizer.zip");

/// Where Qwen's tokens need not be llama.cpp's. Fleet composes characters before it splits (NFC), as the model's own
/// tokenizer does and llama.cpp doesn't; and it takes the names of tokens that frame a tool's call for text.
const OTHERWISE: [&str; 4] =
    ["e\u{301} vs é", "a\u{308}\u{323}", "<tool_call>\n{\"name\": \"x\"}\n</tool_call>", "<tool_call></tool_call>"];

type Golden = HashMap<String, Vec<u32>>;

fn load(path: &Path) -> ModelTokenizer {
    ModelTokenizer::load(&Checkpoint::open(path, Quantise::Q8_0).unwrap()).unwrap()
}

fn smollm() -> ModelTokenizer {
    let path = ModelStore::of_user().unwrap().path("smollm2-135m-instruct");
    load(&path.unwrap_or_else(|e| panic!("run `make setup`: {e}")))
}

fn qwen2() -> ModelTokenizer {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("qwen2.gguf");
    let mut archive = zip::ZipArchive::new(Cursor::new(QWEN2)).unwrap();
    std::io::copy(&mut archive.by_name("qwen2.gguf").unwrap(), &mut std::fs::File::create(&path).unwrap()).unwrap();
    load(&path)
}

/// Every text that becomes other tokens, or other text when they are read back.
fn wrong(tokenizer: &ModelTokenizer, model: &str, otherwise: &[&str]) -> Vec<String> {
    let texts = CORPUS.lines().map(|line| serde_json::from_str::<String>(line).unwrap());
    let golden = GOLDEN.lines().map(|line| serde_json::from_str::<Golden>(line).unwrap());
    let (texts, golden): (Vec<_>, Vec<_>) = (texts.collect(), golden.collect());
    assert!(texts.len() >= 200 && texts.len() == golden.len(), "{} texts, {} expected", texts.len(), golden.len());
    let one = |(text, golden): (&String, &Golden)| {
        let ids = tokenizer.encode(text).unwrap();
        let back: Vec<u8> = ids.iter().flat_map(|id| tokenizer.bytes(*id)).copied().collect();
        let right = ids == golden[model] && back == text.as_bytes();
        let excused = otherwise.contains(&text.as_str());
        (!right && !excused).then(|| format!("{text:?}: {ids:?} instead of {:?}", golden[model]))
    };
    texts.iter().zip(&golden).filter_map(one).collect()
}

#[test]
fn smollm_makes_the_same_tokens_as_llama_cpp() {
    let wrong = wrong(&smollm(), "smollm", &[]);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn qwen2_makes_the_same_tokens_as_llama_cpp() {
    let wrong = wrong(&qwen2(), "qwen2", &OTHERWISE);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_hub_folder_makes_the_tokens_of_its_gguf_file_and_ends_with_all_that_its_files_name() {
    let dir = tempfile::tempdir().unwrap();
    let (file, folder) = (dir.path().join("tiny.gguf"), dir.path().join("folder"));
    crate::tiny::Gguf::tiny("qwen2").write(&file);
    let mut hub = crate::tiny::Hub::tiny("qwen2", "F32");
    hub.config["eos_token_id"] = 5.into();
    hub.others.insert("generation_config.json".into(), br#"{"eos_token_id": [7, 5]}"#.to_vec());
    hub.write(&folder);
    let (gguf, hub) = (load(&file), load(&folder));
    for text in CORPUS.lines().map(|line| serde_json::from_str::<String>(line).unwrap()) {
        assert_eq!(hub.encode(&text).unwrap(), gguf.encode(&text).unwrap(), "{text:?}");
    }
    assert_eq!(hub.vocabulary(), gguf.vocabulary());
    assert!((0..320).all(|id| hub.name(id) == gguf.name(id) && hub.is_control(id) == gguf.is_control(id)));
    // Its own, the name that `tokenizer_config.json` has, and a customary one.
    assert_eq!(hub.ends(), [5, 7, 319, 317]);
}
