use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use tokio::net::TcpStream;

use super::*;
use crate::net::pki::provider;
use crate::net::verifier::ServerCheck;

#[tokio::test]
async fn two_hundred_silent_connections_neither_keep_a_peer_out_nor_stay() {
    let cluster = TestCluster::new();
    let options = NetOptions { handshake_deadline: Duration::from_secs(3), ..options() };
    let (listener, mut accepted) = listen(&cluster.control, &options);
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(addr(&listener)).await.unwrap());
    }
    let full = until(&listener, |stats| stats.refused(RefusedBecause::TooManyHandshakes) == 136).await;
    assert_eq!(full.handshaking, 64);

    let member = cluster.member("a");
    endpoint(&member, &options).dial(&addr(&listener), Plane::Lane, None).await.unwrap();

    assert_eq!(next(&mut accepted).await.peer.as_ref(), Some(member.identity()));
    // The peer got in while they were still there: no deadline had passed.
    assert_eq!(listener.stats().refused(RefusedBecause::Deadline), 0);
    for stream in &mut silent {
        closed(stream).await;
    }
    let stats = until(&listener, |stats| stats.handshaking == 0).await;
    assert_eq!(stats.refused(RefusedBecause::TooManyHandshakes), 137);
    assert_eq!(stats.refused(RefusedBecause::Deadline), 63);
}

/// Says hello as a client of the cluster would, and no more.
async fn says_only_hello(cluster: &TestCluster, addr: &str) -> TcpStream {
    let check = ServerCheck::node(cluster.authority.identity(), None);
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&rustls::version::TLS13]);
    let builder = builder.unwrap().dangerous().with_custom_certificate_verifier(check);
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![b"fleet-lane/1".to_vec()];
    let mut session = ClientConnection::new(Arc::new(config), ServerName::try_from("any.name").unwrap()).unwrap();
    let mut hello = Vec::new();
    session.write_tls(&mut hello).unwrap();
    let mut tcp = TcpStream::connect(addr).await.unwrap();
    tcp.write_all(&hello).await.unwrap();
    // The listener answers once it has read it.
    let mut answer = [0; 1];
    tcp.read_exact(&mut answer).await.unwrap();
    tcp
}

#[tokio::test]
async fn where_all_have_said_hello_the_newest_is_closed_and_a_dial_gets_in_when_there_is_room() {
    let cluster = TestCluster::new();
    let options = NetOptions { max_handshaking: 2, handshake_deadline: Duration::from_millis(700), ..options() };
    let (listener, _accepted) = listen(&cluster.control, &options);
    let mut slow =
        [says_only_hello(&cluster, &addr(&listener)).await, says_only_hello(&cluster, &addr(&listener)).await];

    let patient = NetOptions { handshake_deadline: PATIENCE, ..options };
    endpoint(&cluster.member("a"), &patient).dial(&addr(&listener), Plane::Lane, None).await.unwrap();

    for stream in &mut slow {
        closed(stream).await;
    }
    let stats = listener.stats();
    assert_eq!(stats.refused(RefusedBecause::Deadline), 2);
    assert!(stats.refused(RefusedBecause::TooManyHandshakes) >= 1, "{stats:?}");
}

#[tokio::test]
async fn garbage_is_closed_and_counted_and_hurts_nobody() {
    let cluster = TestCluster::new();
    let (listener, mut accepted) = listen(&cluster.control, &options());
    let noise: Vec<u8> = (0..5_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    // A TLS record whose content is nonsense; another protocol; noise.
    for garbage in [&b"\x16\x03\x01\x00\x05hello"[..], b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", &noise] {
        let mut tcp = TcpStream::connect(addr(&listener)).await.unwrap();
        tcp.write_all(garbage).await.unwrap();
        closed(&mut tcp).await;
    }
    until(&listener, |stats| stats.refused(RefusedBecause::NotTls) == 3).await;

    let member = cluster.member("a");
    endpoint(&member, &options()).dial(&addr(&listener), Plane::Lane, None).await.unwrap();
    assert_eq!(next(&mut accepted).await.peer.as_ref(), Some(member.identity()));
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_is_counted() {
    let cluster = TestCluster::new();
    let (listener, _accepted) = listen(&cluster.control, &options());
    drop(says_only_hello(&cluster, &addr(&listener)).await);
    drop(TcpStream::connect(addr(&listener)).await.unwrap());
    let stats = until(&listener, |stats| stats.refused(RefusedBecause::BrokeOff) == 2).await;
    assert_eq!((stats.handshaking, stats.established), (0, 0));
}
