//! Fleet's client.

// As in fleetd: what `fleet model bench` measures is what an engine does there.
#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    fleet::cli::main()
}
