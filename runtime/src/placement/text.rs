//! Resources as people write them: `cpu=2, memory=4 GiB, gpu=1x24 GiB, label zone=a`.
//!
//! | part | of a node | of a request |
//! | --- | --- | --- |
//! | `cpu=0.5`, `memory=4 GiB` | what it has | what it needs |
//! | `gpu GPU-1=24 GiB` | that GPU | |
//! | `gpu=2x24 GiB`, `gpu=2` | | so many GPUs for itself, each with at least that memory |
//! | `gpu=share 8 GiB` | | so much of one GPU |
//! | `gpu=id GPU-1`, `gpu=id GPU-1 share 8 GiB` | | that GPU, or so much of it |
//! | `custom slots=2` | so many | so many |
//! | `label zone=a` | the label | the condition; also `zone!=b`, `zone in (a,b)`, `zone`, `!spot` |
//!
//! Sizes are in B, KiB to TiB or kB to TB; what is displayed is exact and reads back as the same.
//! `{:#}` of a node counts its GPUs instead of naming them, for people only.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use super::{Amounts, GpuRequest, PlacementError, Request, Resources, Selector};

const NAME_RULE: &str = "a name is 1 to 128 of A-Z a-z 0-9 . _ - /";
const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

type Parsed<T> = Result<T, PlacementError>;

pub(super) fn check_name(name: &str) -> Parsed<()> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-/".contains(&b);
    if (1..=128).contains(&name.len()) && name.bytes().all(allowed) {
        Ok(())
    } else {
        Err(PlacementError::Invalid { what: format!("{name:?}"), rule: NAME_RULE })
    }
}

impl FromStr for Resources {
    type Err = PlacementError;

    fn from_str(text: &str) -> Parsed<Self> {
        let mut node = Self::default();
        let mut seen = BTreeSet::new();
        for part in parts(text)? {
            match word_of(part) {
                ("cpu", rest) => node.amounts.cpu_milli = milli(value(part, rest)?)?,
                ("memory", rest) => node.amounts.memory_bytes = bytes(value(part, rest)?)?,
                ("gpu", rest) if rest.starts_with('=') => {
                    return Err(syntax(part, "a node's GPUs are named: gpu <uuid>=24 GiB"));
                }
                ("gpu", rest) => named(&mut node.amounts.gpus, part, rest, bytes)?,
                ("custom", rest) => named(&mut node.amounts.custom, part, rest, milli)?,
                ("label", rest) => named(&mut node.labels, part, rest, |v| name(part, v))?,
                _ => return Err(syntax(part, "a part is cpu=, memory=, gpu, custom or label")),
            }
            once(&mut seen, part)?;
        }
        node.check()?;
        Ok(node)
    }
}

impl FromStr for Request {
    type Err = PlacementError;

    fn from_str(text: &str) -> Parsed<Self> {
        let mut request = Self::default();
        let mut seen = BTreeSet::new();
        for part in parts(text)? {
            match word_of(part) {
                ("cpu", rest) => request.cpu_milli = milli(value(part, rest)?)?,
                ("memory", rest) => request.memory_bytes = bytes(value(part, rest)?)?,
                ("gpu", rest) => request.gpu = value(part, rest)?.parse()?,
                ("custom", rest) => named(&mut request.custom, part, rest, milli)?,
                ("label", rest) if !request.labels.insert(rest.parse()?) => {
                    return Err(syntax(part, "is given twice"));
                }
                ("label", _) => continue,
                _ => return Err(syntax(part, "a part is cpu=, memory=, gpu=, custom or label")),
            }
            once(&mut seen, part)?;
        }
        request.check()?;
        Ok(request)
    }
}

impl FromStr for GpuRequest {
    type Err = PlacementError;

    fn from_str(text: &str) -> Parsed<Self> {
        if let Some(share) = text.strip_prefix("share ") {
            return Ok(Self::Share { memory_bytes: bytes(share)? });
        }
        if let Some(rest) = text.strip_prefix("id ") {
            let (uuid, share) = match rest.trim().split_once(" share ") {
                Some((uuid, share)) => (uuid.trim(), Some(bytes(share)?)),
                None => (rest.trim(), None),
            };
            return Ok(Self::Named { uuid: name(text, uuid)?, share_bytes: share });
        }
        let (count, memory_bytes) = match text.split_once('x') {
            Some((count, memory)) => (count, bytes(memory)?),
            None => (text, 0),
        };
        let count = count.trim().parse().map_err(|_| syntax(text, "a GPU is 1x24 GiB, share 8 GiB or id <uuid>"))?;
        Ok(Self::Whole { count, memory_bytes })
    }
}

