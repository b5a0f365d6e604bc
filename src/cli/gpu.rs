//! `fleet gpu …`: the GPUs of this machine, as its driver tells; no node is asked.

use fleet_inference::{GpuStatus, gpus_of_machine};

use super::args::GpuCommand;
use super::exit::Exit;
use super::failure::{Failure, Outcome};
use super::table;
use super::terminal::Terminal;

/// Runs a `fleet gpu` command.
pub async fn run(terminal: &Terminal, command: &GpuCommand) -> Outcome {
    match command {
        GpuCommand::List => list(terminal).await,
    }
}

async fn list(terminal: &Terminal) -> Outcome {
    // The driver may take seconds to answer.
    let asked = tokio::task::spawn_blocking(gpus_of_machine).await;
    let asked = asked.map_err(|e| Failure::internal(format!("asking the driver broke off: {e}"), ""))?;
    let gpus = asked.unwrap_or_else(|why| {
        terminal.note(format_args!("no GPUs: {why}"));
        Vec::new()
    });
    if terminal.json_wanted() {
        terminal.json(&gpus)?;
    } else if !gpus.is_empty() {
        terminal.data(rows(&gpus))?;
    }
    Ok(Exit::Ok)
}

fn rows(gpus: &[GpuStatus]) -> String {
    let mut table = table::table(["UUID", "NAME", "MEMORY", "USED", "HELD BY", "DRIVER"]);
    for GpuStatus { gpu, used_bytes, holder, driver } in gpus {
        let cells = [
            gpu.uuid.clone(),
            gpu.name.clone(),
            gib(gpu.memory_bytes),
            gib(*used_bytes),
            holder.map_or_else(|| "-".to_owned(), |pid| format!("pid {pid}")),
            driver.clone(),
        ];
        table::row(&mut table, cells);
    }
    table::text(&table)
}

fn gib(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / (1u64 << 30) as f64)
}

#[cfg(test)]
mod tests {
    use fleet_runtime::probe::Gpu;

    use super::*;

    #[test]
    fn the_table_says_who_holds_a_gpu() {
        let status = |uuid: &str, holder| GpuStatus {
            gpu: Gpu { uuid: uuid.into(), name: "H200".into(), memory_bytes: 141 << 30 },
            used_bytes: 3 << 29,
            holder,
            driver: "580.65".into(),
        };
        insta::assert_snapshot!(rows(&[status("GPU-1", Some(4711)), status("GPU-2", None)]), @r"
         UUID   NAME  MEMORY     USED     HELD BY   DRIVER
         GPU-1  H200  141.0 GiB  1.5 GiB  pid 4711  580.65
         GPU-2  H200  141.0 GiB  1.5 GiB  -         580.65
        ");
    }
}
