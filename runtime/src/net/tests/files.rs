use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::time::Timestamp;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Each file of the folder, which must all be for their owner only.
fn private_files(dir: &Path) -> Vec<String> {
    assert_eq!(mode(dir), 0o700);
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(mode(&entry.path()), 0o600, "{:?}", entry.path());
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    names
}

#[test]
fn an_authority_is_made_once_kept_private_and_loaded_afterwards() {
    let dir = TempDir::new().unwrap();
    let state = dir.path().join("state");

    let first = Authority::open_or_create(&state).unwrap();
    let again = Authority::open_or_create(&state).unwrap();

    assert_eq!(first.identity(), again.identity());
    assert_eq!(private_files(&state), ["authority.pem", "join.secret"]);
    let token = first.tokens().issue(first.identity(), Timestamp::now(), Duration::from_secs(60)).unwrap();
    again.tokens().verify(&token, again.identity(), Timestamp::now()).unwrap();
}

#[test]
fn two_processes_that_start_at_once_get_the_same_authority() {
    let dir = TempDir::new().unwrap();
    let open = || Authority::open_or_create(dir.path()).unwrap().identity().clone();

    let found: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });

    assert!(found.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn credentials_are_kept_private_loaded_never_overwritten_by_store_and_replaced_on_renewal() {
    let cluster = TestCluster::new();
    let dir = TempDir::new().unwrap();
    let state = dir.path().join("node");
    let credentials = cluster.member("worker-1");

    assert!(matches!(NodeCredentials::load(&state), Err(NetError::NotJoined(_))));
    credentials.store(&state).unwrap();
    assert_eq!(private_files(&state), ["node.pem"]);
    assert_eq!(NodeCredentials::load(&state).unwrap().identity(), credentials.identity());

    let other = cluster.member("worker-2");
    assert!(matches!(other.store(&state), Err(NetError::Exists(_))));
    other.replace(&state).unwrap();
    assert_eq!(private_files(&state), ["node.pem"]);
    assert_eq!(NodeCredentials::load(&state).unwrap().identity(), other.identity());
}

#[test]
fn a_key_that_others_may_read_is_refused() {
    let dir = TempDir::new().unwrap();
    Authority::open_or_create(dir.path()).unwrap();
    let path = dir.path().join("authority.pem");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();

    let error = Authority::open_or_create(dir.path()).unwrap_err();

    assert_eq!(error.code(), "FLT-L003");
    assert!(error.to_string().contains("chmod 600"), "{error}");
}

/// Changes characters here and there, and cuts the file: each such file must be refused as damaged.
fn each_damage_is_found<T: PartialEq + std::fmt::Debug>(path: &Path, load: impl Fn() -> Result<T, NetError>) {
    let whole = fs::read(path).unwrap();
    let original = load().unwrap();
    let changes = whole.iter().enumerate().filter(|(_, byte)| byte.is_ascii_alphanumeric()).step_by(5);
    for (place, byte) in changes {
        let mut damaged = whole.clone();
        damaged[place] = if *byte == b'A' { b'B' } else { b'A' };
        fs::write(path, &damaged).unwrap();
        let error = load().expect_err(&format!("byte {place} was changed"));
        assert_eq!(error.code(), "FLT-L002", "{error}");
    }
    for length in [0, 1, whole.len() / 2, whole.len() - 30] {
        fs::write(path, &whole[..length]).unwrap();
        assert_eq!(load().expect_err("it was cut").code(), "FLT-L002");
    }
    fs::write(path, &whole).unwrap();
    assert_eq!(load().unwrap(), original);
}

#[test]
fn any_changed_character_of_an_authority_s_file_is_found() {
    let dir = TempDir::new().unwrap();
    Authority::open_or_create(dir.path()).unwrap();
    let load = || Authority::open_or_create(dir.path()).map(|authority| authority.identity().clone());
    each_damage_is_found(&dir.path().join("authority.pem"), load);
}

#[test]
fn any_changed_character_of_a_node_s_file_is_found() {
    let cluster = TestCluster::new();
    let dir = TempDir::new().unwrap();
    cluster.member("worker").store(dir.path()).unwrap();
    let load = || NodeCredentials::load(dir.path()).map(|loaded| (loaded.chain(), loaded.private_key()));
    each_damage_is_found(&dir.path().join("node.pem"), load);
}

#[test]
fn a_cut_join_secret_says_what_to_do() {
    let dir = TempDir::new().unwrap();
    Authority::open_or_create(dir.path()).unwrap();
    fs::write(dir.path().join("join.secret"), [7; 31]).unwrap();
    let error = Authority::open_or_create(dir.path()).unwrap_err();
    assert_eq!(error.code(), "FLT-L002");
    assert!(error.to_string().contains("voids the tokens"), "{error}");
}

#[test]
fn a_certificate_says_what_the_authority_decided_whatever_the_request_asks_for() {
    let cluster = TestCluster::new();
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let victim = cluster.control.identity().node;
    let mut asks = rcgen::CertificateParams::new(vec!["control.fleet.internal".to_owned()]).unwrap();
    asks.distinguished_name.push(rcgen::DnType::CommonName, "control");
    asks.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let uri = format!("fleet://{}/node/{victim}", cluster.authority.identity().cluster);
    asks.subject_alt_names.push(rcgen::SanType::URI(uri.as_str().try_into().unwrap()));
    let request = asks.serialize_request(&key).unwrap();
    let node = NodeId::new_random();

    let life = Duration::from_secs(3600);
    let certificate = cluster.authority.sign(request.der(), node, &name("worker"), life).unwrap();

    let identity = PeerIdentity::from_certificate(&certificate).unwrap();
    let cluster_id = cluster.authority.identity().cluster;
    assert_eq!(identity, PeerIdentity { cluster: cluster_id, node, name: name("worker"), control: false });
    let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).unwrap();
    assert!(!parsed.is_ca());
}

