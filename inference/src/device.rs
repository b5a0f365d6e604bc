//! What an engine computes on.

use serde::{Deserialize, Serialize};

/// Where an engine's model runs. In the configuration: `"cpu"`, `"cuda:GPU-…"` or `"auto"`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum EngineDevice {
    /// The GPU with most memory, where this program was built for GPUs and there is one; else the CPU.
    #[default]
    Auto,
    Cpu,
    /// The GPU with that UUID.
    Cuda(String),
}

impl TryFrom<String> for EngineDevice {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            other => match other.strip_prefix("cuda:") {
                Some(uuid) if uuid.starts_with("GPU-") || uuid.starts_with("MIG-") => Ok(Self::Cuda(uuid.to_owned())),
                _ => Err(format!(
                    "the device {text:?} is none of \"auto\", \"cpu\", \"cuda:GPU-…\" (see `fleet gpu list`)"
                )),
            },
        }
    }
}

impl From<EngineDevice> for String {
    fn from(device: EngineDevice) -> Self {
        match device {
            EngineDevice::Auto => "auto".to_owned(),
            EngineDevice::Cpu => "cpu".to_owned(),
            EngineDevice::Cuda(uuid) => format!("cuda:{uuid}"),
        }
    }
}
