//! What a model's files say about its form.

use std::f64::consts::TAU;

use crate::EngineError;
use crate::checkpoint::Checkpoint;

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
    /// What the turns of each pair of dimensions are divided by, for contexts longer than the model was first trained with;
    /// none: by nothing.
    pub(crate) slower: Vec<f32>,
    /// RoPE turns the pairs (i, i + d/2) instead of (2i, 2i + 1).
    pub(crate) halves: bool,
    /// Each head of queries and keys has a norm.
    pub(crate) head_norms: bool,
}

/// More than any model has; what claims more is a damaged file.
const WIDEST: usize = 1 << 17;
const WIDEST_HEAD: usize = 1 << 10;
const MOST_LAYERS: usize = 1 << 12;

impl Shape {
    pub(crate) fn read(file: &Checkpoint) -> Result<Self, EngineError> {
        let arch = file.text("general.architecture").unwrap_or("?").to_owned();
        if !matches!(arch.as_str(), "llama" | "qwen2" | "qwen3") {
            let why = format_args!("the architecture {arch:?} is not supported (llama, qwen2 and qwen3 are)");
            return Err(file.refuse(why));
        }
        let number = |key: &str| file.required(&format!("{arch}.{key}")).map(|n| n as usize);
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
        let small = width <= WIDEST && head_dim <= WIDEST_HEAD && heads.saturating_mul(head_dim) <= WIDEST;
        if !shared || !whole || width == 0 || !small {
            let why = format_args!("{heads} heads ({kv_heads} of keys, {head_dim} wide) over {width} is not supported");
            return Err(file.refuse(why));
        }
        let eps = file.float(&format!("{arch}.attention.layer_norm_rms_epsilon"));
        let eps = eps.ok_or_else(|| file.refuse("the norm's epsilon is missing"))?;
        let rope_base = file.float(&format!("{arch}.rope.freq_base")).unwrap_or(10_000.0);
        let numbers = (0.0..1.0).contains(&eps) && rope_base >= 1.0 && rope_base.is_finite();
        if !numbers {
            let why = format_args!("an epsilon of {eps} and a RoPE base of {rope_base} make no model");
            return Err(file.refuse(why));
        }
        let (layers, context) = (number("block_count")?, number("context_length")?);
        if layers == 0 || layers > MOST_LAYERS || context == 0 {
            return Err(file.refuse(format_args!("{layers} layers with a context of {context} make no model")));
        }
        Ok(Self {
            slower: slower(file, &arch, head_dim, rope_base)?,
            layers,
            width,
            heads,
            kv_heads,
            head_dim,
            context,
            eps,
            rope_base,
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
        let slower = |i: usize| self.slower.get(i).copied().map_or(1.0, f64::from);
        let turn = |i: usize| f64::from(self.rope_base).powf(-2.0 * i as f64 / self.head_dim as f64) / slower(i);
        let turns: Vec<f64> = (0..half).map(turn).collect();
        // In double precision: at position 30,000 a float's angle is off by a thousandth of a turn.
        let angles = (0..positions).flat_map(|p| turns.iter().map(move |t| p as f64 * t));
        angles.map(|angle| (angle.cos() as f32, angle.sin() as f32)).unzip()
    }
}

/// What scaled RoPE divides turns by. GGUF files have the divisors of Llama 3 as a tensor, the hub's files have what they are
/// made of.
fn slower(file: &Checkpoint, arch: &str, dim: usize, base: f32) -> Result<Vec<f32>, EngineError> {
    const TENSOR: &str = "rope_freqs.weight";
    let half = dim / 2;
    let number = |key: &str| {
        let number = file.float(&format!("{arch}.rope.scaling.{key}")).filter(|x| (1.0..1e6).contains(x));
        number.ok_or_else(|| file.refuse(format_args!("scaled RoPE has no {key} that makes sense")))
    };
    let divisors = match file.text(&format!("{arch}.rope.scaling.type")).unwrap_or("none") {
        "none" if file.has_tensor(TENSOR) => file.vector(TENSOR, half)?,
        "none" => Vec::new(),
        "linear" => vec![number("factor")?; half],
        "llama3" => {
            let trained = file.required(&format!("{arch}.rope.scaling.original_context_length"))?;
            let llama3 = Llama3 {
                factor: number("factor")?.into(),
                low: number("low_freq_factor")?.into(),
                high: number("high_freq_factor")?.into(),
                trained: trained.into(),
            };
            if llama3.low >= llama3.high {
                return Err(file.refuse("scaled RoPE between factors of which the low one isn't lower"));
            }
            (0..half).map(|i| llama3.divisor(f64::from(base).powf(2.0 * i as f64 / dim as f64) * TAU)).collect()
        }
        other => return Err(file.refuse(format_args!("scaled RoPE of the type {other:?} is not supported"))),
    };
    match divisors.iter().all(|x| x.is_finite() && *x > 0.0) {
        true => Ok(divisors),
        false => Err(file.refuse("scaled RoPE divides by what is no number")),
    }
}

/// How Llama 3.1 stretches its context: waves that are long beside the context it was trained with are slowed down by the
/// factor, short ones not at all, those between by something between.
struct Llama3 {
    factor: f64,
    low: f64,
    high: f64,
    trained: f64,
}

impl Llama3 {
    fn divisor(&self, wave: f64) -> f32 {
        // How many of them the trained context has: `low` or less is long, `high` or more is short.
        let waves = self.trained / wave;
        let short = ((waves - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        ((1.0 - short) / self.factor + short).recip() as f32
    }
}
