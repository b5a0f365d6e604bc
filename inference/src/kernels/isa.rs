//! What the kernels ask of an instruction set: sixteen lanes of f32 and i32, and sixty-four bytes.

use std::sync::OnceLock;

use half::f16;

/// The instruction sets, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Plain,
    Avx2,
    Avx512,
}

impl Level {
    /// The best that this processor has. `FLEET_CPU=plain|avx2|avx512` lowers it, for tests and comparisons.
    pub(crate) fn best() -> Self {
        static BEST: OnceLock<Level> = OnceLock::new();
        *BEST.get_or_init(|| {
            let wanted = match std::env::var("FLEET_CPU").as_deref() {
                Ok("plain") => Self::Plain,
                Ok("avx2") => Self::Avx2,
                _ => Self::Avx512,
            };
            Self::found().min(wanted)
        })
    }

    /// All that this processor has.
    #[cfg(test)]
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        [Self::Plain, Self::Avx2, Self::Avx512].into_iter().filter(|level| *level <= Self::found())
    }

    fn found() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            let vnni = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vnni");
            let avx2 =
                is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
            match (avx2, vnni) {
                (true, true) => return Self::Avx512,
                (true, false) => return Self::Avx2,
                _ => {}
            }
        }
        Self::Plain
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512-vnni",
        }
    }
}

/// One instruction set.
///
/// # Safety
/// All of these may only be called on a processor that has it, in a function compiled for it (they are inlined into it);
/// pointers must be good for the lanes that are read or written, and need no alignment.
pub(super) trait Isa: Copy {
    /// Sixteen f32.
    type F: Copy;
    /// Sixteen i32.
    type I: Copy;
    /// Sixty-four bytes: four for each lane.
    type B: Copy;
    /// Rows that a product takes at a time: as many as there are registers for.
    const ROWS: usize;
    /// What [`Isa::dot_bytes`] is too large by, in units of the sum of the activations.
    const BYTES_OFFSET: f32;

    /// Asks for the memory there, which may be nobody's.
    unsafe fn fetch(p: *const u8);
    unsafe fn splat(x: f32) -> Self::F;
    unsafe fn load_half(p: *const f16) -> Self::F;
    unsafe fn store(p: *mut f32, x: Self::F);
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F;
    /// `a * b + c`.
    unsafe fn fma(a: Self::F, b: Self::F, c: Self::F) -> Self::F;

    unsafe fn bytes(p: *const u8) -> Self::B;
    /// The lower four bits of each byte, and the upper ones.
    unsafe fn nibbles(x: Self::B) -> (Self::B, Self::B);
    /// Sets `bit` in the bytes that the mask names.
    unsafe fn set(x: Self::B, mask: u64, bit: u8) -> Self::B;

    unsafe fn zero() -> Self::I;
    /// Adds to each lane the products of its four bytes (unsigned, below 64) with the four signed bytes of `word`.
    unsafe fn dot(sum: Self::I, x: Self::B, word: i32) -> Self::I;
    /// The same for bytes of any value, which stand for themselves less 128. Too large by `BYTES_OFFSET`.
    unsafe fn dot_bytes(sum: Self::I, x: Self::B, word: i32) -> Self::I;
    unsafe fn plus(a: Self::I, b: Self::I) -> Self::I;
    unsafe fn float(x: Self::I) -> Self::F;
}

/// Calls a generic function with the instruction set that `$level` names, in a function compiled for it. The generic
/// function has to be `#[inline(always)]`.
macro_rules! on {
    ($level:expr, $name:ident ($($arg:ident : $ty:ty),* $(,)?)) => {{
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
        #[allow(clippy::too_many_arguments)]
        unsafe fn avx512($($arg: $ty),*) {
            // SAFETY: the caller's; the instruction set is this function's.
            unsafe { $name::<crate::kernels::avx512::Avx512>($($arg),*) }
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma,f16c")]
        #[allow(clippy::too_many_arguments)]
        unsafe fn avx2($($arg: $ty),*) {
            // SAFETY: as above.
            unsafe { $name::<crate::kernels::avx2::Avx2>($($arg),*) }
        }
        match $level {
            #[cfg(target_arch = "x86_64")]
            crate::kernels::isa::Level::Avx512 => avx512($($arg),*),
            #[cfg(target_arch = "x86_64")]
            crate::kernels::isa::Level::Avx2 => avx2($($arg),*),
            _ => $name::<crate::kernels::plain::Plain>($($arg),*),
        }
    }};
}
pub(super) use on;
