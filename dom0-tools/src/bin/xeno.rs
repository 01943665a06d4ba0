//! `xeno`: the toolstack's command.

fn main() -> std::process::ExitCode {
    dom0_tools::cli::main()
}
