//! A node's certificate is renewed in good time: when a third of it is left.
//!
//! A member makes a request for the key that it has, and the control node signs it, for the name under which that node
//! joined. The control node renews its own. Connections that are open stay; the next ones use the new certificate.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::records::Register;
use super::{ClusterError, ClusterNode};
use crate::id::NodeId;
use crate::net::{Authority, Endpoint, NodeCredentials, NodeName};
use crate::time::Timestamp;

/// Signs a request for a certificate (PKCS #10, DER) of a node that has joined; gives the certificate (DER), or why not.
pub(super) type Certifier = Arc<dyn Fn(NodeId, &[u8]) -> Result<Vec<u8>, String> + Send + Sync>;

/// How often it is looked whether it is time: so many times in a certificate's life, within these bounds.
const LOOKS: u32 = 60;
const SOONEST: Duration = Duration::from_millis(200);
const LATEST: Duration = Duration::from_secs(3600);

/// The control node's part.
pub(super) fn certifier(authority: Arc<Authority>, register: Arc<Register>, lifetime: Duration) -> Certifier {
    Arc::new(move |node, request| {
        let name = register.name(node).ok_or_else(|| format!("node {node} hasn't joined this cluster"))?;
        let name: NodeName = name.try_into().map_err(|e: crate::net::NetError| e.to_string())?;
        let signed = authority.sign(request, node, &name, lifetime);
        signed.map(|certificate| certificate.to_vec()).map_err(|e| e.to_string())
    })
}

/// Who signs.
pub(super) enum Signer {
    /// This very node.
    Me(Arc<Authority>),
    Control(ClusterNode),
}

pub(super) struct Renewal {
    pub endpoint: Endpoint,
    pub state_dir: PathBuf,
    pub signer: Signer,
}

impl Renewal {
    /// Looks again and again, and renews what will expire.
    pub async fn keep(self) {
        let lifetime = self.endpoint.options().certificate_lifetime;
        loop {
            tokio::time::sleep((lifetime / LOOKS).clamp(SOONEST, LATEST)).await;
            if !is_due(self.endpoint.credentials().expires(), Timestamp::now(), lifetime) {
                continue;
            }
            match self.renew(lifetime).await {
                Ok(until) => tracing::info!(%until, "this node's certificate was renewed"),
                Err(error) => tracing::warn!(%error, "this node's certificate is not renewed yet; it is tried again"),
            }
        }
    }

    async fn renew(&self, lifetime: Duration) -> Result<Timestamp, ClusterError> {
        let old = self.endpoint.credentials();
        let fresh = match &self.signer {
            Signer::Me(authority) => {
                let identity = old.identity();
                authority.control_credentials(identity.node, &identity.name, lifetime)?
            }
            Signer::Control(cluster) => {
                let certificate = cluster.certify(old.key().csr()?).await?;
                NodeCredentials::assemble(old.key().clone(), certificate.into(), old.cluster().ca.clone())?
            }
        };
        // In use only once it is kept: else the next start would have the old one.
        let (kept, dir) = (fresh.clone(), self.state_dir.clone());
        let stored = tokio::task::spawn_blocking(move || kept.replace(&dir)).await;
        stored.map_err(|e| ClusterError::Control(e.to_string()))??;
        let until = fresh.expires();
        self.endpoint.renew(fresh)?;
        Ok(until)
    }
}

fn is_due(expires: Timestamp, now: Timestamp, lifetime: Duration) -> bool {
    let third = i64::try_from((lifetime / 3).as_millis()).unwrap_or(i64::MAX);
    expires.0.saturating_sub(now.0) <= third
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::net::{NetOptions, NodeKey, PeerIdentity};

    #[test]
    fn a_certificate_is_renewed_when_a_third_of_its_time_is_left() {
        let (day, now) = (24 * 3600 * 1000, Timestamp(1_800_000_000_000));
        let lifetime = Duration::from_secs(90 * 24 * 3600);
        assert!(!is_due(Timestamp(now.0 + 31 * day), now, lifetime));
        assert!(is_due(Timestamp(now.0 + 30 * day), now, lifetime));
        assert!(is_due(Timestamp(now.0 - day), now, lifetime));
    }

    #[tokio::test]
    async fn what_is_renewed_is_in_use_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let options = NetOptions { certificate_lifetime: Duration::from_secs(4), ..NetOptions::default() };
        let authority = Arc::new(Authority::open_or_create(dir.path()).unwrap());
        let (node, name) = (NodeId::new_random(), "a".parse().unwrap());
        let first = authority.control_credentials(node, &name, options.certificate_lifetime).unwrap();
        first.store(dir.path()).unwrap();
        let endpoint = Endpoint::new(first.clone(), options).unwrap();
        let signer = Signer::Me(authority);
        let renewal = Renewal { endpoint: endpoint.clone(), state_dir: dir.path().to_owned(), signer };
        let keeping = tokio::spawn(renewal.keep());
        let renewed = async {
            while endpoint.credentials().expires() <= first.expires() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), renewed).await.expect("a renewed certificate");
        keeping.abort();
        assert_eq!(endpoint.identity(), *first.identity());
        assert!(NodeCredentials::load(dir.path()).unwrap().expires() > first.expires());
    }

    #[test]
    fn who_has_joined_gets_a_certificate_in_its_own_name_and_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let authority = Arc::new(Authority::open_or_create(dir.path()).unwrap());
        let (node, key) = (NodeId::new_random(), NodeKey::generate().unwrap());
        let register = Register::open(dir.path().join("joined.json"), node, "worker-1", Vec::new()).unwrap();
        let certify = certifier(authority.clone(), Arc::new(register), Duration::from_secs(60));
        let certificate = certify(node, &key.csr().unwrap()).unwrap();
        let whose = PeerIdentity::from_certificate(&certificate.into()).unwrap();
        assert_eq!((whose.node, whose.name.as_str(), whose.control), (node, "worker-1", false));
        let stranger = NodeId::new_random();
        assert_eq!(certify(stranger, &key.csr().unwrap()), Err(format!("node {stranger} hasn't joined this cluster")));
        assert!(certify(node, b"no request").is_err());
    }
}
