//! The way to all engines of a cluster that can answer a request: each request goes to the one that will have done it first
//! ([`core`]), and to another one where that has gone away before it said anything.
//!
//! A model is one and the same wherever it runs, so its engines are taken for equal: those of one model, or of one name.

mod core;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, join_all};
use futures::{Stream, stream};

use self::core::{Cost, Key, Outcome, Routes};
use crate::{
    Answer, ChatMessage, Completion, Embeddings, EngineError, EngineHandle, EngineInfo, EngineKind, EngineState,
    Pinned, Request, TokenEvent,
};

/// How long an engine may take to say what it is.
const WORD: Duration = Duration::from_secs(1);
/// How long what it said is taken to be so.
const FRESH: Duration = Duration::from_secs(5);

/// An engine of this node, or of another one of its cluster.
#[derive(Clone)]
pub struct Served {
    /// Its name in the configuration of the node that has it.
    pub name: String,
    /// The node.
    pub node: String,
    /// The way to it.
    pub handle: EngineHandle,
}

/// Gives the engines that can be reached at the moment: this node's own first, in the order of its configuration.
pub type Engines = Arc<dyn Fn() -> BoxFuture<'static, Vec<Served>> + Send + Sync>;

/// Exactly these, always.
pub fn only(engines: Vec<Served>) -> Engines {
    Arc::new(move || Box::pin(std::future::ready(engines.clone())))
}

/// Which engines will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Any that has this name; if there is none, any with this model.
    Called(String),
    /// Any with the model that the engine of this name has.
    LikeEngine(String),
}

/// Reaches the engines that will do. Cheap to clone; clones share what they know.
#[derive(Clone)]
pub struct EngineRouter {
    engines: Engines,
    wanted: Wanted,
    routes: Arc<Mutex<Routes>>,
    infos: Arc<Mutex<HashMap<Key, (Instant, EngineInfo)>>>,
}

/// An engine that has said what it is.
#[derive(Clone)]
pub struct KnownEngine {
    pub served: Served,
    pub info: EngineInfo,
}

impl EngineRouter {
    /// Over all of these.
    pub fn new(engines: Engines, wanted: Wanted) -> Self {
        Self { engines, wanted, routes: Arc::default(), infos: Arc::default() }
    }

    /// Over one engine.
    pub fn to(name: impl Into<String>, handle: EngineHandle) -> Self {
        let name = name.into();
        let served = Served { name: name.clone(), node: String::new(), handle };
        Self::new(only(vec![served]), Wanted::Called(name))
    }

    /// The same knowledge for other engines.
    pub fn wanting(&self, wanted: Wanted) -> Self {
        Self { wanted, ..self.clone() }
    }

    /// All engines, whether they answer or not.
    pub async fn served(&self) -> Vec<Served> {
        (self.engines)().await
    }

