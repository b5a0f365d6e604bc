//! Is a match a secret? Entropy, shape and the words that examples are made of.
//!
//! The price of a false hit is high: an agent that sees a placeholder where a hash stood can't work
//! with it. So whatever looks like a git hash, a checksum or a uuid passes unless its name says
//! that it is a key.

use super::rules::Gate;

/// Bits per byte below which a provider's format is taken for an illustration (`ghp_xxxx…`).
const FORMAT_ENTROPY: f64 = 2.5;
/// Bits per byte that a value found by its name must have.
const RANDOM_ENTROPY: f64 = 3.0;
/// Share of neighbouring letters and digits that differ in class, below which text is words.
const MIXING: f64 = 0.22;
/// Share of capitals and digits after the first letter, from which on they are not the beginnings of words.
const CAPITALS: f64 = 0.25;

/// Words that stand for a secret in documentation.
const ILLUSTRATIONS: &[&str] = &[
    "example",
    "changeme",
    "change-me",
    "change_me",
    "placeholder",
    "your",
    "xxxx",
    "****",
    "....",
    "dummy",
    "redacted",
    "todo",
    "insert",
    "replace",
    "sample",
    "foobar",
    "00000000",
    "12345678",
    "abcdef",
    "hidden",
    "not-a-",
    "not_a_",
    "fake",
    "lorem",
];
/// What a password is called where there is none.
const NO_PASSWORDS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "pass",
    "pwd",
    "secret",
    "token",
    "none",
    "null",
    "nil",
    "true",
    "false",
    "string",
    "user",
    "username",
    "admin",
    "root",
    "test",
    "empty",
    "required",
    "optional",
    "disabled",
    "enabled",
    "hunter",
    "pw",
];
/// Beginnings of values that are references or paths, not secrets.
const REFERENCES: &[&str] =
    &["$", "{", "<", "%", "@", "/", "./", "../", "~/", "http://", "https://", "&", "#", "*", "|", ">"];

/// Whether this match counts. `key` is the name it is assigned to, where the rule knows one.
#[must_use]
pub fn passes(gate: Gate, key: Option<&str>, secret: &str) -> bool {
    match gate {
        Gate::Format => entropy(secret) >= FORMAT_ENTROPY && !secret.ends_with("EXAMPLE"),
        Gate::Random => !is_reference(secret) && !is_illustration(secret) && is_random(key, secret),
        Gate::Password => !is_reference(secret) && !is_illustration(secret) && is_password(secret),
    }
}

fn is_random(key: Option<&str>, secret: &str) -> bool {
    if is_digest(secret) && !key.is_some_and(names_a_key) {
        return false;
    }
    // A call, a path of a module or a type is code.
    if secret.contains("::") || secret.contains('(') || secret.contains("->") {
        return false;
    }
    let digits = secret.bytes().filter(u8::is_ascii_digit).count();
    let mixed = if digits >= 2 { mixing(secret) >= MIXING } else { capitals_at_random(secret) };
    mixed && entropy(secret) >= RANDOM_ENTROPY
}

/// A password may be weak; but it isn't a bare word, an expression or an interpolation.
fn is_password(secret: &str) -> bool {
    let lower = secret.to_ascii_lowercase();
    let word = lower.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    if NO_PASSWORDS.contains(&word) || secret.contains("${") || secret.contains("{}") || secret.contains("::") {
        return false;
    }
    let plain = secret.bytes().all(|b| b.is_ascii_alphabetic() || matches!(b, b'_' | b'-' | b'.'));
    (!plain || capitals_at_random(secret)) && entropy(secret) >= 1.5 && !secret.contains('(') && !is_digest(secret)
}

fn is_illustration(secret: &str) -> bool {
    let lower = secret.to_ascii_lowercase();
    ILLUSTRATIONS.iter().any(|word| lower.contains(word))
}

fn is_reference(secret: &str) -> bool {
    REFERENCES.iter().any(|start| secret.starts_with(start))
}

/// Whether the name leaves no doubt that a hexadecimal value is a key and not a checksum.
fn names_a_key(key: &str) -> bool {
    let name: String =
        key.bytes().filter(u8::is_ascii_alphanumeric).map(|b| char::from(b.to_ascii_lowercase())).collect();
    ["apikey", "secretkey", "secret", "accesskey", "accesstoken", "authtoken", "authkey"]
        .iter()
        .any(|end| name.ends_with(end))
}

