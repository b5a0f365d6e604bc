//! What `config.json` says of a model's form, in the names that GGUF files have for it.
//!
//! What would be computed otherwise than it is said there is refused: windows of attention, other activations, weights
//! that were quantised by somebody else.

use std::collections::HashMap;

use candle_core::quantized::gguf_file::Value;
use serde_json::Value as Json;

/// The form of a model and the names of its tensors.
#[derive(Debug)]
pub(super) struct Form {
    pub(super) metadata: HashMap<String, Value>,
    pub(super) architecture: String,
    layers: usize,
    width: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    hidden: usize,
    vocabulary: usize,
    /// The embedding is the head, too.
    tied: bool,
    /// Queries, keys and values have biases.
    biases: bool,
}

/// A tensor that there has to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Expected {
    /// As GGUF files name it.
    pub(super) ours: String,
    /// As the hub's files name it.
    pub(super) theirs: String,
    pub(super) dims: Vec<usize>,
    /// Rows of a head that are to be interleaved by their halves.
    pub(super) paired: Option<usize>,
}

type Said = serde_json::Map<String, Json>;

impl Form {
    pub(super) fn read(config: &[u8]) -> Result<Self, String> {
        let config: Said =
            serde_json::from_slice(config).map_err(|e| format!("it is not a model's configuration ({e})"))?;
        let architecture = config.get("model_type").and_then(Json::as_str).unwrap_or("?").to_owned();
        if !matches!(architecture.as_str(), "llama" | "qwen2" | "qwen3") {
            return Err(format!("the architecture {architecture:?} is not supported (llama, qwen2 and qwen3 are)"));
        }
        check_extras(&config)?;
        let (width, heads) = (required(&config, "hidden_size")?, required(&config, "num_attention_heads")?);
        let kv_heads = match number(&config, "num_key_value_heads")? {
            Some(heads) => heads,
            // Models of the others without it have heads by a default that nobody means.
            None if architecture == "llama" => heads,
            None => return Err("num_key_value_heads is missing".into()),
        };
        let head_dim = match number(&config, "head_dim")? {
            Some(dim) => dim,
            None if architecture == "qwen3" => 128,
            None => width.checked_div(heads).unwrap_or(0),
        };
        let said = |key: &str| config.get(key).and_then(Json::as_bool).unwrap_or(false);
        let mut form = Self {
            metadata: HashMap::new(),
            layers: required(&config, "num_hidden_layers")?,
            width,
            heads,
            kv_heads,
            head_dim,
            hidden: required(&config, "intermediate_size")?,
            vocabulary: required(&config, "vocab_size")?,
            tied: said("tie_word_embeddings"),
            biases: architecture == "qwen2" || said("attention_bias"),
            architecture,
        };
        form.translate(&config)?;
        Ok(form)
    }

    fn translate(&mut self, config: &Said) -> Result<(), String> {
        let context = required(config, "max_position_embeddings")?;
        let numbers = [
            ("block_count", self.layers),
            ("embedding_length", self.width),
            ("attention.head_count", self.heads),
            ("attention.head_count_kv", self.kv_heads),
            ("attention.key_length", self.head_dim),
            ("context_length", context),
        ];
        for (key, n) in numbers {
            // They were read as such.
            self.set(key, Value::U32(u32::try_from(n).unwrap_or(u32::MAX)));
        }
        let eps = float(config, "rms_norm_eps")?.ok_or("rms_norm_eps is missing")?;
        self.set("attention.layer_norm_rms_epsilon", Value::F32(eps));
        self.metadata.insert("general.architecture".into(), Value::String(self.architecture.clone()));
        self.rope(config)
    }

    /// The older files say it in `rope_theta` and `rope_scaling`, the newer in `rope_parameters`.
    fn rope(&mut self, config: &Said) -> Result<(), String> {
        let none = Said::new();
        let said = ["rope_parameters", "rope_scaling"].iter().find_map(|key| config.get(*key)?.as_object());
        let said = said.unwrap_or(&none);
        if let Some(base) = float(said, "rope_theta")?.or(float(config, "rope_theta")?) {
            self.set("rope.freq_base", Value::F32(base));
        }
        let kind = said.get("rope_type").or(said.get("type")).and_then(Json::as_str).unwrap_or("default");
        if kind == "default" {
            return Ok(());
        }
        self.set("rope.scaling.type", Value::String(kind.to_owned()));
        for key in ["factor", "low_freq_factor", "high_freq_factor"] {
            if let Some(x) = float(said, key)? {
                self.set(&format!("rope.scaling.{key}"), Value::F32(x));
            }
        }
        if let Some(context) = number(said, "original_max_position_embeddings")? {
            self.set("rope.scaling.original_context_length", Value::U32(context as u32));
        }
        Ok(())
    }

    fn set(&mut self, key: &str, value: Value) {
        self.metadata.insert(format!("{}.{key}", self.architecture), value);
    }