#[test]
fn only_the_control_node_s_own_certificate_says_that_it_is_the_control_node_s() {
    let cluster = TestCluster::new();
    assert!(cluster.control.identity().control);
    assert!(!cluster.member("worker").identity().control);
}

#[test]
fn two_certificates_for_one_node_have_different_serials() {
    let cluster = TestCluster::new();
    let csr = NodeKey::generate().unwrap().csr().unwrap();
    let node = NodeId::new_random();
    let serial = || {
        let certificate = cluster.authority.sign(&csr, node, &name("worker"), Duration::from_secs(60)).unwrap();
        x509_parser::parse_x509_certificate(&certificate).unwrap().1.raw_serial().to_vec()
    };
    assert_ne!(serial(), serial());
}

#[test]
fn credentials_of_parts_that_do_not_belong_together_are_refused() {
    let (ours, theirs) = (TestCluster::new(), TestCluster::new());
    let key = NodeKey::generate().unwrap();
    let sign = |cluster: &TestCluster, key: &NodeKey| {
        let csr = key.csr().unwrap();
        cluster.authority.sign(&csr, NodeId::new_random(), &name("worker"), Duration::from_secs(60)).unwrap()
    };
    let ca = |cluster: &TestCluster| cluster.authority.identity().ca.clone();

    let of_another_ca = NodeCredentials::assemble(key.clone(), sign(&theirs, &key), ca(&ours));
    let for_another_key = NodeCredentials::assemble(NodeKey::generate().unwrap(), sign(&ours, &key), ca(&ours));
    let with_a_leaf_as_ca = NodeCredentials::assemble(key.clone(), sign(&ours, &key), sign(&ours, &key));

    assert_eq!(of_another_ca.unwrap_err().code(), "FLT-L049");
    assert_eq!(for_another_key.unwrap_err().code(), "FLT-L008");
    assert_eq!(with_a_leaf_as_ca.unwrap_err().code(), "FLT-L008");
}

proptest! {
    #[test]
    fn no_bytes_make_the_authority_panic_or_sign(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let cluster = TestCluster::new();
        let signed = cluster.authority.sign(&bytes, NodeId::new_random(), &name("worker"), Duration::from_secs(60));
        prop_assert_eq!(signed.unwrap_err().code(), "FLT-L007");
    }
}

proptest! {
    // What the request's signature doesn't cover (its own encoding) may change; the key may not.
    #[test]
    fn a_request_with_any_changed_bit_gets_no_certificate_for_another_key(place in 0usize..10_000, bit in 0u8..8) {
        let cluster = TestCluster::new();
        let key = NodeKey::generate().unwrap();
        let mut csr = key.csr().unwrap();
        let place = place % csr.len();
        csr[place] ^= 1 << bit;
        match cluster.authority.sign(&csr, NodeId::new_random(), &name("worker"), Duration::from_secs(60)) {
            Err(error) => prop_assert_eq!(error.code(), "FLT-L007"),
            // Fits only the key that was asked for.
            Ok(certificate) => {
                NodeCredentials::assemble(key, certificate, cluster.authority.identity().ca.clone()).unwrap();
            }
        }
    }
}
