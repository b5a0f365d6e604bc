use std::collections::HashSet;
use std::sync::Mutex;

use rustls::ClientConfig;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::*;
use crate::net::pki::provider;
use crate::net::verifier::ServerCheck;

#[tokio::test]
async fn two_nodes_know_each_other_by_certificate_on_every_plane() {
    let cluster = TestCluster::new();
    let (a, b) = (cluster.member("a"), cluster.member("b"));
    let (listener, mut accepted) = listen(&b, &options());
    let dialler = endpoint(&a, &options());

    for plane in Plane::MEMBER {
        let (mut here, peer) = dialler.dial(&addr(&listener), plane, Some(b.identity().node)).await.unwrap();
        let mut there = next(&mut accepted).await;

        assert_eq!(&peer, b.identity());
        assert_eq!(there.peer.as_ref(), Some(a.identity()));
        assert_eq!(there.plane, plane);
        assert!(here.tcp().nodelay().unwrap() && there.stream.tcp().nodelay().unwrap());
        echo_works(&mut here, &mut there.stream).await;
        echo_works(&mut there.stream, &mut here).await;
    }
    assert_eq!(until(&listener, |stats| stats.accepted == 3).await.refused.len(), 0);
}

#[tokio::test]
async fn a_dial_without_an_expected_node_takes_any_node_of_the_cluster() {
    let cluster = TestCluster::new();
    let (a, b) = (cluster.member("a"), cluster.member("b"));
    let (listener, _accepted) = listen(&b, &options());
    let (_stream, peer) = endpoint(&a, &options()).dial(&addr(&listener), Plane::Lane, None).await.unwrap();
    assert_eq!(&peer, b.identity());
}

#[tokio::test]
async fn another_node_of_the_same_cluster_than_the_expected_one_is_refused() {
    let cluster = TestCluster::new();
    let (a, b, expected) = (cluster.member("a"), cluster.member("b"), NodeId::new_random());
    let (listener, _accepted) = listen(&b, &options());

    let error = endpoint(&a, &options()).dial(&addr(&listener), Plane::Lane, Some(expected)).await.unwrap_err();

    assert!(
        matches!(error, NetError::OtherNode { expected: e, found } if e == expected && found == b.identity().node),
        "{error}"
    );
    until(&listener, |stats| stats.refused(RefusedBecause::BrokeOff) == 1).await;
}

#[tokio::test]
async fn a_server_of_another_cluster_is_refused() {
    let (ours, theirs) = (TestCluster::new(), TestCluster::new());
    let (listener, _accepted) = listen(&theirs.control, &options());
    let error = endpoint(&ours.control, &options()).dial(&addr(&listener), Plane::Lane, None).await.unwrap_err();
    assert_eq!(error.code(), "FLT-L046", "{error}");
    assert!(error.to_string().contains("isn't from this cluster's CA"), "{error}");
}

