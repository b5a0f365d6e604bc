//! Numbers that look random and are the same each time: the same inputs must give the same bytes.

/// SplitMix64 (Steele, Lea, Flood, 2014): small, and far better than what is drawn here needs.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Dice that hang on these words and on nothing else.
    pub fn of(words: &[&str]) -> Self {
        let mut hasher = blake3::Hasher::new();
        for word in words {
            hasher.update(&(word.len() as u64).to_le_bytes());
            hasher.update(word.as_bytes());
        }
        let mut first = [0; 8];
        first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        Self(u64::from_le_bytes(first))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, 0 for 0. What its being biased by 2^-64 of the bound could change isn't seen here.
    pub fn below(&mut self, bound: usize) -> usize {
        let wide = u128::from(self.next()) * bound as u128;
        usize::try_from(wide >> 64).unwrap_or_default()
    }

    /// Brings the first `n` into a random order, drawn from all: what follows them is left anyhow.
    pub fn draw<T>(&mut self, of: &mut [T], n: usize) {
        for at in 0..n.min(of.len()) {
            let with = at + self.below(of.len() - at);
            of.swap(at, with);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_words_give_the_same_numbers_and_others_give_others() {
        let numbers = |words: &[&str]| {
            let mut dice = Dice::of(words);
            (0..8).map(|_| dice.below(1000)).collect::<Vec<_>>()
        };
        assert_eq!(numbers(&["a", "b"]), numbers(&["a", "b"]));
        assert_ne!(numbers(&["a", "b"]), numbers(&["ab", ""]));
    }

    #[test]
    fn every_order_comes_about_equally_often() {
        let mut dice = Dice::of(&["orders"]);
        let mut seen = std::collections::BTreeMap::<Vec<u8>, u32>::new();
        for _ in 0..6000 {
            let mut cards = vec![0, 1, 2];
            dice.draw(&mut cards, 3);
            *seen.entry(cards).or_default() += 1;
        }
        assert_eq!(seen.len(), 6);
        assert!(seen.values().all(|n| (880..1120).contains(n)), "{seen:?}");
    }
}
