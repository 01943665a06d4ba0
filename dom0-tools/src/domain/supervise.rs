//! The supervisor: acts when guests end, as their configuration says, and clears away what creators left that died.
//!
//! One process for all guests. What it knows is in the records and in the hypervisor, so that it can be killed and started again
//! at any time. It learns of ended domains by the store's `@releaseDomain`.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use hypercall_abi::xen::DomId;

use super::record::{self, Phase, Record};
use super::{Code, Reason, Start, State, ToolError, Toolstack, create, destroy, lookup, uuid_of};
use crate::config::Action;
use crate::sys::file_lock;
use crate::sys::process::{Detached, detach};

/// Held by the supervisor as long as it runs.
const LOCK: &str = "/run/xeno/supervisor.lock";
const LOG: &str = "/var/log/xen/xeno-supervisor.log";
/// How often records are looked at without an event: a creator that was killed causes none.
const INTERVAL: Duration = Duration::from_secs(5);

/// Starts a supervisor in the background unless one runs.
///
/// # Errors
/// It cannot be started.
pub fn ensure_supervisor() -> Result<(), ToolError> {
    std::fs::create_dir_all("/run/xeno/domains")?;
    let lock = File::create(LOCK)?;
    if !file_lock::lock(&lock, false)? {
        return Ok(());
    }
    // The child's own lock follows; that two start at the same time ends with one of them leaving.
    drop(lock);
    if let Some(folder) = Path::new(LOG).parent() {
        std::fs::create_dir_all(folder)?;
    }
    if detach(Path::new(LOG))? == Detached::Child {
        let code = match supervise() {
            Ok(()) => 0,
            Err(error) => {
                eprintln!("xeno supervise: {error}");
                error.code as i32
            }
        };
        std::process::exit(code);
    }
    Ok(())
}

/// Supervises until killed. Returns at once if another supervisor runs.
///
/// # Errors
/// The hypervisor or the store cannot be reached at the start.
pub fn supervise() -> Result<(), ToolError> {
    std::fs::create_dir_all("/run/xeno/domains")?;
    let lock = File::create(LOCK)?;
    if !file_lock::lock(&lock, false)? {
        return Ok(());
    }
    let mut tools = Toolstack::open()?;
    loop {
        let Err(error) = watch(&tools);
        eprintln!("xeno supervise: {error}");
        // The store's daemon is being started again: connect as soon as it is there.
        tools = loop {
            std::thread::sleep(Duration::from_secs(1));
            if let Ok(tools) = Toolstack::open() {
                break tools;
            }
        };
    }
}

fn watch(tools: &Toolstack) -> Result<std::convert::Infallible, ToolError> {
    tools.store.watch("@releaseDomain", "end")?;
    loop {
        record::remove_unwritten();
        for record in record::all() {
            if let Err(error) = look_after(tools, &record) {
                eprintln!("{} ({}): {error}", record.config.name, record.uuid);
            }
        }
        tools.store.event(Some(INTERVAL))?;
    }
}

/// Does what one domain needs.
fn look_after(tools: &Toolstack, seen: &Record) -> Result<(), ToolError> {
    // Held by its creator, or by whoever is destroying it.
    let Some(held) = record::try_hold(&seen.uuid) else {
        return Ok(());
    };
    let record = held.record.clone();
    let domains = tools.xen.domains()?;
    let info = domains
        .iter()
        .find(|info| uuid_of(info).to_string() == record.uuid);
    let Some(info) = info else {
        // Gone by another way, or never made; its nodes may still be there.
        println!("{} ({}) is gone", record.config.name, record.uuid);
        if let Some(domain) = record.domain
            && tools.xen.domain_info(DomId(domain))?.is_none()
        {
            destroy(tools, domain)?;
        }
        record::remove(&record.uuid);
        return Ok(());
    };
    let domain = info.domain.0;
    match record.phase {
        Phase::Building => {
            println!(
                "domain {domain} ({}) was left by its creator: destroyed",
                record.config.name
            );
            return destroy(tools, domain);
        }
        Phase::Preserved => return Ok(()),
        // A creator that watched it itself and was killed leaves it to the supervisor.
        Phase::Ready | Phase::Foreground => {}
    }
    let Some(reason) = State::of(info).shutdown else {
        return Ok(());
    };
    let action = action_for(&record, reason);
    println!(
        "domain {domain} ({}) {}: {}",
        record.config.name,
        reason.describe(),
        action.map_or("left as it is", Action::name)
    );
    match action {
        Some(action) => act(tools, held, domain, action),
        None => Ok(()),
    }
}

/// What the configuration says about `reason`; None for a suspended domain, which somebody else saves.
#[must_use]
pub fn action_for(record: &Record, reason: Reason) -> Option<Action> {
    let actions = &record.config.actions;
    match reason {
        Reason::Poweroff => Some(actions.poweroff),
        Reason::Reboot => Some(actions.reboot),
        Reason::Crash | Reason::Unknown => Some(actions.crash),
        Reason::Watchdog => Some(actions.watchdog),
        Reason::SoftReset => Some(actions.soft_reset),
        Reason::Suspend => None,
    }
}

fn act(
    tools: &Toolstack,
    mut held: record::Held,
    domain: u16,
    action: Action,
) -> Result<(), ToolError> {
    let record = held.record.clone();
    match action {
        Action::Destroy => destroy(tools, domain),
        Action::Restart => {
            destroy(tools, domain)?;
            restart(tools, &record)
        }
        Action::Preserve => Ok(held.set_phase(Phase::Preserved)?),
        Action::RenameRestart => {
            held.set_phase(Phase::Preserved)?;
            drop(held);
            let name = format!("{}-{domain}", record.config.name);
            lookup::rename(tools, domain, &name)?;
            // The old domain keeps its UUID.
            restart(tools, &record)
        }
    }
}

fn restart(tools: &Toolstack, record: &Record) -> Result<(), ToolError> {
    let mut config = record.config.clone();
    // Kept over a restart, unless the old domain is still there with it.
    let taken = tools
        .xen
        .domains()?
        .iter()
        .any(|info| uuid_of(info).to_string() == record.uuid);
    config.uuid = Some(record.uuid.clone()).filter(|_| !taken);
    let created = create(tools, &config)
        .map_err(|error| ToolError::new(Code::Other, format!("restart failed: {error}")))?;
    let start = Start {
        paused: false,
        foreground: false,
    };
    let running = created.start(tools, start)?;
    println!("domain {} ({}) started again", running.domain, config.name);
    Ok(())
}
