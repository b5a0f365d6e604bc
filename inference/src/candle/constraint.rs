//! Constrained decoding: which tokens a grammar allows next.
//!
//! The grammar engine is llguidance. Building its view of a vocabulary takes most of a second with a large one, so it
//! is made when the first constraint comes.

use std::sync::Arc;

use llguidance::api::TopLevelGrammar;
use llguidance::{Matcher, ParserFactory};
use toktrie::{TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv};

use super::tokenizer::ModelTokenizer;
use crate::schema::held;
use crate::{Constraint, EngineError};

/// Makes the constraints of requests for one model.
pub(super) struct Constraints(ParserFactory);

impl Constraints {
    pub(super) fn new(tokenizer: &Arc<ModelTokenizer>) -> Result<Self, EngineError> {
        let end = tokenizer.ends().first().copied().unwrap_or_default();
        let info = TokRxInfo::new(tokenizer.vocabulary() as u32, end);
        let trie = TokTrie::from(&info, &tokenizer.trie_words()).with_eos_tokens(tokenizer.ends());
        let env: TokEnv = Arc::new(Words { trie, tokenizer: Arc::clone(tokenizer) });
        let factory = ParserFactory::new_simple(&env);
        let mut factory = factory.map_err(|e| EngineError::Failed(format!("constraints: {e}")))?;
        factory.quiet();
        Ok(Self(factory))
    }

    /// The state of one request's constraint; `None` if it has none.
    pub(super) fn start(&self, constraint: &Constraint) -> Result<Option<ActiveConstraint>, EngineError> {
        let Some(grammar) = grammar(constraint)? else { return Ok(None) };
        let matcher = Matcher::new(self.0.create_parser(grammar));
        match matcher.get_error() {
            None => Ok(Some(ActiveConstraint(matcher))),
            Some(error) => Err(EngineError::Constraint(first_line(&error))),
        }
    }
}

/// The model's words. With its own tokenizer, texts that can only go on in one way are known token by token.
struct Words {
    trie: TokTrie,
    tokenizer: Arc<ModelTokenizer>,
}

impl TokenizerEnv for Words {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        let text = std::str::from_utf8(bytes).ok().and_then(|text| self.tokenizer.encode(text).ok());
        // Part of a character is no text.
        text.unwrap_or_else(|| self.trie.greedy_tokenize(bytes))
    }
}

fn grammar(constraint: &Constraint) -> Result<Option<TopLevelGrammar>, EngineError> {
    Ok(Some(match constraint {
        Constraint::None => return Ok(None),
        Constraint::JsonSchema(text) => TopLevelGrammar::from_json_schema(held(text)?),
        Constraint::Regex(regex) => TopLevelGrammar::from_regex(regex),
        Constraint::Lark(text) => TopLevelGrammar::from_lark(text.clone()),
        Constraint::Choice(choices) if choices.iter().any(|c| !c.is_empty()) => {
            // A JSON string is a string of the grammar, too.
            let literals = choices.iter().filter(|c| !c.is_empty());
            let literals: Vec<String> = literals.map(|c| serde_json::Value::from(c.as_str()).to_string()).collect();
            TopLevelGrammar::from_lark(format!("start: {}", literals.join(" | ")))
        }
        Constraint::Choice(_) => return Err(EngineError::Constraint("there is nothing to choose from".into())),
    }))
}

/// The constraint of one request: what was decoded so far, and what may follow.
pub(super) struct ActiveConstraint(Matcher);

impl ActiveConstraint {
    /// Takes out of the question what may not come next.
    pub(super) fn mask(&mut self, logits: &mut [f32]) -> Result<(), EngineError> {
        let mask = self.0.compute_mask_or_eos().map_err(|e| EngineError::Constraint(first_line(&e.to_string())))?;
        let words = mask.as_slice().iter().copied().chain(std::iter::repeat(0));
        // Thirty-two tokens at a time: most words of a mask are all or nothing.
        for (word, logits) in words.zip(logits.chunks_mut(32)) {
            match word {
                0 => logits.fill(f32::NEG_INFINITY),
                u32::MAX => {}
                word => {
                    let out = logits.iter_mut().enumerate().filter(|(bit, _)| word >> bit & 1 == 0);
                    out.for_each(|(_, logit)| *logit = f32::NEG_INFINITY);
                }
            }
        }
        Ok(())
    }

    /// The tokens that have to follow, whatever the model says.
    pub(super) fn forced(&mut self) -> Vec<u32> {
        self.0.compute_ff_tokens()
    }

    /// Takes in the token that came. True: the text is complete and nothing can follow.
    pub(super) fn accept(&mut self, token: u32) -> Result<bool, EngineError> {
        let accepted = self.0.consume_token(token);
        accepted.map_err(|e| EngineError::Constraint(first_line(&e.to_string())))?;
        Ok(self.0.is_stopped())
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}
