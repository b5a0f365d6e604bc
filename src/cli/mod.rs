//! The client program `fleet`: reads its arguments, asks a node over HTTP, writes what came back.
//!
//! stdout carries data and nothing else; everything meant for the person goes to stderr. What a command does is in the
//! module of its name; [`exit`] has the exit codes, [`failure`] what is said when something can't be done.

mod access;
mod actor;
mod approval;
pub mod args;
mod budget;
mod client;
mod completion;
mod engine;
pub mod exit;
mod explain;
pub mod failure;
mod figures;
mod finish;
mod follow;
mod gate;
mod gpu;
mod html;
mod job;
mod live;
mod model;
mod model_bench;
mod node;
mod plot;
mod role;
mod sandbox;
mod status;
mod story_bench;
mod submit;
mod table;
mod terminal;
mod timeline;
mod version;
mod watch;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use exit::Exit;
use failure::{Failure, Outcome};
use terminal::Terminal;

/// The whole program.
pub fn main() -> ExitCode {
    let cli = Cli::parse().check().unwrap_or_else(|wrong| wrong.exit());
    let terminal = Terminal::new(&cli.global);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(run(&cli, &terminal));
            // A thread that still waits for a key must not hold the end up.
            runtime.shutdown_background();
            outcome
        }
        Err(e) => Err(Failure::internal(format!("can't start: {e}"), "")),
    };
    match outcome {
        Ok(exit) => exit.into(),
        Err(failure) => {
            // `Ok` here is a reader that closed its end of the pipe: nobody is left to be told.
            if failure.exit != Exit::Ok {
                terminal.failure(&failure);
            }
            failure.exit.into()
        }
    }
}

async fn run(cli: &Cli, terminal: &Terminal) -> Outcome {
    let global = &cli.global;
    match &cli.command {
        Command::Job(command) => job::run(global, terminal, command).await,
        Command::Approval(command) => approval::run(global, terminal, command).await,
        Command::Status => status::run(global, terminal).await,
        Command::Node(command) => node::run(global, terminal, command).await,
        Command::Actor(command) => actor::run(global, terminal, command).await,
        Command::Engine(command) => engine::run(global, terminal, command).await,
        Command::Timeline { job } => timeline::run(global, terminal, job.as_deref()).await,
        Command::Access(command) => access::run(global, terminal, command).await,
        Command::Role(command) => role::run(terminal, command),
        Command::Gpu(command) => gpu::run(terminal, command).await,
        Command::Model(command) => model::run(terminal, command).await,
        Command::Bench(command) => story_bench::run(global, terminal, command).await,
        Command::Sandbox(command) => sandbox::run(terminal, command).await,
        Command::Completion { shell } => completion::run(terminal, *shell),
        Command::Version => version::run(global, terminal).await,
    }
}
