//! Which engines run on which GPU. Those that do live in a worker process for each GPU, so that a fault there takes nothing
//! else down; the others live in the node itself.

use std::path::{Path, PathBuf};

use anyhow::bail;
use fleet_inference::{EngineConfig, EngineDevice, EngineKind};
use fleet_runtime::probe::Gpu;

use crate::config::InferenceOptions;

/// The engines of a node, by the process that they live in.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Division {
    pub(super) own: Vec<EngineConfig>,
    pub(super) workers: Vec<WorkerPlan>,
    /// The first that writes text: it serves the node's agents, wherever it lives.
    pub(super) first: Option<String>,
}

impl Division {
    /// A worker has all its engines itself.
    pub(super) fn of_worker(engines: Vec<EngineConfig>) -> Self {
        Self { first: first(&engines), own: engines, workers: Vec::new() }
    }
}

fn first(engines: &[EngineConfig]) -> Option<String> {
    engines.iter().find(|engine| engine.kind != EngineKind::Embedding).map(|engine| engine.name.clone())
}

/// One GPU and the names of its engines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WorkerPlan {
    pub(super) gpu: String,
    pub(super) engines: Vec<String>,
}

/// `auto` takes the GPU with most memory, where a worker can be started; else the engine computes on the CPU.
pub(super) fn divide(engines: Vec<EngineConfig>, gpus: &[Gpu], worker: Option<&Path>) -> anyhow::Result<Division> {
    let largest = gpus.iter().max_by_key(|gpu| gpu.memory_bytes).filter(|_| worker.is_some());
    let mut division = Division { first: first(&engines), ..Division::default() };
    for mut engine in engines {
        let uuid = match (&engine.device, engine.kind) {
            (_, EngineKind::OpenAi | EngineKind::Embedding) => None,
            (EngineDevice::Cuda(uuid), _) => Some(there(&engine.name, uuid, gpus, worker)?),
            (EngineDevice::Auto, EngineKind::Candle) => largest.map(|gpu| gpu.uuid.clone()),
            (EngineDevice::Auto | EngineDevice::Cpu, _) => None,
        };
        let Some(uuid) = uuid else {
            // A program that was built for GPUs would take one, in the node's own process.
            engine.device = EngineDevice::Cpu;
            division.own.push(engine);
            continue;
        };
        match division.workers.iter_mut().find(|worker| worker.gpu == uuid) {
            Some(worker) => worker.engines.push(engine.name),
            None => division.workers.push(WorkerPlan { gpu: uuid, engines: vec![engine.name] }),
        }
    }
    Ok(division)
}

fn there(engine: &str, uuid: &str, gpus: &[Gpu], worker: Option<&Path>) -> anyhow::Result<String> {
    if worker.is_none() {
        bail!(
            "FLT-N017: engine {engine} is to run on {uuid}, and there is no program for that\n  next: `make cuda` builds fleetd-cuda; put it beside fleetd, name it by [inference] gpu_worker, or set device = \"cpu\""
        );
    }
    // The driver lists parts of a GPU (MIG) only to the process that uses one.
    if !uuid.starts_with("MIG-") && !gpus.iter().any(|gpu| gpu.uuid == uuid) {
        let found: Vec<&str> = gpus.iter().map(|gpu| gpu.uuid.as_str()).collect();
        let found = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
        bail!(
            "FLT-N018: engine {engine} is to run on {uuid}, which this machine doesn't have (it has: {found})\n  next: take one of `fleet gpu list`, or set device = \"auto\""
        );
    }
    Ok(uuid.to_owned())
}

/// The program that GPU workers are: the configured one, `fleetd-cuda` beside this one, or this one if it can.
pub(super) fn worker_program(options: &InferenceOptions) -> anyhow::Result<Option<PathBuf>> {
    if let Some(path) = &options.gpu_worker {
        if !path.is_file() {
            bail!(
                "FLT-N017: [inference] gpu_worker = {:?} isn't there\n  next: build it with `make cuda`, or leave the key out",
                path.display()
            );
        }
        // A bare name would be looked for on the path.
        return Ok(Some(std::path::absolute(path)?));
    }
    let Ok(this) = std::env::current_exe() else { return Ok(None) };
    let beside = this.with_file_name("fleetd-cuda");
    Ok(match beside.is_file() {
        true => Some(beside),
        false => cfg!(feature = "cuda").then_some(this),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn engine(name: &str, device: &str) -> EngineConfig {
        let device = EngineDevice::try_from(device.to_owned()).unwrap();
        EngineConfig { name: name.into(), device, ..EngineConfig::default() }
    }

    fn gpus() -> Vec<Gpu> {
        let gpu = |uuid: &str, memory_bytes| Gpu { uuid: uuid.into(), name: "H200".into(), memory_bytes };
        vec![gpu("GPU-small", 1), gpu("GPU-large", 2)]
    }

    fn names(engines: &[EngineConfig]) -> Vec<&str> {
        engines.iter().map(|engine| engine.name.as_str()).collect()
    }

    const WORKER: Option<&str> = Some("/usr/bin/fleetd-cuda");

    fn divided(engines: &[EngineConfig], gpus: &[Gpu], worker: Option<&str>) -> anyhow::Result<Division> {
        divide(engines.to_vec(), gpus, worker.map(Path::new))
    }

    #[test]
    fn each_gpu_has_one_worker_with_all_its_engines() {
        let engines =
            [engine("a", "cuda:GPU-small"), engine("b", "cpu"), engine("c", "auto"), engine("d", "cuda:GPU-small")];
        let division = divided(&engines, &gpus(), WORKER).unwrap();
        assert_eq!(names(&division.own), ["b"]);
        let plan = |gpu: &str, engines: &[&str]| WorkerPlan {
            gpu: gpu.into(),
            engines: engines.iter().map(|name| (*name).to_owned()).collect(),
        };
        assert_eq!(division.workers, [plan("GPU-small", &["a", "d"]), plan("GPU-large", &["c"])]);
    }

    #[test]
    fn auto_is_the_cpu_where_no_gpu_or_no_worker_is() {
        for (gpus, worker) in [(gpus(), None), (Vec::new(), WORKER)] {
            let division = divided(&[engine("a", "auto")], &gpus, worker).unwrap();
            assert_eq!(division.own[0].device, EngineDevice::Cpu);
            assert!(division.workers.is_empty());
        }
    }

    #[test]
    fn a_gpu_that_is_asked_for_and_cannot_be_had_is_refused_with_what_to_do() {
        let refused =
            |gpus: &[Gpu], worker| divided(&[engine("a", "cuda:GPU-other")], gpus, worker).unwrap_err().to_string();
        let (program, gpu) = (refused(&gpus(), None), refused(&gpus(), WORKER));
        assert!(program.contains("FLT-N017") && program.contains("make cuda"), "{program}");
        assert!(gpu.contains("FLT-N018") && gpu.contains("GPU-small, GPU-large"), "{gpu}");
    }
}
