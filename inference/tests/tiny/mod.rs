//! A model that isn't worth a download: two layers of random weights, a tokenizer for all bytes and a chat template, as
//! the parts of a GGUF file or of a hub's folder, each of which a test may change before it is written.
#![allow(dead_code, clippy::unwrap_used, reason = "each test uses what it needs")]

mod hub;

use std::path::Path;

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

#[allow(unused_imports, reason = "each test uses what it needs")]
pub use self::hub::{Hub, Shard};

/// Bytes, merged pairs of letters, and [`CONTROL`].
pub const VOCABULARY: u32 = 320;
/// The last ones of the vocabulary.
pub const CONTROL: [&str; 3] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];
pub const LAYERS: usize = 2;
pub const CONTEXT: u32 = 1024;
const ALIGNMENT: usize = 32;

const TEMPLATE: &str = "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/// A value of the header, as the file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    pub kind: u32,
    pub bytes: Vec<u8>,
}

/// A tensor as the header declares it; `offset` is counted from where tensors begin.
#[derive(Clone, Debug)]
pub struct Declared {
    pub name: String,
    /// Innermost first.
    pub dims: Vec<u64>,
    pub kind: u32,
    pub offset: u64,
}

/// A GGUF file in parts.
#[derive(Clone, Debug)]
pub struct Gguf {
    pub version: u32,
    pub metadata: Vec<(String, Value)>,
    pub tensors: Vec<Declared>,
    pub data: Vec<u8>,
    /// What it says that it has, if that isn't the truth.
    pub claims: [Option<u64>; 2],
}

impl Value {
    pub fn u32(n: u32) -> Self {
        Self { kind: 4, bytes: n.to_le_bytes().to_vec() }
    }

    pub fn i32(n: i32) -> Self {
        Self { kind: 5, bytes: n.to_le_bytes().to_vec() }
    }

    pub fn f32(x: f32) -> Self {
        Self { kind: 6, bytes: x.to_le_bytes().to_vec() }
    }

    pub fn u64(n: u64) -> Self {
        Self { kind: 10, bytes: n.to_le_bytes().to_vec() }
    }

    pub fn bool(yes: bool) -> Self {
        Self { kind: 7, bytes: vec![u8::from(yes)] }
    }

    pub fn text(text: impl AsRef<[u8]>) -> Self {
        Self { kind: 8, bytes: sized(text.as_ref()) }
    }

    /// Elements of one kind, of which there are said to be `len`.
    pub fn array(kind: u32, len: u64, elements: &[Value]) -> Self {
        let mut bytes = [&kind.to_le_bytes()[..], &len.to_le_bytes()].concat();
        elements.iter().for_each(|element| bytes.extend_from_slice(&element.bytes));
        Self { kind: 9, bytes }
    }

    pub fn texts<T: AsRef<[u8]>>(texts: impl IntoIterator<Item = T>) -> Self {
        let texts: Vec<Self> = texts.into_iter().map(Self::text).collect();
        Self::array(8, texts.len() as u64, &texts)
    }
}

impl Gguf {
    /// The random model of an architecture: llama, qwen2 or qwen3.
    pub fn tiny(architecture: &str) -> Self {
        let mut gguf = Self {
            version: 3,
            metadata: metadata(architecture),
            tensors: Vec::new(),
            data: Vec::new(),
            claims: [None; 2],
        };
        for (name, tensor) in tensors(architecture) {
            gguf.push(name, &tensor);
        }
        gguf
    }

    pub fn push(&mut self, name: String, tensor: &QTensor) {
        self.data.resize(self.data.len().next_multiple_of(ALIGNMENT), 0);
        let dims = tensor.shape().dims().iter().rev().map(|n| *n as u64).collect();
        let kind = match tensor.dtype() {
            GgmlDType::F32 => 0,
            GgmlDType::Q8_0 => 8,
            other => panic!("{other:?} has no place in the tiny model"),
        };
        self.tensors.push(Declared { name, dims, kind, offset: self.data.len() as u64 });
        self.data.extend_from_slice(&tensor.data().unwrap());
    }

    pub fn set(&mut self, key: &str, value: Value) {
        self.metadata.retain(|(name, _)| name != key);
        self.metadata.push((key.to_owned(), value));
    }

    pub fn remove(&mut self, key: &str) {
        self.metadata.retain(|(name, _)| name != key);
    }

    pub fn tensor(&mut self, name: &str) -> &mut Declared {
        self.tensors.iter_mut().find(|tensor| tensor.name == name).unwrap()
    }

    pub fn header(&self) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(self.version.to_le_bytes());
        out.extend(self.claims[0].unwrap_or(self.tensors.len() as u64).to_le_bytes());
        out.extend(self.claims[1].unwrap_or(self.metadata.len() as u64).to_le_bytes());
        for (key, value) in &self.metadata {
            out.extend(sized(key.as_bytes()));
            out.extend(value.kind.to_le_bytes());
            out.extend_from_slice(&value.bytes);
        }
        for tensor in &self.tensors {
            out.extend(sized(tensor.name.as_bytes()));
            out.extend((tensor.dims.len() as u32).to_le_bytes());
            tensor.dims.iter().for_each(|n| out.extend(n.to_le_bytes()));
            out.extend(tensor.kind.to_le_bytes());
            out.extend(tensor.offset.to_le_bytes());
        }
        out
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = self.header();
        out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
        out.extend_from_slice(&self.data);
        out
    }

    pub fn write(&self, path: &Path) {
        std::fs::write(path, self.bytes()).unwrap();
    }
}

