//! The GPU workers of a node: child processes that are nodes of the cluster themselves, with an identity and a state directory
//! of their own, and are started again when they end.
//!
//! A worker ends by itself when its standard input does, so none outlives the node however that ends.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context;
use fleet_runtime::cluster::ClusterNode;
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::gpus::WorkerPlan;
use crate::state::{StateDir, create_private};

/// Pauses before a worker is started again: doubled from one end to the next, from the least to the most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// A worker that lived so long was well: the next pause is the least again.
const WELL: Duration = Duration::from_secs(60);
/// How long a worker may take to end when it is told to.
const END: Duration = Duration::from_secs(15);

/// How the workers of a node are started.
#[derive(Debug, Clone)]
pub(super) struct Workshop {
    pub(super) program: PathBuf,
    /// The node's configuration, in which a worker finds its engines.
    pub(super) config: Option<PathBuf>,
    /// The node's name; a worker's begins with it.
    pub(super) node: String,
}

/// The running workers. Dropping it kills them; [`Workers::stop`] lets them end.
pub(super) struct Workers {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Workers {
    /// None.
    pub(super) fn none() -> Self {
        Self { stop: watch::Sender::new(false), tasks: Vec::new() }
    }

    /// Starts them. The node must be in its cluster.
    pub(super) fn start(workshop: &Workshop, plans: &[WorkerPlan], state: &StateDir, cluster: &ClusterNode) -> Self {
        let stop = watch::Sender::new(false);
        let supervise = |plan: &WorkerPlan| {
            let worker = Worker {
                workshop: workshop.clone(),
                plan: plan.clone(),
                dir: state.join("gpu").join(&plan.gpu),
                cluster: cluster.clone(),
            };
            tokio::spawn(worker.supervise(stop.subscribe()))
        };
        let tasks = plans.iter().map(supervise).collect();
        Self { stop, tasks }
    }

    /// Ends them in good order.
    pub(super) async fn stop(mut self) {
        self.stop.send_replace(true);
        for task in std::mem::take(&mut self.tasks) {
            if let Err(error) = task.await {
                tracing::warn!(%error, "a GPU worker's supervision broke off");
            }
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

struct Worker {
    workshop: Workshop,
    plan: WorkerPlan,
    dir: PathBuf,
    cluster: ClusterNode,
}

impl Worker {
    async fn supervise(self, mut stop: watch::Receiver<bool>) {
        let mut pause = PAUSE.0;
        loop {
            let began = Instant::now();
            match self.start().await {
                Ok(mut child) => {
                    // Waiting for a child closes its input, by which a worker is told to end.
                    let input = child.stdin.take();
                    tokio::select! {
                        ended = child.wait() => {
                            let how = ended.map_or_else(|e| e.to_string(), |status| status.to_string());
                            tracing::error!(gpu = self.plan.gpu, how, "a GPU worker ended; it is started again");
                        }
                        () = told(&mut stop) => return self.end(child, input).await,
                    }
                }
                Err(error) => tracing::error!(gpu = self.plan.gpu, "a GPU worker can't be started: {error:#}"),
            }
            if began.elapsed() >= WELL {
                pause = PAUSE.0;
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(PAUSE.1),
                () = told(&mut stop) => return,
            }
        }
    }

    async fn end(&self, mut child: Child, input: Option<ChildStdin>) {
        drop(input);
        if tokio::time::timeout(END, child.wait()).await.is_err() {
            tracing::warn!(gpu = self.plan.gpu, "a GPU worker didn't end in time; it is killed");
            let _ = child.kill().await;
        }
    }

    async fn start(&self) -> anyhow::Result<Child> {
        create_private(&self.dir)?;
        let mut command = self.command();
        if !self.dir.join("cluster/member.json").exists() {
            let (control, token) = self.invitation().await?;
            command.arg("--join").arg(control).arg("--token-file").arg(token);
        }
        let program = self.workshop.program.display();
        let child = command.spawn().with_context(|| format!("{program}"))?;
        tracing::info!(gpu = self.plan.gpu, pid = child.id(), engines = ?self.plan.engines, "a GPU worker was started");
        Ok(child)
    }

    fn command(&self) -> Command {
        let Workshop { program, config, node } = &self.workshop;
        let mut command = Command::new(program);
        if let Some(config) = config {
            command.arg("--config").arg(config);
        }
        command.arg("--state-dir").arg(&self.dir).arg("--name").arg(name(node, &self.plan.gpu));
        command.args(["--listen", "127.0.0.1:0", "--gpu-worker", &self.plan.gpu]);
        command.arg("--gpu-engines").arg(self.plan.engines.join(","));
        // It sees its own GPU only, and takes no memory of others.
        command.env("CUDA_VISIBLE_DEVICES", &self.plan.gpu);
        command.env_remove("FLEET_STATE_DIR").env_remove("FLEET_JOIN_TOKEN");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).kill_on_drop(true);
        command
    }

    /// The control node's address, and the file of a token to join with: it isn't to be seen among the processes.
    async fn invitation(&self) -> anyhow::Result<(String, PathBuf)> {
        let nodes = self.cluster.nodes().await?;
        let control = nodes.into_iter().find(|node| node.is_control).map(|node| node.addr);
        let control = control.context("the control node isn't in its own list yet")?;
        let token = self.dir.join("join.token");
        write_private(&token, &self.cluster.invite().await?).context("can't keep the worker's join token")?;
        Ok((control, token))
    }
}

/// Resolves when the workers are to end, or nobody is left to say so.
async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

/// `local-gpu-5f1c9b1e`
fn name(node: &str, gpu: &str) -> String {
    let short: String = gpu.split_once('-').map_or(gpu, |(_, rest)| rest).chars().take(8).collect();
    format!("{node}-gpu-{short}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_named_after_its_node_and_its_gpu() {
        assert_eq!(name("local", "GPU-5f1c9b1e-1111-2222-3333-444444444444"), "local-gpu-5f1c9b1e");
    }
}
