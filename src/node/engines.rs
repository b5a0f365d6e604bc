//! The node's engines: built at start, loaded while the node serves already.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use fleet_api::wire::Readiness;
use fleet_inference::models::ModelStore;
use fleet_inference::{
    Engine, EngineConfig, EngineInfo, EngineKind, EngineState, KeepsReplies, ReplyCache, build_engine,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::InferenceOptions;

/// How often a loading engine is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// How often one that is ready is.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Makes the configured engines; what is wrong with a configuration or missing is an error here.
pub(super) fn build(engines: &[EngineConfig], options: &InferenceOptions) -> anyhow::Result<Vec<Arc<dyn Engine>>> {
    let store = ModelStore::of_user()?;
    let replies = replies(options)?;
    let build = |config: &EngineConfig| -> anyhow::Result<Arc<dyn Engine>> {
        let engine = build_engine(config, options.allow_mock, &store)
            .with_context(|| format!("FLT-N006: engine {:?} can't be started", config.name))?;
        Ok(match &replies {
            Some(cache) => KeepsReplies::before(engine, config, cache),
            None => engine,
        })
    };
    engines.iter().map(build).collect()
}

/// The cache of replies, if one is configured.
fn replies(options: &InferenceOptions) -> anyhow::Result<Option<Arc<ReplyCache>>> {
    let Some(dir) = &options.reply_cache else { return Ok(None) };
    let cache = ReplyCache::open(dir, options.reply_cache_size.as_u64());
    let cache = cache.with_context(|| format!("FLT-N006: [inference] reply_cache: can't use {}", dir.display()))?;
    tracing::info!(dir = %dir.display(), "replies are kept, and given again to the same request");
    Ok(Some(Arc::new(cache)))
}

/// Watches engines until they are loaded. Ends with its owner.
pub(super) struct Loading {
    readiness: watch::Receiver<Readiness>,
    failed: watch::Receiver<Option<String>>,
    task: JoinHandle<()>,
}

impl Loading {
    /// Starts watching.
    pub(super) fn watch(engines: Vec<Arc<dyn Engine>>) -> Self {
        let (ready, readiness) = watch::channel(look(&engines));
        let (fail, failed) = watch::channel(None);
        let task = tokio::spawn(async move {
            let mut told = false;
            loop {
                if let Some(why) = failure(&engines) {
                    fail.send_replace(Some(why));
                }
                let now = look(&engines);
                let done = now.ready;
                ready.send_if_modified(|was| std::mem::replace(was, now.clone()) != now);
                if done {
                    if !told && !engines.is_empty() {
                        tracing::info!("the engines are ready");
                    }
                    told = true;
                }
                // An engine may be lost later, as after a fault on its GPU.
                tokio::time::sleep(if done { LOOK_AGAIN } else { LOOK }).await;
            }
        });
        Self { readiness, failed, task }
    }

    /// What isn't ready yet.
    pub(super) fn readiness(&self) -> watch::Receiver<Readiness> {
        self.readiness.clone()
    }

    /// Resolves when an engine can't be loaded; says why.
    pub(super) async fn failed(&self) -> String {
        let mut failed = self.failed.clone();
        match failed.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for Loading {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn look(engines: &[Arc<dyn Engine>]) -> Readiness {
    let waits = engines.iter().map(|engine| engine.info()).filter_map(|info| match info.state {
        EngineState::Ready | EngineState::Draining => None,
        EngineState::Loading if info.kind == EngineKind::OpenAi => {
            Some(format!("engine {}: its server isn't there yet", info.name))
        }
        EngineState::Loading => Some(format!("engine {}: {} is being loaded", info.name, info.model)),
        EngineState::Failed { why } => Some(format!("engine {}: {why}", info.name)),
    });
    let waiting_for: Vec<String> = waits.collect();
    Readiness { ready: waiting_for.is_empty(), waiting_for }
}

fn failed(info: &EngineInfo, why: &str) -> String {
    let EngineInfo { name, model, .. } = info;
    match info.kind {
        EngineKind::OpenAi => {
            format!(
                "FLT-N007: engine {name} can't use its server: {why}\n  next: correct its table [[inference.engine]]"
            )
        }
        _ => format!(
            "FLT-N007: engine {name} can't load {model}: {why}\n  next: check the file with `fleet model verify`, or get it again with `fleet model pull`"
        ),
    }
}

fn failure(engines: &[Arc<dyn Engine>]) -> Option<String> {
    engines.iter().map(|engine| engine.info()).find_map(|info| match &info.state {
        EngineState::Failed { why } => Some(failed(&info, why)),
        EngineState::Loading | EngineState::Ready | EngineState::Draining => None,
    })
}
