//! What a node keeps on its disk, and what it clears away.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use fleet_memory::SecretRedactor;
use fleet_runtime::actor::Ref;
use fleet_runtime::blob::{BlobActor, BlobMsg, BlobPeers, BlobRole, BlobStore, Blobs, BlobsSetup, Holder};
use fleet_runtime::cluster::{ClusterNode, ControlPorts, RunningNode};
use fleet_runtime::job::Jobs;
use fleet_runtime::{JobId, Journal, NodeId, OpenReport, Seq, SqliteJournal, StreamId};
use fleet_tools::repo::BaseRepo;
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::state::{StateDir, create_private};

/// How often the bases of ended jobs are removed.
const SWEEP: Duration = Duration::from_secs(10 * 60);

/// What the control node keeps.
pub(super) struct Storage {
    pub(super) journal: Arc<SqliteJournal>,
    pub(super) redactor: Arc<SecretRedactor>,
    /// In hex, for the other nodes.
    pub(super) redaction_key: String,
    /// What opening the journal found, for people.
    pub(super) found: Vec<String>,
}

impl Storage {
    /// Opens everything that lies in the state directory.
    pub(super) fn open(config: &Config, state: &StateDir) -> anyhow::Result<Self> {
        let key = state.join("redaction.key");
        let redactor = SecretRedactor::load_or_create(&key)?;
        let dir = state.join("journal");
        let (journal, report) = SqliteJournal::open(&dir, &config.journal)
            .map_err(|e| anyhow::anyhow!("{}: the journal in {} can't be opened: {e}", e.code(), dir.display()))?;
        Ok(Self {
            journal: Arc::new(journal),
            redactor: Arc::new(redactor),
            redaction_key: std::fs::read_to_string(&key).context("can't read the redaction key")?.trim().to_owned(),
            found: tell(&report),
        })
    }

    /// Where what is known of the cluster is written.
    pub(super) fn for_cluster(&self) -> ControlPorts {
        ControlPorts { journal: self.journal.clone(), redactor: self.redactor.clone() }
    }
}

/// The blobs of this node, and the way to those of the others.
pub(super) async fn open_blobs(
    config: &Config,
    state: &StateDir,
    running: &RunningNode,
    role: BlobRole,
) -> anyhow::Result<Blobs> {
    let store = BlobStore::open(&state.join("blobs"), config.blobs.store())?;
    let peers = Arc::new(Others { cluster: running.cluster().clone(), me: running.node(), role });
    let setup = BlobsSetup { options: config.blobs.sharing(), ..BlobsSetup::new(store, role, peers) };
    let blobs = Blobs::start(setup).await?;
    blobs.serve(running.system()).await?;
    Ok(blobs)
}

/// The other nodes' blobs.
struct Others {
    cluster: ClusterNode,
    me: NodeId,
    role: BlobRole,
}

impl BlobPeers for Others {
    fn keeper(&self) -> Option<Ref<BlobMsg>> {
        (self.role == BlobRole::Cache).then(|| self.cluster.service(BlobActor::NAME))
    }

    fn caches(&self) -> Vec<Ref<BlobMsg>> {
        let members = self.cluster.members();
        let others: Vec<NodeId> = members.borrow().iter().map(|m| m.node).filter(|node| *node != self.me).collect();
        others.into_iter().map(|node| self.cluster.service_on(node, BlobActor::NAME)).collect()
    }
}

/// Tells the keeper which blobs the jobs need; until then it removes none.
pub(super) async fn tell_holders(journal: Arc<dyn Journal>, blobs: Blobs) -> anyhow::Result<()> {
    let mut held = Vec::new();
    for head in journal.streams(StreamId::JOB_PREFIX).await? {
        let Some(job) = head.stream.as_job() else { continue };
        let mut from = Seq(1);
        loop {
            let page = journal.read_stream(&head.stream, from, PAGE).await?;
            let Some(last) = page.last() else { break };
            from = last.seq.next();
            for event in &page {
                let named = fleet_api::digests_in(&event.payload);
                held.extend(named.into_iter().map(|digest| (digest, Holder::from(&job))));
            }
        }
    }
    blobs.retain_only(held);
    Ok(())
}

/// Events read at once.
const PAGE: usize = 500;

/// What was found when the journal was opened. A cut is never passed over in silence.
fn tell(report: &OpenReport) -> Vec<String> {
    let mut told = Vec::new();
    if !report.clean && report.last_position.get() > 0 {
        told.push(format!(
            "the last run ended without closing it; {} events checked, the last is {}",
            report.checked, report.last_position
        ));
    }
    for cut in &report.cuts {
        told.push(format!("CUT at {cut}"));
    }
    if let Some(kept) = &report.kept_at {
        told.push(format!("the files as they were found are kept in {}", kept.display()));
    }
    told
}

/// Makes a directory empty: what lies in it is a dead run's.
pub(super) fn empty_dir(dir: &Path) -> anyhow::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            return Err(e).with_context(|| format!("can't clear {}", dir.display()));
        }
        _ => {}
    }
    Ok(create_private(dir)?)
}

/// Removes the bases of jobs that have ended or are gone. A base is a cache: it could be made again.
pub(super) async fn drop_old_bases(bases: &Path, jobs: &Jobs) -> anyhow::Result<()> {
    // What lies there is listed first: a job that begins in between isn't in the list yet, nor is its base.
    let there: Vec<PathBuf> = std::fs::read_dir(bases)?.flatten().map(|entry| entry.path()).collect();
    let open: HashSet<String> =
        jobs.list().await?.into_iter().filter(|job| !job.state.is_ended()).map(|job| job.id.to_string()).collect();
    for base in there {
        let job = base.file_name().unwrap_or_default().to_string_lossy();
        if !open.contains(job.as_ref()) {
            remove(&base);
        }
    }
    Ok(())
}

/// Removes what a dead run left half done in the bases that are there. Before any job uses one.
pub(super) fn sweep_bases(bases: &Path) {
    for base in std::fs::read_dir(bases).into_iter().flatten().flatten() {
        if let Err(error) = BaseRepo::sweep(&base.path()) {
            tracing::warn!(dir = %base.path().display(), %error, "can't clear what a dead run left in a base");
        }
    }
}

/// Removes the bases of ended jobs from time to time. Ends with its owner.
pub(super) struct Janitor(JoinHandle<()>);

impl Janitor {
    /// With the journal and the blobs on the node that keeps them.
    pub(super) fn start(bases: PathBuf, jobs: Jobs, kept: Option<(Arc<dyn Journal>, Blobs)>) -> Self {
        Self(tokio::spawn(async move {
            if let Some((journal, blobs)) = kept
                && let Err(error) = tell_holders(journal, blobs).await
            {
                tracing::warn!(%error, "blobs that no job needs stay until the next start: can't tell which those are");
            }
            loop {
                tokio::time::sleep(SWEEP).await;
                if let Err(error) = drop_old_bases(&bases, &jobs).await {
                    tracing::warn!(%error, "can't remove the bases of ended jobs");
                }
            }
        }))
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What is to be done with a job's base when the job is deleted.
pub(super) fn forget_base(bases: PathBuf) -> fleet_api::Forget {
    Arc::new(move |job: &JobId| remove(&bases.join(job.as_str())))
}

fn remove(dir: &Path) {
    match std::fs::remove_dir_all(dir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(dir = %dir.display(), error = %e, "can't remove the base of a job");
        }
        _ => {}
    }
}