/// Hashes and uuids: hexadecimal of a usual length, with or without `sha256:` before it.
fn is_digest(secret: &str) -> bool {
    let value = secret.rsplit_once([':', '=']).map_or(secret, |(_, value)| value);
    let hex = value.bytes().filter(|b| *b != b'-').all(|b| b.is_ascii_hexdigit());
    let length = value.bytes().filter(|b| *b != b'-').count();
    let prefixed_base64 = ["sha256-", "sha384-", "sha512-"].iter().any(|algorithm| secret.starts_with(algorithm));
    prefixed_base64 || (hex && matches!(length, 7..=16 | 20 | 24 | 32 | 40 | 48 | 56 | 64 | 96 | 128))
}

/// Shannon entropy in bits per byte.
#[must_use]
pub fn entropy(text: &str) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in text.bytes() {
        counts[usize::from(byte)] += 1;
    }
    let total = text.len() as f64;
    counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| f64::from(*count) / total)
        .map(|share| -share * share.log2())
        .sum()
}

/// Share of neighbours that differ in class (lower, upper, digit). Separators don't count, nor does
/// the capital that begins a word, so that `genericApiKey` is not taken for noise.
fn mixing(text: &str) -> f64 {
    let bytes: Vec<u8> = text.bytes().filter(u8::is_ascii_alphanumeric).collect();
    if bytes.len() < 2 {
        return 0.0;
    }
    let changes = bytes.windows(2).filter(|pair| changes_class(pair)).count();
    changes as f64 / (bytes.len() - 1) as f64
}

/// Whether capitals stand where no writer puts them. In words one in five letters or fewer begins
/// another word; among random letters every second one is a capital.
fn capitals_at_random(text: &str) -> bool {
    let bytes: Vec<u8> = text.bytes().filter(u8::is_ascii_alphanumeric).collect();
    let lower = bytes.iter().filter(|b| b.is_ascii_lowercase()).count();
    let capitals = bytes.windows(2).filter(|pair| pair.last().is_some_and(|b| !b.is_ascii_lowercase())).count();
    bytes.len() >= 10 && lower * 4 >= bytes.len() && capitals as f64 >= CAPITALS * bytes.len() as f64
}

fn changes_class(pair: &[u8]) -> bool {
    let [a, b] = pair else { return false };
    let begins_word = a.is_ascii_uppercase() && b.is_ascii_lowercase();
    class(*a) != class(*b) && !begins_word
}

fn class(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => 0,
        b'A'..=b'Z' => 1,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_text_mixes_classes_and_words_do_not() {
        assert!(mixing("q7Rk2Zp9Xv4Lm8Tn") > 0.5);
        assert!(mixing("generic_api_key_v2") < MIXING);
        assert!(mixing("GenericApiKeyForTests") < MIXING);
        assert!(mixing("") < f64::EPSILON);
        assert!(capitals_at_random("NMUEDojtfOjXdNQGPwCo"));
        assert!(!capitals_at_random("GenericApiKeyForTests") && !capitals_at_random("DATABASE_URL_KEY"));
    }

    #[test]
    fn hashes_and_uuids_are_not_secrets_unless_named_as_keys() {
        let uuid = "7d444840-9dc0-11d1-b245-5ffdce74fad2";
        let sha1 = "83baae61804e65cc73a7201a7252750c76066a30";
        for value in [uuid, sha1] {
            assert!(!passes(Gate::Random, Some("token"), value));
            assert!(!passes(Gate::Random, Some("commit"), value));
            assert!(passes(Gate::Random, Some("API_KEY"), value));
        }
    }

    #[test]
    fn references_and_illustrations_are_not_secrets() {
        for value in
            ["${DB_PASSWORD}", "{{ token_9x }}", "<your-token-1>", "your_api_key_42", "changeme123", "/run/secrets/p1"]
        {
            assert!(!passes(Gate::Password, None, value), "{value}");
            assert!(!passes(Gate::Random, None, value), "{value}");
        }
    }
}
