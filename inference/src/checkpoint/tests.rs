//! The same weights give the same logits, whether they come as GGUF or as a hub's folder, and whatever of the forms of either
//! they come in.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::path::PathBuf;

use candle_core::Tensor;

use super::*;
use crate::graph::{Backend, Batch, CpuBackend, Means, Shape, Span, TensorBackend};
use crate::tiny::{Gguf, Hub, VOCABULARY, Value as Meta};

const ARCHITECTURES: [&str; 3] = ["llama", "qwen2", "qwen3"];
const NEXT: usize = 12;

struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn gguf(&self, gguf: &Gguf) -> PathBuf {
        let path = self.0.path().join("model.gguf");
        gguf.write(&path);
        path
    }

    fn hub(&self, hub: &Hub) -> PathBuf {
        let path = self.0.path().join("folder");
        let _ = std::fs::remove_dir_all(&path);
        hub.write(&path);
        path
    }
}

/// Logits of every place of a prompt, then greedy tokens after it.
#[derive(Debug, PartialEq)]
struct Said {
    logits: Vec<f32>,
    tokens: Vec<u32>,
}

fn means() -> Means<'static> {
    Means { context: 256, kv_bytes: 0, tiles: None }
}

fn on_cpu(path: &Path, quantise: Quantise) -> Said {
    say(&mut CpuBackend::load(&Checkpoint::open(path, quantise).unwrap(), &means()).unwrap())
}

fn on_tensors(path: &Path, quantise: Quantise) -> Said {
    let file = Checkpoint::open(path, quantise).unwrap();
    say(&mut TensorBackend::load(&file, &Device::Cpu, 256, |_| Ok(0)).unwrap())
}

fn say(backend: &mut dyn Backend) -> Said {
    let blocks: Vec<u32> = (0..backend.blocks() as u32).collect();
    let mut step = |tokens: Vec<u32>, position| {
        let span = Span { row: 0, rows: tokens.len(), position, blocks: blocks.clone() };
        let batch = Batch { outputs: (0..tokens.len()).collect(), tokens, spans: vec![span] };
        let mut logits = Vec::new();
        backend.step(&batch, &mut logits).unwrap();
        logits
    };
    let prompt: Vec<u32> = (0..40).map(|n| n * 7 % VOCABULARY).collect();
    let logits = step(prompt, 0);
    let best =
        |logits: &[f32]| (0..VOCABULARY).max_by(|a, b| logits[*a as usize].total_cmp(&logits[*b as usize])).unwrap();
    let mut tokens = vec![best(&logits[logits.len() - VOCABULARY as usize..])];
    for n in 0..NEXT {
        tokens.push(best(&step(vec![tokens[n]], 40 + n)));
    }
    Said { logits, tokens }
}

/// The largest difference as a part of the spread.
fn apart(one: &Said, other: &Said) -> f32 {
    let most = other.logits.iter().copied().fold(f32::MIN, f32::max);
    let least = other.logits.iter().copied().fold(f32::MAX, f32::min);
    assert_eq!(one.logits.len(), other.logits.len());
    let differences = one.logits.iter().zip(&other.logits).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, f32::max) / (most - least)
}

#[test]
fn the_same_weights_quantised_while_loading_give_the_same_logits_to_the_last_bit() {
    for architecture in ARCHITECTURES {
        let (bench, gguf) = (Bench::new(), Gguf::tiny(architecture));
        let expected = on_cpu(&bench.gguf(&gguf), Quantise::Q8_0);
        let hub = Hub::of(&gguf, architecture, "F32");
        assert_eq!(on_cpu(&bench.hub(&hub), Quantise::Q8_0), expected, "{architecture}");
        for shards in [1, 3, 7] {
            let path = bench.hub(&hub.sharded(shards));
            assert_eq!(on_cpu(&path, Quantise::Q8_0), expected, "{architecture} in {shards} parts");
            let index = path.join("model.safetensors.index.json");
            assert_eq!(on_cpu(&index, Quantise::Q8_0), expected, "{architecture} by its index");
        }
    }
}

