#![allow(clippy::unwrap_used, clippy::expect_used)]
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response as Answer};
use axum::routing::get;
use futures::stream;

use super::*;

const WHOLE: &[u8] = b"0123456789abcdefghij";

/// How the server behaves, and what it was asked for.
#[derive(Clone, Default)]
struct Server {
    /// Bytes of each answer before the connection breaks.
    breaks_after: Option<usize>,
    knows_no_ranges: bool,
    status: Option<u16>,
    asked: Arc<Mutex<Vec<String>>>,
}

async fn file(State(server): State<Server>, headers: HeaderMap) -> Answer<Body> {
    let range = headers.get("range").map(|range| range.to_str().unwrap().to_owned());
    server.asked.lock().unwrap().push(range.clone().unwrap_or_default());
    if let Some(status) = server.status {
        return Answer::builder().status(status).body(Body::empty()).unwrap();
    }
    let range = range.filter(|_| !server.knows_no_ranges);
    let begin: usize = range.as_ref().map_or(0, |r| r["bytes=".len()..r.len() - 1].parse().unwrap());
    let rest = &WHOLE[begin..];
    let mut answer = Answer::builder().header("content-length", rest.len());
    if range.is_some() {
        let range = format!("bytes {begin}-{}/{}", WHOLE.len() - 1, WHOLE.len());
        answer = answer.status(206).header("content-range", range);
    }
    let sent = &rest[..server.breaks_after.unwrap_or(rest.len()).min(rest.len())];
    let broken = (sent.len() < rest.len()).then(|| Err(std::io::Error::other("cut")));
    let pieces = stream::iter([Ok(sent)]).chain(stream::once(async move {
        // What was sent must be on its way, or the whole answer is lost.
        tokio::time::sleep(Duration::from_millis(50)).await;
        broken.unwrap_or(Ok(&[][..]))
    }));
    answer.body(Body::from_stream(pieces)).unwrap()
}

fn fetch(server: Server, before: &[u8], bytes: Option<u64>) -> (Result<Vec<u8>, String>, Vec<String>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("http://{}/model.gguf", listener.local_addr().unwrap());
    let routes = Router::new().route("/model.gguf", get(file)).with_state(server.clone());
    runtime.spawn(async move { axum::serve(listener, routes).await });
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.download");
    if !before.is_empty() {
        fs::write(&path, before).unwrap();
    }
    let done = run(&Fetch { url, token: None, path: &path, bytes }, &mut |_, _| {});
    let asked = server.asked.lock().unwrap().clone();
    (done.map(|()| fs::read(&path).unwrap()).map_err(|e| e.to_string()), asked)
}

const ALL: Option<u64> = Some(WHOLE.len() as u64);

#[test]
fn a_file_is_fetched_and_one_that_is_whole_is_not_asked_for() {
    assert_eq!(fetch(Server::default(), b"", ALL), (Ok(WHOLE.to_vec()), vec![String::new()]));
    assert_eq!(fetch(Server::default(), b"", None).0.unwrap(), WHOLE);
    assert_eq!(fetch(Server::default(), WHOLE, ALL), (Ok(WHOLE.to_vec()), vec![]));
}

#[test]
fn it_goes_on_where_it_stopped() {
    let (done, asked) = fetch(Server::default(), &WHOLE[..7], ALL);
    assert_eq!((done.unwrap().as_slice(), asked), (WHOLE, vec!["bytes=7-".to_owned()]));
    let (done, asked) = fetch(Server { breaks_after: Some(8), ..Server::default() }, b"", ALL);
    let ranges = ["", "bytes=8-", "bytes=16-"].map(str::to_owned).to_vec();
    assert_eq!((done.unwrap().as_slice(), asked), (WHOLE, ranges));
}

#[test]
fn a_server_without_ranges_begins_anew_and_too_much_is_thrown_away() {
    let server = Server { knows_no_ranges: true, ..Server::default() };
    assert_eq!(fetch(server, b"0123", ALL).0.unwrap(), WHOLE);
    let more = [WHOLE, b"more"].concat();
    assert_eq!(fetch(Server::default(), &more, ALL).0.unwrap(), WHOLE);
}

#[test]
fn another_file_is_refused_before_it_is_fetched_and_what_is_not_there_at_once() {
    let (done, asked) = fetch(Server::default(), b"", Some(7));
    assert!(done.unwrap_err().contains("20 bytes there instead of 7"));
    assert_eq!(asked.len(), 1);
    let (done, asked) = fetch(Server { status: Some(404), ..Server::default() }, b"", ALL);
    assert!(done.unwrap_err().contains("404"));
    assert_eq!(asked.len(), 1);
}
