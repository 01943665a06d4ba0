//! The command line of `xeno`: one file per group of commands, all thin.

mod consoles;
mod create;
mod devices;
mod info;
mod list;
mod memory;
mod misc;
mod output;
mod power;
mod save;
mod store;
mod vcpus;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::domain::{Code, ToolError, Toolstack};

/// Manage the guests of this machine.
#[derive(Parser, Debug)]
#[command(name = "xeno", version, about, max_term_width = 100)]
struct Cli {
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Make a guest from a configuration file
    Create(create::Create),
    /// List domains
    #[command(visible_alias = "ls")]
    List(list::List),
    /// Take a domain away at once
    Destroy(power::Destroy),
    /// Ask guests to power off
    Shutdown(power::Shutdown),
    /// Ask guests to start again
    Reboot(power::Reboot),
    /// Stop a domain's processors
    Pause(power::Pause),
    /// Let a paused domain go on
    Unpause(power::Unpause),
    /// Save a guest to a file
    Save(save::Save),
    /// Make a guest from a file that save has written
    Restore(save::Restore),
    /// Connect to a guest's console
    Console(consoles::Console),
    /// Tell about the machine and the hypervisor
    Info(info::Info),
    /// Print the hypervisor's messages
    Dmesg(info::Dmesg),
    /// Press keys of the hypervisor's console
    DebugKeys(info::DebugKeys),
    /// Print how much memory is claimed by domains under construction
    Claims(list::Claims),
    /// Print the id of a domain
    Domid(misc::Domid),
    /// Print the name of a domain
    Domname(misc::Domname),
    /// Give a domain another name
    Rename(misc::Rename),
    /// Print how long domains have been running
    Uptime(misc::Uptime),
    /// Print the UUIDs of domains
    VmList(list::VmList),
    /// Send a system request key to a guest
    Sysrq(misc::Sysrq),
    /// Send an NMI or another trigger to a guest
    Trigger(misc::Trigger),
    /// List virtual processors
    VcpuList(vcpus::VcpuList),
    /// Set how many virtual processors a guest has online
    VcpuSet(vcpus::VcpuSet),
    /// Set where virtual processors may run
    VcpuPin(vcpus::VcpuPin),
    /// Print or set shares of processor time under credit2
    SchedCredit2(vcpus::Sched),
    /// Set how much memory a domain has
    MemSet(memory::MemSet),
    /// Set how much memory a domain may have at most
    MemMax(memory::MemMax),
    /// Give a disk to a running guest
    BlockAttach(devices::BlockAttach),
    /// List a guest's disks
    BlockList(devices::BlockList),
    /// Take a disk from a running guest
    BlockDetach(devices::BlockDetach),
    /// Give a network card to a running guest
    NetworkAttach(devices::NetworkAttach),
    /// List a guest's network cards
    NetworkList(devices::NetworkList),
    /// Take a network card from a running guest
    NetworkDetach(devices::NetworkDetach),
    /// Read and write xenstore
    #[command(subcommand)]
    Store(store::StoreCommand),
    /// Act when guests end (runs by itself after `create`)
    Supervise,
    /// Prepare dom0: its own nodes in xenstore
    InitDom0,
}

/// Runs the command line; the exit code says what kind of failure it was.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xeno: {error}");
            ExitCode::from(error.code as u8)
        }
    }
}

fn run(cli: &Cli) -> Result<(), ToolError> {
    let json = cli.json;
    // What needs no hypervisor comes first.
    match &cli.command {
        Command::Create(command) if command.dry_run() => return command.check(json),
        Command::Store(command) => return command.run(json),
        Command::Supervise => return crate::domain::supervise(),
        _ => {}
    }
    let tools = Toolstack::open()?;
    let tools = &tools;
    match &cli.command {
        Command::Create(command) => command.run(tools, json),
        Command::List(command) => command.run(tools, json),
        Command::Destroy(command) => command.run(tools),
        Command::Shutdown(command) => command.run(tools),
        Command::Reboot(command) => command.run(tools),
        Command::Pause(command) => command.run(tools),
        Command::Unpause(command) => command.run(tools),
        Command::Save(command) => command.run(tools),
        Command::Restore(command) => command.run(tools, json),
        Command::Console(command) => command.run(tools),
        Command::Info(command) => command.run(tools, json),
        Command::Dmesg(command) => command.run(tools, json),
        Command::DebugKeys(command) => command.run(tools),
        Command::Claims(command) => command.run(tools, json),
        Command::Domid(command) => command.run(tools, json),
        Command::Domname(command) => command.run(tools, json),
        Command::Rename(command) => command.run(tools),
        Command::Uptime(command) => command.run(tools, json),
        Command::VmList(command) => command.run(tools, json),
        Command::Sysrq(command) => command.run(tools),
        Command::Trigger(command) => command.run(tools),
        Command::VcpuList(command) => command.run(tools, json),
        Command::VcpuSet(command) => command.run(tools),
        Command::VcpuPin(command) => command.run(tools),
        Command::SchedCredit2(command) => command.run(tools, json),
        Command::MemSet(command) => command.run(tools),
        Command::MemMax(command) => command.run(tools),
        Command::BlockAttach(command) => command.run(tools),
        Command::BlockList(command) => command.run(tools, json),
        Command::BlockDetach(command) => command.run(tools),
        Command::NetworkAttach(command) => command.run(tools),
        Command::NetworkList(command) => command.run(tools, json),
        Command::NetworkDetach(command) => command.run(tools),
        Command::InitDom0 => misc::init_dom0(tools),
        Command::Store(_) | Command::Supervise => Ok(()),
    }
}

fn usage(message: impl Into<String>) -> ToolError {
    ToolError::new(Code::Usage, message)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
