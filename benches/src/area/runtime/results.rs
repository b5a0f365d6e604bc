//! What was answered, round by round.

use std::collections::BTreeMap;

use super::contender::{Field, Who};
use super::driver::quantile;
use super::question::Measure;

/// One value of an answer: whose, to what, which of its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Value(pub Who, pub Measure, pub usize);

/// The values of all rounds, and why some are missing.
#[derive(Default)]
pub struct Results {
    values: BTreeMap<Value, Vec<f64>>,
    names: BTreeMap<Who, String>,
    missing: BTreeMap<Who, String>,
    failed: BTreeMap<Measure, String>,
}

impl Results {
    pub fn add(&mut self, who: Who, measure: Measure, answer: Vec<f64>) {
        for (at, value) in answer.into_iter().enumerate() {
            self.values.entry(Value(who, measure, at)).or_default().push(value);
        }
    }

    /// Fleet gave no answer.
    pub fn fail(&mut self, measure: Measure, why: String) {
        self.failed.insert(measure, why);
    }

    /// What is known of the contenders at the end.
    pub fn close(&mut self, field: Field) {
        self.names.extend(field.names.iter().cloned());
        self.missing.extend(field.missing.iter().cloned());
    }

    pub fn name(&self, who: Who) -> &str {
        self.names.get(&who).map_or(who.name(), String::as_str)
    }

    /// Median over the rounds; the error says why there is none.
    pub fn median(&self, value: Value) -> Result<f64, String> {
        Ok(quantile(&mut self.rounds(value)?.to_vec(), 0.5))
    }

    /// Median over the rounds of the ratio within each: what slowed a whole round down doesn't matter.
    pub fn ratio(&self, over: Value, under: Value) -> Result<f64, String> {
        let (over, under) = (self.rounds(over)?, self.rounds(under)?);
        let mut ratios: Vec<f64> = over.iter().zip(under).map(|(over, under)| over / under).collect();
        Ok(quantile(&mut ratios, 0.5))
    }

    /// One who was lost on the way has no figures at all: it may have been ill before.
    fn rounds(&self, value: Value) -> Result<&[f64], String> {
        if let Some(why) = self.missing.get(&value.0) {
            return Err(format!("{}: {why}", self.name(value.0)));
        }
        if let (Who::Fleet, Some(why)) = (value.0, self.failed.get(&value.1)) {
            return Err(format!("Fleet: {why}"));
        }
        let rounds = self.values.get(&value).filter(|rounds| !rounds.is_empty());
        rounds.map(Vec::as_slice).ok_or_else(|| format!("{}: nobody asked", self.name(value.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLEET: Value = Value(Who::Fleet, Measure::Ask, 0);
    const RAY: Value = Value(Who::Ray, Measure::Ask, 0);

    #[test]
    fn a_ratio_is_taken_within_each_round() {
        let mut results = Results::default();
        for (fleet, ray) in [(1.0, 10.0), (5.0, 50.0), (2.0, 4.0)] {
            results.add(Who::Fleet, Measure::Ask, vec![fleet]);
            results.add(Who::Ray, Measure::Ask, vec![ray]);
        }
        assert_eq!(results.ratio(RAY, FLEET), Ok(10.0));
        assert_eq!(results.median(FLEET), Ok(2.0));
    }

    #[test]
    fn what_wasnt_measured_says_why() {
        let mut results = Results::default();
        results.add(Who::Fleet, Measure::Ask, vec![1.0]);
        results.add(Who::Ray, Measure::Ask, vec![1.0]);
        results.missing.insert(Who::Ray, "it ended".to_owned());
        assert_eq!(results.ratio(FLEET, RAY), Err("Ray: it ended".to_owned()));
    }
}
