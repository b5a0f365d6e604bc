use std::sync::Mutex;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::FutureExt;
use futures::future::BoxFuture;
use proptest::prelude::*;

use super::*;
use crate::codec::crc32c;
use crate::time::Timestamp;

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const HOUR: Duration = Duration::from_secs(3600);

/// Remembers what was recorded; fails while told to.
#[derive(Default)]
pub(super) struct Recorder {
    pub recorded: Mutex<Vec<(TokenNonce, Timestamp)>>,
    pub broken: std::sync::atomic::AtomicBool,
}

impl UsedTokens for Recorder {
    fn record(&self, nonce: TokenNonce, expires: Timestamp) -> BoxFuture<'_, Result<(), String>> {
        async move {
            if self.broken.load(std::sync::atomic::Ordering::SeqCst) {
                return Err("the disk is full".to_owned());
            }
            self.recorded.lock().unwrap().push((nonce, expires));
            Ok(())
        }
        .boxed()
    }
}

fn issue(cluster: &TestCluster) -> JoinToken {
    cluster.authority.tokens().issue(cluster.authority.identity(), NOW, HOUR).unwrap()
}

fn verify(cluster: &TestCluster, token: &JoinToken, now: Timestamp) -> Result<(), NetError> {
    cluster.authority.tokens().verify(token, cluster.authority.identity(), now)
}

fn later(by: Duration) -> Timestamp {
    Timestamp(NOW.millis() + i64::try_from(by.as_millis()).unwrap())
}

#[test]
fn a_token_survives_copying_and_is_good_until_it_expires() {
    let cluster = TestCluster::new();
    let token = issue(&cluster);
    let text = token.expose();

    let read = JoinToken::parse(&format!("  {text}\n")).unwrap();

    assert!(text.starts_with("fleet-join-") && !text.contains(char::is_whitespace));
    assert_eq!(read, token);
    assert_eq!(read.fingerprint(), cluster.authority.identity().fingerprint);
    verify(&cluster, &read, later(HOUR - Duration::from_secs(1))).unwrap();
    assert!(matches!(verify(&cluster, &read, later(HOUR)), Err(NetError::TokenExpired { seconds_ago: 0 })));
    let error = verify(&cluster, &read, later(2 * HOUR)).unwrap_err();
    assert_eq!(error.to_string(), "the join token expired 3600 s ago; make a new one with `fleet node invite`");
}

#[test]
fn a_token_does_not_show_itself_in_debug_output() {
    let token = issue(&TestCluster::new());
    let secret = token.expose();
    assert!(!format!("{token:?}").contains(&secret[60..]));
}

#[test]
fn a_token_of_another_cluster_and_one_of_another_secret_are_told_apart() {
    let (ours, theirs) = (TestCluster::new(), TestCluster::new());
    assert_eq!(verify(&ours, &issue(&theirs), NOW).unwrap_err().code(), "FLT-L022");
    let claims_to_be_ours = theirs.authority.tokens().issue(ours.authority.identity(), NOW, HOUR).unwrap();
    assert_eq!(verify(&ours, &claims_to_be_ours, NOW).unwrap_err().code(), "FLT-L023");
}

#[test]
fn every_flipped_bit_of_a_token_s_text_is_refused() {
    let cluster = TestCluster::new();
    let text = issue(&cluster).expose();
    for place in 0..text.len() {
        for bit in 0..8 {
            let mut bytes = text.clone().into_bytes();
            bytes[place] ^= 1 << bit;
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            assert_eq!(JoinToken::parse(&changed).unwrap_err().code(), "FLT-L020", "{place}/{bit}");
        }
    }
}

#[test]
fn every_flipped_bit_behind_a_right_checksum_is_refused_too() {
    let cluster = TestCluster::new();
    let text = issue(&cluster).expose();
    let whole = URL_SAFE_NO_PAD.decode(text.strip_prefix("fleet-join-").unwrap()).unwrap();
    let body = &whole[..whole.len() - 4];
    for place in 0..body.len() {
        for bit in 0..8 {
            let mut changed = body.to_vec();
            changed[place] ^= 1 << bit;
            let crc = crc32c(0, &changed);
            changed.extend_from_slice(&crc.to_be_bytes());
            let token = JoinToken::parse(&format!("fleet-join-{}", URL_SAFE_NO_PAD.encode(changed)));
            let code = token.and_then(|token| verify(&cluster, &token, NOW)).unwrap_err().code();
            let wanted = match place {
                0 => "FLT-L021",
                1..=16 => "FLT-L022",
                _ => "FLT-L023",
            };
            assert_eq!(code, wanted, "{place}/{bit}");
        }
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in any::<String>(), prefixed in "fleet-join-[A-Za-z0-9_=-]{0,200}") {
        prop_assert!(JoinToken::parse(&text).is_err());
        prop_assert!(JoinToken::parse(&prefixed).is_err());
    }
}

#[tokio::test]
async fn a_token_is_spent_once_and_a_restart_does_not_forget_it() {
    let cluster = TestCluster::new();
    let (token, recorder) = (issue(&cluster), Arc::new(Recorder::default()));
    let book = TokenBook::new(recorder.clone(), [], 10);

    book.check(&token).unwrap();
    book.spend(&token, NOW).await.unwrap();
    assert_eq!(book.check(&token).unwrap_err().code(), "FLT-L025");
    assert_eq!(book.spend(&token, NOW).await.unwrap_err().code(), "FLT-L025");

    let recorded = recorder.recorded.lock().unwrap().clone();
    assert_eq!(recorded, [(token.nonce(), token.expires())]);
    let restarted = TokenBook::new(recorder, recorded, 10);
    assert_eq!(restarted.spend(&token, NOW).await.unwrap_err().code(), "FLT-L025");
}

#[tokio::test]
async fn a_use_that_could_not_be_recorded_leaves_the_token_good() {
    let cluster = TestCluster::new();
    let (token, recorder) = (issue(&cluster), Arc::new(Recorder::default()));
    let book = TokenBook::new(recorder.clone(), [], 10);
    recorder.broken.store(true, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(book.spend(&token, NOW).await.unwrap_err().code(), "FLT-L027");
    recorder.broken.store(false, std::sync::atomic::Ordering::SeqCst);
    book.spend(&token, NOW).await.unwrap();
}

#[tokio::test]
async fn the_book_is_bounded_and_forgets_what_expired() {
    let cluster = TestCluster::new();
    let book = TokenBook::new(Arc::new(Recorder::default()), [], 3);
    for _ in 0..3 {
        book.spend(&issue(&cluster), NOW).await.unwrap();
    }
    assert_eq!(book.spend(&issue(&cluster), NOW).await.unwrap_err().code(), "FLT-L026");
    book.spend(&issue(&cluster), later(2 * HOUR)).await.unwrap();
    assert_eq!(book.len(), 1);
}
