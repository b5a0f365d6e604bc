//! A file over HTTP, resumed where an earlier attempt stopped.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use futures::StreamExt;
use reqwest::header::{CONTENT_RANGE, RANGE};
use reqwest::{Response, StatusCode};

use super::ModelError;

const CONNECT: Duration = Duration::from_secs(20);
/// A connection that brings nothing for so long is given up.
const SILENCE: Duration = Duration::from_secs(60);
/// Attempts in a row that bring nothing.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(500);

/// What to fetch.
pub(super) struct Fetch<'a> {
    pub(super) url: String,
    pub(super) token: Option<String>,
    /// Where it goes; what is there already is its beginning.
    pub(super) path: &'a Path,
    /// What it must have, where that is known.
    pub(super) bytes: Option<u64>,
}

/// What one attempt came to.
enum Attempt {
    Whole,
    /// Broken off or refused for a time.
    Again(String),
    Refused(String),
    Missing,
}

/// Fetches all of it. `report` is told the bytes that are here and those in all. Blocks; needs no runtime.
pub(super) fn run(fetch: &Fetch<'_>, report: &mut dyn FnMut(u64, u64)) -> Result<(), ModelError> {
    match run_if_there(fetch, report)? {
        true => Ok(()),
        false => Err(ModelError::Fetch { url: fetch.url.clone(), why: "the server answers 404 Not Found".into() }),
    }
}

/// The same; false if the server has no such file.
pub(super) fn run_if_there(fetch: &Fetch<'_>, report: &mut dyn FnMut(u64, u64)) -> Result<bool, ModelError> {
    let fail = |why: String| ModelError::Fetch { url: fetch.url.clone(), why };
    fleet_runtime::net::install_crypto();
    let client = reqwest::Client::builder().connect_timeout(CONNECT).read_timeout(SILENCE).redirect(no_downgrade());
    let client = client.build().map_err(|e| fail(e.to_string()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| fail(e.to_string()))?;
    runtime.block_on(async {
        let (mut idle, mut here) = (0, length(fetch.path));
        loop {
            let why = match attempt(&client, fetch, report).await? {
                Attempt::Whole => return Ok(true),
                Attempt::Missing => return Ok(false),
                Attempt::Refused(why) => return Err(fail(why)),
                Attempt::Again(why) => why,
            };
            let now = length(fetch.path);
            idle = if now > here { 0 } else { idle + 1 };
            here = now;
            if idle == ATTEMPTS {
                return Err(fail(why));
            }
            tokio::time::sleep(PAUSE * 2_u32.pow(idle)).await;
        }
    })
}

/// Hubs lead to where the file is stored; from an encrypted address never to an unencrypted one.
fn no_downgrade() -> reqwest::redirect::Policy {
    reqwest::redirect::Policy::custom(|attempt| {
        let was_safe = attempt.previous().iter().any(|url| url.scheme() == "https");
        match attempt.url().scheme() {
            _ if attempt.previous().len() >= 10 => attempt.error("it leads on and on"),
            "http" if was_safe => attempt.error("it leads from an encrypted address to an unencrypted one"),
            _ => attempt.follow(),
        }
    })
}

async fn attempt(
    client: &reqwest::Client,
    fetch: &Fetch<'_>,
    report: &mut dyn FnMut(u64, u64),
) -> Result<Attempt, ModelError> {
    let io = |e| ModelError::io("writing", fetch.path)(e);
    let mut here = length(fetch.path);
    if fetch.bytes == Some(here) {
        return Ok(Attempt::Whole);
    }
    if fetch.bytes.is_some_and(|bytes| here > bytes) {
        // Not the beginning of this one.
        fs::remove_file(fetch.path).map_err(io)?;
        here = 0;
    }
    let mut request = client.get(&fetch.url);
    if here > 0 {
        request = request.header(RANGE, format!("bytes={here}-"));
    }
    if let Some(token) = &fetch.token {
        request = request.bearer_auth(token);
    }
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) => return Ok(Attempt::Again(root_cause(&error))),
    };
    let status = answer.status();
    let begin = match status {
        StatusCode::OK => 0,
        StatusCode::PARTIAL_CONTENT if begins_at(&answer) == Some(here) => here,
        StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::PARTIAL_CONTENT => {
            fs::remove_file(fetch.path).map_err(io)?;
            return Ok(Attempt::Again(format!("the server answers {status}")));
        }
        StatusCode::NOT_FOUND => return Ok(Attempt::Missing),
        StatusCode::TOO_MANY_REQUESTS => return Ok(Attempt::Again("the server is busy".into())),
        _ if status.is_server_error() => return Ok(Attempt::Again(format!("the server answers {status}"))),
        _ => return Ok(Attempt::Refused(format!("the server answers {status}"))),
    };
    let said = answer.content_length().map(|rest| begin + rest);
    if let (Some(said), Some(bytes)) = (said, fetch.bytes)
        && said != bytes
    {
        return Ok(Attempt::Refused(format!("it has {said} bytes there instead of {bytes}")));
    }
    write(answer, fetch, begin, said, report).await
}

async fn write(
    answer: Response,
    fetch: &Fetch<'_>,
    begin: u64,
    said: Option<u64>,
    report: &mut dyn FnMut(u64, u64),
) -> Result<Attempt, ModelError> {
    let io = |e| ModelError::io("writing", fetch.path)(e);
    let mut file = File::options().create(true).append(true).open(fetch.path).map_err(io)?;
    file.set_len(begin).map_err(io)?;
    let (mut here, all) = (begin, said.or(fetch.bytes));
    let mut pieces = answer.bytes_stream();
    while let Some(piece) = pieces.next().await {
        let piece = match piece {
            Ok(piece) => piece,
            Err(error) => return Ok(Attempt::Again(root_cause(&error))),
        };
        here += piece.len() as u64;
        // What sends more than there should be must not fill the disk.
        if all.is_some_and(|all| here > all) {
            return Ok(Attempt::Refused("it sends more than it said".into()));
        }
        file.write_all(&piece).map_err(io)?;
        report(here, all.unwrap_or(here));
    }
    match all {
        Some(all) if here < all => Ok(Attempt::Again(format!("it ended after {here} of {all} bytes"))),
        _ => Ok(Attempt::Whole),
    }
}

/// The first byte of a partial answer.
fn begins_at(answer: &Response) -> Option<u64> {
    let range = answer.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |meta| meta.len())
}

fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
#[path = "fetch_tests.rs"]
mod tests;