#[test]
fn a_head_of_its_own_is_another_than_the_embedding() {
    let (bench, mut gguf) = (Bench::new(), Gguf::tiny("qwen2"));
    let values: Vec<f32> = (0..VOCABULARY * 64).map(|n| ((n * 37 % 255) as f32 - 127.0) / 254.0).collect();
    let head = Tensor::from_vec(values, (VOCABULARY as usize, 64), &Device::Cpu).unwrap();
    gguf.push("output.weight".into(), &QTensor::quantize(&head, GgmlDType::Q8_0).unwrap());
    let expected = on_cpu(&bench.gguf(&gguf), Quantise::Q8_0);
    assert_ne!(expected, on_cpu(&bench.hub(&Hub::tiny("qwen2", "F32")), Quantise::Q8_0));
    let mut hub = Hub::of(&gguf, "qwen2", "F32");
    assert_eq!(on_cpu(&bench.hub(&hub), Quantise::Q8_0), expected);
    // Where it is said to be tied a head that is there all the same is none.
    hub.config["tie_word_embeddings"] = true.into();
    let tied = on_cpu(&bench.hub(&Hub::tiny("qwen2", "F32")), Quantise::Q8_0);
    assert_eq!(on_cpu(&bench.hub(&hub), Quantise::Q8_0), tied);
}

#[test]
fn each_type_and_each_way_of_holding_it_is_near_the_original() {
    // How far apart at most, as a part of the spread: 16 bits, eight, six, four.
    let cases = [
        ("F32", Quantise::None, 3e-2),
        ("F16", Quantise::None, 3e-2),
        ("BF16", Quantise::None, 5e-2),
        ("F16", Quantise::Q8_0, 3e-2),
        ("BF16", Quantise::Q8_0, 5e-2),
        ("BF16", Quantise::Q6K, 5e-2),
        ("F32", Quantise::Q4K, 5e-2),
    ];
    for architecture in ARCHITECTURES {
        let bench = Bench::new();
        let original = on_cpu(&bench.gguf(&Gguf::tiny(architecture)), Quantise::Q8_0);
        for (dtype, quantise, most) in cases {
            let path = bench.hub(&Hub::tiny(architecture, dtype));
            for (backend, said) in [("tiles", on_cpu(&path, quantise)), ("tensors", on_tensors(&path, quantise))] {
                let apart = apart(&said, &original);
                println!("{architecture} {dtype} {quantise:?} by {backend}: {apart:.1e} of the spread apart");
                assert!(apart < most, "{architecture} {dtype} {quantise:?} by {backend}: {apart}");
            }
        }
    }
}

/// 256 inputs: blocks of six and four bits are as long.
#[test]
fn formats_of_larger_blocks_are_what_candle_makes_of_the_rows() {
    let bench = Bench::new();
    let mut hub = Hub::tiny("qwen2", "F32");
    let values: Vec<f32> = (0..20 * 256).map(|n| ((n * 7919 % 1009) as f32 - 504.0) / 800.0).collect();
    hub.whole().push("x", "F32", &[20, 256], &values);
    let path = bench.hub(&hub).join("model.safetensors");
    let shard = header::open(&path).unwrap();
    let at = shard.tensors.iter().find(|tensor| tensor.name == "x").unwrap().at.start;
    let weights = Tensor::from_vec(values, (20, 256), &Device::Cpu).unwrap();
    let file = std::sync::Arc::new(shard.file);
    for quantise in [Quantise::Q8_0, Quantise::Q6K, Quantise::Q4K] {
        let held = quantise.of(256, GgmlDType::F32);
        let rows = Rows { file: file.clone(), at, k: 256, stored: GgmlDType::F32, held, paired: None };
        let expected = QTensor::quantize(&weights, held).unwrap();
        assert_eq!(rows.all(20).unwrap(), expected.data().unwrap().into_owned(), "{quantise:?}");
        assert_eq!(quantise.of(96, GgmlDType::F32), GgmlDType::Q8_0);
        assert_eq!(quantise.of(100, GgmlDType::BF16), GgmlDType::BF16);
    }
}

