//! The memory actor: folds the journal and answers requests for context bundles.
//!
//! It decides nothing itself: the projection folds, `pack` packs. Before a request is answered, the
//! stream is read on from the last folded event, so an answer contains every event that was
//! acknowledged before the question was asked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fleet_runtime::actor::{Actor, ActorError, Context, Message, Ref, ReplyTo};
use fleet_runtime::{Journal, Position, Redactor, Seq, StreamId};
use wincode::{SchemaRead, SchemaWrite};

use crate::bundle::scope::ScopeTable;
use crate::bundle::{BundleRequest, ContextBundle, Material, pack};
use crate::error::MemoryError;
use crate::projection::Projection;

/// How memory behaves.
#[derive(Debug, Clone)]
pub struct MemoryOptions {
    /// Streams whose projection is kept in memory; the one used longest ago gives way and is
    /// rebuilt when asked for. Raise it where more jobs than this run at once. Default 64.
    pub streams: usize,
    /// Events read from the journal at a time. Default 512.
    pub page: usize,
    /// Which role sees what in which phase.
    pub scopes: ScopeTable,
}

impl Default for MemoryOptions {
    fn default() -> Self {
        Self { streams: 64, page: 512, scopes: ScopeTable::default() }
    }
}

/// What the actor is started with.
#[derive(Clone)]
pub struct MemoryArgs {
    pub journal: Arc<dyn Journal>,
    /// Redacts the materials of a request; facts come redacted from the journal.
    pub redactor: Arc<dyn Redactor>,
    pub options: MemoryOptions,
}

/// What the actor is asked.
#[derive(SchemaWrite, SchemaRead)]
pub enum MemoryMessage {
    /// A context bundle, up to a position of the journal or up to now.
    Bundle { request: BundleRequest, up_to: Option<Position>, reply: ReplyTo<Result<ContextBundle, String>> },
}

impl Message for MemoryMessage {
    const KIND: &'static str = "memory";
}

/// Answers requests for context bundles from projections of the journal.
pub struct MemoryActor {
    args: MemoryArgs,
    projections: BTreeMap<StreamId, Kept>,
    /// Counts requests; tells which projection was used longest ago.
    clock: u64,
}

struct Kept {
    projection: Projection,
    used: u64,
}

impl Actor for MemoryActor {
    type Msg = MemoryMessage;
    type Args = MemoryArgs;

    async fn start(args: MemoryArgs, _ctx: &Context<MemoryMessage>) -> Result<Self, ActorError> {
        Ok(Self { args, projections: BTreeMap::new(), clock: 0 })
    }

    async fn handle(&mut self, message: MemoryMessage, _ctx: &Context<MemoryMessage>) -> Result<(), ActorError> {
        let MemoryMessage::Bundle { request, up_to, reply } = message;
        if reply.is_wanted() {
            reply.send(self.bundle(request, up_to).await);
        }
        Ok(())
    }
}

impl MemoryActor {
    async fn bundle(&mut self, mut request: BundleRequest, up_to: Option<Position>) -> Result<ContextBundle, String> {
        let materials = std::mem::take(&mut request.materials);
        request.materials = materials.into_iter().map(|m| self.redacted(&request, m)).collect();
        if let Some(up_to) = up_to {
            // The past is asked for seldom (a report, an audit): folded for this answer only.
            let mut projection = Projection::default();
            self.read_on(&request.stream, &mut projection, Some(up_to)).await?;
            return Ok(pack(&projection, &self.args.options.scopes, &request));
        }
        let mut projection = self.projections.remove(&request.stream).map(|kept| kept.projection).unwrap_or_default();
        self.read_on(&request.stream, &mut projection, None).await?;
        let bundle = pack(&projection, &self.args.options.scopes, &request);
        self.keep(request.stream, projection);
        Ok(bundle)
    }

    fn redacted(&self, request: &BundleRequest, material: Material) -> Material {
        let redact = |text: &str| self.args.redactor.redact(&request.project, text).into_owned();
        Material { title: redact(&material.title), body: redact(&material.body), ..material }
    }

    /// Folds what the stream holds beyond the projection.
    async fn read_on(
        &self,
        stream: &StreamId,
        projection: &mut Projection,
        up_to: Option<Position>,
    ) -> Result<(), String> {
        let page = self.args.options.page.max(1);
        loop {
            let from = projection.last_seq().map_or(Seq(1), Seq::next);
            let events = self.args.journal.read_stream(stream, from, page).await.map_err(|error| error.to_string())?;
            let last_page = events.len() < page;
            let within = |position: Position| up_to.is_none_or(|up_to| position <= up_to);
            let beyond = events.iter().any(|event| !within(event.position));
            events.iter().filter(|event| within(event.position)).for_each(|event| projection.apply(event));
            if last_page || beyond {
                return Ok(());
            }
        }
    }

    fn keep(&mut self, stream: StreamId, projection: Projection) {
        self.clock += 1;
        self.projections.insert(stream, Kept { projection, used: self.clock });
        if self.projections.len() > self.args.options.streams.max(1) {
            let oldest = self.projections.iter().min_by_key(|(_, kept)| kept.used).map(|(stream, _)| stream.clone());
            oldest.and_then(|stream| self.projections.remove(&stream));
        }
    }
}

/// The way to the memory actor.
#[derive(Debug, Clone)]
pub struct MemoryHandle(Ref<MemoryMessage>);

impl MemoryHandle {
    /// A handle on a started actor.
    #[must_use]
    pub fn new(actor: Ref<MemoryMessage>) -> Self {
        Self(actor)
    }

    /// The bundle as of now.
    pub async fn bundle(&self, request: BundleRequest, deadline: Duration) -> Result<ContextBundle, MemoryError> {
        self.ask(request, None, deadline).await
    }

    /// The bundle as it was at a position of the journal: same position and request, same bytes.
    pub async fn bundle_at(
        &self,
        request: BundleRequest,
        position: Position,
        deadline: Duration,
    ) -> Result<ContextBundle, MemoryError> {
        self.ask(request, Some(position), deadline).await
    }

    async fn ask(
        &self,
        request: BundleRequest,
        up_to: Option<Position>,
        deadline: Duration,
    ) -> Result<ContextBundle, MemoryError> {
        self.0
            .ask(deadline, |reply| MemoryMessage::Bundle { request, up_to, reply })
            .await
            .map_err(|error| MemoryError::Unanswered(error.to_string()))?
            .map_err(MemoryError::Journal)
    }
}
