//! Suspicion by what failing and passing tests execute.
//!
//! Ochiai's coefficient: failing tests that execute a function, over the root of all failing tests times all tests that execute
//! it. Source: R. Abreu, P. Zoeteweij, A. van Gemund, On the Accuracy of Spectrum-based Fault Localization, TAIC PART 2007.

use std::collections::BTreeMap;

use fleet_tools::spectrum::Trace;

/// Points of a function that all failing tests execute and no other one. A stack frame still outweighs it.
const MOST: f64 = 6.0;

/// Who executes what.
#[derive(Debug, Default)]
pub(super) struct Spectrum {
    /// By path: the first line of what was called, and how many failing and passing tests did.
    called: BTreeMap<String, Vec<(u32, u32, u32)>>,
    failing: u32,
    passing: u32,
}

/// How many tests execute one function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ran {
    pub(super) failing: u32,
    passing: u32,
    all_failing: u32,
    all_passing: u32,
}

impl Spectrum {
    pub(super) fn of_traces(traces: &[Trace], failing: &[String]) -> Self {
        let mut spectrum = Self::default();
        let mut counts: BTreeMap<(&str, u32), (u32, u32)> = BTreeMap::new();
        for trace in traces {
            let fails = failing.contains(&trace.test);
            *(if fails { &mut spectrum.failing } else { &mut spectrum.passing }) += 1;
            for (path, line) in &trace.at {
                let count = counts.entry((path, *line)).or_default();
                *(if fails { &mut count.0 } else { &mut count.1 }) += 1;
            }
        }
        for ((path, line), (fail, pass)) in counts {
            spectrum.called.entry(path.to_owned()).or_default().push((line, fail, pass));
        }
        spectrum
    }

    /// Of the function on these lines; none where the spectrum says nothing, because no failing test was traced.
    pub(super) fn of(&self, path: &str, first: u32, last: u32) -> Option<Ran> {
        if self.failing == 0 {
            return None;
        }
        // Only what begins at the function itself: functions inside it are called on their own. A decorator stands above.
        let at = self.called.get(path).into_iter().flatten().find(|(line, ..)| (first..=last).contains(line));
        let (failing, passing) = at.map_or((0, 0), |(_, fail, pass)| (*fail, *pass));
        Some(Ran { failing, passing, all_failing: self.failing, all_passing: self.passing })
    }
}

impl Ran {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and MOST")]
    pub(super) fn points(&self) -> Option<(u32, String)> {
        let together = f64::from(self.all_failing) * f64::from(self.failing + self.passing);
        if self.failing == 0 || together <= 0.0 {
            return None;
        }
        let ochiai = f64::from(self.failing) / together.sqrt();
        let Self { failing, passing, all_failing, all_passing } = self;
        let reason =
            format!("{failing} of {all_failing} failing and {passing} of {all_passing} passing tests execute it");
        Some(((ochiai * MOST).round() as u32, reason))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn trace(test: &str, at: &[(&str, u32)]) -> Trace {
        Trace { test: test.into(), at: at.iter().map(|(path, line)| ((*path).to_owned(), *line)).collect() }
    }

    #[test]
    fn what_only_the_failing_test_executes_is_the_most_suspected() {
        let traces =
            [trace("bad", &[("a.py", 1), ("a.py", 9)]), trace("good", &[("a.py", 1)]), trace("fine", &[("a.py", 1)])];
        let spectrum = Spectrum::of_traces(&traces, &["bad".to_owned()]);
        let points = |first, last| spectrum.of("a.py", first, last).unwrap().points();
        assert_eq!(points(9, 12).unwrap().0, 6);
        let (common, reason) = points(1, 4).unwrap();
        assert_eq!((common, reason.as_str()), (3, "1 of 1 failing and 2 of 2 passing tests execute it"));
        assert_eq!((points(20, 30), spectrum.of("a.py", 20, 30).unwrap().failing), (None, 0));
        // Where no failing test was traced, nothing is known.
        assert_eq!(Spectrum::of_traces(&traces, &["other".to_owned()]).of("a.py", 1, 4), None);
    }
}