    /// All engines that answer, whether they are wanted or not.
    pub async fn all(&self) -> Vec<KnownEngine> {
        let served = (self.engines)().await;
        let keys: Vec<Key> = served.iter().map(key).collect();
        lock(&self.infos).retain(|key, _| keys.contains(key));
        lock(&self.routes).keep(&keys);
        let asked = served.into_iter().map(|served| async move {
            let info = self.info_of(&served).await?;
            Some(KnownEngine { served, info })
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    async fn info_of(&self, served: &Served) -> Option<EngineInfo> {
        let key = key(served);
        let known = lock(&self.infos).get(&key).cloned();
        // What is being loaded is about to change.
        if let Some((at, info)) = known
            && at.elapsed() < FRESH
            && info.state == EngineState::Ready
        {
            return Some(info);
        }
        let info = served.handle.info(WORD).await.ok()?;
        lock(&self.infos).insert(key, (Instant::now(), info.clone()));
        Some(info)
    }

    /// Those that will do, this node's own first.
    pub async fn candidates(&self) -> Vec<KnownEngine> {
        let all = self.all().await;
        let named = |name: &str| all.iter().filter(|one| one.info.name == name).cloned().collect::<Vec<_>>();
        let with = |model: &str| all.iter().filter(|one| one.info.model == model).cloned().collect::<Vec<_>>();
        match &self.wanted {
            Wanted::Called(name) => {
                let found = named(name);
                if found.is_empty() { with(name) } else { found }
            }
            Wanted::LikeEngine(name) => {
                let found = named(name);
                let model = found.first().map(|one| one.info.model.clone()).filter(|model| !model.is_empty());
                model.map_or(found, |model| with(&model))
            }
        }
    }

    /// What the first engine that will do is.
    pub async fn info(&self) -> Result<EngineInfo, EngineError> {
        self.candidates().await.into_iter().next().map(|one| one.info).ok_or(EngineError::Gone)
    }

    /// Asks for a whole reply; see [`EngineHandle::complete`]. A reply that was broken off begins anew elsewhere, and so
    /// does what `on_text` is told.
    pub async fn complete(
        &self,
        request: Request,
        deadline: Duration,
        mut on_text: impl FnMut(&str, u32) + Send,
    ) -> Result<Completion, EngineError> {
        let mut trying = Trying::new(self, cost(&request), deadline);
        while let Some((engine, ticket)) = trying.next().await {
            let asked = engine.served.handle.complete(request.clone(), trying.left(), &mut on_text).await;
            match asked {
                Ok(done) => {
                    ticket.end(Outcome::Done(done.usage));
                    return Ok(done);
                }
                Err(error) => trying.failed(&engine, ticket, error)?,
            }
        }
        Err(trying.why())
    }

    /// Asks for a reply as it comes; see [`EngineHandle::stream`]. Returns when it has begun.
    pub async fn stream(&self, request: Request, deadline: Duration) -> Result<RoutedAnswer, EngineError> {
        let mut trying = Trying::new(self, cost(&request), deadline);
        while let Some((engine, ticket)) = trying.next().await {
            let error = match engine.served.handle.stream(request.clone(), trying.left()).await {
                Err(error) => error,
                Ok(mut answer) => match answer.next().await {
                    Some(TokenEvent::Failed(error)) => error,
                    Some(event) => return Ok(RoutedAnswer { first: Some(event), answer, ticket: Some(ticket) }),
                    None => EngineError::Gone,
                },
            };
            trying.failed(&engine, ticket, error)?;
        }
        Err(trying.why())
    }

    /// Has a prefix kept (see [`EngineHandle::pin`]) by the engine that would do a request with it first. Requests that
    /// begin with it go there, too, unless others are done with them sooner.
    pub async fn pin(
        &self,
        project: &str,
        messages: &[ChatMessage],
        deadline: Duration,
    ) -> Result<Pinned, EngineError> {
        let like = Request { project: project.to_owned(), ..Request::new(messages.to_vec(), 0) };
        let mut trying = Trying::new(self, cost(&like), deadline);
        while let Some((engine, ticket)) = trying.next().await {
            match engine.served.handle.pin(project, messages.to_vec(), trying.left()).await {
                Ok(pinned) => {
                    ticket.end(Outcome::Other);
                    return Ok(pinned);
                }
                Err(error) => trying.failed(&engine, ticket, error)?,
            }
        }
        Err(trying.why())
    }

    /// Vectors for texts.
    pub async fn embed(&self, texts: Vec<String>, deadline: Duration) -> Result<Embeddings, EngineError> {
        let prompt = texts.iter().map(|text| tokens(text)).sum();
        let mut trying = Trying::new(self, Cost { prompt, ..Cost::default() }, deadline);
        while let Some((engine, ticket)) = trying.next().await {
            match engine.served.handle.embed(texts.clone(), trying.left()).await {
                Ok(made) => {
                    ticket.end(Outcome::Other);
                    return Ok(made);
                }
                Err(error) => trying.failed(&engine, ticket, error)?,
            }
        }
        Err(trying.why())
    }
}

/// A request on its way from engine to engine.
struct Trying<'a> {
    router: &'a EngineRouter,
    cost: Arc<Cost>,
    until: Instant,
    deadline: Duration,
    tried: Vec<Key>,
    /// Why the last one didn't do it.
    error: Option<EngineError>,
}

impl<'a> Trying<'a> {
    fn new(router: &'a EngineRouter, cost: Cost, deadline: Duration) -> Self {
        let until = Instant::now() + deadline;
        Self { router, cost: Arc::new(cost), until, deadline, tried: Vec::new(), error: None }
    }

    fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// The next engine to ask.
    async fn next(&mut self) -> Option<(KnownEngine, Ticket)> {
        if self.left().is_zero() {
            self.error = Some(EngineError::Deadline { after_ms: self.deadline.as_millis() as u64 });
            return None;
        }
        let mut there = self.router.candidates().await;
        there.retain(|one| !self.tried.contains(&key(&one.served)));
        // One that is loading may be waited for, one that has failed not; unless there is no other.
        let able = |one: &KnownEngine| !matches!(one.info.state, EngineState::Failed { .. });
        if there.iter().any(able) {
            there.retain(able);
        }
        let ready = |one: &KnownEngine| one.info.state == EngineState::Ready;
        if there.iter().any(ready) {
            there.retain(ready);
        }
        let keys: Vec<Key> = there.iter().map(|one| key(&one.served)).collect();
        let at = lock(&self.router.routes).pick(&self.cost, &keys, Instant::now())?;
        let ticket = Ticket {
            routes: Arc::clone(&self.router.routes),
            key: keys[at].clone(),
            cost: Arc::clone(&self.cost),
            ended: false,
        };
        self.tried.push(keys[at].clone());
        Some((there.swap_remove(at), ticket))
    }

    /// Ok if it may be tried elsewhere.
    fn failed(&mut self, engine: &KnownEngine, ticket: Ticket, error: EngineError) -> Result<(), EngineError> {
        let lost = matches!(error, EngineError::Gone | EngineError::Model(_));
        ticket.end(if lost { Outcome::Lost } else { Outcome::Other });
        // What was known of it is so no longer.
        if lost || error == EngineError::Draining {
            lock(&self.router.infos).remove(&key(&engine.served));
        }
        if !lost && !matches!(error, EngineError::Busy { .. } | EngineError::Draining | EngineError::Failed(_)) {
            return Err(error);
        }
        tracing::debug!(engine = engine.served.name, node = engine.served.node, %error, "not answered there");
        // That all are busy says more than that one is gone.
        if !matches!(self.error, Some(EngineError::Busy { .. })) {
            self.error = Some(error);
        }
        Ok(())
    }

    fn why(self) -> EngineError {
        self.error.unwrap_or(EngineError::Gone)
    }
}

/// A request that is counted as waiting at an engine until this is ended or dropped.
struct Ticket {
    routes: Arc<Mutex<Routes>>,
    key: Key,
    cost: Arc<Cost>,
    ended: bool,
}

impl Ticket {
    fn end(mut self, outcome: Outcome) {
        self.done(outcome);
    }

    fn done(&mut self, outcome: Outcome) {
        if !std::mem::replace(&mut self.ended, true) {
            lock(&self.routes).end(&self.key, &self.cost, outcome, Instant::now());
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.done(Outcome::Other);
    }
}

/// A reply that has begun, wherever its engine is. Dropped before its end, the request is cancelled.
pub struct RoutedAnswer {
    first: Option<TokenEvent>,
    answer: Answer,
    ticket: Option<Ticket>,
}

impl RoutedAnswer {
    /// The engine that answers.
    pub fn info(&self) -> &EngineInfo {
        self.answer.info()
    }

    /// The next event; none after the last one.
    pub async fn next(&mut self) -> Option<TokenEvent> {
        let event = match self.first.take() {
            Some(first) => Some(first),
            None => self.answer.next().await,
        };
        let outcome = match &event {
            Some(TokenEvent::Text { .. }) => return event,
            Some(TokenEvent::Done(usage)) => Outcome::Done(*usage),
            Some(TokenEvent::Failed(EngineError::Gone)) => Outcome::Lost,
            _ => Outcome::Other,
        };
        if let Some(ticket) = self.ticket.take() {
            ticket.end(outcome);
        }
        event
    }

    /// The same as a stream; after the last event it ends.
    pub fn into_stream(self) -> impl Stream<Item = TokenEvent> + Send {
        stream::unfold(self, |mut answer| async move { answer.next().await.map(|event| (event, answer)) })
    }
}

/// Engines that write text, in their order.
pub fn writers(engines: &[KnownEngine]) -> impl Iterator<Item = &KnownEngine> {
    engines.iter().filter(|one| one.info.kind != EngineKind::Embedding)
}

fn key(served: &Served) -> Key {
    Key { node: served.node.clone(), name: served.name.clone() }
}

/// About so many; each engine has a tokenizer of its own.
fn tokens(text: &str) -> u64 {
    text.len().div_ceil(4) as u64
}

fn cost(request: &Request) -> Cost {
    let mut hasher = DefaultHasher::new();
    request.project.hash(&mut hasher);
    let (mut prompt, mut prefixes) = (0, Vec::new());
    for message in &request.messages {
        message.role.as_str().hash(&mut hasher);
        message.content.hash(&mut hasher);
        prompt += tokens(&message.content) + 4;
        prefixes.push((hasher.finish(), prompt));
    }
    prompt += request.assistant_prefix.as_deref().map_or(0, tokens);
    Cost { prompt, reply: request.max_tokens.into(), prefixes }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these locks is whole at every moment.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
