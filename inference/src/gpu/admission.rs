//! Whether an engine fits on a GPU, in bytes, before any of it is there: an allocation that fails half way leaves the others
//! of the process with nothing.

use crate::EngineError;

/// What the driver, cuBLAS and the rows of a step need beside weights, keys and values, of all the memory.
const SPARE: f64 = 0.1;

/// What a GPU has now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) free: u64,
    pub(crate) total: u64,
}

/// What an engine asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) weights: u64,
    /// Keys and values of one sequence of its context; without them it could answer nothing.
    pub(crate) sequence: u64,
    /// `kv_memory` of its configuration.
    pub(crate) kv: Option<u64>,
    /// Engines of this process that are to have this GPU, this one with them.
    pub(crate) sharers: u32,
}

/// The bytes for keys and values, or why the engine has no room. Without a wish of its own an engine gets what is free, or its equal
/// part of the GPU if there are others.
pub(crate) fn admit(memory: Memory, claim: Claim) -> Result<u64, EngineError> {
    let spare = (memory.total as f64 * SPARE) as u64;
    let usable = memory.free.saturating_sub(spare);
    let least = claim.kv.unwrap_or(0).max(claim.sequence);
    let needed = claim.weights.saturating_add(least);
    if needed > usable {
        return Err(EngineError::Model(format!(
            "it doesn't fit on the GPU: weights {} + keys and values {least} = {needed} bytes, but {usable} can be had ({} free of {}, {spare} kept back): take a smaller model, a smaller context or less kv_memory",
            claim.weights, memory.free, memory.total
        )));
    }
    let part = memory.total.saturating_sub(spare) / u64::from(claim.sharers.max(1));
    let own = part.min(usable).saturating_sub(claim.weights);
    Ok(claim.kv.unwrap_or(own).max(claim.sequence))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GIB: u64 = 1 << 30;
    const EMPTY: Memory = Memory { free: 100 * GIB, total: 100 * GIB };

    fn claim(weights: u64, kv: Option<u64>, sharers: u32) -> Claim {
        Claim { weights, sequence: GIB, kv, sharers }
    }

    #[test]
    fn one_engine_gets_what_its_weights_leave() {
        assert_eq!(admit(EMPTY, claim(10 * GIB, None, 1)).unwrap(), 80 * GIB);
    }

    #[test]
    fn several_engines_get_equal_parts_unless_they_say_what_they_want() {
        assert_eq!(admit(EMPTY, claim(10 * GIB, None, 2)).unwrap(), 35 * GIB);
        assert_eq!(admit(EMPTY, claim(10 * GIB, Some(4 * GIB), 2)).unwrap(), 4 * GIB);
    }

    #[test]
    fn what_does_not_fit_is_refused_with_the_numbers() {
        let full = Memory { free: 15 * GIB, total: 100 * GIB };
        let refused = admit(full, claim(4 * GIB, Some(2 * GIB), 1)).unwrap_err().to_string();
        for number in [4 * GIB, 2 * GIB, 6 * GIB, 5 * GIB, 15 * GIB, 100 * GIB] {
            assert!(refused.contains(&number.to_string()), "{number} isn't in: {refused}");
        }
        assert!(admit(full, claim(4 * GIB, None, 1)).is_ok());
    }

    proptest! {
        #[test]
        fn what_is_admitted_leaves_the_spare(
            total in 1..200_u64, used in 0..200_u64, weights in 0..200_u64,
            kv in proptest::option::of(0..200_u64), sharers in 0..5_u32,
        ) {
            let memory = Memory { free: total.saturating_sub(used) * GIB, total: total * GIB };
            let claim = Claim { weights: weights * GIB, sequence: GIB, kv: kv.map(|kv| kv * GIB), sharers };
            if let Ok(kv) = admit(memory, claim) {
                prop_assert!(kv >= claim.sequence && kv >= claim.kv.unwrap_or(0));
                prop_assert!(claim.weights + kv + (memory.total as f64 * SPARE) as u64 <= memory.free);
            }
        }
    }
}
