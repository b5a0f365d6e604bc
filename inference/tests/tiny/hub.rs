//! The tiny model as a hub's repository has it: the same weights as in its GGUF file, by other names and in another order.

use std::collections::BTreeMap;
use std::path::Path;

use half::{bf16, f16};
use serde_json::{Map, Value, json};

use super::{CONTEXT, CONTROL, Declared, Gguf, LAYERS, TEMPLATE, VOCABULARY, words};

const HEADS: usize = 4;
const HEAD_DIM: usize = 16;

/// A safetensors file in parts.
#[derive(Clone, Debug, Default)]
pub struct Shard {
    pub header: Map<String, Value>,
    pub data: Vec<u8>,
    /// How long it says that its header is, if that isn't the truth.
    pub length: Option<u64>,
    /// The header's text, if it isn't that of `header`.
    pub text: Option<Vec<u8>>,
}

/// A folder in parts, each of which a test may change before it is written.
#[derive(Clone, Debug)]
pub struct Hub {
    pub config: Value,
    pub tokenizer: Value,
    pub tokenizer_config: Value,
    /// Which file has a tensor; `None`: there is one file without an index.
    pub index: Option<Map<String, Value>>,
    pub shards: BTreeMap<String, Shard>,
    /// Other files, and what takes the place of those above.
    pub others: BTreeMap<String, Vec<u8>>,
}

impl Hub {
    /// The random model of an architecture with its weights as `F32`, `F16` or `BF16`.
    pub fn tiny(architecture: &str, dtype: &str) -> Self {
        Self::of(&Gguf::tiny(architecture), architecture, dtype)
    }

    /// The weights of a GGUF file.
    pub fn of(gguf: &Gguf, architecture: &str, dtype: &str) -> Self {
        let mut shard = Shard::default();
        for tensor in &gguf.tensors {
            let mut values = values(gguf, tensor);
            let paired = ["attn_q.", "attn_k."].iter().any(|part| tensor.name.contains(part));
            if architecture == "llama" && paired {
                let row = if tensor.dims.len() == 2 { tensor.dims[0] as usize } else { 1 };
                values = in_halves(&values, row);
            }
            let shape: Vec<u64> = tensor.dims.iter().rev().copied().collect();
            shard.push(&theirs(&tensor.name), dtype, &shape, &values);
        }
        let tied = !gguf.tensors.iter().any(|tensor| tensor.name == "output.weight");
        Self {
            config: config(architecture, tied),
            tokenizer: tokenizer(),
            tokenizer_config: json!({
                "bos_token": CONTROL[1],
                "eos_token": { "content": CONTROL[2], "special": true },
                "chat_template": TEMPLATE,
            }),
            index: None,
            shards: BTreeMap::from([("model.safetensors".to_owned(), shard)]),
            others: BTreeMap::new(),
        }
    }

    /// The one file.
    pub fn whole(&mut self) -> &mut Shard {
        self.shards.values_mut().next().unwrap()
    }

    /// What the header of the one file says of a tensor.
    pub fn tensor(&mut self, name: &str) -> &mut Value {
        self.whole().header.get_mut(name).unwrap()
    }

    /// The same weights in several files.
    pub fn sharded(&self, count: usize) -> Self {
        let whole = self.shards.values().next().unwrap();
        let mut shards = BTreeMap::<String, Shard>::new();
        let mut index = Map::new();
        for (n, (name, entry)) in whole.header.iter().enumerate() {
            let file = format!("model-{:05}-of-{count:05}.safetensors", n % count + 1);
            let at = |i: usize| entry["data_offsets"][i].as_u64().unwrap() as usize;
            shards.entry(file.clone()).or_default().place(name, entry.clone(), &whole.data[at(0)..at(1)]);
            index.insert(name.clone(), file.into());
        }
        Self { index: Some(index), shards, ..self.clone() }
    }

    pub fn write(&self, dir: &Path) {
        std::fs::create_dir_all(dir).unwrap();
        let put = |name: &str, bytes: &[u8]| std::fs::write(dir.join(name), bytes).unwrap();
        put("config.json", self.config.to_string().as_bytes());
        put("tokenizer.json", self.tokenizer.to_string().as_bytes());
        put("tokenizer_config.json", self.tokenizer_config.to_string().as_bytes());
        if let Some(index) = &self.index {
            put("model.safetensors.index.json", json!({ "weight_map": index }).to_string().as_bytes());
        }
        self.shards.iter().for_each(|(name, shard)| put(name, &shard.bytes()));
        self.others.iter().for_each(|(name, bytes)| put(name, bytes));
    }
}

