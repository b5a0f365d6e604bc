//! Which GPUs a node has: the port [`ResourceProbe`] over NVIDIA's management library, which is opened at run time.

use std::path::{Path, PathBuf};

use fleet_runtime::probe::{Gpu, NoGpus, ResourceProbe};
use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;
use serde::{Deserialize, Serialize};

use crate::LeaseDir;

/// Where a node learns of its GPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum GpuSource {
    /// The driver, where there is one.
    #[default]
    Auto,
    /// It has none, or is not to offer them.
    None,
    /// A JSON file, `[{"uuid": …, "name": …, "memory_bytes": …}]`: GPUs that the driver can't be asked about, or an operator's
    /// choice of those that are offered.
    File(PathBuf),
}

impl From<String> for GpuSource {
    fn from(text: String) -> Self {
        match text.as_str() {
            "auto" => Self::Auto,
            "none" => Self::None,
            path => Self::File(path.into()),
        }
    }
}

impl From<GpuSource> for String {
    fn from(source: GpuSource) -> Self {
        match source {
            GpuSource::Auto => "auto".to_owned(),
            GpuSource::None => "none".to_owned(),
            GpuSource::File(path) => path.display().to_string(),
        }
    }
}

/// A file of GPUs that can't be taken for one.
#[derive(Debug, thiserror::Error)]
pub enum GpuError {
    /// It can't be read.
    #[error("can't read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It isn't a list of GPUs.
    #[error("{path} isn't a list of GPUs: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

impl GpuSource {
    /// The probe for it.
    pub fn probe(&self) -> Result<Box<dyn ResourceProbe>, GpuError> {
        Ok(match self {
            Self::Auto => Box::new(NvmlProbe),
            Self::None => Box::new(NoGpus),
            Self::File(path) => Box::new(Listed::read(path)?),
        })
    }
}

/// Asks the driver. Without one, a machine has no GPUs that could be used.
#[derive(Clone, Copy, Debug, Default)]
pub struct NvmlProbe;

impl ResourceProbe for NvmlProbe {
    fn gpus(&self) -> Vec<Gpu> {
        match of_driver() {
            Ok(gpus) => gpus,
            Err(NvmlError::LibloadingError(_) | NvmlError::DriverNotLoaded | NvmlError::LibraryNotFound) => Vec::new(),
            Err(error) => {
                tracing::warn!(%error, "the driver doesn't say which GPUs there are: none is offered");
                Vec::new()
            }
        }
    }
}

/// A GPU as `fleet gpu list` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuStatus {
    /// What it is.
    #[serde(flatten)]
    pub gpu: Gpu,
    /// Of its memory, by whomever.
    pub used_bytes: u64,
    /// The process that holds its lease.
    pub holder: Option<u32>,
    /// The driver's version.
    pub driver: String,
}

/// The GPUs of this machine now. Why there are none is an error for people.
pub fn gpus_of_machine() -> Result<Vec<GpuStatus>, String> {
    let leases = LeaseDir::of_machine();
    let asked = || {
        let nvml = Nvml::init()?;
        let driver = nvml.sys_driver_version()?;
        let status = |n| {
            let device = nvml.device_by_index(n)?;
            let (uuid, memory) = (device.uuid()?, device.memory_info()?);
            let holder = leases.holder(&uuid);
            let gpu = Gpu { uuid, name: device.name()?, memory_bytes: memory.total };
            Ok(GpuStatus { gpu, used_bytes: memory.used, holder, driver: driver.clone() })
        };
        (0..nvml.device_count()?).map(status).collect::<Result<Vec<_>, NvmlError>>()
    };
    asked().map_err(|error| match error {
        NvmlError::LibloadingError(_) | NvmlError::LibraryNotFound => {
            "there is no NVIDIA driver on this machine (libnvidia-ml.so.1 isn't found)".to_owned()
        }
        NvmlError::DriverNotLoaded => "the NVIDIA driver isn't loaded".to_owned(),
        other => format!("the NVIDIA driver doesn't answer: {other}"),
    })
}

fn of_driver() -> Result<Vec<Gpu>, NvmlError> {
    let nvml = Nvml::init()?;
    let gpu = |n| {
        let device = nvml.device_by_index(n)?;
        Ok(Gpu { uuid: device.uuid()?, name: device.name()?, memory_bytes: device.memory_info()?.total })
    };
    (0..nvml.device_count()?).map(gpu).collect()
}

/// What a file lists.
struct Listed(Vec<Gpu>);

impl Listed {
    fn read(path: &Path) -> Result<Self, GpuError> {
        let text = std::fs::read(path).map_err(|source| GpuError::Read { path: path.to_owned(), source })?;
        let gpus =
            serde_json::from_slice(&text).map_err(|source| GpuError::Unreadable { path: path.to_owned(), source })?;
        Ok(Self(gpus))
    }
}

impl ResourceProbe for Listed {
    fn gpus(&self) -> Vec<Gpu> {
        self.0.clone()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_written_as_it_is_read() {
        for (text, source) in
            [("auto", GpuSource::Auto), ("none", GpuSource::None), ("/etc/gpus", GpuSource::File("/etc/gpus".into()))]
        {
            assert_eq!(GpuSource::from(text.to_owned()), source);
            assert_eq!(String::from(source), text);
        }
    }

    #[test]
    fn a_file_stands_in_for_the_driver_and_what_is_no_list_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gpus.json");
        std::fs::write(&path, r#"[{"uuid": "GPU-1", "name": "H200", "memory_bytes": 150000000000}]"#).unwrap();
        let gpus = GpuSource::File(path.clone()).probe().unwrap().gpus();
        assert_eq!(gpus, [Gpu { uuid: "GPU-1".into(), name: "H200".into(), memory_bytes: 150_000_000_000 }]);
        std::fs::write(&path, "{}").unwrap();
        let refused = GpuSource::File(path).probe().err().unwrap().to_string();
        assert!(refused.contains("isn't a list of GPUs"), "{refused}");
    }

    /// On a machine without a driver it finds none, and on any machine it doesn't fail.
    #[test]
    fn the_driver_can_be_asked_anywhere() {
        let gpus = NvmlProbe.gpus();
        assert!(gpus.iter().all(|gpu| gpu.uuid.starts_with("GPU-") && gpu.memory_bytes > 0), "{gpus:?}");
    }
}