impl FromStr for Selector {
    type Err = PlacementError;

    fn from_str(text: &str) -> Parsed<Self> {
        let text = text.trim();
        let key = |key: &str| name(text, key.trim());
        if let Some(missing) = text.strip_prefix('!') {
            return Ok(Self::Missing { key: key(missing)? });
        }
        if let Some((left, right)) = text.split_once("!=") {
            return Ok(Self::IsNot { key: key(left)?, value: key(right)? });
        }
        if let Some((left, right)) = text.split_once(" in ") {
            let inner = right.trim().strip_prefix('(').and_then(|r| r.strip_suffix(')'));
            let inner = inner.ok_or_else(|| syntax(text, "the values of `in` stand in ( )"))?;
            let values = inner.split(',').map(key).collect::<Parsed<BTreeSet<_>>>()?;
            return Ok(Self::In { key: key(left)?, values });
        }
        match text.split_once('=') {
            Some((left, right)) => Ok(Self::Is { key: key(left)?, value: key(right)? }),
            None => Ok(Self::Exists { key: key(text)? }),
        }
    }
}

/// The parts between commas, except commas in parentheses.
fn parts(text: &str) -> Parsed<Vec<&str>> {
    let mut inside = false;
    let between = |c: char| {
        inside = (inside || c == '(') && c != ')';
        c == ',' && !inside
    };
    let text = text.trim();
    if text.is_empty() || text == "nothing" {
        return Ok(Vec::new());
    }
    let parts: Vec<&str> = text.split(between).map(str::trim).collect();
    if parts.contains(&"") { Err(syntax(text, "there is nothing between two commas")) } else { Ok(parts) }
}

/// The first word of a part and what follows, without the blanks between.
fn word_of(part: &str) -> (&str, &str) {
    let end = part.find([' ', '=']).unwrap_or(part.len());
    let (word, rest) = part.split_at(end);
    (word, rest.trim_start())
}

fn value<'a>(part: &str, rest: &'a str) -> Parsed<&'a str> {
    rest.strip_prefix('=').map(str::trim).ok_or_else(|| syntax(part, "a value follows after ="))
}

fn named<T>(into: &mut BTreeMap<String, T>, part: &str, rest: &str, read: impl Fn(&str) -> Parsed<T>) -> Parsed<()> {
    let (key, value) = rest.split_once('=').ok_or_else(|| syntax(part, "a name, = and a value are wanted"))?;
    match into.insert(name(part, key.trim())?, read(value.trim())?) {
        Some(_) => Err(syntax(part, "is given twice")),
        None => Ok(()),
    }
}

fn name(part: &str, text: &str) -> Parsed<String> {
    check_name(text).map_err(|_| syntax(part, NAME_RULE))?;
    Ok(text.to_owned())
}

/// What stands before the `=` may stand there once.
fn once<'a>(seen: &mut BTreeSet<&'a str>, part: &'a str) -> Parsed<()> {
    let key = part.split('=').next().unwrap_or(part).trim_end();
    if seen.insert(key) { Ok(()) } else { Err(syntax(part, "is given twice")) }
}

fn milli(text: &str) -> Parsed<u64> {
    match fixed(text, 1000) {
        Some((n, true)) => Ok(n),
        _ => Err(syntax(text, "a number with at most three places is wanted, as 0.5")),
    }
}

fn bytes(text: &str) -> Parsed<u64> {
    let text = text.trim();
    let (number, unit) = UNITS.iter().find_map(|(name, n)| Some((text.strip_suffix(name)?, *n))).unwrap_or((text, 1));
    // A part of a byte is cut off: 0.1 GiB is fine.
    fixed(number.trim(), unit).map(|(n, _)| n).ok_or_else(|| syntax(text, "a size is wanted, as 4 GiB"))
}