impl Shard {
    pub fn push(&mut self, name: &str, dtype: &str, shape: &[u64], values: &[f32]) {
        let bytes: Vec<u8> = match dtype {
            "F32" => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
            "F16" => values.iter().flat_map(|x| f16::from_f32(*x).to_le_bytes()).collect(),
            "BF16" => values.iter().flat_map(|x| bf16::from_f32(*x).to_le_bytes()).collect(),
            other => panic!("{other} has no place in the tiny model"),
        };
        self.place(name, json!({ "dtype": dtype, "shape": shape }), &bytes);
    }

    fn place(&mut self, name: &str, mut entry: Value, bytes: &[u8]) {
        let begin = self.data.len();
        self.data.extend_from_slice(bytes);
        entry["data_offsets"] = json!([begin, self.data.len()]);
        self.header.insert(name.to_owned(), entry);
    }

    pub fn bytes(&self) -> Vec<u8> {
        let text = self.text.clone().unwrap_or_else(|| Value::Object(self.header.clone()).to_string().into_bytes());
        let length = self.length.unwrap_or(text.len() as u64);
        [&length.to_le_bytes()[..], &text, &self.data].concat()
    }
}

/// The weights of a tensor, which are Q8_0 or f32.
fn values(gguf: &Gguf, tensor: &Declared) -> Vec<f32> {
    let n = tensor.dims.iter().product::<u64>() as usize;
    let data = &gguf.data[tensor.offset as usize..];
    if tensor.kind == 0 {
        return data.chunks_exact(4).take(n).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    }
    let block = |b: &[u8]| {
        let scale = f16::from_le_bytes([b[0], b[1]]).to_f32();
        b[2..34].iter().map(|q| f32::from(*q as i8) * scale).collect::<Vec<f32>>()
    };
    data.chunks_exact(34).take(n / 32).flat_map(block).collect()
}

/// Rows of heads as the hub has them for llama: of each head first the even ones, then the odd.
fn in_halves(values: &[f32], row: usize) -> Vec<f32> {
    let head = |head: &[f32]| {
        let rows: Vec<&[f32]> = head.chunks_exact(row).collect();
        let (even, odd) = (rows.iter().step_by(2), rows.iter().skip(1).step_by(2));
        even.chain(odd).flat_map(|row| row.to_vec()).collect::<Vec<f32>>()
    };
    values.chunks_exact(HEAD_DIM * row).flat_map(head).collect()
}

fn theirs(ours: &str) -> String {
    let names = [
        ("token_embd", "model.embed_tokens"),
        ("output_norm", "model.norm"),
        ("attn_output", "self_attn.o_proj"),
        ("output", "lm_head"),
        ("blk", "model.layers"),
        ("attn_q_norm", "self_attn.q_norm"),
        ("attn_k_norm", "self_attn.k_norm"),
        ("attn_norm", "input_layernorm"),
        ("ffn_norm", "post_attention_layernorm"),
        ("attn_q", "self_attn.q_proj"),
        ("attn_k", "self_attn.k_proj"),
        ("attn_v", "self_attn.v_proj"),
        ("ffn_gate", "mlp.gate_proj"),
        ("ffn_up", "mlp.up_proj"),
        ("ffn_down", "mlp.down_proj"),
    ];
    let part = |part: &str| names.iter().find(|(ours, _)| *ours == part).map_or(part, |(_, theirs)| theirs).to_owned();
    ours.split('.').map(part).collect::<Vec<_>>().join(".")
}

fn config(architecture: &str, tied: bool) -> Value {
    json!({
        "model_type": architecture,
        "hidden_act": "silu",
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": 2,
        "head_dim": HEAD_DIM,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1e6,
        "rope_scaling": null,
        "tie_word_embeddings": tied,
        "eos_token_id": VOCABULARY - 1,
    })
}

fn tokenizer() -> Value {
    let (tokens, merges) = words();
    let first = tokens.len() - CONTROL.len();
    let vocabulary: Map<String, Value> = tokens[..first].iter().cloned().zip((0..).map(|id: u32| id.into())).collect();
    let added = CONTROL.iter().zip(first..).map(|(name, id)| {
        json!({
            "id": id, "content": name, "special": true, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false,
        })
    });
    let bytes = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true });
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": { "strategy": { "Fixed": 128 }, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0, "pad_token": "x" },
        "added_tokens": added.collect::<Vec<_>>(),
        "normalizer": null,
        "pre_tokenizer": { "type": "Sequence", "pretokenizers": [{ "type": "Digits", "individual_digits": true }, bytes] },
        "post_processor": bytes,
        "decoder": bytes,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": vocabulary, "merges": merges,
        },
    })
}
