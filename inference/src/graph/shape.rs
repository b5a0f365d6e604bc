//! What a model file says about the model's form.

use crate::EngineError;
use crate::candle::GgufFile;

/// The form of a model. Dimensions are in elements.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shape {
    pub(crate) architecture: String,
    pub(crate) layers: usize,
    pub(crate) width: usize,
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
    /// The longest sequence it was made for.
    pub(crate) context: usize,
    pub(crate) eps: f32,
    pub(crate) rope_base: f32,
    /// RoPE turns the pairs (i, i + d/2) instead of (2i, 2i + 1).
    pub(crate) halves: bool,
    /// Each head of queries and keys has a norm.
    pub(crate) head_norms: bool,
}

/// More than any model has; what claims more is a damaged file.
const MOST: usize = 1 << 20;

impl Shape {
    pub(crate) fn read(file: &GgufFile) -> Result<Self, EngineError> {
        let arch = file.text("general.architecture").unwrap_or("?").to_owned();
        if !matches!(arch.as_str(), "llama" | "qwen2" | "qwen3") {
            let why = format_args!("the architecture {arch:?} is not supported (llama, qwen2 and qwen3 are)");
            return Err(file.refuse(why));
        }
        let number = |key: &str| file.required(&format!("{arch}.{key}")).map(|n| n as usize);
        let scaling = file.text(&format!("{arch}.rope.scaling.type")).unwrap_or("none");
        if scaling != "none" || file.has_tensor("rope_freqs.weight") {
            return Err(file.refuse("scaled RoPE is not supported"));
        }
        if number("expert_count").is_ok_and(|n| n > 1) {
            return Err(file.refuse("mixtures of experts are not supported"));
        }
        let (heads, width) = (number("attention.head_count")?, number("embedding_length")?);
        let kv_heads = number("attention.head_count_kv").unwrap_or(heads);
        let shared = heads > 0 && kv_heads > 0 && heads % kv_heads == 0;
        let head_dim = number("attention.key_length").unwrap_or(width.checked_div(heads).unwrap_or(0));
        let value_dim = number("attention.value_length").unwrap_or(head_dim);
        let rotated = number("rope.dimension_count").unwrap_or(head_dim);
        let whole = head_dim > 0 && head_dim % 16 == 0 && rotated == head_dim && value_dim == head_dim;
        if !shared || !whole || width == 0 || width > MOST || heads * head_dim > MOST {
            let why = format_args!("{heads} heads ({kv_heads} of keys, {head_dim} wide) over {width} is not supported");
            return Err(file.refuse(why));
        }
        let eps = file.float(&format!("{arch}.attention.layer_norm_rms_epsilon"));
        let (layers, context) = (number("block_count")?, number("context_length")?);
        if layers == 0 || layers > MOST || context == 0 {
            return Err(file.refuse(format_args!("{layers} layers with a context of {context} make no model")));
        }
        Ok(Self {
            layers,
            width,
            heads,
            kv_heads,
            head_dim,
            context,
            eps: eps.ok_or_else(|| file.refuse("the norm's epsilon is missing"))?,
            rope_base: file.float(&format!("{arch}.rope.freq_base")).unwrap_or(10_000.0),
            halves: arch != "llama",
            head_norms: arch == "qwen3",
            architecture: arch,
        })
    }

    /// Bytes of keys and values of one token, in f16.
    pub(crate) fn kv_bytes(&self) -> u64 {
        (2 * 2 * self.layers * self.kv_heads * self.head_dim) as u64
    }

    /// Cosine and sine of every position's angles: `[positions][head_dim / 2]`, twice.
    pub(crate) fn rotations(&self, positions: usize) -> (Vec<f32>, Vec<f32>) {
        let half = self.head_dim / 2;
        let turn = |i: usize| f64::from(self.rope_base).powf(-2.0 * i as f64 / self.head_dim as f64);
        let turns: Vec<f64> = (0..half).map(turn).collect();
        // In double precision: at position 30,000 a float's angle is off by a thousandth of a turn.
        let angles = (0..positions).flat_map(|p| turns.iter().map(move |t| p as f64 * t));
        angles.map(|angle| (angle.cos() as f32, angle.sin() as f32)).unzip()
    }
}