/// A decimal number in units of `1 / scale`, and whether nothing was cut off.
fn fixed(text: &str, scale: u64) -> Option<(u64, bool)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |t: &str, most: usize| (1..=most).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole, 20) || !digits(fraction, 9) {
        return None;
    }
    let ten = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let part = fraction.parse::<u128>().ok()? * u128::from(scale);
    let all = whole.parse::<u128>().ok()?.checked_mul(u128::from(scale))?.checked_add(part / ten)?;
    Some((u64::try_from(all).ok()?, part % ten == 0))
}

pub(super) fn syntax(part: &str, rule: &str) -> PlacementError {
    PlacementError::Syntax { part: part.to_owned(), rule: rule.to_owned() }
}

pub(super) fn milli_text(n: u64) -> String {
    let text = format!("{}.{:03}", n / 1000, n % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// In the largest unit that loses nothing.
fn bytes_text(n: u64) -> String {
    let binary = UNITS.iter().filter(|(name, _)| name.ends_with("iB"));
    let unit = binary.into_iter().find(|(_, unit)| n > 0 && n.is_multiple_of(*unit)).unwrap_or(&("B", 1));
    format!("{} {}", n / unit.1, unit.0)
}

fn write_parts(f: &mut fmt::Formatter<'_>, parts: &[String]) -> fmt::Result {
    if parts.is_empty() { f.write_str("nothing") } else { f.write_str(&parts.join(", ")) }
}

fn cpu_and_memory(cpu_milli: u64, memory_bytes: u64) -> Vec<String> {
    let cpu = (cpu_milli > 0).then(|| format!("cpu={}", milli_text(cpu_milli)));
    let memory = (memory_bytes > 0).then(|| format!("memory={}", bytes_text(memory_bytes)));
    cpu.into_iter().chain(memory).collect()
}

fn amount_parts(amounts: &Amounts, short: bool) -> Vec<String> {
    let mut parts = cpu_and_memory(amounts.cpu_milli, amounts.memory_bytes);
    if short {
        let mut kinds: BTreeMap<u64, usize> = BTreeMap::new();
        amounts.gpus.values().for_each(|bytes| *kinds.entry(*bytes).or_default() += 1);
        parts.extend(kinds.iter().map(|(bytes, n)| format!("gpu={n}x{}", bytes_text(*bytes))));
    } else {
        parts.extend(amounts.gpus.iter().map(|(uuid, n)| format!("gpu {uuid}={}", bytes_text(*n))));
    }
    parts.extend(amounts.custom.iter().map(|(name, n)| format!("custom {name}={}", milli_text(*n))));
    parts
}

impl fmt::Display for Amounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_parts(f, &amount_parts(self, f.alternate()))
    }
}

impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = amount_parts(&self.amounts, f.alternate());
        parts.extend(self.labels.iter().map(|(key, value)| format!("label {key}={value}")));
        write_parts(f, &parts)
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = cpu_and_memory(self.cpu_milli, self.memory_bytes);
        if self.gpu != GpuRequest::None {
            parts.push(format!("gpu={}", self.gpu));
        }
        parts.extend(self.custom.iter().map(|(name, n)| format!("custom {name}={}", milli_text(*n))));
        parts.extend(self.labels.iter().map(|selector| format!("label {selector}")));
        write_parts(f, &parts)
    }
}

impl fmt::Display for GpuRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Whole { count, memory_bytes: 0 } => write!(f, "{count}"),
            Self::Whole { count, memory_bytes } => write!(f, "{count}x{}", bytes_text(*memory_bytes)),
            Self::Share { memory_bytes } => write!(f, "share {}", bytes_text(*memory_bytes)),
            Self::Named { uuid, share_bytes: None } => write!(f, "id {uuid}"),
            Self::Named { uuid, share_bytes: Some(n) } => write!(f, "id {uuid} share {}", bytes_text(*n)),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is { key, value } => write!(f, "{key}={value}"),
            Self::IsNot { key, value } => write!(f, "{key}!={value}"),
            Self::In { key, values } => {
                let values: Vec<&str> = values.iter().map(String::as_str).collect();
                write!(f, "{key} in ({})", values.join(","))
            }
            Self::Exists { key } => f.write_str(key),
            Self::Missing { key } => write!(f, "!{key}"),
        }
    }
}
