//! What weights that come as they were trained are made into.

use candle_core::quantized::GgmlDType;
use serde::{Deserialize, Serialize};

/// How the matrices of a safetensors checkpoint are held. Norms and biases stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantise {
    /// As they are: f32, f16 or bf16.
    None,
    /// Eight bits and a scale for 32: as good as the original for all that can be measured.
    #[serde(rename = "q8_0")]
    Q8_0,
    /// Six bits: three quarters of the memory.
    Q6K,
    /// Four bits: half of the memory, and twice as fast where memory is the limit; replies are a little worse.
    Q4K,
}

impl Quantise {
    /// What rows of `k` weights become: the next format whose blocks they fill, or what they are.
    pub(super) fn of(self, k: usize, stored: GgmlDType) -> GgmlDType {
        let wanted = match self {
            Self::None => return stored,
            Self::Q8_0 => GgmlDType::Q8_0,
            Self::Q6K => GgmlDType::Q6K,
            Self::Q4K => GgmlDType::Q4K,
        };
        let fits = |kind: &GgmlDType| k.is_multiple_of(kind.block_size());
        [wanted, GgmlDType::Q8_0].into_iter().find(fits).unwrap_or(stored)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Q8_0 => "q8_0",
            Self::Q6K => "q6_k",
            Self::Q4K => "q4_k",
        }
    }
}