#[test]
fn scaled_rope_is_the_same_by_either_form() {
    let bench = Bench::new();
    // Linear: the same key in both. Llama 3: a tensor of divisors here, four numbers there.
    let mut gguf = Gguf::tiny("llama");
    gguf.set("llama.rope.scaling.type", Meta::text("linear"));
    gguf.set("llama.rope.scaling.factor", Meta::f32(4.0));
    let linear = on_cpu(&bench.gguf(&gguf), Quantise::Q8_0);
    let mut hub = Hub::tiny("llama", "F32");
    let plain = on_cpu(&bench.hub(&hub), Quantise::Q8_0);
    hub.config["rope_scaling"] = serde_json::json!({ "type": "linear", "factor": 4.0 });
    assert_eq!(on_cpu(&bench.hub(&hub), Quantise::Q8_0), linear);
    assert_ne!(linear, plain);

    let rope = serde_json::json!({
        "rope_type": "llama3", "rope_theta": 1e6, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    });
    hub.config["rope_scaling"] = serde_json::Value::Null;
    hub.config["rope_parameters"] = rope;
    // Wave lengths 2 pi 1e6^(i/8) against 64 / 4 and 64 / 1.
    let expected = (0..8).map(|i| match std::f64::consts::TAU * 1e6_f64.powf(f64::from(i) / 8.0) {
        wave if wave < 16.0 => 1.0,
        wave if wave > 64.0 => 8.0,
        wave => {
            let smooth = (64.0 / wave - 1.0) / 3.0;
            (1.0 / ((1.0 - smooth) / 8.0 + smooth)) as f32
        }
    });
    let expected: Vec<f32> = expected.collect();
    let mut gguf = Gguf::tiny("llama");
    let divisors = Tensor::new(expected.as_slice(), &Device::Cpu).unwrap();
    gguf.push("rope_freqs.weight".into(), &QTensor::quantize(&divisors, GgmlDType::F32).unwrap());
    let shape = |path: &Path| Shape::read(&Checkpoint::open(path, Quantise::Q8_0).unwrap()).unwrap().slower;
    assert_eq!(shape(&bench.gguf(&gguf)), expected);
    for (ours, wanted) in shape(&bench.hub(&hub)).iter().zip(&expected) {
        assert!((ours - wanted).abs() < 1e-5 * wanted, "{ours} instead of {wanted}");
    }
    let (here, there) = (on_cpu(&bench.hub(&hub), Quantise::Q8_0), on_cpu(&bench.gguf(&gguf), Quantise::Q8_0));
    assert!(apart(&here, &there) < 1e-3 && apart(&here, &plain) > 1e-2);
}

#[test]
fn tiles_that_were_kept_are_of_these_weights_held_like_that() {
    let bench = Bench::new();
    let hash = |path: &Path, quantise| {
        let mut hash = Sha256::new();
        Checkpoint::open(path, quantise).unwrap().identify(&mut hash).unwrap();
        <[u8; 32]>::from(hash.finalize())
    };
    let mut hub = Hub::tiny("llama", "BF16").sharded(2);
    let path = bench.hub(&hub);
    let kept = hash(&path, Quantise::Q8_0);
    assert_eq!(hash(&path, Quantise::Q8_0), kept);
    assert_ne!(hash(&path, Quantise::Q4K), kept);
    hub.config["note"] = 1.into();
    hub.write(&path);
    assert_ne!(hash(&path, Quantise::Q8_0), kept);

    let (tiles, path) = (bench.0.path().join("tiles"), bench.hub(&Hub::tiny("llama", "BF16")));
    let load = || {
        let file = Checkpoint::open(&path, Quantise::Q8_0).unwrap();
        say(&mut CpuBackend::load(&file, &Means { tiles: Some(&tiles), ..means() }).unwrap())
    };
    let first = load();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let kept =
        || std::fs::read_dir(&tiles).ok()?.flatten().find(|e| e.path().extension().is_some_and(|e| e == "tiles"));
    while kept().is_none() {
        assert!(std::time::Instant::now() < deadline, "the tiles aren't kept");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(kept().unwrap().file_name().to_string_lossy().starts_with("folder-q8_0-"));
    // The weights are not looked at again: others in their place, which say that they are as old, change nothing.
    let weights = path.join("model.safetensors");
    let modified = std::fs::metadata(&weights).unwrap().modified().unwrap();
    let mut hub = Hub::tiny("llama", "BF16");
    let at = hub.tensor("model.layers.1.mlp.up_proj.weight")["data_offsets"].clone();
    let at = at[0].as_u64().unwrap() as usize..at[1].as_u64().unwrap() as usize;
    hub.whole().data[at].fill(0);
    hub.write(&path);
    File::options().write(true).open(&weights).unwrap().set_modified(modified).unwrap();
    assert_eq!(load(), first);
    hub.write(&path);
    assert_ne!(load(), first);
}
