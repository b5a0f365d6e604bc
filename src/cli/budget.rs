//! `--budget tokens=…,minutes=…,proposals=…`: what a story may use.

use fleet_actors::StoryLimits;

const KEYS: &str = "tokens, minutes, proposals";

/// Reads a budget. Figures may have a unit: `200k`, `1.5m`.
pub fn parse(text: &str) -> Result<StoryLimits, String> {
    let mut limits = StoryLimits::default();
    for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let (key, value) =
            part.split_once('=').ok_or_else(|| format!("`{part}` is not KEY=FIGURE, with KEY of {KEYS}"))?;
        let figure =
            figure(value).ok_or_else(|| format!("`{value}` of {key} is no figure above 0, like 120000 or 120k"))?;
        let twice = match key.trim() {
            "tokens" => limits.max_tokens.replace(figure).is_some(),
            "minutes" => limits.minutes.replace(figure).is_some(),
            "proposals" => {
                let few = u32::try_from(figure).map_err(|_| format!("{figure} proposals are too many"))?;
                limits.proposals.replace(few).is_some()
            }
            other => return Err(format!("there is no budget of `{other}`; there are {KEYS}")),
        };
        if twice {
            return Err(format!("{key} is given twice"));
        }
    }
    if limits == StoryLimits::default() {
        return Err(format!("an empty budget; give some of {KEYS}, as in tokens=200k,minutes=30"));
    }
    Ok(limits)
}

/// A whole number above 0, in thousands or millions where it says so.
fn figure(text: &str) -> Option<u64> {
    let text = text.trim().to_lowercase();
    let (digits, unit) = match text.strip_suffix(['k', 'm']) {
        Some(digits) if text.ends_with('k') => (digits, 1000.0),
        Some(digits) => (digits, 1_000_000.0),
        None => (text.as_str(), 1.0),
    };
    let value = digits.parse::<f64>().ok()? * unit;
    let whole = value.fract() == 0.0 && (1.0..=1e15).contains(&value);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole, and in range")]
    whole.then_some(value as u64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_budget_bounds_tokens_time_and_tries() {
        let limits = parse("tokens=200k, minutes=30,proposals=12").unwrap();
        assert_eq!((limits.max_tokens, limits.minutes, limits.proposals), (Some(200_000), Some(30), Some(12)));
        assert_eq!(parse("tokens=1.5m").unwrap().max_tokens, Some(1_500_000));
    }

    #[test]
    fn what_is_no_budget_is_named() {
        for (text, said) in [
            ("", "empty"),
            ("tokens", "KEY=FIGURE"),
            ("tokens=0", "no figure"),
            ("tokens=1.5", "no figure"),
            ("tokens=many", "no figure"),
            ("dollars=5", "there are tokens"),
            ("tokens=1,tokens=2", "twice"),
            ("proposals=9999999999", "too many"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