fn sized(text: &[u8]) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text].concat()
}

/// Two layers, four heads on two of keys.
fn tensors(architecture: &str) -> Vec<(String, QTensor)> {
    let (width, hidden, kv) = (64, 128, 32);
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let mut weights = |dims: &[usize], scale: f32, kind: GgmlDType| {
        let mut unit = || f64::from(random.next_u32()) / f64::from(u32::MAX) * 2.0 - 1.0;
        let values = (0..dims.iter().product()).map(|_| (f64::from(scale) * unit()) as f32).collect();
        QTensor::quantize(&Tensor::from_vec::<_, f32>(values, dims, &Device::Cpu).unwrap(), kind).unwrap()
    };
    let mut tensors = vec![
        ("token_embd.weight".to_owned(), weights(&[VOCABULARY as usize, width], 1.0, GgmlDType::Q8_0)),
        ("output_norm.weight".to_owned(), weights(&[width], 1.0, GgmlDType::F32)),
    ];
    for layer in 0..LAYERS {
        let parts: [(&str, &[usize]); 7] = [
            ("attn_q", &[width, width]),
            ("attn_k", &[kv, width]),
            ("attn_v", &[kv, width]),
            ("attn_output", &[width, width]),
            ("ffn_gate", &[hidden, width]),
            ("ffn_up", &[hidden, width]),
            ("ffn_down", &[width, hidden]),
        ];
        for (part, dims) in parts {
            tensors.push((format!("blk.{layer}.{part}.weight"), weights(dims, 0.3, GgmlDType::Q8_0)));
        }
        let vectors: &[(&str, usize)] = match architecture {
            "llama" => &[],
            "qwen3" => &[("attn_q_norm.weight", width / 4), ("attn_k_norm.weight", width / 4)],
            _ => &[("attn_q.bias", width), ("attn_k.bias", kv), ("attn_v.bias", kv)],
        };
        for (part, len) in vectors {
            tensors.push((format!("blk.{layer}.{part}"), weights(&[*len], 0.5, GgmlDType::F32)));
        }
        for part in ["attn_norm.weight", "ffn_norm.weight"] {
            tensors.push((format!("blk.{layer}.{part}"), weights(&[width], 1.0, GgmlDType::F32)));
        }
    }
    tensors
}

fn metadata(architecture: &str) -> Vec<(String, Value)> {
    let of = |key: &str| format!("{architecture}.{key}");
    let (tokens, merges) = words();
    let types = (0..VOCABULARY).map(|id| Value::i32(if is_control(id) { 3 } else { 1 }));
    let types: Vec<Value> = types.collect();
    vec![
        ("general.architecture".to_owned(), Value::text(architecture)),
        (of("attention.head_count"), Value::u32(4)),
        (of("attention.head_count_kv"), Value::u32(2)),
        (of("attention.key_length"), Value::u32(16)),
        (of("embedding_length"), Value::u32(64)),
        (of("context_length"), Value::u32(CONTEXT)),
        (of("block_count"), Value::u32(LAYERS as u32)),
        (of("attention.layer_norm_rms_epsilon"), Value::f32(1e-6)),
        (of("rope.dimension_count"), Value::u32(16)),
        (of("rope.freq_base"), Value::f32(1_000_000.0)),
        ("tokenizer.ggml.model".to_owned(), Value::text("gpt2")),
        ("tokenizer.ggml.pre".to_owned(), Value::text("smollm")),
        ("tokenizer.ggml.token_type".to_owned(), Value::array(5, types.len() as u64, &types)),
        ("tokenizer.ggml.tokens".to_owned(), Value::texts(tokens)),
        ("tokenizer.ggml.merges".to_owned(), Value::texts(merges)),
        ("tokenizer.ggml.bos_token_id".to_owned(), Value::u32(VOCABULARY - 2)),
        ("tokenizer.ggml.eos_token_id".to_owned(), Value::u32(VOCABULARY - 1)),
        ("tokenizer.chat_template".to_owned(), Value::text(TEMPLATE)),
    ]
}

pub fn is_control(id: u32) -> bool {
    id >= VOCABULARY - CONTROL.len() as u32
}

/// All bytes as byte-level BPE writes them, pairs of letters, control tokens; and the merges that make the pairs.
fn words() -> (Vec<String>, Vec<String>) {
    let printable = |b: &u8| matches!(b, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    let shifted = (0..=255_u8).filter(|b| !printable(b)).zip(0x100_u32..);
    let mut tokens: Vec<String> = (0..=255_u8).filter(printable).map(|b| char::from(b).to_string()).collect();
    tokens.extend(shifted.filter_map(|(_, c)| char::from_u32(c)).map(String::from));
    let mut merges = Vec::new();
    'pairs: for first in "etaoinshr".chars() {
        for second in "etaoinsh".chars() {
            if tokens.len() + CONTROL.len() == VOCABULARY as usize {
                break 'pairs;
            }
            tokens.push(format!("{first}{second}"));
            merges.push(format!("{first} {second}"));
        }
    }
    tokens.extend(CONTROL.map(str::to_owned));
    (tokens, merges)
}
