//! What a node remembers of its cluster between its lives: small files, replaced in one step.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::ClusterError;
use crate::id::{Incarnation, NodeId};
use crate::net::{Admission, Applicant, JoinDesk, NetError, TokenNonce, UsedTokens};
use crate::time::Timestamp;

/// What a node is, over its lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    pub node: NodeId,
    pub incarnation: Incarnation,
    /// Where the control node was last; empty on the control node itself.
    pub control: Vec<String>,
}

/// The file that holds `T`, if it is there.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, ClusterError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(file(path)(e)),
    };
    serde_json::from_slice(&text).map(Some).map_err(|e| file(path)(e.into()))
}

/// Writes it in one step, durably: a crash leaves the old or the new.
pub(super) fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), ClusterError> {
    let text = serde_json::to_vec_pretty(value).map_err(|e| file(path)(e.into()))?;
    let fresh = path.with_extension("new");
    let put = || -> io::Result<()> {
        let mut out = File::options().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        out.write_all(&text)?;
        out.sync_all()?;
        fs::rename(&fresh, path)?;
        path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
    };
    put().map_err(file(path))
}

fn file(path: &Path) -> impl FnOnce(io::Error) -> ClusterError {
    let path = path.to_owned();
    move |source| ClusterError::File { path, source }
}

/// The control node's list of who joined, and of the tokens that were used.
pub(super) struct Register {
    path: PathBuf,
    /// Where joining nodes find the control node.
    control: Vec<String>,
    content: Mutex<Joined>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Joined {
    names: BTreeMap<NodeId, String>,
    tokens: BTreeMap<TokenNonce, Timestamp>,
}

impl Register {
    /// Opens the list; the control node itself stands in it.
    pub fn open(path: PathBuf, node: NodeId, name: &str, control: Vec<String>) -> Result<Self, ClusterError> {
        let mut content: Joined = read(&path)?.unwrap_or_default();
        content.names.insert(node, name.to_owned());
        write(&path, &content)?;
        Ok(Self { path, control, content: Mutex::new(content) })
    }

    pub fn tokens(&self) -> Vec<(TokenNonce, Timestamp)> {
        self.lock().tokens.iter().map(|(nonce, until)| (*nonce, *until)).collect()
    }

    /// Under which name a node has joined.
    pub fn name(&self, node: NodeId) -> Option<String> {
        self.lock().names.get(&node).cloned()
    }

    fn check(joined: &Joined, applicant: &Applicant) -> Result<(), NetError> {
        let newcomer = &applicant.newcomer;
        if joined.names.contains_key(&newcomer.node) {
            return Err(NetError::NodeTaken(newcomer.node));
        }
        match joined.names.values().any(|name| name == newcomer.name.as_str()) {
            true => Err(NetError::NameTaken(newcomer.name.as_str().to_owned())),
            false => Ok(()),
        }
    }

    /// Changes the list, on disk first.
    fn change(&self, change: impl FnOnce(&mut Joined) -> Result<(), NetError>) -> Result<(), NetError> {
        let mut content = self.lock();
        let mut changed = content.clone();
        change(&mut changed)?;
        write(&self.path, &changed).map_err(|e| NetError::TokenBook(e.to_string().into()))?;
        *content = changed;
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Joined> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl JoinDesk for Register {
    fn review<'a>(&'a self, applicant: &'a Applicant) -> BoxFuture<'a, Result<(), NetError>> {
        Box::pin(async move { Self::check(&self.lock(), applicant) })
    }

    fn admit<'a>(&'a self, applicant: &'a Applicant) -> BoxFuture<'a, Result<Admission, NetError>> {
        Box::pin(async move {
            self.change(|joined| {
                Self::check(joined, applicant)?;
                let newcomer = &applicant.newcomer;
                joined.names.insert(newcomer.node, newcomer.name.as_str().to_owned());
                Ok(())
            })?;
            Ok(Admission { control: self.control.clone() })
        })
    }
}

impl UsedTokens for Register {
    fn record(&self, nonce: TokenNonce, expires: Timestamp) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            let now = Timestamp::now();
            let add = |joined: &mut Joined| {
                joined.tokens.retain(|_, until| *until > now);
                joined.tokens.insert(nonce, expires);
                Ok(())
            };
            self.change(add).map_err(|e| e.to_string())
        })
    }
}
