//! How sure a figure is: a paired bootstrap over stories and seeds.
//!
//! A replicate draws as many stories as there are, with putting back, and of each drawn story as many of its seeds; all arms
//! are looked at on the same draw, so that what is hard for one is hard for the others in it as well. The interval reaches from
//! the 2.5th to the 97.5th percentile of the replicates. The dice hang on nothing but the number of stories and seeds.

use serde::{Deserialize, Serialize};

use super::dice::Dice;

/// Replicates. More changes the ends of an interval by less than a tenth of a percent point.
const REPLICATES: usize = 2000;

/// A figure with the interval that it lies in with 95 %.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    pub value: f64,
    /// None where too little was measured to say: fewer than two stories.
    pub interval: Option<(f64, f64)>,
}

/// Which stories and seeds are looked at: the index of a story, with the indices of its seeds.
pub type Pick = Vec<(usize, Vec<usize>)>;

/// The picks that a figure is computed on.
#[derive(Debug, Clone)]
pub struct Picks {
    all: Pick,
    drawn: Vec<Pick>,
}

impl Picks {
    /// Of stories with these numbers of seeds.
    pub fn of(seeds: &[usize]) -> Self {
        let all = seeds.iter().enumerate().map(|(story, n)| (story, (0..*n).collect())).collect();
        let mut dice = Dice::of(&["intervals"]);
        let mut draw = || -> Pick {
            let one = |dice: &mut Dice| {
                let story = dice.below(seeds.len());
                let n = seeds.get(story).copied().unwrap_or_default();
                (story, (0..n).map(|_| dice.below(n)).collect())
            };
            seeds.iter().map(|_| one(&mut dice)).collect()
        };
        let drawn = if seeds.len() < 2 { Vec::new() } else { (0..REPLICATES).map(|_| draw()).collect() };
        Self { all, drawn }
    }

    /// A figure of all stories with its interval; none where it can't be computed. A replicate that it can't be computed
    /// on is left out.
    pub fn estimate(&self, figure: impl Fn(&Pick) -> Option<f64>) -> Option<Estimate> {
        let value = figure(&self.all).filter(|value| value.is_finite())?;
        let mut drawn: Vec<f64> = self.drawn.iter().filter_map(&figure).filter(|value| value.is_finite()).collect();
        drawn.sort_by(f64::total_cmp);
        let interval = percentile(&drawn, 0.025).zip(percentile(&drawn, 0.975));
        let rounded = |value: f64| (value * 1e6).round() / 1e6;
        Some(Estimate { value: rounded(value), interval: interval.map(|(low, high)| (rounded(low), rounded(high))) })
    }
}

/// Of sorted values, by linear interpolation.
fn percentile(sorted: &[f64], part: f64) -> Option<f64> {
    let at = part * sorted.len().checked_sub(1)? as f64;
    let (low, high) = (sorted.get(at.floor() as usize)?, sorted.get(at.ceil() as usize)?);
    Some(low + (high - low) * at.fract())
}

/// The mean of what each story and seed has; none of nothing.
pub fn mean(pick: &Pick, each: impl Fn(usize, usize) -> Option<f64>) -> Option<f64> {
    let (mut sum, mut n) = (0.0, 0_u32);
    for (story, seeds) in pick {
        for value in seeds.iter().filter_map(|seed| each(*story, *seed)) {
            sum += value;
            n += 1;
        }
    }
    (n > 0).then(|| sum / f64::from(n))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_always_the_same_is_sure() {
        let sure = Picks::of(&[3, 3, 3]).estimate(|pick| mean(pick, |_, _| Some(0.25))).unwrap();
        assert_eq!(sure, Estimate { value: 0.25, interval: Some((0.25, 0.25)) });
    }

    #[test]
    fn of_one_story_nothing_can_be_said() {
        let one = Picks::of(&[3]).estimate(|pick| mean(pick, |_, seed| Some(seed as f64))).unwrap();
        assert_eq!(one, Estimate { value: 1.0, interval: None });
        assert_eq!(Picks::of(&[]).estimate(|pick| mean(pick, |_, _| Some(1.0))), None);
    }

    #[test]
    fn the_interval_of_many_coins_is_the_one_that_theory_has() {
        // 100 stories with one seed, half of them right: a deviation of 0.05, so 0.402 to 0.598.
        let picks = Picks::of(&[1; 100]);
        let coins = picks.estimate(|pick| mean(pick, |story, _| Some((story % 2) as f64))).unwrap();
        let (low, high) = coins.interval.unwrap();
        assert!((low - 0.402).abs() < 0.012 && (high - 0.598).abs() < 0.012, "{coins:?}");
        assert_eq!(picks.estimate(|pick| mean(pick, |story, _| Some((story % 2) as f64))).unwrap(), coins);
    }

    #[test]
    fn a_difference_within_each_story_is_surer_than_the_arms_themselves() {
        let picks = Picks::of(&[2; 40]);
        let arm = |better: f64| move |story: usize, _| Some((story % 2) as f64 * 0.5 + better);
        let difference = picks.estimate(|pick| Some(mean(pick, arm(0.1))? - mean(pick, arm(0.0))?)).unwrap();
        let (low, high) = difference.interval.unwrap();
        assert!((difference.value - 0.1).abs() < 1e-6 && high - low < 1e-6, "{difference:?}");
        let (low, high) = picks.estimate(|pick| mean(pick, arm(0.1))).unwrap().interval.unwrap();
        assert!(high - low > 0.1);
    }

    #[test]
    fn seeds_of_a_story_are_drawn_within_it() {
        // Each story is sure of its own value; only which stories are drawn varies.
        let picks = Picks::of(&[3, 3]);
        let all = picks.estimate(|pick| mean(pick, |story, _| Some(story as f64))).unwrap();
        assert_eq!((all.value, all.interval), (0.5, Some((0.0, 1.0))));
    }

    #[test]
    fn what_cannot_be_computed_is_left_out() {
        let picks = Picks::of(&[1, 1, 1]);
        let only_first = picks.estimate(|pick| mean(pick, |story, _| (story == 0).then_some(0.75))).unwrap();
        assert_eq!(only_first, Estimate { value: 0.75, interval: Some((0.75, 0.75)) });
        assert_eq!(picks.estimate(|_| None), None);
        assert_eq!(picks.estimate(|_| Some(f64::NAN)), None);
    }
}