    /// Tensors in all, so that a lie about the layers is seen before they are listed.
    pub(super) fn count(&self) -> usize {
        let layer = 9 + if self.biases { 3 } else { 0 } + if self.architecture == "qwen3" { 2 } else { 0 };
        self.layers.saturating_mul(layer) + if self.tied { 2 } else { 3 }
    }

    /// All tensors that such a model has, and no other.
    pub(super) fn expected(&self) -> Vec<Expected> {
        let (width, dim, hidden) = (self.width, self.head_dim, self.hidden);
        let (queries, keys) = (self.heads * dim, self.kv_heads * dim);
        let paired = (self.architecture == "llama").then_some(dim);
        let mut all = Vec::new();
        let mut add = |ours: String, theirs: String, dims: &[usize], paired| {
            all.push(Expected { ours, theirs, dims: dims.to_vec(), paired });
        };
        add("token_embd.weight".into(), "model.embed_tokens.weight".into(), &[self.vocabulary, width], None);
        add("output_norm.weight".into(), "model.norm.weight".into(), &[width], None);
        if !self.tied {
            add("output.weight".into(), "lm_head.weight".into(), &[self.vocabulary, width], None);
        }
        for layer in 0..self.layers {
            let mut add = |ours: &str, theirs: &str, dims: &[usize], paired| {
                add(format!("blk.{layer}.{ours}"), format!("model.layers.{layer}.{theirs}"), dims, paired);
            };
            add("attn_norm.weight", "input_layernorm.weight", &[width], None);
            add("ffn_norm.weight", "post_attention_layernorm.weight", &[width], None);
            add("attn_q.weight", "self_attn.q_proj.weight", &[queries, width], paired);
            add("attn_k.weight", "self_attn.k_proj.weight", &[keys, width], paired);
            add("attn_v.weight", "self_attn.v_proj.weight", &[keys, width], None);
            add("attn_output.weight", "self_attn.o_proj.weight", &[width, queries], None);
            add("ffn_gate.weight", "mlp.gate_proj.weight", &[hidden, width], None);
            add("ffn_up.weight", "mlp.up_proj.weight", &[hidden, width], None);
            add("ffn_down.weight", "mlp.down_proj.weight", &[width, hidden], None);
            if self.biases {
                add("attn_q.bias", "self_attn.q_proj.bias", &[queries], paired);
                add("attn_k.bias", "self_attn.k_proj.bias", &[keys], paired);
                add("attn_v.bias", "self_attn.v_proj.bias", &[keys], None);
            }
            if self.architecture == "qwen3" {
                add("attn_q_norm.weight", "self_attn.q_norm.weight", &[dim], None);
                add("attn_k_norm.weight", "self_attn.k_norm.weight", &[dim], None);
            }
        }
        all
    }

    /// Tensors that some files have and nothing needs.
    pub(super) fn is_needless(&self, theirs: &str) -> bool {
        (self.tied && theirs == "lm_head.weight") || theirs.ends_with(".rotary_emb.inv_freq")
    }
}

/// What the model's code doesn't do.
fn check_extras(config: &Said) -> Result<(), String> {
    let is_set = |key: &str| config.get(key).is_some_and(|value| !value.is_null());
    let act = config.get("hidden_act").and_then(Json::as_str).unwrap_or("silu");
    let kinds = config.get("layer_types").and_then(Json::as_array);
    if is_set("quantization_config") {
        return Err("its weights are quantised already, which is supported in GGUF files only".into());
    }
    if act != "silu" {
        return Err(format!("the activation {act:?} is not supported (silu is)"));
    }
    let windows = config.get("use_sliding_window").and_then(Json::as_bool).unwrap_or(false);
    let other = kinds.is_some_and(|kinds| kinds.iter().any(|kind| kind.as_str() != Some("full_attention")));
    if windows || other {
        return Err("attention within a window is not supported".into());
    }
    if float(config, "partial_rotary_factor")?.is_some_and(|part| part != 1.0) {
        return Err("RoPE on a part of each head is not supported".into());
    }
    Ok(())
}

fn number(said: &Said, key: &str) -> Result<Option<usize>, String> {
    match said.get(key).filter(|value| !value.is_null()) {
        None => Ok(None),
        Some(value) => {
            let number = value.as_u64().and_then(|n| u32::try_from(n).ok());
            number.map(|n| Some(n as usize)).ok_or_else(|| format!("{key} is {value}, which makes no model"))
        }
    }
}

fn required(said: &Said, key: &str) -> Result<usize, String> {
    number(said, key)?.ok_or_else(|| format!("{key} is missing"))
}

fn float(said: &Said, key: &str) -> Result<Option<f32>, String> {
    match said.get(key).filter(|value| !value.is_null()) {
        None => Ok(None),
        Some(value) => value.as_f64().map(|x| Some(x as f32)).ok_or_else(|| format!("{key} is {value}, no number")),
    }
}