/// A client that trusts `cluster` and shows whatever certificate it is given.
fn odd_client(cluster: &TestCluster, shows: Option<&NodeCredentials>, alpn: &[&str]) -> TlsConnector {
    let check = ServerCheck::node(cluster.authority.identity(), None);
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&rustls::version::TLS13]);
    let builder = builder.unwrap().dangerous().with_custom_certificate_verifier(check);
    let mut config = match shows {
        Some(shows) => builder.with_client_auth_cert(shows.chain(), PrivateKeyDer::Pkcs8(shows.private_key())).unwrap(),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

/// Connects and waits until the listener closes.
async fn is_turned_away(client: TlsConnector, addr: &str) {
    let tcp = TcpStream::connect(addr).await.unwrap();
    // TLS 1.3: the client may think that it is connected before its certificate was looked at.
    if let Ok(mut stream) = client.connect(ServerName::try_from("any.name").unwrap(), tcp).await {
        closed(&mut stream).await;
    }
}

#[tokio::test]
async fn a_client_with_another_ca_s_certificate_is_refused_and_the_others_are_not() {
    let (ours, theirs) = (TestCluster::new(), TestCluster::new());
    let (listener, mut accepted) = listen(&ours.control, &options());

    is_turned_away(odd_client(&ours, Some(&theirs.member("spy")), &["fleet-lane/1"]), &addr(&listener)).await;

    until(&listener, |stats| stats.refused(RefusedBecause::BadCertificate) == 1).await;
    let member = ours.member("a");
    endpoint(&member, &options()).dial(&addr(&listener), Plane::Lane, None).await.unwrap();
    assert_eq!(next(&mut accepted).await.peer.as_ref(), Some(member.identity()));
}

#[tokio::test]
async fn a_client_without_certificate_gets_no_plane_but_join() {
    let cluster = TestCluster::new();
    let (listener, mut accepted) = listen(&cluster.control, &options());

    for plane in Plane::MEMBER {
        is_turned_away(odd_client(&cluster, None, &[plane.alpn()]), &addr(&listener)).await;
    }
    until(&listener, |stats| stats.refused(RefusedBecause::NoCertificate) == 3).await;

    // Naming the join plane beside another one doesn't open the other one.
    let both = odd_client(&cluster, None, &["fleet-lane/1", "fleet-join/1"]);
    let tcp = TcpStream::connect(addr(&listener)).await.unwrap();
    let _stream = both.connect(ServerName::try_from("any.name").unwrap(), tcp).await.unwrap();
    let joining = next(&mut accepted).await;
    assert_eq!((joining.plane, joining.peer), (Plane::Join, None));
}

#[tokio::test]
async fn a_client_that_names_no_plane_is_refused() {
    let cluster = TestCluster::new();
    let (listener, _accepted) = listen(&cluster.control, &options());
    is_turned_away(odd_client(&cluster, Some(&cluster.member("a")), &[]), &addr(&listener)).await;
    until(&listener, |stats| stats.refused(RefusedBecause::NoSharedPlane) == 1).await;
}

#[tokio::test]
async fn peers_without_a_common_plane_or_version_say_so() {
    let cluster = TestCluster::new();
    let (listener, _accepted) = listen_on(&cluster.control, &options(), &[Plane::Lane]);

    let member = endpoint(&cluster.member("a"), &options());
    let error = member.dial(&addr(&listener), Plane::Bulk, None).await.unwrap_err();
    assert!(matches!(error, NetError::NoSharedPlane { plane: Plane::Bulk, .. }), "{error}");

    is_turned_away(odd_client(&cluster, Some(&cluster.member("b")), &["fleet-lane/2"]), &addr(&listener)).await;
    until(&listener, |stats| stats.refused(RefusedBecause::NoSharedPlane) == 2).await;
}

#[tokio::test]
async fn an_expired_certificate_is_refused_with_the_reason() {
    let cluster = TestCluster::new();
    let (listener, mut accepted) = listen(&cluster.control, &options());
    let brief = endpoint(&cluster.member_for("brief", Duration::ZERO), &options());

    // It ends with this second.
    let start = Instant::now();
    let error = loop {
        match brief.dial(&addr(&listener), Plane::Lane, None).await {
            Ok(_) => assert!(start.elapsed() < PATIENCE, "it never expires"),
            Err(error) => break error,
        }
        while accepted.try_recv().is_ok() {}
        sleep(Duration::from_millis(20)).await;
    };

    assert!(matches!(&error, NetError::OurCertificate { why, .. } if &**why == "it has expired"), "{error}");
}

#[tokio::test]
async fn a_node_that_is_no_longer_allowed_is_refused_at_its_next_connection() {
    let cluster = TestCluster::new();
    let (removed, other) = (cluster.member("removed"), cluster.member("other"));
    let gone: Arc<Mutex<HashSet<NodeId>>> = Arc::default();
    let seen = gone.clone();
    let gate = Arc::new(move |node: NodeId| !seen.lock().unwrap().contains(&node));
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let (listener, _accepted) = endpoint(&cluster.control, &options()).listen(any, &Plane::MEMBER, gate).unwrap();
    let addr = addr(&listener);

    endpoint(&removed, &options()).dial(&addr, Plane::Lane, None).await.unwrap();
    gone.lock().unwrap().insert(removed.identity().node);

    let error = endpoint(&removed, &options()).dial(&addr, Plane::Lane, None).await.unwrap_err();
    assert!(matches!(error, NetError::Refused { reason: Verdict::NotAllowed, .. }), "{error}");
    endpoint(&other, &options()).dial(&addr, Plane::Lane, None).await.unwrap();
    assert_eq!(listener.stats().refused(RefusedBecause::NotAllowed), 1);
}

#[tokio::test]
async fn a_peer_over_its_share_is_refused_others_are_not_and_a_closed_connection_makes_room() {
    let cluster = TestCluster::new();
    let options = NetOptions { max_per_peer: 2, ..options() };
    let (listener, mut accepted) = listen(&cluster.control, &options);
    let (greedy, modest) = (endpoint(&cluster.member("greedy"), &options), endpoint(&cluster.member("b"), &options));
    let addr = addr(&listener);

    let _held =
        [greedy.dial(&addr, Plane::Lane, None).await.unwrap(), greedy.dial(&addr, Plane::Bulk, None).await.unwrap()];
    let (first, _second) = (next(&mut accepted).await, next(&mut accepted).await);
    let error = greedy.dial(&addr, Plane::Lane, None).await.unwrap_err();
    assert!(matches!(error, NetError::Refused { reason: Verdict::TooManyConnections, .. }), "{error}");
    modest.dial(&addr, Plane::Lane, None).await.unwrap();

    drop(first);
    greedy.dial(&addr, Plane::Lane, None).await.unwrap();
    assert_eq!(listener.stats().refused(RefusedBecause::TooManyConnections), 1);
}

#[tokio::test]
async fn a_listener_whose_owner_takes_nothing_says_that_it_is_busy() {
    let cluster = TestCluster::new();
    let slow = NetOptions { accept_queue: 1, handshake_deadline: Duration::from_millis(400), ..options() };
    let (listener, mut accepted) = listen(&cluster.control, &slow);
    let impatient = NetOptions { dial_deadline: Duration::from_secs(2), ..options() };
    let member = endpoint(&cluster.member("a"), &impatient);

    let _first = member.dial(&addr(&listener), Plane::Lane, None).await.unwrap();
    let error = member.dial(&addr(&listener), Plane::Lane, None).await.unwrap_err();
    assert!(matches!(error, NetError::Refused { reason: Verdict::Busy, .. }), "{error}");

    tokio::spawn(async move { while accepted.recv().await.is_some() {} });
    member.dial(&addr(&listener), Plane::Lane, None).await.unwrap();
}

#[tokio::test]
async fn renewed_credentials_are_used_from_the_next_connection_on() {
    let cluster = TestCluster::new();
    let served = endpoint(&cluster.control, &options());
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let (listener, mut accepted) = served.listen(any, &Plane::ALL, Arc::new(|_: NodeId| true)).unwrap();
    let member = endpoint(&cluster.member("a"), &options());
    let (mut old, _) = member.dial(&addr(&listener), Plane::Lane, None).await.unwrap();
    let mut old_there = next(&mut accepted).await;

    let node = cluster.control.identity().node;
    let life = Duration::from_secs(3600);
    served.renew(cluster.authority.control_credentials(node, &name("renamed"), life).unwrap()).unwrap();
    let (_new, peer) = member.dial(&addr(&listener), Plane::Lane, Some(node)).await.unwrap();

    assert_eq!(peer.name, name("renamed"));
    echo_works(&mut old, &mut old_there.stream).await;
    assert_eq!(served.renew(cluster.member("other")).unwrap_err().code(), "FLT-L048");
}

#[tokio::test]
async fn a_stopped_listener_frees_its_port_breaks_off_handshakes_and_leaves_links_open() {
    let cluster = TestCluster::new();
    let (listener, mut accepted) = listen(&cluster.control, &options());
    let (addr, local) = (addr(&listener), listener.local_addr());
    let member = endpoint(&cluster.member("a"), &options());
    let (mut here, _) = member.dial(&addr, Plane::Lane, None).await.unwrap();
    let mut there = next(&mut accepted).await;
    let mut silent = TcpStream::connect(&addr).await.unwrap();
    until(&listener, |stats| stats.handshaking == 1).await;

    timeout(PATIENCE, listener.stop()).await.expect("it doesn't stop");

    closed(&mut silent).await;
    echo_works(&mut here, &mut there.stream).await;
    assert!(accepted.recv().await.is_none());
    assert_eq!(member.dial(&addr, Plane::Lane, None).await.unwrap_err().code(), "FLT-L040");
    let again = endpoint(&cluster.control, &options()).listen(local, &Plane::ALL, Arc::new(|_: NodeId| true));
    assert_eq!(again.unwrap().0.local_addr(), local);
}

#[tokio::test]
async fn a_port_in_use_and_a_port_that_nobody_serves_are_told_apart_from_other_trouble() {
    let cluster = TestCluster::new();
    let (listener, _accepted) = listen(&cluster.control, &options());
    let member = endpoint(&cluster.member("a"), &options());
    let taken = member.listen(listener.local_addr(), &Plane::MEMBER, Arc::new(|_: NodeId| true)).unwrap_err();
    assert_eq!(taken.code(), "FLT-L042");

    let local = addr(&listener);
    listener.stop().await;
    assert_eq!(member.dial(&local, Plane::Lane, None).await.unwrap_err().code(), "FLT-L040");
}

#[tokio::test]
async fn a_server_that_never_answers_costs_a_dial_its_deadline_and_no_more() {
    let cluster = TestCluster::new();
    let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = NetOptions { handshake_deadline: Duration::from_millis(100), ..options() };
    let member = endpoint(&cluster.member("a"), &options);
    let addr = mute.local_addr().unwrap().to_string();
    let error = timeout(PATIENCE, member.dial(&addr, Plane::Lane, None)).await.unwrap().unwrap_err();
    assert!(matches!(error, NetError::Deadline { what: "the handshake", .. }), "{error}");
}

#[test]
fn options_that_nothing_can_work_with_are_refused_by_name() {
    let cluster = TestCluster::new();
    let options = NetOptions { max_handshaking: 0, ..NetOptions::default() };
    let error = Endpoint::new(cluster.control.clone(), options).unwrap_err();
    assert!(error.to_string().contains("max_handshaking"), "{error}");
    let read: NetOptions = serde_json::from_str(r#"{"handshake_deadline": "250ms"}"#).unwrap();
    assert_eq!(read.handshake_deadline, Duration::from_millis(250));
}
