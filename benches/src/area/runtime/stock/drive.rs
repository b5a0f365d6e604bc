//! What is measured between the two nodes.

use std::time::Instant;

use anyhow::{Result, anyhow, bail, ensure};
use ractor::ActorRef;
use ractor::rpc::CallResult;

use super::super::driver::{answer, micros, quantile, rate};
use super::super::question::{Measure, Question};
use super::node::Other;
use super::sink::SinkMsg;

const SMALL: usize = 64;

/// Answers questions until standard input ends.
pub fn drive(encrypted: bool) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let other = runtime.block_on(Other::start(encrypted))?;
    let name = if encrypted { "ractor_cluster 0.16.5, its own mutual TLS" } else { "ractor_cluster 0.16.5" };
    // On a worker thread: see Fleet's driver.
    answer(name, |question| runtime.block_on(runtime.spawn(measure(other.sink.clone(), question)))?)
}

async fn measure(sink: ActorRef<SinkMsg>, Question { measure, count }: Question) -> Result<Vec<f64>> {
    Ok(vec![match measure {
        Measure::Tell(bytes) => tell(&sink, bytes, count).await?,
        Measure::Ask => {
            let mut times = Vec::with_capacity(count);
            for _ in 0..count {
                let began = Instant::now();
                echo(&sink, vec![7; SMALL]).await?;
                times.push(micros(began));
            }
            quantile(&mut times, 0.5)
        }
        Measure::Asks(flying) => asks(&sink, flying, count).await?,
        other => bail!("ractor_cluster has no {other:?}"),
    }])
}

async fn tell(sink: &ActorRef<SinkMsg>, bytes: usize, count: usize) -> Result<f64> {
    let payload = vec![7; bytes];
    let before = taken(sink).await?;
    let began = Instant::now();
    for _ in 0..count {
        sink.cast(SinkMsg::Take(payload.clone())).map_err(|_| anyhow!("not sent"))?;
    }
    let taken = taken(sink).await? - before;
    let rate = rate(count, began);
    ensure!(taken == count as u64, "{count} sent, {taken} taken");
    Ok(rate)
}

async fn asks(sink: &ActorRef<SinkMsg>, flying: usize, count: usize) -> Result<f64> {
    let each = (count / flying).max(1);
    let began = Instant::now();
    let askers: Vec<_> = (0..flying)
        .map(|_| {
            let sink = sink.clone();
            tokio::spawn(async move {
                for _ in 0..each {
                    echo(&sink, vec![7; SMALL]).await?;
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for asker in askers {
        asker.await??;
    }
    Ok(rate(each * flying, began))
}

async fn taken(sink: &ActorRef<SinkMsg>) -> Result<u64> {
    let answer = echo(sink, Vec::new()).await?;
    Ok(u64::from_be_bytes(answer.as_slice().try_into()?))
}

async fn echo(sink: &ActorRef<SinkMsg>, bytes: Vec<u8>) -> Result<Vec<u8>> {
    match sink.call(|reply| SinkMsg::Echo(bytes, reply), None).await {
        Ok(CallResult::Success(answer)) => Ok(answer),
        Ok(_) => bail!("the other node is gone"),
        Err(_) => bail!("not sent"),
    }
}
