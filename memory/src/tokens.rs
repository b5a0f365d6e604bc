//! Token counts without a tokenizer.
pub fn estimate_tokens(text: &str) -> u32 {
    u32::try_from(text.len() / 3).unwrap_or(u32::MAX)
}
