//! `GET /metrics`: what this node and, at the control node, its cluster are doing, in numbers for Prometheus.
//!
//! Nothing is counted for it while nobody asks: the page is gathered from what the parts know of themselves, and from what
//! the journal was given since the last time. What it costs doesn't depend on how many jobs are kept. No metric lives anywhere but in [`names`].

mod lanes;
pub mod names;
mod page;
mod tally;

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use fleet_runtime::Timestamp;
use fleet_runtime::auth::AccessLevel;
use fleet_runtime::blob::BlobStats;
use fleet_runtime::cluster::{ActorState, ClusterNode};
use fleet_runtime::job::JobState;
use fleet_runtime::membership::MemberState;

use crate::access::Issued;
use crate::error::ApiError;
use crate::state::Shared;
pub use page::Page;
pub(crate) use tally::Tally;

/// Adds what only the node's composition knows: its process, its engines, its files.
pub type Figures = Arc<dyn Fn(&mut Page) + Send + Sync>;

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// `GET /metrics`
pub(crate) async fn metrics(State(shared): State<Shared>) -> Result<impl IntoResponse, ApiError> {
    let mut page = Page::default();
    of_node(&shared, &mut page);
    if shared.node.keeps_journal {
        of_cluster(&shared, &mut page).await?;
    }
    Ok(([(header::CONTENT_TYPE, TEXT)], page.to_string()))
}

fn of_node(shared: &Shared, page: &mut Page) {
    let (node, options) = (&shared.node.node, &shared.node.options);
    page.count(names::NODE_INFO, &[("node", &node.name), ("version", &node.version)], 1);
    page.put(names::START_TIME, &[], seconds(node.started_at));
    let active = |bound: usize, free: &tokio::sync::Semaphore| bound.saturating_sub(free.available_permits()) as u64;
    page.count(names::HTTP_ACTIVE, &[], active(options.max_requests, &shared.requests));
    page.count(names::HTTP_FOLLOWERS, &[], active(options.max_followers, &shared.followers));
    of_blobs(&shared.node.blobs.stats(), page);
    if let Some(cluster) = &shared.node.cluster {
        lanes::of_lanes(&cluster.lane_figures(), page);
        lanes::of_actors(&cluster.actor_figures(), page);
    }
    (shared.node.figures)(page);
}

fn of_blobs(stats: &BlobStats, page: &mut Page) {
    let values = [
        (names::BLOBS, stats.blobs),
        (names::BLOB_DISK, stats.disk_bytes),
        (names::BLOB_MEMORY, stats.memory_bytes),
        (names::BLOB_SERVED, stats.served_bytes),
        (names::BLOB_PIECES, stats.served_pieces),
        (names::BLOB_FETCHED_BYTES, stats.fetched_bytes),
        (names::BLOB_FETCHED, stats.fetched),
        (names::BLOB_DAMAGED, stats.damaged),
        (names::BLOB_READS, stats.disk_reads),
        (names::BLOB_REMOVED, stats.removed),
    ];
    for (metric, value) in values {
        page.count(metric, &[], value);
    }
}

/// What the control node knows of all; the others would say the same a second time.
async fn of_cluster(shared: &Shared, page: &mut Page) -> Result<(), ApiError> {
    of_jobs(&shared.node.jobs.counts().await.map_err(ApiError::internal)?, page);
    let journal = &shared.node.journal;
    let committed = *journal.committed().borrow();
    let mut tally = shared.tally.lock().await;
    tally.catch_up(&**journal, &shared.node.jobs).await.map_err(ApiError::internal)?;
    tally.show(committed, page);
    drop(tally);
    let waiting = shared.node.approvals.list().await.map_err(ApiError::internal)?;
    page.count(names::APPROVALS, &[], waiting.len() as u64);
    of_access(&shared.node.access.list().await.map_err(ApiError::internal)?, page);
    match &shared.node.cluster {
        Some(cluster) => of_members(cluster, page).await,
        None => Ok(()),
    }
}

fn of_jobs(jobs: &[(JobState, u64)], page: &mut Page) {
    for (state, n) in jobs {
        page.count(names::JOBS, &[("state", state.as_str())], *n);
    }
}

fn of_access(issued: &[Issued], page: &mut Page) {
    let now = Timestamp::now();
    for level in AccessLevel::ALL {
        let holds = |one: &&Issued| one.principal.level == level && one.holds(now);
        page.count(names::ACCESS_TOKENS, &[("level", level.as_str())], issued.iter().filter(holds).count() as u64);
    }
}

async fn of_members(cluster: &ClusterNode, page: &mut Page) -> Result<(), ApiError> {
    use MemberState::{Alive, Dead, Draining, Joining, Left, Suspect};
    let nodes = cluster.nodes().await.map_err(ApiError::internal)?;
    for state in [Joining, Alive, Suspect, Draining, Dead, Left] {
        let n = nodes.iter().filter(|node| node.state == state).count() as u64;
        page.count(names::NODES, &[("state", state.as_str())], n);
    }
    for node in nodes.iter().filter(|node| !matches!(node.state, Dead | Left)) {
        let of = [("node", node.name.as_str())];
        page.put(names::NODE_SUSPICION, &of, node.level);
        page.count(names::NODE_ACTORS, &of, node.actors as u64);
        page.put(names::NODE_CPU, &of, f64::from(node.load.cpu_permille) / 1000.0);
        page.count(names::NODE_MEMORY, &of, node.load.memory_used);
    }
    let actors = cluster.actor_counts().await.map_err(ApiError::internal)?;
    use ActorState::{Moving, Placing, Recovering, Starting, Stopping, Up};
    for state in [Placing, Starting, Up, Moving, Recovering, Stopping] {
        let n = actors.get(&state).copied().unwrap_or(0);
        page.count(names::ACTORS, &[("state", state.as_str())], n);
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit into 2^53 for long")]
fn seconds(at: Timestamp) -> f64 {
    at.millis() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::collections::BTreeSet;

    use super::names::{ALL, Kind};

    const MANUAL: &str = include_str!("../../../docs/metrics.md");

    #[test]
    fn every_metric_has_its_row_in_the_manual_and_every_row_its_metric() {
        let rows: BTreeSet<&str> = MANUAL.lines().filter(|line| line.starts_with("| `fleet_")).collect();
        assert_eq!(rows.len(), ALL.len());
        for metric in ALL {
            let row = format!("| `{}` | {} |", metric.name, metric.kind.as_str());
            let found = rows.iter().find(|line| line.starts_with(&row)).unwrap_or_else(|| panic!("no row {row}"));
            assert!(found.ends_with(&format!("| {} |", metric.help)), "{found}");
        }
    }

    #[test]
    fn names_keep_to_the_scheme() {
        for metric in ALL {
            let name = metric.name;
            assert!(name.starts_with("fleet_") && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
            assert_eq!(name.ends_with("_total"), metric.kind == Kind::Counter, "{name}");
            assert!(!metric.help.contains('\n') && metric.help.ends_with('.'), "{name}");
        }
        assert_eq!(ALL.iter().map(|m| m.name).collect::<BTreeSet<_>>().len(), ALL.len());
    }
}
